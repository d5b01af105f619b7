"""Reports of grading: grades.csv, what a human should look at, and how the files are written."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
from reported import EXERCISES_ONLY, files_in, read_csv, report, result

from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.reports.tables import write_file
from course_lib.grading.reports.texts import count, number, shortened
from course_lib.grading.results import MISSING, NOT_GRADED, REFUSED, RUNS_ALONE, STOPPED, WrittenAnswer


def test_grades_has_a_row_a_student_and_leaves_open_what_is_not_known(tmp_path):
    ungraded = result("cy", (PASSED, NOT_GRADED))
    some = result("bob", (PASSED, PASSED)), result("ada", (FAILED, NOT_ATTEMPTED)), ungraded
    report(tmp_path, *some, assignment=EXERCISES_ONLY)
    header, *rows = read_csv(tmp_path / "grades.csv")
    assert header == ["student", "points", "max_points", "exercise 01.1", "exercise 01.2", "needs_attention",
                      "result"]  # fmt: skip
    assert rows == [
        ["ada", "0", "4.5", "0", "0", "", "ada"],
        ["bob", "4.5", "4.5", "2", "2.5", "", "bob"],
        ["cy", "", "4.5", "2", "", "not graded: 01.2 (start the grader again)", "cy"],
    ]


ALONE = f"{RUNS_ALONE}: define or import `LOG_BASE` in it"
BROKEN = "the notebook could not be read: it is not whole, or not a notebook (line 1, column 5: no value); open it"
NO_CELL = "the cell of exercise 01.1 is not in 01.ipynb: was it deleted, or its first line, # EXERCISE 01.1, changed?"


@pytest.mark.parametrize(
    ("outcome", "notes", "told"),
    [
        ((STOPPED, "stopped: the cell defines no `my_fft`: it defines fft2", ""), (),
         "did not run: 01.1 (the cell defines no `my_fft`: it defines fft2)"),
        ((STOPPED, f"stopped: NameError: name 'X' is not defined in line 2: {RUNS_ALONE}, so define", ""), (),
         "did not run: 01.1 (NameError: name 'X' is not defined in line 2)"),
        ((STOPPED, "stopped: took longer than 10 s", ""), ("a note",),
         "did not run: 01.1 (took longer than 10 s) | a note"),
        ((FAILED, "failed on input 1", ALONE), (), "uses a name that its cell does not define: 01.1 (LOG_BASE)"),
        ((FAILED, "failed on input 1", "another hint"), (), ""),
        ((NOT_ATTEMPTED, "not attempted yet", "replace it"), (), ""),
        ((MISSING, "notebook 00 was not handed in", ""), (), "notebook 00 was not handed in"),
        ((MISSING, NO_CELL, ""), (), "the cell of exercise 01.1 is not in 01.ipynb"),
        ((REFUSED, "not run: it uses eval", ""), (), "not accepted: 01.1 (not run: it uses eval)"),
        ((REFUSED, BROKEN, ""), ("other", f"01.ipynb: {BROKEN}"), f"not accepted: 01.1 (01.ipynb: {BROKEN}) | other"),
    ],
)  # fmt: skip
def test_whatever_needs_a_human_is_told_in_few_words(tmp_path, outcome, notes, told):
    one = result("ada", (PASSED, PASSED), files=("01.ipynb",))
    status, message, hint = outcome
    odd = replace(one.exercises[0], status=status, message=message, hint=hint, points=0)
    report(tmp_path, replace(one, exercises=(odd, one.exercises[1]), notes=notes))
    header, row = read_csv(tmp_path / "grades.csv")
    assert row[header.index("needs_attention")] == told


def test_what_two_exercises_share_is_told_once_and_nobody_handed_in_nothing_unseen(tmp_path):
    one = result("ada", (MISSING, MISSING), files=("01.ipynb",))
    missing = tuple(replace(each, message="notebook 01 was not handed in") for each in one.exercises)
    empty = replace(one, student="bob", exercises=missing, files=(), notes=("no notebook was handed in",))
    report(tmp_path, replace(one, exercises=missing), empty)
    header, *rows = read_csv(tmp_path / "grades.csv")
    told = {row[0]: row[header.index("needs_attention")] for row in rows}
    assert told == {"ada": "notebook 01 was not handed in", "bob": "no notebook was handed in"}


def test_needs_attention_ends_after_a_whole_word_however_much_there_is(tmp_path):
    one = result("ada", (STOPPED, REFUSED), text="word " * 500)
    notes = tuple(f"note {n} " + "word " * 500 for n in range(20))
    report(tmp_path, replace(one, notes=notes))
    header, row = read_csv(tmp_path / "grades.csv")
    told = row[header.index("needs_attention")]
    assert 500 < len(told) <= 900 and told.endswith(" word ...") and "did not run: 01.1 (message word" in told
    assert shortened("x" * 50, 20) == "x" * 16 + " ..." and shortened("a b", 3) == "a b"


def test_written_answers_wait_for_a_human_and_none_is_worth_nothing(tmp_path):
    silent = replace(result("bob"), written=(WrittenAnswer("02.2", 4, " \n"),))
    report(tmp_path, result("ada"), silent)
    header, *rows = read_csv(tmp_path / "grades.csv")
    assert header[5:9] == ["written 02.2", "total", "max_total", "to_mark"]
    assert [row[5:9] for row in rows] == [["", "", "8.5", "1"], ["0", "2", "8.5", "0"]]


def test_an_exercise_that_the_result_lacks_is_not_a_zero(tmp_path):
    one = result()
    report(tmp_path, replace(one, exercises=one.exercises[:1]))
    _, row = read_csv(tmp_path / "grades.csv")
    assert row[3:5] == ["2", ""] and "not graded: 01.2" in row[-2]


def test_numbers_are_written_as_people_and_platforms_read_them():
    assert [number(n) for n in (2.0, 2.5, 1 / 3, 0.1 + 0.2, 1e-9, -1e-9, 1e6)] == [
        "2", "2.5", "0.3333", "0.3", "0", "0", "1000000"
    ]  # fmt: skip
    assert count(1, "point") == "1 point" and count(0.5, "point") == "0.5 points"


def test_the_same_results_give_the_same_bytes_in_any_order(tmp_path):
    results = [result(name, text=name) for name in ("ada", "Bob", "Ćy", "=d", "d\u202e")]
    report(tmp_path / "a", *results)
    random.Random(1).shuffle(results)
    report(tmp_path / "b", *results)
    report(tmp_path / "b", *results)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b") and len(files_in(tmp_path / "a")) == 13


def test_what_is_left_of_others_or_of_a_killed_grader_goes(tmp_path):
    report(tmp_path, result("ada"), result("gone"), result("cy"))
    (tmp_path / "feedback" / ".cy.html.tmp").write_text("half a pa")
    report(tmp_path, result("ada"), result("cy", (PASSED, NOT_GRADED)))
    names = {name for name in files_in(tmp_path) if "/" in name}
    assert names == {"feedback/ada.html", "feedback/cy.html", "gradescope/ada.json"}


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    write_file(path, "old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_file(path, "new")
    assert path.read_text() == "old"
