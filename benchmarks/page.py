"""README.md beside results.json: what was measured, as tables. The same files give the same page."""

from __future__ import annotations

import json
import operator
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.claims import BENCHES, NOTEBOOKS, RECORDS, Claim
from course_lib.running.executing import write_text_atomically

PAGE = "README.md"
RECORDS_DIR = Path(__file__).parents[1] / "data" / "pretrained"
OPENING = """# What was measured

`course bench` measures and writes this page, `course bench --table` writes it again from `results.json` and the records
in `data/pretrained/`: do not edit it. A cell is a median with its range over n runs, each a process of its own. **n = 1
is a single value**: it says little about another day, or another machine.

A bar that was missed says so. What was tried and did not work: [LOG.md](LOG.md)."""
SPEED = """## Beside a peer

The ratio says how many times better ours is than the peer, in the same run; that in bold is what the bar is for."""
MODELS = """## The pretrained models

From their records: one training each, figures on the official test set, for speaking models means over 4 sets of 300
samples. `course train NAME` makes a record again. By themselves these bars say nothing about another seed."""
LESSONS = """## The notebooks, at the profile quick

`course run` measures them, `course bench --report` keeps its report."""
COUNTED = "## Counted, or measured by hand"


def write_page(results: Path, records: Path = RECORDS_DIR) -> None:
    """Write README.md into the folder of results.json."""
    stored = json.loads(results.read_text("utf-8"))
    write_text_atomically(results.with_name(PAGE), page(stored, read_records(records)))


def read_records(folder: Path) -> dict[str, dict]:
    """The records that are spoken of, by name; those that are not there are left out."""
    paths = {name: folder / f"{name}.json" for name in RECORDS}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.is_file()}


def page(stored: Mapping, records: Mapping[str, Mapping]) -> str:
    """The whole page, as Markdown."""
    parts = [OPENING, SPEED, _table("what, ratio, ours, peer, bar, n, when", _bench_rows(stored["benches"]))]
    parts += [MODELS, _table("model, what, figure, beside, bar", _record_rows(records))]
    parts += [LESSONS, _table("figure, what, median (range), bar, n, when", _lesson_rows(stored["notebooks"]))]
    noted = [[one["what"], one["figure"], one["bar"], f"`{one['command']}`", one["date"]] for one in stored["noted"]]
    parts += [COUNTED, _table("what, figure, bar, by, when", noted)]
    parts += ["## Machines", _machines([*stored["benches"], *stored["notebooks"]])]
    return "\n\n".join(parts) + "\n"


def ratios(row: Mapping) -> list[float]:
    """Of each run, how many times better ours was: > 1 is better."""
    pairs = zip(row["ours"], row["peer"], strict=True)
    return [ours / peer if row["higher_is_better"] else peer / ours for ours, peer in pairs]


def median_and_range(values: Sequence[float]) -> str:
    """ "5.8 (4.2 to 6.6)"; one value stands alone."""
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({figure(min(values))} to {figure(max(values))})"


def figure(value: float) -> str:
    """Three significant digits, never as a power of ten, thousands apart."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 or rounded == int(rounded) else f"{rounded:.6f}".rstrip("0")


def bar(claim: Claim, middle: float, others: Mapping[str, float], unit: str = "") -> str:
    """The bar in words, and whether it was missed; "" where there is none."""
    told = []
    for limit, sign, met in ((claim.at_least, "≥", operator.ge), (claim.at_most, "≤", operator.le)):
        value = others.get(limit) if isinstance(limit, str) else limit
        if value is not None:
            told.append(f"{sign} {figure(value)}{unit}{'' if met(middle, value) else ': **missed**'}")
    return "; ".join([*told, *filter(None, [claim.more])])


def _bench_rows(rows: Sequence[Mapping]) -> Iterator[list[str]]:
    measured = {row["name"]: row for row in rows}
    for claim in BENCHES:
        what = f"{claim.what} (`{claim.name}`)"
        if claim.name not in measured:
            yield [what, "not measured", "", "", bar_alone(claim), "", ""]
            continue
        row = measured[claim.name]
        what += f", {row['of']}" if row.get("of") else ""
        values = {"ratio": ratios(row), "ours": row["ours"]}
        units = {"ratio": " ×", "ours": f" {row['unit']}"}
        shown = {side: median_and_range(found) + units[side] for side, found in values.items()}
        if bar_alone(claim):
            shown[claim.of] = f"**{shown[claim.of]}**"
        told = bar(claim, statistics.median(values[claim.of]), {}, units[claim.of])
        yield [what, *shown.values(), median_and_range(row["peer"]), told, str(len(row["ours"])), row["date"]]


def bar_alone(claim: Claim) -> str:
    """The bar of what has not been measured."""
    limits = [("≥", claim.at_least), ("≤", claim.at_most)]
    return "; ".join(f"{sign} {figure(value)}" for sign, value in limits if isinstance(value, (int, float)))


def _record_rows(records: Mapping[str, Mapping]) -> Iterator[list[str]]:
    for name, claims in RECORDS.items():
        metrics = records.get(name, {}).get("metrics", {})
        for claim in claims:
            link = f"[{name}](../data/pretrained/{name}.json)" if name in records else name
            if claim.name not in metrics:
                yield [link, claim.what, "not measured", "", bar_alone(claim)]
                continue
            limits = [one for one in (claim.at_least, claim.at_most) if isinstance(one, str)]
            beside = ", ".join(f"{limit} {figure(metrics[limit])}" for limit in limits)
            value = metrics[claim.name]
            yield [link, claim.what, figure(value), beside, bar(claim, value, metrics)]


def _lesson_rows(rows: Sequence[Mapping]) -> Iterator[list[str]]:
    measured = {row["name"]: row for row in rows}
    middles = {name: statistics.median(row["values"]) for name, row in measured.items()}
    for claim in NOTEBOOKS:
        if claim.name not in measured:
            yield [f"`{claim.name}`", claim.what, "not measured", bar_alone(claim), "", ""]
            continue
        row = measured[claim.name]
        found, told = row["values"], bar(claim, middles[claim.name], middles)
        yield [f"`{claim.name}`", claim.what, median_and_range(found), told, str(len(found)), row["date"]]


def _machines(rows: Sequence[Mapping]) -> str:
    days: dict[str, set[str]] = {}
    for row in rows:
        days.setdefault(row["machine"], set()).add(row["date"])
    return "\n".join(f"- {', '.join(sorted(found))}: {machine}" for machine, found in sorted(days.items()))


def _table(columns: str, rows: Iterator[list[str]] | list[list[str]]) -> str:
    names = columns.split(", ")
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
