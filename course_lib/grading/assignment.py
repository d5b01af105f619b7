"""What is graded: which exercises, for how many points, which names they may not use, and the salt of the inputs.

`course release --to FOLDER` writes an assignment.toml for the instructor; `course grade` reads it (and writes one into
its output folder where there was none, with a salt of its own, so that grading again draws the same inputs).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.exercises.checking import get_exercise, list_exercises
from course_lib.exercises.framework import Exercise
from course_lib.grading.release import WRITTEN_MARK
from course_lib.running.executing import write_text_atomically
from course_lib.settings.profiles import checkout_dir

FORMAT = 1
ASSIGNMENT_FILE = "assignment.toml"
NAME = re.compile(r"[A-Za-z0-9_-]+")
SALT = re.compile(r"[A-Za-z0-9+/=_-]+")  # nothing that a TOML string would have to escape
DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
SECRET = """\
# Made by `course release --to` or `course grade`. For instructors only, in no repository: who has the salt can work out
# the inputs that answers are tried on. Points, and names that an answer may not use (deny), can be changed here.
"""


class AssignmentError(ValueError):
    """An assignment file that cannot be used; the message names the file, the entry and the remedy."""


@dataclass(frozen=True)
class Assigned:
    """One exercise of an assignment. `deny`: dotted names that an answer may not use (see denied.denied_name)."""

    exercise_id: str
    points: float
    deny: tuple[str, ...] = ()

    @property
    def exercise(self) -> Exercise:
        return get_exercise(self.exercise_id)


@dataclass(frozen=True)
class AssignedWritten:
    """One written question, marked by hand."""

    written_id: str
    points: float


@dataclass(frozen=True)
class Assignment:
    """Attributes:
    name: of letters, digits, - and _; nbgrader's name of the assignment, too.
    salt: secret; with it nobody can work out which inputs an answer will be tried on.
    """

    name: str
    salt: str
    exercises: tuple[Assigned, ...]
    written: tuple[AssignedWritten, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise AssignmentError(f"got name {self.name!r}, need letters, digits, - and _")
        if not SALT.fullmatch(self.salt):
            raise AssignmentError(f"got salt {self.salt!r}, need letters and digits; without one, one is drawn")
        ids = [one.exercise_id for one in self.exercises] + [one.written_id for one in self.written]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise AssignmentError(f"question {', '.join(twice)} is there twice; leave one of each")
        if not self.exercises and not self.written:
            raise AssignmentError("there is no [[exercise]] and no [[written]]; need at least one")
        known = [exercise.id for exercise in list_exercises()]
        _refuse_unknown("exercise", [one.exercise_id for one in self.exercises], known)
        for one in self.written:
            if not re.fullmatch(r"\d\d\.\d+", one.written_id) or one.written_id in known:
                raise AssignmentError(f"written question: got id {one.written_id!r}, need one as in '02.2'")
        worth = [one.points for one in (*self.exercises, *self.written)]
        for question_id, points in zip(ids, worth, strict=True):
            if not (math.isfinite(points) and points > 0):
                raise AssignmentError(f"question {question_id}: got {points} points, need more than 0; or leave it out")
        for one in self.exercises:
            if odd := [name for name in one.deny if not DOTTED_NAME.fullmatch(name)]:
                raise AssignmentError(f"exercise {one.exercise_id}: got deny {odd[0]!r}, need a name as in torch.fft")

    @property
    def max_points(self) -> float:
        return sum(one.points for one in self.exercises)

    @property
    def notebooks(self) -> tuple[str, ...]:
        """The numbers of the notebooks that its questions stand in: ("01", "03")."""
        exercises, written = (one.exercise_id for one in self.exercises), (one.written_id for one in self.written)
        return tuple(sorted({one.split(".")[0] for one in (*exercises, *written)}))

    def digest(self) -> str:
        """Of everything that a mark depends on, but for the code of the course."""
        return hashlib.sha256(to_toml(self).encode()).hexdigest()


def choose(
    notebooks: Iterable[str] = (),
    exercises: Iterable[str] = (),
    points: Mapping[str, float] | None = None,
    deny: Mapping[str, Iterable[str]] | None = None,
    *,
    name: str = "assignment",
    salt: str | None = None,
    root: Path | None = None,
) -> Assignment:
    """Make an assignment of some of the course's questions, in the order of the course.

    Args:
        notebooks: numbers ("01"); none: those that `exercises` stand in.
        exercises: ids of those that count, of written questions too; none: all of the notebooks'.
        points: of questions that are worth more or less than the course says, by id.
        deny: dotted names that an answer may not use, by id.
        salt: None draws a new one, so that no two classes get the same inputs.
        root: the course's repository, which holds the written questions; None: the one that this file lies in.
    Raises:  AssignmentError.
    """
    numbers, wanted = [one.zfill(2) for one in notebooks], list(dict.fromkeys(exercises))
    if not numbers and not wanted:
        raise AssignmentError("got neither notebooks nor exercises; need e.g. --notebooks 01,03 or --exercises 01.2")
    coded = {one.id: float(one.points) for one in list_exercises()}
    by_hand = written_questions(root)
    _refuse_unknown("notebook", numbers, sorted({one.split(".")[0] for one in coded}))
    there = [one for one in {**coded, **by_hand} if not numbers or one.split(".")[0] in numbers]
    _refuse_unknown("exercise", wanted, there)
    chosen = [one for one in there if not wanted or one in wanted]
    worth = {**coded, **by_hand, **(points or {})}
    names = {one: tuple(dict.fromkeys(listed)) for one, listed in (deny or {}).items()}
    _refuse_unknown("exercise (of points)", points or {}, chosen)
    _refuse_unknown("exercise (of deny)", names, [one for one in chosen if one in coded])
    return Assignment(
        name,
        secrets.token_hex(16) if salt is None else salt,
        tuple(Assigned(one, float(worth[one]), names.get(one, ())) for one in coded if one in chosen),
        tuple(AssignedWritten(one, float(worth[one])) for one in by_hand if one in chosen),
    )


def repository_with(folder: str, root: Path | None = None) -> Path:
    """The course's repository (None: the one we are in). Raises: AssignmentError where it, or the folder, is absent."""
    root = root or checkout_dir()
    if root is None or not (root / folder).is_dir():
        raise AssignmentError(f"need the course's repository, for {folder}/: clone it, and `pip install -e .` there")
    return root


def written_questions(root: Path | None = None) -> dict[str, float]:
    """Points of each written question of the notebooks, by id, in order. Raises: AssignmentError without repository."""
    root = repository_with("notebooks", root)
    found: dict[str, float] = {}
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "markdown" and (mark := WRITTEN_MARK.search("".join(cell["source"]))):
                found[mark[1]] = float(mark[2])
    return found


def to_toml(assignment: Assignment) -> str:
    """The file's text: the same for the same assignment."""
    lines = [f"{SECRET}format = {FORMAT}", f'name = "{assignment.name}"', f'salt = "{assignment.salt}"']
    for one in assignment.exercises:
        lines += ["", "[[exercise]]", f'id = "{one.exercise_id}"', f"points = {_number(one.points)}"]
        if one.deny:
            lines.append(f"deny = [{', '.join(json.dumps(name) for name in one.deny)}]")
    for question in assignment.written:
        lines += ["", "[[written]]", f'id = "{question.written_id}"', f"points = {_number(question.points)}"]
    return "\n".join(lines) + "\n"


def write_assignment(path: Path, assignment: Assignment) -> None:
    """A new file can be read by its owner only: it holds the salt."""
    write_text_atomically(path, to_toml(assignment), mode=0o600)


def read_assignment(path: Path) -> Assignment:
    """Raises: AssignmentError, naming the file, the entry and the remedy; FileNotFoundError."""
    try:
        body = tomllib.loads(path.read_text("utf-8"))
        if body.get("format") != FORMAT:
            raise AssignmentError(f"got format {body.get('format')!r}, need {FORMAT}; make it by course release --to")
        _refuse_unknown("entry", body, ("format", "name", "salt", "exercise", "written"))
        return Assignment(
            _text(body, "name"),
            _text(body, "salt"),
            tuple(Assigned(one, _points(entry, one), _deny(entry, one)) for one, entry in _tables(body, "exercise")),
            tuple(AssignedWritten(one, _points(entry, one)) for one, entry in _tables(body, "written")),
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AssignmentError(f"{path.name} is no TOML file: {error}") from error
    except AssignmentError as error:
        raise AssignmentError(f"{path.name}: {error}") from error


def _deny(entry: dict[str, Any], exercise_id: str) -> tuple[str, ...]:
    names = entry.get("deny", [])
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    raise AssignmentError(f'exercise {exercise_id}: got deny = {names!r}, need a list as in ["torch.logsumexp"]')


def _text(body: dict[str, Any], key: str) -> str:
    if isinstance(value := body.get(key), str):
        return value
    raise AssignmentError(f'got {key} = {value!r}, need a text as in {key} = "..."')


def _points(entry: dict[str, Any], question_id: str) -> float:
    value = entry.get("points")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9:
        return float(value)
    raise AssignmentError(f"question {question_id}: got points = {value!r}, need a number")


def _tables(body: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    """(id, entries) of each table."""
    tables = body.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(entry, dict) for entry in tables):
        raise AssignmentError(f"got {key} = ..., need tables that begin with [[{key}]]")
    for entry in tables:
        _refuse_unknown(f"entry of [[{key}]]", entry, ("id", "points", "deny")[: 3 if key == "exercise" else 2])
    return [(_text(entry, "id"), entry) for entry in tables]


def _refuse_unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise AssignmentError(f"no {kind} {', '.join(unknown)}; there are {', '.join(known)}")


def _number(value: float) -> str:  # 3, 2.5: as people write it, and equal when read again
    return str(int(value)) if value == int(value) else repr(float(value))
