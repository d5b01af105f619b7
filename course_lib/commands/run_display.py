"""What `course run` shows in the terminal: one bar while it works, one table at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from course_lib.running.collecting import NotebookRun, RunListener, format_figure

WIDE = 110  # characters that the table with all five columns needs
N_HEADLINES = 4  # figures of a notebook that the table shows; all of them are in report.json


class RunProgress(RunListener):
    """One bar over all notebooks: notebook i of n, cell, elapsed, remaining."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.cell_seconds: dict[str, Sequence[float]] = {}
        self.name = ""
        self.done_s = 0.0  # expected seconds of what has run, for the remaining time
        self.cell_s = 0.0  # and of the cell that runs now
        self.began_s = time.monotonic()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            _Remaining(),
            console=self.console,
            refresh_per_second=2,  # the notebooks need the cores
        )
        self.task = self.bar.add_task("starting", remaining_at=None)

    def begin(self, cell_seconds: Mapping[str, Sequence[float]]) -> None:
        self.cell_seconds, self.began_s = dict(cell_seconds), time.monotonic()
        self.bar.update(self.task, total=sum(map(sum, cell_seconds.values())) or 1.0)
        self.bar.start()

    def end(self) -> None:
        self.bar.stop()

    def start_notebook(self, name: str) -> None:
        """Say which notebook runs now."""
        self.name, self.cell_s = name, 0.0
        self._show(f"{self._where()} {name}: starting")
        if not self.console.is_terminal:  # a log file shows no bar
            self.console.print(f"{self._where()} {name} ...")

    def start_cell(self, number: int) -> None:
        """Say that code cell `number` (from 1) runs now; the ones before it are done."""
        weights = self.cell_seconds[self.name]
        self.done_s += self.cell_s
        self.cell_s = weights[number - 1]
        self._show(f"{self._where()} {self.name}: cell {number} of {len(weights)}")

    def finish_notebook(self, run: NotebookRun) -> None:
        """Print one line that stays: what came of this notebook, and its error in full."""
        names = list(self.cell_seconds)
        finished = names[: names.index(self.name) + 1]
        self.done_s, self.cell_s = sum(sum(self.cell_seconds[name]) for name in finished), 0.0
        self._show(f"{self._where()} {self.name}: done")
        verdict = "[green]passed[/]" if run.ok else "[bold red]FAILED[/]"
        self.console.print(f"{verdict} {escape(run.name)} ({run.seconds:.0f} s) -> {escape(shown_path(run.executed))}")
        if run.error:
            self.console.print(f"  {run.error}", style="red", markup=False, highlight=False)

    def _where(self) -> str:
        return f"notebook {list(self.cell_seconds).index(self.name) + 1} of {len(self.cell_seconds)}"

    def _show(self, description: str) -> None:
        total_s = self.bar.tasks[0].total or 1.0
        remaining_at = None
        if self.done_s > 0:
            elapsed_s = time.monotonic() - self.began_s
            remaining_at = time.monotonic() + elapsed_s * (total_s - self.done_s) / self.done_s
        self.bar.update(self.task, description=description, completed=self.done_s, remaining_at=remaining_at)


class _Remaining(ProgressColumn):
    """Time left, counted down from the last estimate (rich's own column stands still while a long cell runs)."""

    def render(self, task: Task) -> Text:
        if task.fields["remaining_at"] is None:
            return Text("remaining -:--", style="cyan")
        left_s = max(0, round(task.fields["remaining_at"] - time.monotonic()))
        return Text(f"remaining {left_s // 60}:{left_s % 60:02d}", style="cyan")


def summary_table(runs: Sequence[NotebookRun], width: int = WIDE) -> Table:
    """The table at the end: notebook, minutes, what was trained, headline figures, where to look.

    Args: width: of the terminal in characters; in a narrow one, where to look stands below the notebook's name.
    """
    is_wide = width >= WIDE
    shown = [[name for name in run.metrics if name != "trained"][:N_HEADLINES] for run in runs]
    names_width = max((len(name) for names in shown for name in names), default=7) + (8 if is_wide else 0)
    where_width = max(len(shown_path(run.executed)) for run in runs)
    notebook_width = max([len(run.name) + len(" FAILED") for run in runs] + [0 if is_wide else where_width])
    others = notebook_width + len("minutes") + names_width + (where_width if is_wide else 0) + 15  # and gaps
    table = Table(title="What ran", title_justify="left", box=box.SIMPLE_HEAD, show_lines=True)
    table.add_column("notebook" if is_wide else "where to look", no_wrap=True)
    table.add_column("minutes", justify="right", no_wrap=True)
    table.add_column("trained", width=min(40, max(8, width - others)), overflow="fold")
    table.add_column("figures", min_width=names_width)  # so that no name is torn apart
    if is_wide:
        table.add_column("where to look", no_wrap=True)
    for run, names in zip(runs, shown, strict=True):
        lines = [f"{name} {format_figure(run.metrics[name])}" for name in names]
        if (n_more := len(run.metrics) - len(names) - ("trained" in run.metrics)) > 0:
            lines.append(f"and {n_more} more in report.json")
        name = escape(run.name) if run.ok else f"[bold red]{escape(run.name)} FAILED[/]"
        where = escape(shown_path(run.executed))
        cells = [f"{run.seconds / 60:.1f}", escape(run.trained or "-"), escape("\n".join(lines) or "-")]
        table.add_row(*([name, *cells, where] if is_wide else [f"{name}\n[dim]{where}[/]", *cells]))
    return table


def shown_path(path: Path | None) -> str:
    """A path as the reader can open it: relative to the current folder where it is inside it."""
    if path is None:
        return "-"
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
