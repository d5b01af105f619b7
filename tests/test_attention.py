"""What goes wrong in a real class, from the files handed in to grades.csv and the page that the student reads."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from here_worker import HereWorker

from course_lib.grading import marking
from course_lib.grading.assignment import choose
from course_lib.grading.marking import Marker
from course_lib.grading.reports import write_reports
from course_lib.grading.results import SubmissionResult
from course_lib.grading.sandbox.launch import Limits, Sandbox
from course_lib.grading.submissions import find_submissions
from course_lib.grading.unmarked import read_unmarked

ROOT = Path(__file__).parents[1]
ASSIGNMENT = choose(("00", "01"), ("00.1", "01.2"), {}, {}, salt="5a17" * 8, name="hw1")
NOTEBOOKS = {
    path.name: json.loads(path.read_text("utf-8")) for n in ("00", "01") for path in (ROOT / "solutions").glob(f"{n}_*")
}


def edited(exercise_id: str, edit: Callable[[str], str]) -> dict[str, Any]:
    """The solutions, with one exercise's cell changed, or taken out where the edit gives nothing."""
    notebooks = copy.deepcopy(NOTEBOOKS)
    for notebook in notebooks.values():
        for cell in list(notebook["cells"]):
            if cell["metadata"].get("course", {}).get("exercise") == exercise_id:
                cell["source"] = edit("".join(cell["source"]))
                if not cell["source"]:
                    notebook["cells"].remove(cell)
    return notebooks


def without(number: str) -> dict[str, Any]:
    return {name: notebook for name, notebook in NOTEBOOKS.items() if not name.startswith(number)}


# What was done -> what is handed in, needs_attention, words on the student's page.
CLASS = {
    "all is well": (NOTEBOOKS, "", "All exercises pass."),
    "another name": (
        edited("01.2", lambda source: source.replace("def my_mu_law", "def mine")),
        "did not run: 01.2 (the cell defines no `my_mu_law`: it defines mine)",
        "the cell defines no `my_mu_law`: it defines mine",
    ),
    "no cell": (
        edited("00.1", lambda source: ""),
        "the cell of exercise 00.1 is not in 00_start_here.ipynb",
        "The cell of exercise 00.1 is not in 00_start_here.ipynb: was it deleted,",
    ),
    "one of two notebooks": (
        without("00"),
        "notebook 00 was not handed in",
        "Notebook 00 was not handed in.",
    ),
    "another cell's variable": (
        edited("01.2", lambda source: source.replace("wave.sign()", "wave.sign() * LOG_BASE")),
        "uses a name that its cell does not define: 01.2 (LOG_BASE)",
        "the grader runs this cell by itself: define or import LOG_BASE in it",
    ),
    "another cell's import": (
        edited("01.2", lambda source: "rate = scipy.pi\n" + source),
        "did not run: 01.2 (NameError: name 'scipy' is not defined in line 1)",
        "name 'scipy' is not defined in line 1: the grader runs this cell by itself",
    ),
    "no Python": (
        edited("01.2", lambda source: ")\n" + source),
        "did not run: 01.2 (the cell is no Python that can be run: unmatched ')', line 1)",
        "the cell is no Python that can be run",
    ),
    "torn file": (
        without("00") | {"00_start_here.ipynb": '{"cells": [{"cell'},
        "not accepted: 00.1 (torn file/00_start_here.ipynb: the notebook could not be read: it is not whole, or not a "
        "notebook (line 1, column 13: Unterminated string); open it in Jupyter, save it, and hand in the .ipynb file)",
        "Your answer could not be read from what you handed in.",
    ),
    "empty folder": (
        {},
        "empty folder holds no file | no notebook was handed in; need a file that ends in .ipynb",
        "no notebook was handed in; need a file",
    ),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> Path:
    """Grades the class, with a worker in this process."""
    source, out_dir = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
    for student, (files, _, _) in CLASS.items():
        (source / student).mkdir()
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (source / student / name).write_text(text, "utf-8")
    results: list[SubmissionResult] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "Worker", HereWorker)
        with Marker(ASSIGNMENT, Sandbox(None, False, "this process"), Limits()) as marker:
            for submission in find_submissions(source, ASSIGNMENT.notebooks):
                answers, blank = read_unmarked(submission, submission.read(), ASSIGNMENT)
                results.append(replace(blank, exercises=marker.mark(submission.student, answers)))
    write_reports(out_dir, ASSIGNMENT, lambda: iter(results), gradebook=False)
    return out_dir


@pytest.mark.parametrize("student", CLASS)
def test_what_went_wrong_is_told_to_the_instructor_and_to_the_student(reports, student):
    _, needs_attention, words = CLASS[student]
    with (reports / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(CLASS)
    row = rows[student]
    assert row["needs_attention"] == needs_attention
    lost = {"all is well": (), "empty folder": ("00.1", "01.2")}
    expected = lost.get(student, ("01.2",) if "01.2" in needs_attention else ("00.1",))
    assert [one for one in ("00.1", "01.2") if row[f"exercise {one}"] == "0"] == list(expected)
    page = (reports / "feedback" / f"{row['result']}.html").read_text("utf-8")
    assert words in unescape(page).replace("<code>", "").replace("</code>", "")
