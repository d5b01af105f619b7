"""nbgrader's gradebook.db, written in bulk through its own tables (its API commits every row: minutes for a big class).

What people decided by hand (marks, extra credit, comments, flags, extensions) is never changed here. Where the answer
that a hand mark was for has changed since, nbgrader's needs_manual_grade asks for another look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.formgrader import (
    Sheet,
    make_sheets,
    sheet_path,
    shown_answers,
    write_course,
    write_sheets,
)
from course_lib.grading.reports.gradebook_layout import GradebookError, Layout, new_id, opened, sync_layout
from course_lib.grading.results import SubmissionResult, student_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

__all__ = ["GradebookError", "write_gradebook"]
BATCH = 200  # students


def write_gradebook(
    course_dir: Path,
    assignment: Assignment,
    results: Callable[[], Iterable[SubmissionResult]],
    root: Path | None = None,
) -> tuple[str, ...]:
    """Bring nbgrader's course folder up to date with the results; where it is, nothing changes.

    Args:    course_dir: gets gradebook.db, nbgrader_config.py, source/, release/ and autograded/.
             results: called twice, each time for all of them.
             root: the course's repository; None: the one that this file lies in.
    Returns: what the instructor should know, a line each.
    Raises:  GradebookError, AssignmentError.
    """
    sheets = make_sheets(assignment, root)
    course_dir.mkdir(parents=True, exist_ok=True)
    write_course(course_dir, assignment, root)
    with opened(course_dir / "gradebook.db") as (connection, is_new):
        layout = sync_layout(connection, assignment, sheets)
        writer = _Writer(connection, course_dir, assignment, sheets, layout, is_new)
        remaining = iter(results())
        while batch := list(islice(remaining, BATCH)):
            writer.save(batch)
        gone, notes = writer.remove_absent()
    # Only now: until the marks are in, the sheets tell which answers have changed.
    write_sheets(course_dir, assignment, sheets, results())
    for student in gone:
        for sheet in sheets:
            path = sheet_path(course_dir, assignment, student, sheet)
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent, path.parent.parent)
    return notes


def _remove_if_empty(*folders: Path) -> None:
    """From the innermost out; one that holds what nbgrader or somebody put there stays."""
    for folder in folders:
        if not folder.is_dir() or any(folder.iterdir()):
            return
        folder.rmdir()


@dataclass
class _Known:
    """What the gradebook holds of a batch of students."""

    students: set[str] = field(default_factory=set)
    submissions: dict[str, str] = field(default_factory=dict)  # student -> id
    notebooks: dict[tuple[str, str], str] = field(default_factory=dict)  # (submission, notebook) -> id
    grades: dict[tuple[str, str], Row] = field(default_factory=dict)  # (submitted notebook, cell) -> row
    comments: dict[tuple[str, str], Row] = field(default_factory=dict)


class _Writer:
    """Saves batches of results into one assignment's tables."""

    def __init__(
        self,
        connection: Connection,
        course_dir: Path,
        assignment: Assignment,
        sheets: list[Sheet],
        layout: Layout,
        is_new: bool,
    ) -> None:
        from nbgrader import api

        self._api, self._connection, self._layout, self._is_new = api, connection, layout, is_new
        self._course_dir, self._assignment, self._sheets = course_dir, assignment, sheets
        self._seen: set[str] = set()
        self._notes: list[str] = []

    def save(self, batch: list[SubmissionResult]) -> None:
        people = {student_id(result.student): result for result in batch}
        if len(people) < len(batch) or self._seen & people.keys():
            raise GradebookError("two students have the same name in the gradebook; rename one of their folders")
        self._seen |= people.keys()
        known = _Known() if self._is_new else self._load(list(people))
        rows: dict[Any, list[dict[str, Any]]] = {}
        for student, result in people.items():
            for table, row in self._rows(student, result, known):
                rows.setdefault(table, []).append(row)
        for table, new in rows.items():
            self._connection.execute(table.insert(), new)

    def _rows(self, student: str, result: SubmissionResult, known: _Known) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The rows to add for one student; those that are there are updated on the way."""
        api, layout = self._api, self._layout
        if student not in known.students:
            yield api.Student.__table__, {"id": student}
        submission = known.submissions.get(student) or new_id("submission", layout.assignment_id, student)
        if student not in known.submissions:
            row = {"id": submission, "assignment_id": layout.assignment_id, "student_id": student}
            yield api.SubmittedAssignment.__table__, row
        for sheet in self._sheets:
            notebook = layout.notebooks[sheet.name]
            submitted = known.notebooks.get((submission, notebook)) or new_id("notebook", submission, notebook)
            if (submission, notebook) not in known.notebooks:
                row = {"id": submitted, "assignment_id": submission, "notebook_id": notebook, "flagged": False}
                yield api.SubmittedNotebook.__table__, row
            yield from self._cell_rows(sheet, result, submitted, known)

    def _cell_rows(
        self, sheet: Sheet, result: SubmissionResult, submitted: str, known: _Known
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The same for the cells of one notebook."""
        cells = self._layout.cells[sheet.name]
        changes = _Changes(sheet_path(self._course_dir, self._assignment, result.student, sheet), sheet, result)
        for name, score, needs in sheet.grades(result):
            cell = cells["grade", name]
            if old := known.grades.get((submitted, cell)):
                self._update_grade(old, score, needs, changes, name)
            else:
                row = {"id": new_id("grade", submitted, cell), "notebook_id": submitted, "cell_id": cell}
                yield self._api.Grade.__table__, row | {"auto_score": score, "needs_manual_grade": needs}
        for name, comment in sheet.comments(result):
            cell = cells["solution", name]
            if old := known.comments.get((submitted, cell)):
                self._update_comment(old, comment)
            else:
                row = {"id": new_id("comment", submitted, cell), "notebook_id": submitted, "cell_id": cell}
                yield self._api.Comment.__table__, row | {"auto_comment": comment}

    def _update_grade(self, old: Row, score: float | None, needs: bool, changes: _Changes, name: str) -> None:
        by_hand = old.manual_score is not None
        if old.auto_score == score and not (by_hand and name in changes):
            return
        table = self._api.Grade.__table__
        values = {"auto_score": score, "needs_manual_grade": needs or by_hand}
        self._connection.execute(table.update().where(table.c.id == old.id).values(values))

    def _update_comment(self, old: Row, comment: str | None) -> None:
        if old.auto_comment != comment:
            table = self._api.Comment.__table__
            self._connection.execute(table.update().where(table.c.id == old.id).values(auto_comment=comment))

    def _load(self, students: list[str]) -> _Known:
        from sqlalchemy import select

        api, run = self._api, self._connection.execute
        models = (api.Student, api.SubmittedAssignment, api.SubmittedNotebook, api.Grade, api.Comment)
        person, submission, notebook, grade, comment = (model.__table__ for model in models)
        mine = (submission.c.assignment_id == self._layout.assignment_id) & submission.c.student_id.in_(students)
        submissions = {row.student_id: row.id for row in run(select(submission).where(mine))}
        of_these = notebook.c.assignment_id.in_(list(submissions.values()))
        notebooks = {(row.assignment_id, row.notebook_id): row.id for row in run(select(notebook).where(of_these))}
        ids = list(notebooks.values())
        return _Known(
            set(run(select(person.c.id).where(person.c.id.in_(students))).scalars()),
            submissions,
            notebooks,
            {(row.notebook_id, row.cell_id): row for row in run(select(grade).where(grade.c.notebook_id.in_(ids)))},
            {(row.notebook_id, row.cell_id): row for row in run(select(comment).where(comment.c.notebook_id.in_(ids)))},
        )

    def remove_absent(self) -> tuple[list[str], tuple[str, ...]]:
        """Remove students who are no longer among the results, unless somebody has marked them by hand."""
        from sqlalchemy import select

        table = self._api.SubmittedAssignment.__table__
        there = select(table.c.id, table.c.student_id).where(table.c.assignment_id == self._layout.assignment_id)
        absent = {student: one for one, student in self._connection.execute(there) if student not in self._seen}
        touched = {student for student, one in absent.items() if self._layout.is_touched(self._connection, one)}
        for student in sorted(absent.keys() - touched):
            self._layout.remove_submission(self._connection, absent[student], student)
        notes = [
            f"{student} has marks by hand in the gradebook, but no longer handed in: kept there, and their sheets in "
            "nbgrader/autograded/; if they have withdrawn, delete those, and in nbgrader/ say: nbgrader db student "
            f"remove --force {quote(student)}"
            for student in touched
        ]
        return sorted(absent.keys() - touched), tuple(sorted(notes))


class _Changes:
    """The graded cells whose answer is another one than on the sheet that is shown; found when first asked for."""

    def __init__(self, path: Path, sheet: Sheet, result: SubmissionResult) -> None:
        self._path, self._sheet, self._result = path, sheet, result
        self._names: set[str] | None = None

    def __contains__(self, name: str) -> bool:
        if self._names is None:
            self._names = self._find()
        return name in self._names

    def _find(self) -> set[str]:
        try:
            old = shown_answers(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()  # nobody has seen a sheet, so nobody has marked another answer by it
        new = shown_answers(json.loads(self._sheet.render(self._result)))
        return {name for name, source in new.items() if old.get(name) != source}
