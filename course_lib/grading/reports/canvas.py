"""canvas.csv: what Canvas imports under Grades > Import (its gradebook_importer.rb is the reference).

Canvas needs the columns Student, ID, (SIS User ID, SIS Login ID,) Section in this order, then a column an assignment.
It finds a student by ID, else by SIS User ID, else by SIS Login ID, else by name, and asks if none fits. A column whose
heading is the title of an assignment, or `title (id)`, fills that one; another makes a new assignment.
"""

from __future__ import annotations

import re

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.roster import Person
from course_lib.grading.reports.tables import Row, max_total
from course_lib.grading.results import SubmissionResult

FILE = "canvas.csv"


def header(assignment: Assignment, with_total: bool, roster_columns: tuple[str, ...] = ()) -> list[str]:
    """The exercises alone have another title than the whole, where marks for written answers are still to come.

    Args:    with_total: whether there is a column for the whole.
             roster_columns: of an export of Canvas's; where it has these titles, with its ids, they are taken.
    """
    titles = [f"{assignment.name} exercises"] if assignment.written else []
    titles += [assignment.name] if with_total or not titles else []
    return ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(_known(one, roster_columns) for one in titles)]


def _known(title: str, columns: tuple[str, ...]) -> str:
    pattern = re.compile(re.escape(title) + r"( \(\d+\))?")
    return next((column for column in columns if pattern.fullmatch(column)), title)


def points_row(assignment: Assignment, with_total: bool) -> Row:
    points = [assignment.max_points, *([max_total(assignment)] if with_total else [])]
    return ["    Points Possible", "", "", "", "", *points]


def row(person: Person, result: SubmissionResult, standing: Standing, with_total: bool) -> Row:
    # Canvas takes any row whose name holds these words for the row of maximum points.
    name = (person.name or result.student).replace("Points Possible", "Points possible")
    points = [standing.points, *([standing.total] if with_total else [])]
    return [name, person.canvas_id, person.sis_user_id, person.sis_login_id, person.section, *points]


def identity(person: Person) -> str:
    """What Canvas will find the student by, "" if by nothing: two rows must not have the same."""
    known = person.canvas_id or person.sis_user_id or person.sis_login_id
    return known or ("" if person.identifier else person.name)
