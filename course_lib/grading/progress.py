"""What `course grade` shows while it works: a bar with rate and time left, or lines where there is no terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.text import Text

from course_lib.grading.grade import Listener
from course_lib.grading.reports.texts import count
from course_lib.grading.results import SubmissionResult

LINE_EVERY_S = 10


class GradeProgress(Listener):
    """Shows a grader's work in a terminal, or writes a line every LINE_EVERY_S seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._n_students = self._n_done = self._n_marked = self._n_not_graded = 0
        self._began_s = self._line_s = time.monotonic()
        self._bar: Progress | None = None

    def begin(self, n_students: int) -> None:
        self._n_students = n_students
        if self._console.is_terminal:
            parts = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), _Rate())
            self._bar = Progress(*parts, TimeElapsedColumn(), TimeLeft(), console=self._console, refresh_per_second=2)
            self._task = self._bar.add_task("reading", total=n_students)
            self._bar.start()
        self.tell(count(n_students, "submission"))

    def stage(self, what: str) -> None:
        if self._bar:
            self._bar.update(self._task, description=what)
        else:
            self.tell(f"{what} ...")

    def kept(self) -> None:
        self._advance()

    def marked(self, result: SubmissionResult) -> None:
        if not self._n_marked:
            self._began_s = self._line_s = time.monotonic()  # without the time that workers take to start
        self._n_marked += 1
        self._n_not_graded += not result.is_complete
        self._advance()

    def tell(self, line: str) -> None:
        # Names in it are other people's: no markup, and nothing that a terminal would obey.
        self._console.print("".join(c if c.isprintable() else "?" for c in line), markup=False, highlight=False)

    def end(self) -> None:
        if self._bar:
            self._bar.stop()

    def _advance(self) -> None:
        self._n_done += 1
        if self._bar:
            self._bar.update(self._task, completed=self._n_done)
        elif time.monotonic() - self._line_s > LINE_EVERY_S and self._n_marked > 1:
            self._line_s = time.monotonic()
            per_s = (self._n_marked - 1) / (self._line_s - self._began_s)
            left_s = round((self._n_students - self._n_done) / per_s)
            failed = f", {self._n_not_graded} not graded" if self._n_not_graded else ""
            self.tell(
                f"{self._n_done} of {self._n_students}{failed}, {per_s:.1f}/s, {left_s // 60}:{left_s % 60:02d} left"
            )


class _Rate(ProgressColumn):
    """Submissions a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "-/s", style="progress.data.speed")
