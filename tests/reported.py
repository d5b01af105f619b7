"""A class of results, the reports made from them, and how to read these, for tests."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

from course_lib.exercises.framework import FAILED, PASSED
from course_lib.grading.assignment import Assigned, AssignedWritten, Assignment
from course_lib.grading.reports import write_reports
from course_lib.grading.results import ExerciseResult, SubmissionResult, WrittenAnswer, slug

SALT = "5a17" * 8
HOMEWORK = Assignment("hw1", SALT, (Assigned("01.1", 2), Assigned("01.2", 2.5)), (AssignedWritten("02.2", 4),))
EXERCISES_ONLY = replace(HOMEWORK, written=())


def result(
    student: str = "ada", outcomes: tuple[str, str] = (PASSED, FAILED), text: str = "", files: tuple[str, ...] = ()
) -> SubmissionResult:
    """`text` stands wherever a student's words can."""
    exercises = tuple(
        ExerciseResult(
            one.exercise_id, f"Title {one.exercise_id}", status, one.points if status == PASSED else 0.0, one.points,
            f"message {text}", f"hint {text}", f"# code {text}"
        )
        for one, status in zip(HOMEWORK.exercises, outcomes, strict=True)
    )  # fmt: skip
    written = (WrittenAnswer("02.2", 4, f"because {text}"),)
    return SubmissionResult(student, "d1", files, (f"note {text}",) if text else (), exercises, written)


def report(out_dir: Path, *results: SubmissionResult, assignment: Assignment = HOMEWORK, **options) -> tuple[str, ...]:
    return write_reports(out_dir, assignment, lambda: iter(results), gradebook=False, **options)


def read_csv(path: Path, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig")), delimiter=delimiter))


def page_of(out_dir: Path, student: str = "ada") -> str:
    return (out_dir / "feedback" / f"{slug(student)}.html").read_text("utf-8")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def canvas_import(path: Path) -> tuple[list[str], dict[str, str], list[dict[str, str]]]:
    """Read a file as lib/gradebook_importer.rb of Canvas does. Returns titles, points possible, students."""
    lines = read_csv(path)
    header = lines[0]
    assert len(header) > 3 and "Student" in header[0] and "ID" in header[1], "InvalidHeaderRow"
    n_columns = 3
    if re.search(r"SIS\s+Login\s+ID", header[2]):
        n_columns = 4
    elif re.search(r"SIS\s+User\s+ID", header[2]) and re.search(r"SIS\s+Login\s+ID", header[3]):
        n_columns = 5
    assert "Section" in header[n_columns - 1], "InvalidHeaderRow"
    possible, students = {}, []
    for line in lines[1:]:
        if "Points Possible" in line[0]:
            possible = dict(zip(header[n_columns:], line[n_columns:], strict=True))
        else:
            students.append(dict(zip(header, line, strict=True)))
    return header[n_columns:], possible, students


def roster(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "roster.csv"
    path.write_text(text, "utf-8")
    return path
