"""Graders for tests of `course grade`: small classes, a marker without a sandbox, a cluster that starts at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from distributed import LocalCluster
from reported import files_in
from typer.testing import CliRunner, Result

from course_lib.commands import cli
from course_lib.exercises.framework import FAILED, PASSED
from course_lib.grading.answers import Answer
from course_lib.grading.assignment import Assignment, choose
from course_lib.grading.grade import Listener
from course_lib.grading.results import ExerciseResult, SubmissionResult
from course_lib.grading.sandbox.launch import Sandbox

ASSIGNMENT = choose(exercises=["00.1", "01.1"], name="hw1", salt="0" * 32)
NO_SANDBOX = Sandbox(None, False, "none: the marker of these tests runs no code")


class FakeMarker:
    """Right is who writes so; a bug of ours is met where `bugs` exists."""

    def __init__(self, assignment: Assignment, bugs: Path) -> None:
        self.assignment, self.bugs = assignment, bugs

    def mark(self, student: str, answers: Mapping[str, Answer]) -> tuple[ExerciseResult, ...]:
        time.sleep(0.005)
        if "bug" in student and self.bugs.exists():
            raise ZeroDivisionError
        return tuple(self._mark_one(one.exercise_id, one.points, answers) for one in self.assignment.exercises)

    def _mark_one(self, exercise_id: str, points: float, answers: Mapping[str, Answer]) -> ExerciseResult:
        source = answers[exercise_id].source if exercise_id in answers else ""
        status, got = (PASSED, points) if "right" in source else (FAILED, 0)
        return ExerciseResult(exercise_id, "title", status, got, points, "message", "hint", source)

    def close(self) -> None: ...


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


def hand_in(folder: Path, student: str, answer: str) -> None:
    """Write student/01_sound_as_data.ipynb and student/00_start_here.ipynb with one exercise each."""
    home = folder / student
    home.mkdir(parents=True, exist_ok=True)
    for name, exercise_id in (("00_start_here", "00.1"), ("01_sound_as_data", "01.1")):
        source = f"# EXERCISE {exercise_id}\n{answer}"
        cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        body = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (home / f"{name}.ipynb").write_text(json.dumps(body), "utf-8")


def tree(out_dir: Path) -> dict[str, bytes]:
    """Every file's bytes, but for the lock's."""
    return {name: data for name, data in files_in(out_dir).items() if name != ".lock"}


def results(out_dir: Path) -> dict[str, SubmissionResult]:
    found = [SubmissionResult.from_json(path.read_text("utf-8")) for path in (out_dir / "results").glob("*.json")]
    return {one.student: one for one in found}


@contextmanager
def borrowed(n_workers: int = 1, threads_per_worker: int = 1) -> Iterator[str]:
    """The address of a cluster that somebody else started.

    Its workers are threads of this process: they start at once, and outlive graders that are killed.
    """
    with LocalCluster(
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # its web server's
    ) as theirs:
        yield theirs.scheduler_address


def course_grade(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["grade", *map(str, arguments)], catch_exceptions=False)
