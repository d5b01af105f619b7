"""canvas.csv: what Canvas imports under Grades > Import (its gradebook_importer.rb is the reference).

Canvas needs the columns Student, ID, (SIS User ID, SIS Login ID,) Section in this order, then a column an assignment.
It finds a student by ID, else by SIS User ID, else by SIS Login ID, else by name, and asks if none fits. A column whose
heading is the title of an assignment, or `title (id)`, fills that one; another makes a new assignment.
"""

from __future__ import annotations

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.roster import Person
from course_lib.grading.reports.tables import Row
from course_lib.grading.results import SubmissionResult

FILE = "canvas.csv"


def header(assignment: Assignment, roster_columns: tuple[str, ...] = ()) -> list[str]:
    """With the heading that the roster (an export of Canvas's) has for this assignment, if it has one."""
    title = column_title(assignment)
    known = [column for column in roster_columns if column == title or column.startswith(f"{title} (")]
    return ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", known[0] if known else title]


def column_title(assignment: Assignment) -> str:
    """The exercises alone have another title than the whole, where marks for written answers are still to come."""
    return f"{assignment.name} exercises" if assignment.written else assignment.name


def points_row(assignment: Assignment) -> Row:
    return ["    Points Possible", "", "", "", "", assignment.max_points]


def row(person: Person, result: SubmissionResult) -> Row:
    # Canvas takes any row whose name holds these words for the row of maximum points.
    name = (person.name or result.student).replace("Points Possible", "Points possible")
    return [name, person.canvas_id, person.sis_user_id, person.sis_login_id, person.section, result.points]


def identity(person: Person) -> str:
    """What Canvas will find the student by: two rows must not have the same."""
    return person.canvas_id or person.sis_user_id or person.sis_login_id or person.name
