"""grades.csv, a row a student; and how every file of a report is written."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from course_lib.grading.assignment import Assignment
from course_lib.grading.reports.attention import attention
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.texts import cell
from course_lib.grading.results import SubmissionResult, slug

Row = list[str | float | None]


def write_file(path: Path, text: str) -> None:
    """Put text at `path`, whole or not at all, encoded as UTF-8.

    Not synchronised with the disk, and under one temporary name: a report is made again whenever the grader is started
    again, and then what a killed grader left is overwritten.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.replace(temporary, path)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row], marked: bool = False) -> None:
    """Write a CSV file; every cell goes through `cell`, so that no spreadsheet takes one for a formula.

    Args:    marked: begin with a byte order mark, without which Excel garbles every name that is not ASCII.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([cell(heading) for heading in header])
    writer.writerows([cell(value) for value in row] for row in rows)
    write_file(path, ("\ufeff" if marked else "") + text.getvalue())


def grades_header(assignment: Assignment) -> list[str]:
    exercises = [f"exercise {one.exercise_id}" for one in assignment.exercises]
    written = [f"written {one.written_id}" for one in assignment.written]
    by_hand = [*written, "total", "max_total", "to_mark"] if written else []
    return ["student", "points", "max_points", *exercises, *by_hand, "needs_attention", "result"]


def grades_row(assignment: Assignment, result: SubmissionResult, standing: Standing) -> Row:
    """Points that are not known yet stay empty: whoever adds them up shall notice."""
    by_hand = [*standing.written.values(), standing.total, max_total(assignment), len(standing.to_mark)]
    return [
        result.student, standing.points, assignment.max_points, *standing.exercises.values(),
        *(by_hand if assignment.written else []), attention(result, standing), slug(result.student),
    ]  # fmt: skip


def absent_row(assignment: Assignment, called: str) -> Row:
    """Of somebody on the roster who handed in nothing; whether that is a zero is not for the grader to say."""
    header = grades_header(assignment)
    known = {"student": called, "max_points": assignment.max_points, "needs_attention": "handed in nothing"}
    return [known.get(column, "") for column in header]


def max_total(assignment: Assignment) -> float:
    return assignment.max_points + sum(one.points for one in assignment.written)
