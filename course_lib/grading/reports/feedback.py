"""feedback/SLUG.html: what one learner gets to see. One file that loads nothing, runs nothing, and prints well.

All that a student wrote is escaped by jinja2's autoescape, and `visible` has spelled out what would be invisible. Of
the grader's side it holds verdict, message and hint only: never a seed, a hidden check or a reference.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.tables import max_total
from course_lib.grading.reports.texts import count, number, one_line, shortened, visible
from course_lib.grading.results import (
    MISSING,
    NOT_GRADED,
    REFUSED,
    STOPPED,
    ExerciseResult,
    SubmissionResult,
    WrittenAnswer,
)

FOLDER = "feedback"
MAX_LINES, MAX_CHARS = 400, 30_000  # of one answer: a longer one is shown in part, so that no page grows without bound
# status -> colour, tick, word, sentence
_LOOKS = {
    PASSED: ("good", "✓", "Passed", ""),
    FAILED: ("bad", "✗", "Not right yet", ""),
    NOT_ATTEMPTED: ("open", "○", "Not attempted", "The cell still holds the line that you were to replace."),
    STOPPED: ("bad", "!", "Did not run", "The grader could not run this cell to its end, so there is nothing to mark."),
    MISSING: ("open", "○", "Not found", ""),  # its message is the sentence
    REFUSED: ("warn", "!", "Not run", "Your answer was found, but could not be accepted as it is."),
    NOT_GRADED: ("warn", "…", "Not graded yet", "This is no fault of yours: something went wrong while it was being "
                 "marked. It will be marked again."),
}  # fmt: skip


def load_template() -> Template:
    """The page with its style in it; the policy allows this style, known by its hash, and nothing else."""
    here = Path(__file__).parent
    style = (here / "feedback.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.globals.update(style=Markup(style), style_hash=Markup(f"sha256-{digest}"))
    return environment.from_string((here / "feedback.html.jinja").read_text("utf-8"))


def page(template: Template, assignment: Assignment, result: SubmissionResult, standing: Standing) -> str:
    # What nobody has marked yet counts for neither side, so that a page before marking by hand discourages nobody.
    known = [points for points in (*standing.exercises.values(), *standing.written.values()) if points is not None]
    to_mark = sum(one.points for one in assignment.written if one.written_id in standing.to_mark)
    return template.render(
        name=assignment.name,
        student=one_line(result.student),
        points=number(sum(known)),
        max_points=number(max_total(assignment) - to_mark),
        summary=summary(result, standing, to_mark),
        notes=[one_line(note) for note in result.notes[:20]],
        exercises=[_exercise(one, standing) for one in result.exercises],
        written=[_written(one, standing) for one in result.written],
        files=", ".join(one_line(name, 100) for name in result.files[:10]),
    )


def summary(result: SubmissionResult, standing: Standing, to_mark: float) -> str:
    """Where the learner stands, in a sentence or three. `to_mark`: the points that written answers may still bring."""
    n_passed, n = sum(one.status == PASSED for one in result.exercises), len(result.exercises)
    some = f"{n_passed} of {count(n, 'exercise')} {'passes' if n == 1 else 'pass'}."
    parts = ["All exercises pass." if n_passed == n else some] if n else []
    waiting = sum(points is None for points in standing.exercises.values())
    parts += [f"{count(waiting, 'exercise')} could not be graded yet, so your points may rise."] if waiting else []
    parts += [f"Written answers, {count(to_mark, 'point')} more, are still to be marked by hand."] if to_mark else []
    return " ".join(parts)


def _exercise(one: ExerciseResult, standing: Standing) -> dict[str, Any]:
    tone, tick, state, words = _LOOKS[one.status]
    telling = one.status in (FAILED, STOPPED, REFUSED, NOT_GRADED)  # the others say all in their word and sentence
    if one.status == MISSING:
        words = _sentence(one.message)
    elif one.status == REFUSED and not one.source:
        words = "Your answer could not be read from what you handed in."
    return {
        "id": one.exercise_id,
        "anchor": f"exercise-{one.exercise_id}",
        "title": one.title[:1].upper() + one.title[1:],
        "tone": tone,
        "tick": tick,
        "state": state,
        "words": words,
        "points": _points(standing.exercises.get(one.exercise_id), one.max_points)
        + (", by hand" if one.exercise_id in standing.overruled else ""),
        "comment": visible(standing.comments.get(one.exercise_id, ""), 4000),
        "message": visible(one.message, 4000) if telling else "",
        "hint": _with_code(one.hint),
        "code": _numbered(one.source),
        "is_open": telling,
    }


def _sentence(text: str) -> str:
    line = shortened(text)
    return line[:1].upper() + line[1:] + ("" if line.endswith(("?", ".")) else ".")


def _written(one: WrittenAnswer, standing: Standing) -> dict[str, Any]:
    points, text = standing.written.get(one.written_id), _cut(one.text)[0].strip("\n")
    return {
        "id": one.written_id,
        "state": "To be marked by hand" if points is None else "Marked by hand" if text else "Not answered",
        "points": _points(points, one.max_points),
        "comment": visible(standing.comments.get(one.written_id, ""), 4000),
        "text": text,
    }


def _points(points: float | None, max_points: float) -> str:
    return f"{'up to' if points is None else f'{number(points)} of'} {count(max_points, 'point')}"


def _with_code(text: str) -> Markup:
    """Escaped; what stands between backticks is set as code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(visible(text, 2000)))))


def _numbered(source: str) -> Markup:
    """Escaped, an element a line: the style numbers them, and the numbers aren't copied with the code."""
    text, left_out = _cut(source.rstrip())
    if not text.strip():
        return Markup("")
    lines = "\n".join(f"<i></i>{line}" for line in str(escape(text)).split("\n"))
    return Markup(lines + (f"\n... ({count(left_out, 'line')} more)" if left_out else ""))


def _cut(text: str) -> tuple[str, int]:
    """The text as far as it is shown, and how many lines more there are."""
    lines = visible(text, MAX_CHARS).split("\n")
    return "\n".join(lines[:MAX_LINES]), max(0, len(lines) - MAX_LINES)
