"""OUT/results/: a file a student, written whole or not at all, by one grader at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from course_lib.grading.reports.tables import write_file
from course_lib.grading.results import SubmissionResult, result_path

FOLDERS = ("results", "feedback", "gradescope", "nbgrader")  # of OUT, which hold nothing but what the grader makes
# Every part of the grader that writes a file writes it under such a name first. Other files in OUT may be somebody's.
_UNFINISHED = re.compile(r"\.(assignment\.toml|(grades|canvas|moodle|similar)\.(csv|html))(\.[a-z0-9_]{8})?\.tmp")


class InUseError(RuntimeError):
    """Another grader is at work on the same folder."""


class ResultsFolder:
    """The results in OUT; a context manager that keeps other graders out. One that was killed keeps nobody out.

    Entering raises: InUseError.
    """

    def __init__(self, out_dir: Path) -> None:
        self._out_dir, self._folder = out_dir, out_dir / "results"
        self._lock = FileLock(out_dir / ".lock", timeout=0)  # the kernel's lock: it ends with its process

    def __enter__(self) -> ResultsFolder:
        self._out_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # marks, and solutions for nbgrader
        self._folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise InUseError(f"another grader is at work on {self._out_dir}; wait, or give another -o") from None
        for path in self._unfinished():
            path.unlink()  # a killed grader was writing it
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _unfinished(self) -> list[Path]:
        above = [path for path in self._out_dir.glob(".*.tmp") if _UNFINISHED.fullmatch(path.name)]
        inside = [path for folder in FOLDERS for path in (self._out_dir / folder).rglob(".*.tmp")]
        return [path for path in above + inside if path.is_file()]

    def read(self, student: str) -> SubmissionResult | None:
        """None if there is none. Raises: ValueError if the file is no whole result of this student."""
        path = result_path(self._out_dir, student)
        if not path.exists():
            return None
        result = SubmissionResult.from_json(path.read_text("utf-8"))
        if result.student != student:
            raise ValueError(f"{path.name} holds the result of {result.student!r}")
        return result

    def read_all(self, students: Iterable[str]) -> Iterator[SubmissionResult]:
        """One at a time, in the given order. Raises: ValueError if one is missing."""
        for student in students:
            result = self.read(student)
            if result is None:
                raise ValueError(f"the result of {student!r} is gone; start the grader again")
            yield result

    def write(self, result: SubmissionResult) -> None:
        """Not synchronised with the disk: that would cost more than to mark again the few that a power cut tears, which
        `read` refuses."""
        write_file(result_path(self._out_dir, result.student), result.to_json())

    def others(self, students: Iterable[str]) -> list[str]:
        """Names of results that are none of these students'."""
        theirs = {result_path(self._out_dir, student) for student in students}
        return sorted(path.stem for path in self._folder.glob("*.json") if path not in theirs)
