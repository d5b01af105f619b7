"""The course folder in which nbgrader's formgrader serves written questions: its notebooks, but for the gradebook.

A submission is shown as a sheet: of the released notebook the exercises, their checks and the written questions, with
the student's code and words put in, and nothing else that they handed in. formgrader renders Markdown as it is, scripts
too, with the rights of whoever marks; so links, HTML and TeX that can act are taken apart first.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.grading.assignment import Assignment, AssignmentError, repository_with
from course_lib.grading.cells import TEXT_STUB, grade_id
from course_lib.grading.release import WRITTEN_MARK, serialise
from course_lib.grading.reports.tables import write_file
from course_lib.grading.reports.texts import visible
from course_lib.grading.results import (
    FAILED,
    MISSING,
    NOT_ATTEMPTED,
    NOT_GRADED,
    REFUSED,
    STOPPED,
    ExerciseResult,
    SubmissionResult,
    student_id,
)
from course_lib.grading.tailored import posed, solved

CONFIG = """\
# For nbgrader: start it in this folder (`nbgrader formgrader`, `nbgrader export`). Written by `course grade`.
c = get_config()
c.CourseDirectory.course_id = "default_course"
"""
MARKDOWN_CHARS = 20_000
CODE_CHARS = 10_000  # Pygments, which colours it, needs time that grows with the square of some texts' length
JOINER = "\u2060"  # cannot be seen, and parts nothing
NO_RESPONSE = "No response."  # nbgrader's own words
_COMMENTS = {
    NOT_ATTEMPTED: NO_RESPONSE,
    STOPPED: "Did not run, or was stopped; the check below says why.",
    MISSING: "The cell was not handed in.",
    REFUSED: "Not run; the check below says why.",
    NOT_GRADED: "Not graded through no fault of yours.",
}
_BLANK_LINES = re.compile(r"\n{4,}")
_RUN = re.compile(r"(.)\1{200,}", re.DOTALL)  # what takes Markdown, and _HEADING, the square of its length
_ENTITY = re.compile(r"&(?=[#A-Za-z])")  # would become a < or a $ that nothing below sees
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\](?=[(\[:])")
_HEADING = re.compile(r"^([ \t>*+.):\d-]*)(#|[=-]+[ \t]*$)", re.M)  # also what makes one of the line before it
_TEX = re.compile(r"\\(?=href|require|class|csname|style|cssId|mmlToken|unicode|url|html|include|bbox|data)", re.I)


@dataclass(frozen=True)
class Sheet:
    """One notebook of the assignment, with the cells that are shown of it: as nbformat has them, in order."""

    name: str
    metadata: dict[str, Any]
    cells: tuple[dict[str, Any], ...]

    def marked(self, kind: str) -> list[dict[str, Any]]:
        """The cells that nbgrader takes for a `kind` of cell: "grade" or "solution"."""
        return [cell for cell in self.cells if cell["metadata"].get("nbgrader", {}).get(kind)]

    def is_handed_in(self, result: SubmissionResult) -> bool:
        """Whether there is anything of this notebook to look at."""
        ids = {cell["metadata"].get("course", {}).get("exercise") for cell in self.cells}
        there = [one.status != MISSING for one in result.exercises if one.exercise_id in ids]
        return any(there) or any(one.text.strip() for one in result.written if one.written_id[:2] == self.name[:2])

    def render(self, result: SubmissionResult) -> str:
        """The notebook's text, with this student's answers in it."""
        found = {one.exercise_id: one for one in result.exercises}
        texts = {one.written_id: one.text for one in result.written}
        cells = [_answered(cell, found, texts) for cell in self.cells]
        body = {"cells": cells, "metadata": self.metadata, "nbformat": 4, "nbformat_minor": 5}
        return json.dumps(body, sort_keys=True) + "\n"

    def grades(self, result: SubmissionResult) -> Iterator[tuple[str, float | None, bool]]:
        """Name of each graded cell, points (None: not known), whether a human has to mark it."""
        found = {one.exercise_id: one for one in result.exercises}
        for cell in self.marked("grade"):
            course, name = cell["metadata"]["course"], cell["metadata"]["nbgrader"]["grade_id"]
            if "written" in course:
                answered = bool(_written(cell, result))
                yield name, None if answered else 0.0, answered
            else:
                one = found.get(course["check"])
                unknown = one is None or one.status == NOT_GRADED
                yield name, None if unknown else float(one.points), unknown

    def comments(self, result: SubmissionResult) -> Iterator[tuple[str, str | None]]:
        """What learners read beside each answer: our own words only, since nbgrader renders them as Markdown."""
        found = {one.exercise_id: one for one in result.exercises}
        for cell in self.marked("solution"):
            course, name = cell["metadata"]["course"], cell["metadata"]["nbgrader"]["grade_id"]
            if "written" in course:
                yield name, None if _written(cell, result) else NO_RESPONSE
            elif one := found.get(course["exercise"]):
                yield name, one.hint or "Failed." if one.status == FAILED else _COMMENTS.get(one.status)
            else:
                yield name, _COMMENTS[NOT_GRADED]


def make_sheets(assignment: Assignment, root: Path | None = None) -> list[Sheet]:
    """Raises: AssignmentError where the course's repository is not at hand, or lacks a notebook."""
    sheets = []
    for name, notebook in posed(repository_with("solutions", root), assignment.notebooks, assignment).items():
        cells = [json.loads(json.dumps(cell)) for cell in notebook.cells]
        shown = [{**cells[0], "source": cells[0]["source"].split("\n")[0]}] if cells else []
        for before, cell in zip([None, *cells], cells, strict=False):
            course = cell["metadata"].get("course", {})
            if "exercise" in course and before and before["cell_type"] == "markdown" and _counts(course, assignment):
                shown.append(before)
            if _counts(course, assignment):
                shown.append(cell)
        sheets.append(Sheet(name, json.loads(json.dumps(notebook.metadata)), tuple(shown)))
    if missing := set(assignment.notebooks) - {sheet.name[:2] for sheet in sheets}:
        raise AssignmentError(f"the repository has no notebook {', '.join(sorted(missing))}; update the course")
    return sheets


def write_course(course_dir: Path, assignment: Assignment, root: Path | None = None) -> None:
    """Write what is the same for all students: nbgrader's settings, source/NAME and release/NAME."""
    root = repository_with("solutions", root)
    _write_if_changed(course_dir / "nbgrader_config.py", CONFIG)
    for step, notebooks in (("source", solved), ("release", posed)):
        for name, notebook in notebooks(root, assignment.notebooks, assignment).items():
            _write_if_changed(course_dir / step / assignment.name / f"{name}.ipynb", serialise(notebook))


def sheet_path(course_dir: Path, assignment: Assignment, student: str, sheet: Sheet) -> Path:
    return course_dir / "autograded" / student_id(student) / assignment.name / f"{sheet.name}.ipynb"


def write_sheets(
    course_dir: Path, assignment: Assignment, sheets: Iterable[Sheet], results: Iterable[SubmissionResult]
) -> None:
    """Write autograded/STUDENT/NAME/*.ipynb; a notebook that nothing is there of has no file."""
    for result in results:
        for sheet in sheets:
            path = sheet_path(course_dir, assignment, result.student, sheet)
            if sheet.is_handed_in(result):
                _write_if_changed(path, sheet.render(result))
            else:
                path.unlink(missing_ok=True)


def answer_text(cell: Mapping[str, Any], text: str) -> str:
    """What a student wrote below a written question; empty for the stub.

    Args: cell: the released cell.
          text: what was handed in of it: all of it, or what stands below the line with the marker.
    """
    question = cell["source"].split(TEXT_STUB)[0]
    below = WRITTEN_MARK.split(question)[-1]
    text = text.strip().removeprefix(question.strip()).strip().removeprefix(below.strip()).strip()
    return text.removeprefix(TEXT_STUB).strip()


def shown_answers(notebook: Mapping[str, Any]) -> dict[str, str]:
    """Of a sheet as it is on disk: name of each graded cell -> the answer that it is about."""
    found = {}
    for cell in notebook["cells"]:
        course = cell["metadata"].get("course", {})
        if "exercise" in course or "written" in course:
            is_code = "exercise" in course
            name = grade_id("check", course["exercise"]) if is_code else grade_id("written", course["written"])
            found[name] = cell["source"] + course.get("digest", "")
    return found


def harmless_markdown(text: str) -> str:
    """Markdown that only formats; what it said can still be read, but for what is beyond 200 of one character in a row.

    No HTML, entities, pictures, links under another name, or TeX that acts; no headings, since they get ids, which
    formgrader finds its fields by.
    """
    text = _RUN.sub(lambda run: run[0][:200], visible(text, MARKDOWN_CHARS))
    text = _TAG.sub("< ", _ENTITY.sub("& ", text))
    text = _TEX.sub(r"\\ ", _LINK.sub("] ", text))
    return _HEADING.sub(rf"\1{JOINER}\2", text)


def _answered(cell: dict[str, Any], found: Mapping[str, ExerciseResult], texts: Mapping[str, str]) -> dict[str, Any]:
    course = cell["metadata"].get("course", {})
    if "exercise" in course and (result := found.get(course["exercise"])):
        return _with_code(cell, result)
    if "check" in course and (result := found.get(course["check"])):
        hint = f"\n  hint      {result.hint}" if result.hint else ""  # as check() says it
        said = visible(f"{result.message or result.status}{hint}\n", 10_000)
        output = {"name": "stdout", "output_type": "stream", "text": said}
        return {**cell, "outputs": [output], "execution_count": 1}
    if "written" in course:
        question = cell["source"].split(TEXT_STUB)[0].rstrip()
        answer = harmless_markdown(answer_text(cell, texts.get(course["written"], "")))
        return {**cell, "source": f"{question}\n\n{answer or '*No answer.*'}"}
    return cell


def _with_code(cell: dict[str, Any], result: ExerciseResult) -> dict[str, Any]:
    """Without blanks at line ends or more than two blank lines in a row; if cut, with a digest, to show any change."""
    # Not a regular expression for the line ends: it would need the square of their length.
    whole = visible(result.source or f"# {result.message or result.status}")
    code = _BLANK_LINES.sub("\n\n\n", "\n".join(line.rstrip() for line in whole.split("\n")))
    if len(code) <= CODE_CHARS:
        return {**cell, "source": code}
    said = f"# ... ({len(code) - CODE_CHARS} characters more; the student's feedback page has all of it)"
    digest = hashlib.sha256(code.encode()).hexdigest()
    course = {**cell["metadata"]["course"], "digest": digest}
    return {**cell, "source": f"{code[:CODE_CHARS]}\n{said}", "metadata": {**cell["metadata"], "course": course}}


def _written(cell: Mapping[str, Any], result: SubmissionResult) -> str:
    written_id = cell["metadata"]["course"]["written"]
    return next((answer_text(cell, one.text) for one in result.written if one.written_id == written_id), "")


def _counts(course: Mapping[str, str], assignment: Assignment) -> bool:
    ids = {one.exercise_id for one in assignment.exercises} | {one.written_id for one in assignment.written}
    return any(course.get(kind) in ids for kind in ("exercise", "check", "written"))


def _write_if_changed(path: Path, text: str) -> None:
    try:
        if path.read_text("utf-8") == text:
            return
    except (FileNotFoundError, UnicodeDecodeError):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
