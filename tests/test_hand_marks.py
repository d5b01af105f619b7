"""Marks and comments given by hand in nbgrader's gradebook come into every report."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
from reported import HOMEWORK, canvas_import, page_of, read_csv, report, result, roster

from course_lib.exercises.framework import PASSED
from course_lib.grading.reports import write_reports
from course_lib.grading.reports.gradebook import GradebookError, write_gradebook
from course_lib.grading.results import WrittenAnswer


@pytest.fixture
def gradebook(tmp_path):
    """nbgrader's own gradebook of three students, as `course grade` leaves it."""
    api = pytest.importorskip("nbgrader.api")
    silent = replace(result("cy"), written=(WrittenAnswer("02.2", 4, ""),))
    students = [result("ada", text="it is so"), result("bob", (PASSED, PASSED)), silent]
    write_gradebook(tmp_path / "nbgrader", HOMEWORK, lambda: iter(students))
    with api.Gradebook(f"sqlite:///{tmp_path / 'nbgrader' / 'gradebook.db'}") as book:
        yield book, students


def mark(book, student: str, cell: str, points: float | None = None, comment: str = "") -> None:
    """As formgrader does."""
    notebook = "02_a_machine_that_listens" if cell == "written-02-2" else "01_sound_as_data"
    if points is not None:
        grade = book.find_grade(cell, notebook, "hw1", student)
        grade.manual_score, grade.needs_manual_grade = points, False
    if comment:
        book.find_comment(cell, notebook, "hw1", student).manual_comment = comment
    book.db.commit()


def test_once_written_answers_are_marked_reports_hold_whole_grades(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "written-02-2", 3.5, "Well said. <i>But</i> why?")
    notes = report(tmp_path, *students)
    header, *rows = read_csv(tmp_path / "grades.csv")
    totals = {row[0]: row[header.index("total")] for row in rows}
    assert totals == {"ada": "5.5", "bob": "", "cy": "2"}
    for student in ("ada", "cy"):  # as nbgrader's exporter has it
        assert float(totals[student]) == book.find_submission("hw1", student).score
    titles, possible, canvas = canvas_import(tmp_path / "canvas.csv")
    assert possible == {"hw1 exercises": "4.5", "hw1": "8.5"} and list(possible) == titles
    assert {row["Student"]: (row["hw1 exercises"], row["hw1"]) for row in canvas} == {
        "ada": ("2", "5.5"), "bob": ("4.5", ""), "cy": ("2", "2")
    }  # fmt: skip
    moodle = {row[1]: row[5:7] for row in read_csv(tmp_path / "moodle.csv")[1:]}
    assert moodle == {"ada": ["5.5", "8.5"], "cy": ["2", "8.5"]}
    assert any("moodle.csv until" in note and "bob" in note for note in notes)
    page = page_of(tmp_path)
    assert "5.5<span> of 8.5</span>" in page and "3.5 of 4 points" in page
    assert "Well said. &lt;i&gt;But&lt;/i&gt; why?" in page


def test_a_mark_overruled_by_hand_goes_before_the_automatic_one(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "check-01-2", 1.5)
    mark(book, "ada", "exercise-01-2", comment="The idea is right.")
    report(tmp_path, *students)
    header, row, *_ = read_csv(tmp_path / "grades.csv")
    assert row[:5] == ["ada", "3.5", "4.5", "2", "1.5"]
    assert canvas_import(tmp_path / "canvas.csv")[0] == ["hw1 exercises"]  # no written answer has been marked yet
    page = page_of(tmp_path)
    assert "1.5 of 2.5 points, by hand" in page and "The idea is right." in page
    body = json.loads((tmp_path / "gradescope" / "ada.json").read_text("ascii"))
    assert body["score"] == 3.5 == sum(test["score"] for test in body["tests"])


def test_extra_credit_is_added_to_the_automatic_mark(tmp_path, gradebook):
    book, students = gradebook
    book.find_grade("check-01-1", "01_sound_as_data", "hw1", "cy").extra_credit = 0.5
    book.db.commit()
    report(tmp_path, *students)
    header, *_, row = read_csv(tmp_path / "grades.csv")
    assert row[0] == "cy" and row[3] == "2.5"
    assert float(row[header.index("total")]) == 2.5 == book.find_submission("hw1", "cy").score


def test_a_mark_for_an_answer_that_has_changed_is_waited_for(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "written-02-2", 3.5)
    students[0] = replace(students[0], written=(WrittenAnswer("02.2", 4, "another answer"),))
    for _ in range(2):  # at once, not only the second time
        notes = write_reports(tmp_path, HOMEWORK, lambda: iter(students))
        header, row, *_ = read_csv(tmp_path / "grades.csv")
        assert row[header.index("written 02.2")] == "" and row[header.index("to_mark")] == "1"
        assert row[header.index("needs_attention")].startswith("changed since it was marked by hand: 02.2 |")
        assert any("another answer than was marked by hand" in note and "ada (02.2)" in note for note in notes)
    mark(book, "ada", "written-02-2", 2)
    assert not any("another answer" in note for note in write_reports(tmp_path, HOMEWORK, lambda: iter(students)))
    assert read_csv(tmp_path / "grades.csv")[1][header.index("written 02.2")] == "2"


def test_a_gradebook_that_cannot_be_used_is_told_and_keeps_no_report_back(tmp_path):
    pytest.importorskip("nbgrader")
    (tmp_path / "nbgrader").mkdir()
    (tmp_path / "nbgrader" / "gradebook.db").write_bytes(b"no database" * 1000)
    (note,) = report(tmp_path, result())
    assert "gradebook.db cannot be read" in note and (tmp_path / "grades.csv").exists()
    with pytest.raises(GradebookError, match="gradebook.db") as raised:
        write_reports(tmp_path, HOMEWORK, lambda: iter([result("bob")]), roster(tmp_path, "student\nbob\nzoe\n"))
    assert any("handed in nothing" in note and "zoe" in note for note in raised.value.notes)
    assert read_csv(tmp_path / "grades.csv")[1][0] == "bob" and (tmp_path / "feedback" / "bob.html").exists()


def test_without_nbgrader_there_are_all_reports_but_one(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (note,) = write_reports(tmp_path, HOMEWORK, lambda: iter([result()]))
    assert "course-lib[instructor]" in note and page_of(tmp_path)
