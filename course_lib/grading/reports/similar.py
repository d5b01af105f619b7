"""similar.csv and similar.html: groups of answers that are the same but for names and layout, for humans to look at."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.tables import write_csv, write_file
from course_lib.grading.reports.texts import count, one_line, visible
from course_lib.grading.results import SubmissionResult, slug
from course_lib.grading.similarity import SimilarGroup, groups

MAX_GROUPS = 200  # shown in the page; the table has them all
MAX_STUDENTS = 50  # named in a group of the page
N_CODES = 2  # of a group, side by side
MAX_CODE_CHARS = 5_000
_HEADER = ["exercise", "n_students", "students", "share_of_class", "n_tokens", "same_in_exercises", "common_answer"]


def write_similar(
    out_dir: Path, assignment: Assignment, results: Callable[[], Iterable[SubmissionResult]]
) -> tuple[str, ...]:
    """Write similar.csv and similar.html into out_dir. Returns lines for the instructor."""
    found = groups(results())
    rows = (
        [
            one.exercise_id,
            len(one.students),
            "; ".join(one.students),
            one.share_of_class,
            one.n_tokens,
            " ".join(one.also),
            "yes" if one.is_common else "no",
        ]
        for one in found
    )
    write_csv(out_dir / "similar.csv", _HEADER, rows, marked=True)
    shown = [one for one in found if not one.is_common][:MAX_GROUPS]
    write_file(out_dir / "similar.html", _page(assignment, shown, len(found), _codes(shown, results())))
    n_remarkable = sum(not one.is_common for one in found)
    line = f"{count(n_remarkable, 'group')} of answers that are the same but for names: similar.html"
    return (line,) if n_remarkable else ()


def _codes(shown: list[SimilarGroup], results: Iterable[SubmissionResult]) -> dict[tuple[str, str], str]:
    """(exercise, student) -> what they wrote, of the first students of each group."""
    wanted = {(one.exercise_id, student) for one in shown for student in one.students[:N_CODES]}
    found = {}
    for result in results:
        for one in result.exercises:
            if (one.exercise_id, result.student) in wanted:
                found[one.exercise_id, result.student] = visible(one.source, MAX_CODE_CHARS)
    return found


def _page(assignment: Assignment, shown: list[SimilarGroup], n_groups: int, codes: dict[tuple[str, str], str]) -> str:
    here = Path(__file__).parent
    style = (here / "feedback.css").read_text("utf-8") + (here / "similar.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string((here / "similar.html.jinja").read_text("utf-8"))
    return template.render(
        style=Markup(style),
        style_hash=Markup(f"sha256-{digest}"),
        name=assignment.name,
        n_left_out=n_groups - len(shown),
        groups=[
            {
                "exercise": one.exercise_id,
                "n_students": len(one.students),
                "share": f"{100 * one.share_of_class:.0f} %",
                "n_tokens": one.n_tokens,
                "also": ", ".join(one.also),
                "students": [
                    (one_line(student), f"feedback/{slug(student)}.html")
                    for student in islice(one.students, MAX_STUDENTS)
                ],
                "n_more": max(0, len(one.students) - MAX_STUDENTS),
                "codes": [
                    (one_line(student), codes.get((one.exercise_id, student), "")) for student in one.students[:N_CODES]
                ],
            }
            for one in shown
        ],
    )
