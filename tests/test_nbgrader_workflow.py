"""nbgrader's own workflow, unchanged, on cells that authors edit: assignment, autograde, feedback, export.

(It runs students' code in the process that marks it; `course grade` is what nobody can forge.)
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import CsvExportPlugin

from course_lib.exercises import checking
from course_lib.exercises.checking import check, get_exercise
from course_lib.exercises.framework import FAILED, PASSED

ROOT = Path(__file__).parents[1]
IMPORTS = "import warnings\n\nimport torch\n\nfrom course_lib.exercises import check"
RIGHT_WITH_A_WARNING = """\
# EXERCISE 00.1
def make_tone(frequency_hz, clip_s, rate_hz, level_db):
    warnings.warn("this goes to stderr, which nbgrader takes for a failure")
    seconds = torch.arange(round(clip_s * rate_hz)) / rate_hz
    return 10 ** (level_db / 20) * torch.sin(2 * torch.pi * frequency_hz * seconds)"""
WRONG = """\
# EXERCISE 00.1
def make_tone(frequency_hz, clip_s, rate_hz, level_db):
    return torch.zeros(round(clip_s * rate_hz))"""


def course_cells() -> list[nbformat.NotebookNode]:
    """Two exercises with their checks, and a written question: cells of solutions/ as they are."""
    wanted = {"exercise-00-1", "check-00-1", "exercise-01-1", "check-01-1", "written-02-2"}
    paths = sorted((ROOT / "solutions").glob("0[0-2]_*.ipynb"))
    there = [cell for path in paths for cell in nbformat.read(path, as_version=4).cells]
    return [cell for cell in there if cell.metadata.get("nbgrader", {}).get("grade_id") in wanted]


def submit(course: Path, student: str, tone: str, alias: str | None, words: str | None) -> None:
    """Hand in the released notebook with these answers; None leaves the stub."""
    notebook = nbformat.read(course / "release/hw1/tones.ipynb", as_version=4)
    answers = {"exercise-00-1": tone, "exercise-01-1": alias, "written-02-2": words}
    for cell in notebook.cells:
        answer = answers.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
        cell.source = answer or cell.source
    folder = course / "submitted" / student / "hw1"
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / "tones.ipynb")


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    """A course that nbgrader has released, and marked two submissions of."""
    root = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")  # nbgrader starts `alembic`
        cells = course_cells()
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        opening = [new_markdown_cell("# Tones"), new_code_cell(IMPORTS)]
        (root / "source/hw1").mkdir(parents=True)
        nbformat.write(new_notebook(cells=opening + cells, metadata=kernel), root / "source/hw1/tones.ipynb")
        nbgrader = NbGraderAPI(CourseDirectory(root=str(root), course_id="sound"))
        made = nbgrader.generate_assignment("hw1")
        assert made["success"], made
        alias = next(cell.source for cell in cells if "EXERCISE 01.1" in cell.source)
        submit(root, "ann", RIGHT_WITH_A_WARNING, alias, "Because.")
        submit(root, "bob", WRONG, None, None)
        for student in ("ann", "bob"):
            marked = nbgrader.autograde("hw1", student)
            assert marked["success"], marked
        assert nbgrader.generate_feedback("hw1", "bob")["success"]
    return root


def test_the_released_notebook_has_stubs_and_no_solution(course):
    text = (course / "release/hw1/tones.ipynb").read_text("utf-8")
    assert text.count("raise NotImplementedError") == 2 and "SOLUTION" not in text and "torch.sin" not in text


def test_nbgrader_gives_the_points_that_the_exercises_are_worth(course):
    worth = {f"check-{one.replace('.', '-')}": float(get_exercise(one).points) for one in ("00.1", "01.1")}
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        marks = {
            student: {
                grade.name: (grade.auto_score, grade.max_score, grade.needs_manual_grade)
                for grade in book.find_submission_notebook("tones", "hw1", student).grades
            }
            for student in ("ann", "bob")
        }
    assert marks == {
        "ann": {**{name: (points, points, False) for name, points in worth.items()}, "written-02-2": (None, 4, True)},
        "bob": {**{name: (0, points, False) for name, points in worth.items()}, "written-02-2": (0, 4, False)},
    }


def test_nbgrader_exports_and_tells_why(course):
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        CsvExportPlugin(to=str(course / "grades.csv")).export(book)
    rows = {row["student_id"]: float(row["score"]) for row in csv.DictReader((course / "grades.csv").open())}
    assert rows == {"ann": get_exercise("00.1").points + get_exercise("01.1").points, "bob": 0}
    page = (course / "feedback/bob/hw1/tones.html").read_text("utf-8")
    assert "failed on input 1 of" in page and "not attempted yet" in page


# ---- check() as nbgrader runs it


@pytest.mark.parametrize("mode", ["autograde", "validate"])
def test_under_nbgrader_what_does_not_pass_fails_its_cell(monkeypatch, capsys, mode):
    monkeypatch.setenv("NBGRADER_EXECUTION", mode)
    exercise = get_exercise("01.1")
    assert check("01.1", exercise.reference).status == PASSED
    slip = exercise.wrong_answers[0]
    with pytest.raises(AssertionError, match="failed on input") as caught:
        check("01.1", slip.answer)
    assert slip.hint in str(caught.value)
    with pytest.raises(AssertionError, match="no exercise '99.9'"):
        check("99.9", exercise.reference)
    assert capsys.readouterr().err == ""


def test_under_nbgrader_a_check_of_ours_that_breaks_gives_no_points(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setattr(checking, "mark", lambda *_: 1 / 0)
    with pytest.raises(AssertionError, match="the check itself broke"):
        check("01.1", abs)


def test_for_learners_nothing_raises(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    assert check("01.1", get_exercise("01.1").wrong_answers[0].answer).status == FAILED
