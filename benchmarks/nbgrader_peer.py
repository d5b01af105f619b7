"""nbgrader's own autograder on two light exercises: the peer that `course grade` is measured beside."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from benchmarks.hand_ins import EXERCISES, NOTEBOOK

IMPORTS = "import torch\n\nfrom course_lib.exercises import check"
ROOT = Path(__file__).parents[1]


def autograde_s(n_students: int = 4) -> float:
    """Median seconds a submission, marked one after another in one process, after one to warm up.

    In its favour: its notebook holds the exercises, their checks and two imports only, where ours are whole.
    Raises:  RuntimeError if it does not give the points that right answers are worth.
    """
    from nbgrader.api import Gradebook
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory

    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # it starts `alembic`
    with TemporaryDirectory(prefix="course-bench-") as name, contextlib.redirect_stderr(io.StringIO()):
        course = Path(name)
        _write(course / "source" / "hw1" / "peer.ipynb", _cells())
        nbgrader = NbGraderAPI(CourseDirectory(root=name, course_id="sound"))
        _demand(nbgrader.generate_assignment("hw1"))
        taken_s = []
        for number in range(n_students + 1):
            _write(course / "submitted" / f"s{number}" / "hw1" / "peer.ipynb", _cells())
            start_s = time.perf_counter()
            _demand(nbgrader.autograde("hw1", f"s{number}"))
            taken_s.append(time.perf_counter() - start_s)
        with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
            scores = {(one.score, one.max_score) for one in book.assignment_submissions("hw1")}
    if len(scores) != 1 or len(set(*scores)) != 1:
        raise RuntimeError(f"nbgrader gave right answers (points, maximum) {scores}: no fair measure")
    return statistics.median(taken_s[1:])


def _cells() -> list[nbformat.NotebookNode]:
    """Solved exercises and their checks, as authors write them; nbgrader takes the solutions out for its release."""
    wanted = {f"{kind}-{one.replace('.', '-')}" for one in EXERCISES for kind in ("exercise", "check")}
    there = nbformat.read(ROOT / "solutions" / NOTEBOOK, as_version=4).cells
    chosen = [cell for cell in there if cell.metadata.get("nbgrader", {}).get("grade_id") in wanted]
    return [new_markdown_cell("# Two exercises"), new_code_cell(IMPORTS), *chosen]


def _write(path: Path, cells: list[nbformat.NotebookNode]) -> None:
    path.parent.mkdir(parents=True)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)


def _demand(outcome: dict) -> None:
    if not outcome["success"]:
        raise RuntimeError(f"nbgrader: {outcome.get('error') or outcome.get('log')}")
