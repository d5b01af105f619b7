"""What a human should look at: the column needs_attention of grades.csv, in a few words a student."""

from __future__ import annotations

from collections.abc import Iterable

from course_lib.exercises.framework import FAILED
from course_lib.grading.reports.hand_marks import Standing
from course_lib.grading.reports.texts import count, shortened
from course_lib.grading.results import MISSING, REFUSED, RUNS_ALONE, STOPPED, ExerciseResult, SubmissionResult

MAX_CHARS = 900  # of the column; tables.cell takes 1000
MAX_NOTES = 5
REASON_CHARS = 80
NOTE_CHARS = 250


def attention(result: SubmissionResult, standing: Standing) -> str:
    """Empty for most: wrong answers and those not attempted need nobody, they are what marks are for."""
    notes, refused = _refused(result)
    parts = [*_by_exercise(result, standing), *refused, *_missing(result)]
    parts += [f"changed since it was marked by hand: {', '.join(standing.changed)}"] if standing.changed else []
    parts += [shortened(note, NOTE_CHARS) for note in notes[:MAX_NOTES]]
    parts += [f"{count(len(notes) - MAX_NOTES, 'note')} more"] if len(notes) > MAX_NOTES else []
    return shortened(" | ".join(parts), MAX_CHARS)


def _by_exercise(result: SubmissionResult, standing: Standing) -> list[str]:
    not_graded = [exercise_id for exercise_id, points in standing.exercises.items() if points is None]
    stopped = [f"{one.exercise_id} ({_why_stopped(one)})" for one in result.exercises if one.status == STOPPED]
    alone = [f"{one.exercise_id} ({_name(one)})" for one in result.exercises if _needs_another_cell(one)]
    parts = [f"not graded: {', '.join(not_graded)} (start the grader again)"] if not_graded else []
    parts += [f"did not run: {', '.join(stopped)}"] if stopped else []
    parts += [f"uses a name that its cell does not define: {', '.join(alone)}"] if alone else []
    return parts


def _why_stopped(one: ExerciseResult) -> str:
    return shortened(one.message.removeprefix("stopped: ").partition(f": {RUNS_ALONE}")[0], REASON_CHARS)


def _needs_another_cell(one: ExerciseResult) -> bool:
    return one.status == FAILED and one.hint.startswith(RUNS_ALONE)


def _name(one: ExerciseResult) -> str:
    parts = one.hint.split("`")
    return shortened(parts[1], REASON_CHARS) if len(parts) > 1 else "see feedback"


def _refused(result: SubmissionResult) -> tuple[list[str], list[str]]:
    """The notes that are still to be told, and what was refused, each reason once: in words of a note if one has it,
    because that names the file."""
    notes, parts = list(result.notes), []
    for reason, ids in _grouped(one for one in result.exercises if one.status == REFUSED).items():
        told = next((note for note in notes if reason and note.endswith(reason)), "")
        if told:
            notes.remove(told)
        parts.append(shortened(f"not accepted: {', '.join(ids)} ({told or reason})", NOTE_CHARS))
    return notes, parts


def _missing(result: SubmissionResult) -> list[str]:
    if not result.files and result.notes:
        return []  # nothing was handed in, as a note says
    missing = _grouped(one for one in result.exercises if one.status == MISSING)
    return [shortened(reason.partition(": ")[0], NOTE_CHARS) for reason in missing]


def _grouped(exercises: Iterable[ExerciseResult]) -> dict[str, list[str]]:
    """Message -> ids."""
    groups: dict[str, list[str]] = {}
    for one in exercises:
        groups.setdefault(one.message, []).append(one.exercise_id)
    return groups
