"""Marks one submission's answers: draws inputs, has the sandbox run the answer on them, compares what comes back.

The sandbox gets the student's code, the probe and the inputs; references, slips and the salt stay here. What comes back
is tensors and words, all of them the student's to forge, so a forger has to bring the right values for inputs that
nobody could know: that is solving the exercise.
"""

from __future__ import annotations

import hmac
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from textwrap import dedent

import torch

from course_lib.exercises.framework import FAILED, BrokenExercise, Exercise, Outcome, compare, draw_trials
from course_lib.grading.answers import Answer, denied_name
from course_lib.grading.assignment import Assigned, Assignment
from course_lib.grading.results import MISSING, NOT_GRADED, REFUSED, RUNS_ALONE, STOPPED, ExerciseResult
from course_lib.grading.sandbox.launch import Job, Limits, Reply, Sandbox, Worker, WorkerFault

N_TRIES = 3  # each on a fresh worker, before an exercise is left ungraded
MESSAGE_CHARS = 4000
FAULT_CHARS = 300  # of what a worker that failed had to say
_NAME_ERROR = re.compile(r"NameError: name '(\w{1,60})' is not defined")
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")  # of objects in an error's text: another one in every run


@dataclass(frozen=True)
class _Task:
    """What does not depend on the student."""

    assigned: Assigned
    exercise: Exercise
    probe: str  # its source


class _NoReply(RuntimeError):
    """No worker brought back anything that tells about the answer."""


class Marker:
    """Marks submissions one after another, with a sandboxed worker of its own.

    Args: assignment: which exercises, for how many points, with which salt.
    """

    def __init__(self, assignment: Assignment, sandbox: Sandbox, limits: Limits | None = None) -> None:
        self._salt, self._sandbox, self._limits = assignment.salt, sandbox, limits or Limits()
        self._tasks = [_prepare(assigned) for assigned in assignment.exercises]
        self._worker = Worker(sandbox, self._limits)

    def mark(self, student: str, answers: Mapping[str, Answer]) -> tuple[ExerciseResult, ...]:
        """A result for each exercise of the assignment, in order; the same for the same student and answers.

        Nothing that an answer does ends in an exception here: it costs the student that exercise.
        """
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in the sandbox: another number rounds otherwise, down to the sign of a zero
        try:
            return tuple(self._mark_one(task, student, answers.get(task.exercise.id)) for task in self._tasks)
        finally:
            torch.set_num_threads(n_threads)

    def close(self) -> None:
        self._worker.close()

    def __enter__(self) -> Marker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _mark_one(self, task: _Task, student: str, answer: Answer | None) -> ExerciseResult:
        if answer is None or answer.is_missing:
            message = f"the cell of exercise {task.exercise.id} is not in what was handed in"
            return _result(task, MISSING, answer.problem if answer else message)
        refusal = answer.problem or _denied(answer.source, task.assigned.deny)
        if refusal:
            return _result(task, REFUSED, refusal, source=answer.source)
        trials = draw_trials(task.exercise, exercise_seed(self._salt, student, task.exercise.id, answer.source))
        job = Job(
            source=answer.source,
            function=task.exercise.function,
            probe=task.probe,
            probe_name=task.exercise.probe.__name__,
            may_change=task.exercise.may_change,
            trials=trials,
            wall_s=self._limits.wall_s,
        )
        try:
            reply = self._run(job)
            if reply.starved:  # perhaps by this machine: twice the time must do, or what the first try said holds
                again = self._run(replace(job, wall_s=2 * job.wall_s))
                reply = reply if again.fault else again
            outcome = _judge(task, trials, reply)
        except (_NoReply, BrokenExercise) as error:
            message = f"not graded, through no fault of yours: {str(error)[:FAULT_CHARS]}; start the grader again"
            return _result(task, NOT_GRADED, message, source=answer.source)
        return _result(task, outcome.status, outcome.message, outcome.hint, answer.source, outcome.points)

    def _run(self, job: Job) -> Reply:
        """Raises: _NoReply if N_TRIES workers failed one after another."""
        for _ in range(N_TRIES):
            try:
                return self._worker.run(job)
            except WorkerFault as error:
                fault: Exception = error
            except Exception as error:  # ours: a forged reply that the checks of frames did not foresee, say
                fault = RuntimeError(f"{type(error).__name__}: {error}")
            self._renew_worker()
        raise _NoReply(str(fault)) from fault

    def _renew_worker(self) -> None:
        self._worker.close()
        self._worker = Worker(self._sandbox, self._limits)


def _prepare(assigned: Assigned) -> _Task:
    return _Task(assigned, assigned.exercise, dedent(inspect.getsource(assigned.exercise.probe)))


def _denied(source: str, deny: tuple[str, ...]) -> str:
    name = denied_name(source, deny) if deny else ""
    return f"not run: it uses {name}, which this exercise does not allow" if name else ""


def _judge(task: _Task, trials: list[dict], reply: Reply) -> Outcome:
    """Raises: BrokenExercise."""
    if reply.fault:
        return Outcome(task.exercise.id, STOPPED, 0, f"stopped: {reply.fault}")
    try:
        outcome = compare(task.exercise, trials, reply.attempts, task.assigned.points)
        return replace(outcome, hint=_name_hint(outcome, reply) or outcome.hint)
    except BrokenExercise:
        raise
    except Exception as error:  # references ran, so it is what came back that no comparison can digest
        message = f"failed: what your code returned cannot be compared ({type(error).__name__}: {error})"
        return Outcome(task.exercise.id, FAILED, 0, message)


def _name_hint(outcome: Outcome, reply: Reply) -> str:
    """What to say to an answer that passes in its notebook, where an earlier cell gave it the name; "" to others."""
    raised = next((attempt for attempt in reply.attempts if attempt.error), None)
    found = _NAME_ERROR.match(raised.error_kind) if raised and raised.error in outcome.message else None
    return f"{RUNS_ALONE}: define or import `{found[1]}` in it" if found else ""


def _result(
    task: _Task, status: str, message: str, hint: str = "", source: str = "", points: float = 0
) -> ExerciseResult:
    return ExerciseResult(
        exercise_id=task.exercise.id,
        title=task.exercise.title,
        status=status,
        points=points,
        max_points=task.assigned.points,
        message=_tidy(message),
        hint=hint,
        source=source,
    )


def _tidy(message: str) -> str:
    """Of bounded length, encodable, and the same in every run."""
    message = _ADDRESS.sub("at 0x...", message).encode("utf-8", "replace").decode("utf-8")
    return message if len(message) <= MESSAGE_CHARS else f"{message[:MESSAGE_CHARS]} [...]"


def exercise_seed(salt: str, student: str, exercise_id: str, answer: str) -> int:
    """The seed of the inputs that an answer is tried on, in [0, 2^63): always the same, known to nobody.

    Another answer gets other inputs: what one hand-in learned is no help to the next. HMAC-SHA256 (RFC 2104)."""
    message = f"{student}\0{exercise_id}\0{answer}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.digest(salt.encode(), message, "sha256")[:8], "big") >> 1
