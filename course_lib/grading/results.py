"""What grading finds out, as plain data: a result an exercise, a result a submission, and the file each is kept in.

A submission's file is written once, whole, when all of it has been marked; it is what a grader that was killed finds
when it is started again, and all that the reports are made from. So it holds nothing that differs from run to run.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED

STOPPED = "stopped"  # the cell did not run, defines no such function, or was ended: time, memory, os._exit
MISSING = "missing"  # the exercise's cell is not in what was handed in
REFUSED = "refused"  # there is a cell, but it was not run: a name on the deny list, two cells that differ, too long
NOT_GRADED = "not graded"  # our fault, not the student's: marked again when the grader is started again
STATUSES = (PASSED, FAILED, STOPPED, NOT_ATTEMPTED, MISSING, REFUSED, NOT_GRADED)
RUNS_ALONE = "the grader runs this cell by itself"  # how the hint begins if a name of another cell was missing
FORMAT = 1


@dataclass(frozen=True)
class ExerciseResult:
    """The verdict on one exercise. `source` is what the student wrote; every text may hold anything they like."""

    exercise_id: str
    title: str
    status: str
    points: float
    max_points: float
    message: str = ""
    hint: str = ""
    source: str = ""


@dataclass(frozen=True)
class WrittenAnswer:
    """A written question: marked by hand, so it has no status."""

    written_id: str
    max_points: float
    text: str = ""


@dataclass(frozen=True)
class SubmissionResult:
    """One student's hand-in.

    Attributes:
        student: as the folder or file was called.
        digest: SHA-256 of the files, of what they were marked against, and of FORMAT: a result whose digest is still
            right needs no second marking.
        files: what was read, by name.
        notes: what the student should know of the files (an unreadable notebook, two cells for one exercise).
    """

    student: str
    digest: str
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exercises: tuple[ExerciseResult, ...] = ()
    written: tuple[WrittenAnswer, ...] = ()

    @property
    def points(self) -> float:
        return sum(result.points for result in self.exercises)

    @property
    def max_points(self) -> float:
        return sum(result.max_points for result in self.exercises)

    @property
    def is_complete(self) -> bool:
        """False if something could not be graded through no fault of the student's."""
        return all(result.status != NOT_GRADED for result in self.exercises)

    def to_json(self) -> str:
        """The same bytes for the same result."""
        body = asdict(self) | {"format": FORMAT, "points": self.points, "max_points": self.max_points}
        return json.dumps(body, ensure_ascii=True, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SubmissionResult:
        """Raises: ValueError if this is no result that `to_json` wrote."""
        try:
            body: dict[str, Any] = json.loads(text)
            if body.pop("format") != FORMAT:
                raise ValueError("written by another version of the grader")
            body.pop("points"), body.pop("max_points")
            exercises = tuple(ExerciseResult(**one) for one in body.pop("exercises"))
            written = tuple(WrittenAnswer(**one) for one in body.pop("written"))
            lists = {name: tuple(body.pop(name)) for name in ("files", "notes")}
            return cls(**body, **lists, exercises=exercises, written=written)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no result of a submission: {error}") from error


def slug(student: str) -> str:
    """A file name for this student, safe on every system, and another one for every other student.

    Names that had to be changed, or that differ in case only, are told apart by a hash, and so is a name that ends like
    one.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", student).strip(".-")[:60]
    if plain.lower().split(".")[0] in _RESERVED or not plain:
        plain = f"student-{plain}"
    if plain == student == plain.lower() and not _HASHED.search(plain):
        return plain
    return f"{plain}-{hashlib.sha256(student.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def student_id(student: str) -> str:
    """The student's id in nbgrader's gradebook: the name itself where that is plain, else its slug."""
    plain = _PLAIN_NAME.fullmatch(student) and not _HASHED.search(student)
    return student if plain and len(student.encode()) <= _MAX_NAME_BYTES else slug(student)


# What a slug ends with: nobody gets another one's by their name. 128 bits, as two names with the same end can be looked
# for; with 40 that takes seconds.
_HASHED = re.compile(r"-[0-9a-f]{32}$")
_MAX_NAME_BYTES = 200  # a folder's name may have 255, and nbgrader adds to it
# A name that is a folder, a glob pattern of nbgrader's and a cell of its unquoted CSV file, and means itself in each.
_PLAIN_NAME = re.compile(r"\w[\w.@ +-]{0,98}[\w]|\w")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}  # Windows


def result_path(out_dir: Path, student: str) -> Path:
    return out_dir / "results" / f"{slug(student)}.json"
