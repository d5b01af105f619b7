"""How an exercise is declared, tried and marked.

Marking has three parts, so that a grader can run the middle one, and nothing else, in a process it does not trust:
`draw_trials` (inputs) -> `run_trials` (calls the learner's function; plain data in and out) -> `compare` (verdict).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from course_lib.exercises.attempts import Attempt, run_call
from course_lib.exercises.differences import describe_inputs, first_difference

PASSED, FAILED, NOT_ATTEMPTED = "passed", "failed", "not attempted"
SEED_SHOWN = 0  # the inputs a learner sees; a grader draws with seeds of its own


def call_by_name(fn: Callable, inputs: dict[str, Any]) -> dict[str, Any]:
    """The usual probe: one call, every input by its name."""
    return {"output": fn(**inputs)}


class BrokenExercise(RuntimeError):
    """The exercise's own reference failed: ours to mend, whoever answered."""


@dataclass(frozen=True)
class WrongAnswer:
    """A plausible slip: an answer that makes it, and the hint that whoever made it deserves."""

    name: str
    answer: Callable
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One exercise, declared once.

    Attributes:
        id: notebook and number, "01.2".
        function: name of the learner's function (or class), as in the stub.
        draw: (rng, trial) -> inputs by name: tensors and plain numbers, of other sizes in each trial and on each axis.
        reference: the right answer, called as the learner's is.
        wrong_answers: at least four slips; each must be refused.
        hint: what to say when no known slip matches.
        probe: (fn, inputs) -> outputs by name. Uses torch and its arguments only, so that it can run elsewhere.
        atol, rtol: tolerances; a value passes within atol + rtol * |expected|.
        may_change: inputs that the function is meant to change in place.
        difficulty: 1 to 3 dots; minutes: about how long it takes.
    """

    id: str
    title: str
    points: int
    function: str
    draw: Callable[[torch.Generator, int], dict[str, Any]]
    reference: Callable
    wrong_answers: tuple[WrongAnswer, ...]
    hint: str
    probe: Callable[[Callable, dict[str, Any]], dict[str, Any]] = call_by_name
    atol: float = 1e-5
    rtol: float = 1e-5
    n_trials: int = 4
    may_change: tuple[str, ...] = ()
    difficulty: int = 1
    minutes: int = 5

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.\d+", self.id):
            raise ValueError(f"exercise id: got {self.id!r}, need notebook and number as in '01.2'")
        if self.points < 1 or self.difficulty not in (1, 2, 3) or self.n_trials < 1:
            raise ValueError(
                f"exercise {self.id}: got points={self.points}, difficulty={self.difficulty}, "
                f"n_trials={self.n_trials}; need points >= 1, difficulty 1, 2 or 3, n_trials >= 1"
            )

    @property
    def dots(self) -> str:
        return "●" * self.difficulty + "○" * (3 - self.difficulty)


@dataclass(frozen=True)
class Outcome:
    """The verdict on one answer. Notebooks show nothing for it: `check` has already printed its one tidy text."""

    exercise_id: str
    status: str
    points: float
    message: str
    hint: str = ""

    def __repr__(self) -> str:
        return f"<{self.exercise_id} {self.status}>"

    def _ipython_display_(self) -> None:
        """Keep a notebook from showing the object below the text that `check` has printed."""


def draw_trials(exercise: Exercise, seed: int = SEED_SHOWN) -> list[dict[str, Any]]:
    """Draw the inputs of every trial; the same seed draws the same inputs."""
    rng = torch.Generator().manual_seed(seed)
    return [exercise.draw(rng, trial) for trial in range(exercise.n_trials)]


def run_probe(exercise: Exercise, fn: Callable, inputs: Mapping[str, Any]) -> Attempt:
    """Call fn through the exercise's probe on copies of the inputs. Raises nothing but KeyboardInterrupt."""
    return run_call(exercise.probe, fn, inputs, may_change=exercise.may_change)


def run_trials(exercise: Exercise, fn: Callable, trials: Sequence[Mapping[str, Any]]) -> list[Attempt]:
    """One attempt a trial, up to and including the first that raised."""
    attempts = []
    for inputs in trials:
        attempts.append(run_probe(exercise, fn, inputs))
        if attempts[-1].error:
            break
    return attempts


def compare(
    exercise: Exercise,
    trials: Sequence[Mapping[str, Any]],
    attempts: Sequence[Attempt],
    points: float | None = None,
) -> Outcome:
    """Mark the attempts that run_trials (here or in another process) brought back for these trials.

    Args:   points: what the exercise is worth; its own points without.
    Raises: BrokenExercise.
    """
    worth = exercise.points if points is None else points
    if attempts and attempts[0].is_stub:
        message = f"not attempted yet ({exercise.dots}, {_points(worth)}, about {exercise.minutes} min)"
        return Outcome(exercise.id, NOT_ATTEMPTED, 0, message, _stub_hint(exercise))
    for i, inputs in enumerate(trials):
        if i >= len(attempts):
            return Outcome(exercise.id, FAILED, 0, f"failed: {i} of {len(trials)} inputs were answered", exercise.hint)
        difference = _difference(exercise, inputs, attempts[i])
        if difference:
            message = f"failed on input {i + 1} of {len(trials)}: {describe_inputs(inputs)}\n{difference}"
            return Outcome(exercise.id, FAILED, 0, message, _find_hint(exercise, trials, attempts, i))
    return Outcome(exercise.id, PASSED, worth, f"passed ({len(trials)} inputs tried, {worth:g} of {_points(worth)})")


def mark(exercise: Exercise, fn: Callable, seed: int = SEED_SHOWN, points: float | None = None) -> Outcome:
    """Draw, run and compare in this process."""
    trials = draw_trials(exercise, seed)
    return compare(exercise, trials, run_trials(exercise, fn, trials), points)


def _difference(exercise: Exercise, inputs: Mapping[str, Any], attempt: Attempt) -> str:
    if attempt.error:
        return attempt.error
    expected = run_probe(exercise, exercise.reference, inputs)
    if expected.error:
        raise BrokenExercise(f"exercise {exercise.id}: its own reference failed: {expected.error}")
    difference = first_difference(expected.outputs, attempt.outputs, exercise.atol, exercise.rtol)
    if not difference and attempt.changed:
        names = ", ".join(attempt.changed)
        return f"  your result is right, but the call changed its input ({names}) in place: work on a copy"
    return difference


def _find_hint(
    exercise: Exercise, trials: Sequence[Mapping[str, Any]], attempts: Sequence[Attempt], failed: int
) -> str:
    """The hint of the slip that does what this answer did on every trial, else the general one."""
    tried = list(zip(trials, attempts, strict=False))
    # The trial that failed comes first: on it most slips differ, while on those before all may be right.
    tried.insert(0, tried.pop(failed))
    for wrong in exercise.wrong_answers:
        if all(_same(exercise, run_probe(exercise, wrong.answer, inputs), attempt) for inputs, attempt in tried):
            return wrong.hint
    return exercise.hint


def _same(exercise: Exercise, a: Attempt, b: Attempt) -> bool:
    if a.error or b.error:
        return a.error_kind == b.error_kind
    return a.changed == b.changed and not first_difference(a.outputs, b.outputs, exercise.atol, exercise.rtol)


def _stub_hint(exercise: Exercise) -> str:
    return f"replace `raise NotImplementedError` in {exercise.function}, then run that cell and this one"


def _points(n: float) -> str:
    return f"{n:g} point" + ("" if n == 1 else "s")
