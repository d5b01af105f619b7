"""gradescope/SLUG.json: what an autograder on Gradescope leaves as /autograder/results/results.json.

Format: Gradescope's "Autograder Specifications". Every text is declared to be plain text, so that nothing that a
student wrote is shown as HTML or Markdown.
"""

from __future__ import annotations

import json
from typing import Any

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.texts import count, one_line, visible
from course_lib.grading.results import ExerciseResult, SubmissionResult

FOLDER = "gradescope"


def results_json(assignment: Assignment, result: SubmissionResult, standing: Standing) -> str:
    """Of the exercises, which all have points; Gradescope has its own place for marking by hand."""
    written = ", ".join(f"{one.written_id} ({count(one.points, 'point')})" for one in assignment.written)
    lines = [one_line(note) for note in result.notes[:20]]
    lines += [f"Written answers are marked by hand: {written}"] if written else []
    body = {
        "score": round(standing.points, 4),
        "output": "\n".join(lines),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [_test(one, standing.exercises[one.exercise_id]) for one in result.exercises],
    }
    return json.dumps(body, ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def _test(one: ExerciseResult, points: float) -> dict[str, Any]:
    output = visible(one.message, 4000) + (f"\n\nhint: {visible(one.hint, 2000)}" if one.hint else "")
    return {
        "number": one.exercise_id,
        "name": one.title,
        "score": round(points, 4),
        "max_score": round(one.max_points, 4),
        "status": "passed" if points >= one.max_points else "failed",
        "output": output,
        "tags": [one.status],
    }
