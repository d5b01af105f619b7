"""The frame of nbgrader's gradebook.db: the file itself, the assignment, its notebooks and their cells."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.formgrader import Sheet

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select, Table

COURSE_ID = "default_course"  # nbgrader's own name for it


class GradebookError(Exception):
    """A gradebook that cannot be written, or not without losing what somebody marked by hand."""

    notes: tuple[str, ...] = ()  # on the other reports, which were written


@dataclass(frozen=True)
class Layout:
    """Ids of what an assignment consists of: notebooks by name; cells by notebook, ("grade" or "solution", name)."""

    assignment_id: str
    notebooks: dict[str, str]
    cells: dict[str, dict[tuple[str, str], str]]

    def is_touched(self, connection: Connection, submission_id: str) -> bool:
        """Whether somebody has marked, commented, flagged or extended this submission by hand."""
        from nbgrader.api import SubmittedAssignment, SubmittedNotebook
        from sqlalchemy import select

        notebook, submission = SubmittedNotebook.__table__, SubmittedAssignment.__table__
        own = select(notebook.c.id).where(notebook.c.assignment_id == submission_id)
        flagged = own.where(notebook.c.flagged.is_(True))
        extended = select(submission.c.id).where(submission.c.id == submission_id, submission.c.extension.is_not(None))
        return _by_hand(connection, "notebook_id", own) or any(
            connection.execute(query.limit(1)).first() for query in (flagged, extended)
        )

    def remove_submission(self, connection: Connection, submission_id: str, student: str) -> None:
        """Remove a submission; the student, too, if nothing but the name is known of them."""
        from nbgrader.api import Comment, Grade, Student, SubmittedAssignment, SubmittedNotebook
        from sqlalchemy import select

        notebook, submission, person = (one.__table__ for one in (SubmittedNotebook, SubmittedAssignment, Student))
        own = select(notebook.c.id).where(notebook.c.assignment_id == submission_id)
        for table in (Grade.__table__, Comment.__table__):
            connection.execute(table.delete().where(table.c.notebook_id.in_(own)))
        connection.execute(notebook.delete().where(notebook.c.assignment_id == submission_id))
        connection.execute(submission.delete().where(submission.c.id == submission_id))
        others = select(submission.c.student_id)
        known = (person.c.first_name, person.c.last_name, person.c.email, person.c.lms_user_id)
        nameless = [column.is_(None) for column in known]
        connection.execute(person.delete().where(person.c.id == student, person.c.id.not_in(others), *nameless))


def new_id(*parts: str) -> str:
    """An id as nbgrader's, but the same every time: a gradebook that is written again has the same bytes."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


@contextmanager
def opened(path: Path) -> Iterator[tuple[Connection, bool]]:
    """A connection to the gradebook in one transaction, and whether it is new.

    A new one appears when it is complete; an old one has all of the changes or, after a crash, none.

    Raises: GradebookError.
    """
    from sqlalchemy import URL, create_engine
    from sqlalchemy.exc import DatabaseError

    is_new = not path.exists()
    file = path.with_name(f".{path.name}.tmp") if is_new else path
    if is_new:
        file.unlink(missing_ok=True)  # of a grader that was killed
    engine = create_engine(URL.create("sqlite", database=str(file)))
    try:
        with engine.connect() as connection:
            if is_new:
                connection.exec_driver_sql("PRAGMA journal_mode = OFF")
                connection.exec_driver_sql("PRAGMA synchronous = OFF")
                connection.commit()
            with connection.begin():
                if is_new:
                    _create_tables(connection)
                yield connection, is_new
    except DatabaseError as error:
        raise GradebookError(
            f"{path.name}: {error.orig}. Stop nbgrader's formgrader while grading; run `nbgrader db upgrade` in "
            f"{path.parent.name}/ if another version of nbgrader wrote it; or move it away"
        ) from error
    finally:
        engine.dispose()
    if is_new:
        os.replace(file, path)


def _create_tables(connection: Connection) -> None:
    import nbgrader
    from alembic.script import ScriptDirectory
    from nbgrader.api import Base, Course

    Base.metadata.create_all(connection)
    head = ScriptDirectory(str(Path(nbgrader.__file__).parent / "alembic")).get_current_head()
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (head,))
    connection.execute(Course.__table__.insert(), {"id": COURSE_ID})


def sync_layout(connection: Connection, assignment: Assignment, sheets: list[Sheet]) -> Layout:
    """Make assignment, notebooks and cells what the sheets say.

    Raises: GradebookError if a question that somebody marked by hand would have to go.
    """
    from nbgrader import api

    tables = {name: getattr(api, name).__table__ for name in ("Assignment", "Notebook", "SourceCell")}
    assignment_id = _put(connection, tables["Assignment"], {"name": assignment.name}, {"course_id": COURSE_ID})
    layout = Layout(assignment_id, {}, {})
    kept = set()
    for sheet in sheets:
        kernel = {"kernelspec": json.dumps(sheet.metadata.get("kernelspec", {}), sort_keys=True)}
        key = {"name": sheet.name, "assignment_id": assignment_id}
        notebook_id = layout.notebooks[sheet.name] = _put(connection, tables["Notebook"], key, kernel)
        layout.cells[sheet.name] = _put_cells(connection, sheet, notebook_id)
        kept |= set(layout.cells[sheet.name].values())
    _remove_others(connection, assignment_id, kept, set(layout.notebooks.values()))
    return layout


def _put_cells(connection: Connection, sheet: Sheet, notebook_id: str) -> dict[tuple[str, str], str]:
    from nbgrader.api import BaseCell, GradeCell, SolutionCell, SourceCell

    ids = {}
    for kind, model in (("grade", GradeCell), ("solution", SolutionCell)):
        for cell in sheet.marked(kind):
            marks = cell["metadata"]["nbgrader"]
            key = {"name": marks["grade_id"], "notebook_id": notebook_id, "type": model.__name__}
            cell_id = ids[kind, marks["grade_id"]] = _put(connection, BaseCell.__table__, key, {})
            graded = {"max_score": float(marks["points"]), "cell_type": cell["cell_type"]} if kind == "grade" else {}
            _put(connection, model.__table__, {"id": cell_id}, graded)
    for cell in sheet.cells:
        if marks := cell["metadata"].get("nbgrader"):
            key = {"name": marks["grade_id"], "notebook_id": notebook_id}
            locked = bool(marks["grade"]) and not marks["solution"]
            values = {"cell_type": cell["cell_type"], "locked": locked, "source": cell["source"]}
            _put(connection, SourceCell.__table__, key, values | {"checksum": marks.get("checksum")})
    return ids


def _put(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> str:
    """Insert a row, or update the one with this key where it differs; its id."""
    from sqlalchemy import and_, select

    where = and_(*(table.c[name] == value for name, value in key.items()))
    row = connection.execute(select(table).where(where)).mappings().first()
    if row is None:
        row = {"id": new_id(table.name, *map(str, key.values())), **key, **values}
        connection.execute(table.insert(), row)
    elif any(row[name] != value for name, value in values.items()):
        connection.execute(table.update().where(where).values(values))
    return row["id"]


def _remove_others(connection: Connection, assignment_id: str, cells: set[str], notebooks: set[str]) -> None:
    """Remove questions that the assignment no longer has.

    Raises: GradebookError if somebody has marked one by hand.
    """
    from nbgrader import api
    from sqlalchemy import select

    base, notebook, submitted = (one.__table__ for one in (api.BaseCell, api.Notebook, api.SubmittedNotebook))
    own = select(notebook.c.id).where(notebook.c.assignment_id == assignment_id)
    there = connection.execute(select(base.c.id, base.c.name).where(base.c.notebook_id.in_(own))).all()
    for cell_id, name in there:
        if cell_id in cells:
            continue
        if _by_hand(connection, "cell_id", [cell_id]):
            raise GradebookError(
                f"the assignment has no {name} any more, but somebody has marked it by hand; put it back into the "
                "assignment, or grade into another folder"
            )
        for model in (api.Grade, api.Comment):
            connection.execute(model.__table__.delete().where(model.__table__.c.cell_id == cell_id))
        for model in (api.GradeCell, api.SolutionCell, api.TaskCell, api.BaseCell):
            connection.execute(model.__table__.delete().where(model.__table__.c.id == cell_id))
    for (notebook_id,) in connection.execute(own).all():
        if notebook_id not in notebooks:
            connection.execute(submitted.delete().where(submitted.c.notebook_id == notebook_id))
            source = api.SourceCell.__table__
            connection.execute(source.delete().where(source.c.notebook_id == notebook_id))
            connection.execute(notebook.delete().where(notebook.c.id == notebook_id))


def _by_hand(connection: Connection, column: str, ids: Select | list[str]) -> bool:
    """Whether a mark, extra credit or a comment by hand stands where `column` is one of these."""
    from nbgrader.api import Comment, Grade
    from sqlalchemy import or_, select

    grade, comment = Grade.__table__, Comment.__table__
    marked = select(grade.c.id).where(
        grade.c[column].in_(ids), or_(grade.c.manual_score.is_not(None), grade.c.extra_credit.is_not(None))
    )
    commented = select(comment.c.id).where(comment.c[column].in_(ids), comment.c.manual_comment.is_not(None))
    return any(connection.execute(query.limit(1)).first() for query in (marked, commented))
