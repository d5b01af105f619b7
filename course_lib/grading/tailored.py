"""The course's notebooks with the points of one assignment in them.

Questions that do not count in it say "not graded", and stay for practice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.exercises.checking import get_exercise
from course_lib.grading.assignment import Assignment
from course_lib.grading.colab import BADGE_LINE
from course_lib.grading.release import WRITTEN_MARK, read_source, to_learner

if TYPE_CHECKING:
    from nbformat import NotebookNode

CHECKED = re.compile(r"""^(check\(["']\d\d\.\d+["'], \w+)\)$""", re.MULTILINE)
# "### Exercise 01.2 · mu-law · ●●○ · 3 points · 12 min", "**Exercise 00.1: a tone** ●○○ (2 points, 5 minutes)"
WORTH = re.compile(r"((?:Exercise|Written question) (\d\d\.\d+)\b.*?)\d+(?:\.\d+)? points?\b")


def solved(root: Path, numbers: Iterable[str], assignment: Assignment) -> dict[str, NotebookNode]:
    """The notebooks of solutions/ with these numbers, by name, with the assignment's points."""
    wanted = set(numbers)
    paths = [path for path in sorted((root / "solutions").glob("[0-9][0-9]_*.ipynb")) if path.stem[:2] in wanted]
    return {path.stem: tailor(read_source(path), assignment) for path in paths}


def posed(root: Path, numbers: Iterable[str], assignment: Assignment) -> dict[str, NotebookNode]:
    """The same notebooks as learners get them: with stubs."""
    return {name: to_learner(notebook, name) for name, notebook in solved(root, numbers, assignment).items()}


def tailor(notebook: NotebookNode, assignment: Assignment) -> NotebookNode:
    """A copy with the assignment's points in its texts and in nbgrader's metadata; other questions do not count.

    Without the badge: that opens the course's own notebook in Colab, not this one.
    """
    worth = {one.exercise_id: one.points for one in assignment.exercises}
    worth |= {one.written_id: one.points for one in assignment.written}
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        course, graded = cell.metadata.get("course", {}), cell.metadata.get("nbgrader", {})
        if cell.cell_type == "markdown":
            text = BADGE_LINE.sub("", cell.source).replace("\n\n\n", "\n\n")
            text = WORTH.sub(lambda found: found[1] + points_text(worth.get(found[2])), text)
            cell.source = WRITTEN_MARK.sub(lambda found: _mark(found[1], worth.get(found[1], 0)), text)
        if "written" in course:
            graded["points"] = worth.get(course["written"], 0)  # nbgrader has no written cell without points
        elif "check" in course and course["check"] in worth:
            graded["points"] = worth[course["check"]]
            if worth[course["check"]] != get_exercise(course["check"]).points:
                cell.source = CHECKED.sub(rf"\1, points={worth[course['check']]:g})", cell.source)
        elif "check" in course:
            graded["grade"] = False
            graded.pop("points", None)
    return notebook


def points_text(points: float | None) -> str:
    """ "3 points", "1 point", "2.5 points", "not graded"."""
    if points is None:
        return "not graded"
    return f"{points:g} point" + ("" if points == 1 else "s")


def _mark(written_id: str, points: float) -> str:
    return f"<!-- WRITTEN {written_id} points={points:g} -->"
