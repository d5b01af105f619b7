"""Run notebooks from the top, and collect what they measure.

A notebook hands its figures over with one call, `report(judge_test_accuracy=0.994)`; `course run` executes the
notebooks and gathers these figures in `runs/report.json`. Notebooks need only `report`, so importing this is quick.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.running.executing import execute_notebook, read_notebook, write_text_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

REPORT_MIME = "application/vnd.course.report+json"
MAX_TEXT = 200  # characters of a reported string: a label, not an essay
REPORTED_VERSIONS = ("course-lib", "torch", "torchaudio", "numpy", "librosa", "soundfile", "accelerate")


def report(**figures: float | int | str) -> None:
    """Show figures under their names and hand them to `course run`, which writes them to `runs/report.json`.

    A value is a finite number (Python, numpy or one-element tensor) or a string of at most 200 characters. `trained`
    names a string that says what was trained, for the table at the end. A name reported twice keeps its last value.

    Raises: TypeError for another kind of value, ValueError for nan, infinity, a long string, or no figure at all.
    """
    if not figures:
        raise ValueError("report() got no figure; call it as report(judge_test_accuracy=0.994)")
    clean = {name: _clean_figure(name, value) for name, value in figures.items()}
    line = "report: " + ", ".join(f"{name} = {format_figure(value)}" for name, value in clean.items())
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()) is not None:
        shell.display_pub.publish({REPORT_MIME: clean, "text/plain": line})
    else:
        print(line)


def format_figure(value: float | int | str) -> str:
    """A figure as people read it: four significant digits, whole numbers and strings as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clean_figure(name: str, value: object) -> float | int | str:
    if not name.isidentifier():  # reachable by report(**{"my figure": 1})
        raise ValueError(f"report: {name!r} is no name; use letters, digits and _ as in judge_test_accuracy")
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"report: {name} has {len(value)} characters, at most {MAX_TEXT} are kept; shorten it")
        return value
    if hasattr(value, "item") and getattr(value, "shape", None) is not None and math.prod(value.shape) == 1:
        value = value.item()  # a numpy or torch number
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        kind = type(value).__name__
        raise TypeError(f"report: {name} is a {kind}; need a number or a short string (for a tensor, its .mean()?)")
    if not math.isfinite(value):
        raise ValueError(f"report: {name} is {value}; only finite numbers can be compared, so find out why it is not")
    return value


@dataclass
class NotebookRun:
    """What came of running one notebook: `seconds` of wall time, reported `metrics`, and the error if `ok` is False."""

    name: str
    ok: bool = True
    seconds: float = 0.0
    metrics: dict[str, float | int | str] = field(default_factory=dict)
    trained: str = ""
    error: str = ""
    executed: Path | None = None


class RunListener:
    """What `run_notebooks` calls while it works; this one does nothing, that of `commands` draws a bar."""

    def begin(self, cell_seconds: Mapping[str, Sequence[float]]) -> None:
        """All starts; for each notebook, in order, the expected seconds of each of its code cells."""

    def start_notebook(self, name: str) -> None:
        """A notebook starts."""

    def start_cell(self, number: int) -> None:
        """Code cell `number` (from 1) of it starts."""

    def finish_notebook(self, run: NotebookRun) -> None:
        """It has ended, well or not."""

    def end(self) -> None:
        """Nothing follows, also because of Ctrl-C."""


def run_notebooks(
    notebooks: Sequence[Path],
    *,
    profile: str,
    device: str,
    dataset: str,
    out_dir: Path,
    timeout_s: float | None = None,
    listener: RunListener | None = None,
) -> list[NotebookRun]:
    """Execute notebooks one after another with this interpreter, each from the top in a fresh kernel.

    Each executed notebook is written to `out_dir / NN_name.ipynb` with its outputs, and `out_dir / report.json` after
    each, so that an interrupted run leaves what it had finished. A notebook that fails does not stop the others.

    Args:   timeout_s: wall seconds that one notebook may take; None: any time.
    Raises: KeyboardInterrupt on Ctrl-C or SIGTERM, once everything finished is on disk.
    """
    listener = listener or RunListener()
    out_dir.mkdir(parents=True, exist_ok=True)
    environment = {"COURSE_PROFILE": profile, "COURSE_DEVICE": device, "COURSE_DATASET": dataset, "COURSE_STILL": "1"}
    heading = {"profile": profile, "device": device, "dataset": dataset, "versions": installed_versions()}
    runs: list[NotebookRun] = []
    write_report(out_dir, heading, runs)
    loaded = [read_notebook(path) for path in notebooks]
    pairs = list(zip(notebooks, loaded, strict=True))
    listener.begin({path.stem: cell_seconds(notebook, out_dir / path.name) for path, notebook in pairs})
    try:
        for path, notebook in pairs:
            listener.start_notebook(path.stem)
            runs.append(_run_one(path, notebook, out_dir / path.name, environment, timeout_s, listener))
            write_report(out_dir, heading, runs)
            listener.finish_notebook(runs[-1])
    finally:
        listener.end()
    return runs


def write_report(out_dir: Path, heading: Mapping[str, Any], runs: Sequence[NotebookRun]) -> None:
    """Write `report.json`: profile, device, dataset, versions, and a row for each notebook."""
    rows = [{"name": r.name, "ok": r.ok, "seconds": round(r.seconds, 2), "metrics": r.metrics} for r in runs]
    text = json.dumps({**heading, "notebooks": rows}, indent=2, allow_nan=False) + "\n"
    write_text_atomically(out_dir / "report.json", text)


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in REPORTED_VERSIONS:
        try:
            versions[name.replace("-", "_")] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name.replace("-", "_")] = "absent"
    return versions


def cell_seconds(notebook: NotebookNode, earlier: Path) -> list[float]:
    """Expected seconds of each code cell: as long as in an earlier run of it, else one second (only for the bar)."""
    known: dict[str, float] = {}
    if earlier.is_file():
        try:
            cells = read_notebook(earlier).cells
        except ValueError:
            cells = []  # an unreadable earlier run is about to be replaced; only the estimate is poorer
        for cell in cells:
            times = cell.metadata.get("execution", {})
            begin, end = (times.get(f"iopub.status.{status}") for status in ("busy", "idle"))
            if begin and end:
                taken = datetime.fromisoformat(end) - datetime.fromisoformat(begin)
                known[cell.get("id", "")] = taken.total_seconds()
    return [known.get(cell.get("id", ""), 1.0) for cell in notebook.cells if cell.cell_type == "code"]


def _run_one(
    path: Path,
    notebook: NotebookNode,
    executed: Path,
    environment: Mapping[str, str],
    timeout_s: float | None,
    listener: RunListener,
) -> NotebookRun:
    import nbformat

    run = NotebookRun(path.stem, executed=executed)
    began_s = time.monotonic()
    try:
        run.error = execute_notebook(notebook, path.parent, environment, timeout_s, listener.start_cell)
    finally:  # on Ctrl-C too: what had run is worth a look
        run.ok = not run.error
        run.seconds = time.monotonic() - began_s
        run.metrics = collect_metrics(notebook)
        run.trained = str(run.metrics.get("trained", ""))
        write_text_atomically(executed, nbformat.writes(notebook))
    return run


def collect_metrics(notebook: NotebookNode) -> dict[str, float | int | str]:
    """All figures that a notebook's cells reported, merged; the last value of a name counts."""
    metrics: dict[str, float | int | str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            metrics.update(output.get("data", {}).get(REPORT_MIME, {}))
    return metrics
