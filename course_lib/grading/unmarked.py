"""A submission as it was read, before any of it is marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from course_lib.grading.answers import Answer, read_contents
from course_lib.grading.assignment import Assignment
from course_lib.grading.results import NOT_GRADED, ExerciseResult, SubmissionResult, WrittenAnswer
from course_lib.grading.submissions import Content, Submission


def read_unmarked(
    submission: Submission, contents: Sequence[Content], assignment: Assignment
) -> tuple[Mapping[str, Answer], SubmissionResult]:
    """A submission's answers, and all of its result but the exercises' and the digest."""
    ids = [one.exercise_id for one in assignment.exercises], [one.written_id for one in assignment.written]
    found = read_contents(contents, *ids)
    by_hand = tuple(
        WrittenAnswer(one.written_id, one.points, found.written.get(one.written_id, "")) for one in assignment.written
    )
    files = tuple(content.name for content in contents)
    notes = (*submission.notes, *found.notes)
    return {**found.answers, **found.missing}, SubmissionResult(submission.student, "", files, notes, written=by_hand)


def not_graded(assignment: Assignment) -> tuple[ExerciseResult, ...]:
    """For a submission that no worker could mark."""
    message = "not graded, through no fault of yours; it will be when the grader is started again"
    return tuple(
        ExerciseResult(one.exercise_id, one.exercise.title, NOT_GRADED, 0, one.points, message)
        for one in assignment.exercises
    )
