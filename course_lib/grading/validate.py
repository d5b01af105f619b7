"""`course grade --validate`: the grader, graded, through its whole path (notebook on disk to result).

Of every exercise of an assignment it hands in the solution (must get all points), the stub (not attempted), and each
known wrong answer (no points, and the hint for that slip).

Wrong answers are Python objects of the course's own code, not cells. A cell can only fetch them from there, so they
alone are marked with a worker that can see course_lib, answers and all; a student's worker cannot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.answers import read_contents
from course_lib.grading.assignment import Assigned, Assignment, AssignmentError, repository_with
from course_lib.grading.marking import Marker
from course_lib.grading.results import ExerciseResult
from course_lib.grading.sandbox.launch import Limits, Sandbox
from course_lib.grading.submissions import Submission, find_submissions
from course_lib.running.executing import write_text_atomically

SOLUTION, STUB, WRONG = "solution", "stub", "wrong"
Progress = Callable[[int, int], None]  # called with (submissions marked, submissions in all)


@dataclass(frozen=True)
class Deviation:
    """An answer that was not marked as it should be."""

    exercise_id: str
    answer: str  # "solution", "stub", or the wrong answer's name
    wanted: str
    got: str


@dataclass(frozen=True)
class Report:
    """n_answers: how many of each exercise were marked (solution and stub among them), by id."""

    n_answers: dict[str, int]
    deviations: tuple[Deviation, ...]

    @property
    def is_clean(self) -> bool:
        return not self.deviations

    def __str__(self) -> str:
        n = sum(self.n_answers.values())
        lines = [f"{one.exercise_id} {one.answer}: wanted {one.wanted}; got {one.got}" for one in self.deviations]
        head = f"{len(self.n_answers)} exercises, {n} answers marked, {len(lines)} not as they should be"
        return "\n".join([head, *lines])


def validate(
    assignment: Assignment,
    sandbox: Sandbox,
    limits: Limits | None = None,
    progress: Progress | None = None,
    root: Path | None = None,
) -> Report:
    """Mark what is known of every exercise of the assignment.

    Args:   root: the course's repository, which holds solutions/; None: the one that this file lies in.
    Raises: AssignmentError where the repository is not at hand.
    """
    root = repository_with("solutions", root)
    n_answers = {one.exercise_id: 2 + len(one.exercise.wrong_answers) for one in assignment.exercises}
    with TemporaryDirectory(prefix="course-validate-") as name:
        folder = Path(name)
        write_submissions(folder, assignment, root)
        submissions = find_submissions(folder, assignment.notebooks)
        seen_by = {False: sandbox, True: replace(sandbox, show_answers=True)}
        deviations, n_done = [], 0
        for shows_answers, box in seen_by.items():
            with Marker(_without_deny(assignment) if shows_answers else assignment, box, limits) as marker:
                for submission in submissions:
                    if submission.student.startswith(WRONG) == shows_answers:
                        deviations += _deviations(assignment, submission, marker)
                        n_done += 1
                        if progress:
                            progress(n_done, len(submissions))
    order = list(n_answers)
    return Report(n_answers, tuple(sorted(deviations, key=lambda one: order.index(one.exercise_id))))


def write_submissions(folder: Path, assignment: Assignment, root: Path) -> None:
    """folder/solution/, stub/, wrong-00/ (the first wrong answer of every exercise), wrong-01/ ..., as handed in."""
    for number in assignment.notebooks:
        assigned = [one for one in assignment.exercises if one.exercise_id.split(".")[0] == number]
        if not assigned:
            continue  # written questions only
        for student, kind in ((SOLUTION, "solutions"), (STUB, "notebooks")):
            path = _notebook(root / kind, number)
            _hand_in(folder / student / path.name, json.loads(path.read_text("utf-8")))
        for k in range(max(len(one.exercise.wrong_answers) for one in assigned)):
            notebook = json.loads(path.read_text("utf-8"))
            for one in assigned:
                if k < len(one.exercise.wrong_answers):
                    _answer(notebook, one, k)
            _hand_in(folder / f"{WRONG}-{k:02d}" / path.name, notebook)


def _hand_in(path: Path, notebook: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_text_atomically(path, json.dumps(notebook))


def _notebook(folder: Path, number: str) -> Path:
    found = sorted(folder.glob(f"{number}_*.ipynb"))
    if not found:
        raise AssignmentError(f"{folder.name}/ holds no notebook {number}; `course release` writes notebooks/")
    return found[0]


def _answer(notebook: dict[str, Any], assigned: Assigned, k: int) -> None:
    """Put wrong answer number k into the exercise's cell."""
    exercise = assigned.exercise
    cells = [c for c in notebook["cells"] if c["metadata"].get("course", {}).get("exercise") == exercise.id]
    if len(cells) != 1:
        raise AssignmentError(f"exercise {exercise.id}: got {len(cells)} cells in notebooks/, need 1; `course release`")
    fetch = f'{exercise.function} = get_exercise("{exercise.id}").wrong_answers[{k}].answer'
    cells[0]["source"] = f"# EXERCISE {exercise.id}\nfrom course_lib.exercises import get_exercise\n{fetch}\n"


def _without_deny(assignment: Assignment) -> Assignment:
    """A class that forbids course_lib forbids its wrong answers, too."""
    return replace(assignment, exercises=tuple(replace(one, deny=()) for one in assignment.exercises))


def _deviations(assignment: Assignment, submission: Submission, marker: Marker) -> Iterator[Deviation]:
    ids = [one.exercise_id for one in assignment.exercises]
    answers = read_contents(submission.read(), ids, [one.written_id for one in assignment.written]).answers
    for one, result in zip(assignment.exercises, marker.mark(submission.student, answers), strict=True):
        kind, _, number = submission.student.partition("-")
        if kind != WRONG:
            yield from _deviation(result, kind, PASSED if kind == SOLUTION else NOT_ATTEMPTED)
        elif int(number) < len(one.exercise.wrong_answers):
            wrong = one.exercise.wrong_answers[int(number)]
            yield from _deviation(result, wrong.name, FAILED, wrong.hint)


def _deviation(result: ExerciseResult, answer: str, status: str, hint: str | None = None) -> Iterator[Deviation]:
    points = result.max_points if status == PASSED else 0
    if (result.status, result.points) != (status, points):
        wanted = f"{status}, {points:g} points"
        got = f"{result.status}, {result.points:g} points ({result.message})"
        yield Deviation(result.exercise_id, answer, wanted, got)
    elif hint is not None and result.hint != hint:
        yield Deviation(result.exercise_id, answer, f"the hint {hint!r}", repr(result.hint))
