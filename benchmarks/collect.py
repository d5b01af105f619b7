"""Run the benchmarks, show them in a table, and keep them in results.json: `course bench [NAME ...]`.

That command runs `python -m benchmarks.collect [NAME ...]` in the repository.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks import Row
from course_lib.running.executing import write_text_atomically


def available() -> list[str]:
    """Names of the benchmarks: "features" for bench_features.py."""
    modules = pkgutil.iter_modules(benchmarks.__path__)
    return sorted(module.name.removeprefix("bench_") for module in modules if module.name.startswith("bench_"))


def main(names: Sequence[str], results: Path) -> int:
    """Run the named benchmarks (all for none), write `results`, and return an exit status.

    A benchmark that fails is named, and the others still run. Rows of benchmarks that were not run stay in the file.

    Raises: ValueError for an unknown name.
    """
    if unknown := sorted(set(names) - set(available())):
        raise ValueError(f"no benchmark {', '.join(unknown)}; there are {', '.join(available())}")
    console, failed, rows = Console(), [], {row["name"]: row for row in read(results)}
    for name in names or available():
        console.print(f"benchmark {name} ...")
        try:
            found: list[Row] = importlib.import_module(f"benchmarks.bench_{name}").run()
        except Exception:
            failed.append(name)
            console.print(traceback.format_exc(), style="red", markup=False, highlight=False)
            continue
        rows.update({row.name: row.as_dict() for row in found})
        write_text_atomically(results, json.dumps(list(rows.values()), indent=2, allow_nan=False) + "\n")
    console.print(table(list(rows.values())))
    if failed:
        console.print(f"FAILED: {', '.join(failed)}", style="bold red")
    return 1 if failed else 0


def read(results: Path) -> list[dict]:
    """The rows of an earlier run; none if there was none."""
    return json.loads(results.read_text("utf-8")) if results.is_file() else []


def table(rows: Sequence[dict]) -> Table:
    """The rows as a table."""
    shown = Table(title="Ours beside a peer", title_justify="left")
    for heading in ("name", "ours", "peer", "unit", "times better"):
        shown.add_column(heading, justify="left" if heading in ("name", "unit") else "right")
    for row in rows:
        shown.add_row(row["name"], f"{row['ours']:.4g}", f"{row['peer']:.4g}", row["unit"], f"{row['ratio']:.3g}")
    return shown


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], Path(__file__).with_name("results.json")))
    except ValueError as refused:
        sys.exit(f"ValueError: {refused}")
