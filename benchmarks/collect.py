"""Run the benchmarks several times each, keep all values in results.json, and write README.md.

`course bench` starts this file in a Python of its own: benchmarks are no part of the installed package.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.once import machine
from benchmarks.page import median_and_range, ratios, write_page
from course_lib.running.executing import write_text_atomically

ROOT = Path(__file__).parents[1]
N_RUNS = 3


def available() -> list[str]:
    """Names of the benchmarks: "features" for bench_features.py."""
    modules = pkgutil.iter_modules(benchmarks.__path__)
    return sorted(module.name.removeprefix("bench_") for module in modules if module.name.startswith("bench_"))


def main(names: Sequence[str], results: Path, n_runs: int = N_RUNS) -> int:
    """Run the named benchmarks (all for none) n_runs times, write `results` and the page beside it.

    Each run is a fresh process. A benchmark of which a run fails is named, its old values stay, and the others still
    run. Rows of benchmarks that were not run stay, too.

    Returns: an exit status.     Raises: ValueError for an unknown name, or n_runs under 1.
    """
    if unknown := sorted(set(names) - set(available())):
        raise ValueError(f"no benchmark {', '.join(unknown)}; there are {', '.join(available())}")
    if n_runs < 1:
        raise ValueError(f"got {n_runs} runs; need at least 1, and 3 for a median and a range")
    console, failed, stored = Console(), [], read(results)
    for name in names or available():
        runs = []
        for number in range(1, n_runs + 1):
            console.print(f"benchmark {name}, run {number} of {n_runs} ...", highlight=False)
            runs.append(run_once(name))
            if not runs[-1]:
                failed.append(name)
                break
        else:
            stored["benches"] = merge(stored["benches"], runs, date.today().isoformat())
            write(results, stored)
    console.print(table(stored["benches"]))
    if failed:
        console.print(f"FAILED: {', '.join(failed)}", style="bold red")
    return 1 if failed else 0


def run_once(name: str) -> dict:
    """What benchmarks.once found in a fresh process; {} if it failed (it has said why)."""
    (folder,) = [finder.path for finder, one, _ in pkgutil.iter_modules(benchmarks.__path__) if one == f"bench_{name}"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with TemporaryDirectory(prefix="course-bench-") as home:
        out = Path(home, "rows.json")
        command = [sys.executable, "-m", "benchmarks.once", folder, name, str(out)]
        done = subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
        return json.loads(out.read_text("utf-8")) if done.returncode == 0 else {}


def merge(rows: Sequence[dict], runs: Sequence[dict], day: str) -> list[dict]:
    """The rows with the new ones in their old places, or behind: each holds what it got in all runs."""
    merged = {row["name"]: row for row in rows}
    for row in runs[0]["rows"]:
        same = [next(one for one in run["rows"] if one["name"] == row["name"]) for run in runs]
        values = {side: [one[side] for one in same] for side in ("ours", "peer")}
        merged[row["name"]] = row | values | {"date": day, "machine": runs[0]["machine"]}
    return list(merged.values())


def take_reports(paths: Sequence[Path], results: Path) -> None:
    """Keep what several `course run` reported: each figure of their report.json, a value a run.

    Figures of notebooks that these runs did not hold stay; so do those of runs that failed.

    Raises: ValueError if a report is of another profile or data set than the first.
    """
    stored, reports = read(results), [json.loads(path.read_text("utf-8")) for path in paths]
    kinds = {(one["profile"], one["dataset"], one["device"]) for one in reports}
    if len(kinds) != 1:
        raise ValueError(f"reports of {sorted(kinds)}: only runs of one profile, data set and device can be compared")
    values: dict[str, list[float]] = {}
    for report in reports:
        for name, value in figures_of(report).items():
            values.setdefault(name, []).append(value)
    kept, about = {row["name"]: row for row in stored["notebooks"]}, {"date": date.today().isoformat()}
    about["machine"] = machine()
    for name, found in values.items():
        kept[name] = {"name": name, "values": found} | about
    stored["notebooks"] = list(kept.values())
    write(results, stored)


def figures_of(report: Mapping) -> dict[str, float]:
    """The numbers that notebooks reported, and each one's seconds as NN_seconds; only of those that went well."""
    figures: dict[str, float] = {}
    for one in report["notebooks"]:
        if one["ok"]:
            figures[f"{one['name'][:2]}_seconds"] = one["seconds"]
            figures |= {name: value for name, value in one["metrics"].items() if not isinstance(value, str)}
    return figures


def read(results: Path) -> dict[str, list[dict]]:
    """What was kept: "benches", "notebooks" and "noted" (counted by tests, or by hand); empty if there is nothing."""
    empty: dict[str, list[dict]] = {"benches": [], "notebooks": [], "noted": []}
    return empty | json.loads(results.read_text("utf-8")) if results.is_file() else empty


def write(results: Path, stored: Mapping) -> None:
    """Keep the values, and write the page that shows them."""
    write_text_atomically(results, json.dumps(stored, indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    write_page(results)


def table(rows: Sequence[dict]) -> Table:
    """The rows as a table: medians, and the range of how many times better ours is."""
    shown = Table(title="Ours beside a peer", title_justify="left")
    for heading in ("name", "ours", "peer", "unit", "times better", "runs"):
        shown.add_column(heading, justify="left" if heading in ("name", "unit") else "right")
    for row in rows:
        sides = [median_and_range(row[side]).partition(" ")[0] for side in ("ours", "peer")]
        shown.add_row(row["name"], *sides, row["unit"], median_and_range(ratios(row)), str(len(row["ours"])))
    return shown


def command(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones, e.g. features; all without.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured, each time in a new process.")] = N_RUNS,
    table: Annotated[bool, typer.Option("--table", help="Measure nothing; write benchmarks/README.md again.")] = False,
    report: Annotated[
        list[Path] | None, typer.Option(help="Measure nothing; keep a `course run`'s report.json, one option a run.")
    ] = None,
) -> None:
    """Measure our building blocks beside their peers; write benchmarks/results.json and benchmarks/README.md."""
    results = ROOT / "benchmarks" / "results.json"
    try:
        if report:
            take_reports(report, results)
        elif table:
            write_page(results)
        else:
            raise typer.Exit(main(names or [], results, runs))
    except (ValueError, OSError) as refused:
        typer.echo(f"{type(refused).__name__}: {refused}", err=True)
        raise typer.Exit(1) from refused


if __name__ == "__main__":
    typer.run(command)
