"""The exercises: a file a notebook (`ex00.py`), or a folder with a file an exercise (`ex01/`), with a tuple EXERCISES;
and `check`.

In a notebook, check("00.1", make_tone) prints passed, failed (with the usual slip) or not attempted, and never raises.
"""

import importlib
import os
import pkgutil
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path

from course_lib.exercises.by_itself import notes
from course_lib.exercises.framework import (
    FAILED,
    NOT_ATTEMPTED,
    PASSED,
    Exercise,
    Outcome,
    mark,
)

_TICKS = {PASSED: "✓", FAILED: "✗", NOT_ATTEMPTED: "○"}


def list_exercises(notebook: str | None = None) -> list[Exercise]:
    """All exercises, or those of one notebook ("01"), in order."""
    wanted = [name for name in _files() if notebook is None or name == f"ex{notebook}"]
    return [exercise for name in wanted for exercise in importlib.import_module(f"{__package__}.{name}").EXERCISES]


@cache
def _files() -> tuple[str, ...]:
    """Looked up once: a grader asks for exercises a hundred times a submission."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return tuple(sorted(name for name in found if name.startswith("ex") and name[2:].isdigit()))


def get_exercise(exercise_id: str) -> Exercise:
    """The exercise with this id.

    Raises: KeyError, naming those there are.
    """
    known = {exercise.id: exercise for exercise in list_exercises()}
    if exercise_id not in known:
        raise KeyError(f"no exercise {exercise_id!r}; there are {', '.join(known)}")
    return known[exercise_id]


def check(exercise_id: str, answer: Callable, *, points: float | None = None) -> Outcome:
    """Try an answer on fresh inputs, and print the verdict. Raises nothing but KeyboardInterrupt, for learners.

    `points` is what the exercise is worth in a class that changed it.

    While nbgrader runs a notebook (it says so in NBGRADER_EXECUTION), an answer that does not pass raises
    AssertionError: nbgrader gives a cell all of its points unless the cell fails.
    """
    marked = bool(os.environ.get("NBGRADER_EXECUTION"))
    # nbgrader takes any line on stderr for a failure; a right answer may warn.
    with redirect_stderr(StringIO()) if marked else nullcontext():
        outcome, text = _verdict(exercise_id, answer, points)
    if marked and outcome.status != PASSED:
        raise AssertionError(text)
    _say(text)
    return outcome


def _verdict(exercise_id: str, answer: Callable, points: float | None) -> tuple[Outcome, str]:
    """The outcome, and the text that tells it (with what a right answer takes from other cells)."""
    takes: tuple[str, ...] = ()
    try:
        exercise = get_exercise(exercise_id)
    except (KeyError, TypeError) as error:
        outcome = Outcome(str(exercise_id), FAILED, 0, str(error.args[0]))
        return outcome, f'✗ {outcome.message}. Write check("00.1", your_function).'
    try:
        outcome = mark(exercise, answer, points=points)
        takes = notes(exercise.function, answer) if outcome.status == PASSED else ()
    except Exception as error:  # ours, not the learner's: say so, and let Run all go on
        message = f"the check itself broke; please report this: {type(error).__name__}: {error}"
        outcome = Outcome(exercise.id, FAILED, 0, message)
    noted = "".join(f"\n  note      {take}" for take in takes)
    hint = f"\n  hint      {outcome.hint}" if outcome.hint else ""
    return outcome, f"{_TICKS[outcome.status]} Exercise {exercise.id}, {exercise.title}: {outcome.message}{noted}{hint}"


def _say(text: str) -> None:
    try:
        print(text)
    except UnicodeEncodeError:  # a console without ticks (Windows, code page 1252)
        print(text.encode("ascii", "replace").decode())
