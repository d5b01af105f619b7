"""moodle.csv: for Moodle's assignment (its grading worksheet) and for its gradebook (Grades > Import > CSV file).

The worksheet's import (mod/assign/feedback/offline) needs the columns Identifier ("Participant 123"), Grade and Last
modified (grade), in English; it leaves alone what was graded later than that, unless it is told not to. The gradebook's
import asks which column says who somebody is (Username, ID number or Email address) and which is the grade; it refuses
the whole file if it doesn't know one of them, or if a grade is above 100 (unless the site allows that).
"""

from __future__ import annotations

import html

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.roster import Person
from course_lib.grading.reports.tables import Row, max_total
from course_lib.grading.reports.texts import count, number
from course_lib.grading.results import NOT_GRADED, SubmissionResult

FILE = "moodle.csv"
HEADER = ["Identifier", "Full name", "Username", "ID number", "Email address", "Grade", "Maximum Grade",
          "Last modified (grade)", "Feedback comments"]  # fmt: skip


def row(assignment: Assignment, person: Person, result: SubmissionResult, standing: Standing, with_total: bool) -> Row:
    """Args:    with_total: the grade is that of the whole, not that of the exercises alone."""
    grade = (standing.total, max_total(assignment)) if with_total else (standing.points, assignment.max_points)
    return [
        person.identifier, person.name or result.student, person.username, person.id_number, person.email,
        *grade, person.last_modified, comment(assignment, result, standing, with_total),
    ]  # fmt: skip


def comment(assignment: Assignment, result: SubmissionResult, standing: Standing, with_total: bool) -> str:
    """One line, as HTML because Moodle shows it as such: so nothing of it is the student's."""
    status = {one.exercise_id: one.status for one in result.exercises}
    how = {one.exercise_id: status.get(one.exercise_id, NOT_GRADED) for one in assignment.exercises}
    how |= dict.fromkeys(standing.overruled, "by hand")
    rows = [(one.exercise_id, standing.exercises[one.exercise_id], one.points) for one in assignment.exercises]
    if with_total:
        rows += [(one.written_id, standing.written[one.written_id], one.points) for one in assignment.written]
    parts = [f"{one}: {number(got or 0)}/{number(of)} ({how.get(one, 'by hand')})" for one, got, of in rows]
    later = 0 if with_total else sum(one.points for one in assignment.written)
    text = ", ".join(parts) + (f"; written answers ({count(later, 'point')}) are marked by hand" if later else "")
    return html.escape(text)


def identity(person: Person) -> str:
    """What Moodle will find the student by, "" if by nothing: two rows must not have the same."""
    return person.identifier or person.id_number or person.email or person.username
