"""What people have decided in nbgrader's gradebook: marks for written answers, marks overruled, comments.

Read before reports are made, so that grading again after marking by hand puts whole grades into all of them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.grading.assignment import Assignment
from course_lib.grading.cells import grade_id
from course_lib.grading.results import NOT_GRADED, SubmissionResult, student_id

_OF_ASSIGNMENT = """
    JOIN base_cell ON base_cell.id = {table}.cell_id
    JOIN submitted_notebook ON submitted_notebook.id = {table}.notebook_id
    JOIN submitted_assignment ON submitted_assignment.id = submitted_notebook.assignment_id
    JOIN assignment ON assignment.id = submitted_assignment.assignment_id
    WHERE assignment.name = ?
"""
_MARKS = f"""
    SELECT submitted_assignment.student_id, base_cell.name, manual_score, extra_credit, needs_manual_grade FROM grade
    {_OF_ASSIGNMENT.format(table="grade")} AND (manual_score IS NOT NULL OR extra_credit IS NOT NULL)
"""
_COMMENTS = f"""
    SELECT submitted_assignment.student_id, base_cell.name, manual_comment FROM comment
    {_OF_ASSIGNMENT.format(table="comment")} AND manual_comment IS NOT NULL
"""


@dataclass(frozen=True)
class Mark:
    """One person's decision on one question.

    Attributes:
        points: None where only extra credit was given.
        is_stale: the answer has changed since, and waits for another look.
    """

    points: float | None
    extra: float = 0.0
    is_stale: bool = False

    @property
    def has_lapsed(self) -> bool:
        return self.is_stale and self.points is not None


@dataclass
class Standing:
    """What one student has. Points that are not known yet are None; so is every sum that one of them is missing from.

    Attributes:
        exercises, written: points by id.
        overruled: ids of exercises whose points somebody changed by hand.
        comments: by id, what somebody wrote to the student.
        changed: ids whose answer is another one than the mark by hand was for, so that the mark does not count.
    """

    exercises: dict[str, float | None]
    written: dict[str, float | None]
    overruled: frozenset[str] = frozenset()
    comments: dict[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    @property
    def points(self) -> float | None:
        """Of the exercises."""
        return _sum(self.exercises.values())

    @property
    def total(self) -> float | None:
        return _sum([*self.exercises.values(), *self.written.values()])

    @property
    def to_mark(self) -> list[str]:
        return [written_id for written_id, points in self.written.items() if points is None]


class HandMarks:
    """All students' marks and comments, by the cell's name in the gradebook."""

    def __init__(self, marks: list[tuple] = (), comments: list[tuple] = ()):
        self._marks: dict[str, dict[str, Mark]] = defaultdict(dict)
        self._comments: dict[str, dict[str, str]] = defaultdict(dict)
        for student, cell, points, extra, needs_look in marks:
            self._marks[student][cell] = Mark(points, extra or 0.0, bool(needs_look))
        for student, cell, comment in comments:
            self._comments[student][cell] = comment

    @property
    def has_written(self) -> bool:
        """Whether anybody has marked a written answer yet."""
        every = (marks.items() for marks in self._marks.values())
        return any(cell.startswith("written-") and mark.points is not None for one in every for cell, mark in one)

    def standing(self, assignment: Assignment, result: SubmissionResult) -> Standing:
        marks, comments = self._of(result.student)
        found = {one.exercise_id: one.points for one in result.exercises if one.status != NOT_GRADED}
        texts = {one.written_id: one.text.strip() for one in result.written}
        exercises, written, said, overruled, changed = {}, {}, {}, set(), []
        for one in assignment.exercises:
            mark = marks.get(grade_id("check", one.exercise_id))
            exercises[one.exercise_id] = _decided(mark, found.get(one.exercise_id))
            if mark and not mark.is_stale:
                overruled.add(one.exercise_id)
            changed += [one.exercise_id] if mark and mark.has_lapsed else []
            if comment := comments.get(grade_id("exercise", one.exercise_id)):
                said[one.exercise_id] = comment
        for one in assignment.written:
            automatic = None if texts.get(one.written_id) else 0.0
            mark = marks.get(grade_id("written", one.written_id))
            written[one.written_id] = _decided(mark, automatic)
            changed += [one.written_id] if mark and mark.has_lapsed else []
            if comment := comments.get(grade_id("written", one.written_id)):
                said[one.written_id] = comment
        return Standing(exercises, written, frozenset(overruled), said, tuple(changed))

    def _of(self, student: str) -> tuple[dict[str, Mark], dict[str, str]]:
        if not self._marks and not self._comments:
            return {}, {}
        known_as = student_id(student)
        return self._marks.get(known_as, {}), self._comments.get(known_as, {})


def read_hand_marks(gradebook: Path, assignment: Assignment) -> HandMarks:
    """Raises: ValueError if there is a gradebook, but it cannot be read."""
    if not gradebook.exists():
        return HandMarks()
    try:
        connection = sqlite3.connect(f"{gradebook.resolve().as_uri()}?mode=ro", uri=True)
        try:
            marks = connection.execute(_MARKS, (assignment.name,)).fetchall()
            return HandMarks(marks, connection.execute(_COMMENTS, (assignment.name,)).fetchall())
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ValueError(f"{gradebook.name} cannot be read ({error}), so reports are without marks by hand") from error


def _decided(mark: Mark | None, automatic: float | None) -> float | None:
    """nbgrader's rule: a mark by hand goes before the automatic one, extra credit is added to either."""
    if mark is None:
        return automatic
    points = automatic if mark.points is None or mark.has_lapsed else mark.points
    return None if points is None else points + mark.extra


def _sum(points: Iterable[float | None]) -> float | None:
    known = list(points)
    return None if None in known else sum(known)
