"""moodle.csv: for Moodle's assignment (its grading worksheet) and for its gradebook (Grades > Import > CSV file).

The worksheet's import (mod/assign/feedback/offline) needs the columns Identifier ("Participant 123"), Grade and Last
modified (grade), in English; it leaves alone what was graded later than that, unless it is told not to. The gradebook's
import asks which column says who somebody is (Username, ID number or Email address) and which is the grade; it refuses
the whole file if it doesn't know one of them, or if a grade is above 100 (unless the site allows that).
"""

from __future__ import annotations

import html

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.roster import Person
from course_lib.grading.reports.tables import Row
from course_lib.grading.reports.texts import count, number
from course_lib.grading.results import SubmissionResult

FILE = "moodle.csv"
HEADER = ["Identifier", "Full name", "Username", "ID number", "Email address", "Grade", "Maximum Grade",
          "Last modified (grade)", "Feedback comments"]  # fmt: skip


def row(assignment: Assignment, person: Person, result: SubmissionResult) -> Row:
    return [
        person.identifier, person.name or result.student, person.username, person.id_number, person.email,
        result.points, assignment.max_points, person.last_modified, comment(assignment, result),
    ]  # fmt: skip


def comment(assignment: Assignment, result: SubmissionResult) -> str:
    """One line, as HTML because Moodle shows it as such: so nothing of it is the student's."""
    each = [
        f"{one.exercise_id}: {number(one.points)}/{number(one.max_points)} ({one.status})" for one in result.exercises
    ]
    written = sum(one.points for one in assignment.written)
    later = f"; written answers ({count(written, 'point')}) are marked by hand" if assignment.written else ""
    return html.escape(", ".join(each) + later)


def identity(person: Person) -> str:
    return person.identifier or person.id_number or person.email or person.username or person.name
