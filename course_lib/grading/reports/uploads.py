"""canvas.csv and moodle.csv while they grow: a row for every student whom the platform will take for one person."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports import canvas, moodle
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.roster import Person, Roster, from_file_names
from course_lib.grading.reports.tables import Row, write_csv
from course_lib.grading.reports.texts import first_names
from course_lib.grading.results import SubmissionResult

_NOBODY = ("", "Student, Test")  # Canvas's own, who tries what students see


class Uploads:
    """Both files. Kept in memory: two rows a student, half a kilobyte or so.

    Args:    roster: None: people are who their files say they are.
             with_total: somebody has marked written answers, so that there are grades for the whole; without, there are
                 those for the exercises.
    """

    def __init__(self, assignment: Assignment, roster: Roster | None, with_total: bool = False):
        self.assignment, self.roster = assignment, roster
        self.with_total = with_total and bool(assignment.written)
        self._canvas, self._moodle = _Upload(canvas.FILE), _Upload(moodle.FILE)
        self._met: set[Person] = set()
        self._unknown: list[str] = []
        self._to_mark: list[str] = []

    def add(self, result: SubmissionResult, standing: Standing) -> None:
        """What could not be graded yet goes to no platform, lest it be taken for a mark."""
        person = self.roster.find(result) if self.roster else from_file_names(result)
        if person is None:
            self._unknown.append(result.student)
            return
        self._met.add(person)
        if standing.points is None:
            return
        row = canvas.row(person, result, standing, self.with_total)
        self._canvas.add(result.student, canvas.identity(person), row, bool(person.identifier))
        if self.with_total and standing.to_mark:
            self._to_mark.append(result.student)
            return
        row = moodle.row(self.assignment, person, result, standing, self.with_total)
        self._moodle.add(result.student, moodle.identity(person), row, bool(person.canvas_id))

    def absent(self) -> list[str]:
        """Those of the roster who have handed in nothing, or nothing under a name that it has."""
        people = self.roster.people if self.roster else ()
        return sorted(called for one in people if one not in self._met and (called := one.called) not in _NOBODY)

    def write(self, out_dir: Path) -> tuple[str, ...]:
        """Returns: who is not in the files, and why, in lines for the instructor."""
        columns = self.roster.columns if self.roster else ()
        header = canvas.header(self.assignment, self.with_total, columns)
        self._canvas.write(out_dir, header, canvas.points_row(self.assignment, self.with_total))
        self._moodle.write(out_dir, moodle.HEADER)
        notes = []
        if self._unknown:
            notes.append(
                f"not in {canvas.FILE} and {moodle.FILE}, because the roster doesn't say who they are: "
                f"{_names(self._unknown)}; add a column student to it, with the names of their folders or files"
            )
        if self._to_mark:
            notes.append(f"not in {moodle.FILE} until their written answers are marked: {_names(self._to_mark)}")
        if absent := self.absent():
            notes.append(f"{len(absent)} of the roster handed in nothing, or under another name: {_names(absent)}")
        return (*notes, *self._canvas.notes(), *self._moodle.notes())


class _Upload:
    def __init__(self, file: str):
        self.file = file
        self._rows: list[tuple[str, str, Row]] = []  # student, what the platform knows them by, row
        self._without: list[tuple[str, bool]] = []

    def add(self, student: str, identity: str, row: Row, is_elsewhere: bool) -> None:
        """Args: identity: "" for somebody whom the platform would not find. is_elsewhere: the other one would."""
        if identity:
            self._rows.append((student, identity, row))
        else:
            self._without.append((student, is_elsewhere))

    def write(self, out_dir: Path, header: list[str], *first: Row) -> None:
        shared = self._shared()
        rows = [row for student, identity, row in sorted(self._rows, key=_student) if identity not in shared]
        write_csv(out_dir / self.file, header, [*first, *rows])

    def notes(self) -> tuple[str, ...]:
        shared = self._shared()
        alike = [student for student, identity, _ in self._rows if identity in shared]
        # A class of the other platform's is no news; one of its students among this one's is.
        without = [student for student, is_elsewhere in self._without if self._rows or not is_elsewhere]
        notes = [f"not in {self.file}, because it would take two of them for one: {_names(alike)}"] if alike else []
        if without:
            notes.append(
                f"not in {self.file}, because no id says who they are there: {_names(without)}; put it into the roster"
            )
        return tuple(notes)

    def _shared(self) -> set[str]:
        """The last of two rows would give its grade to both students, or to the wrong one: so neither is written."""
        counts = Counter(identity for _, identity, _ in self._rows)
        return {identity for identity, n in counts.items() if n > 1}


def _student(row: tuple[str, str, Row]) -> str:
    return row[0]


def _names(students: list[str]) -> str:
    return first_names(sorted(students))
