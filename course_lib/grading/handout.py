"""`course release --to FOLDER`: what a class gets, and what its instructor keeps.

FOLDER/notebooks/ is for the learners. FOLDER/assignment.toml is for `course grade`, and stays secret: with its salt
one can work out the inputs that answers are tried on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from course_lib.grading.assignment import (
    ASSIGNMENT_FILE,
    Assignment,
    AssignmentError,
    choose,
    read_assignment,
    write_assignment,
)
from course_lib.grading.release import serialise
from course_lib.grading.sandbox.launch import Sandbox
from course_lib.grading.sandbox.sandboxes import SandboxError
from course_lib.grading.tailored import points_text, posed, solved
from course_lib.grading.validate import validate
from course_lib.running.executing import write_text_atomically


class HandoutError(Exception):
    """A folder that cannot be handed out; the message says what to do."""


def release_to(
    root: Path,
    folder: Path,
    name: str,
    notebooks: str,
    exercises: str,
    points: Sequence[str],
    deny: Sequence[str],
    *,
    salt: str = "",
    replace: bool = False,
    tell: Callable[[str], None] = print,
) -> list[Path]:
    """`course release --to`: hand out what the options say ("01,03", "01.2,02.2", ["01.2=5"], ["03.2=torch.linalg"]).

    Without a salt, that of an assignment.toml that is in the folder stays, so that marks given by it stay, too.
    Anything else in which the folder would become another is listed, and needs `replace`.

    Raises: as hand_out; AssignmentError if an option cannot be read.
    """
    there = folder / ASSIGNMENT_FILE
    earlier = read_assignment(there) if there.exists() else None
    if earlier is not None and not salt:
        salt = earlier.salt
        tell(f"keeping the salt of {there}")
    elif earlier is not None and salt != earlier.salt:
        tell(f"another salt than in {there}: answers will be tried on other inputs than before")
    numbers = [one.zfill(2) for one in _listed(notebooks)]
    worth = {one: _number(text) for one, text in _pairs("--points", points)}
    denied = {one: [*_listed(text)] for one, text in _pairs("--deny", deny)}
    called = name or folder.resolve().name
    assignment = choose(numbers, _listed(exercises), worth, denied, name=called, salt=salt or None, root=root)
    changes = [*(_changes(earlier, assignment) if earlier else ())]
    changes += _vanishing(root, folder, numbers or assignment.notebooks)
    _refuse_changes(folder, changes, replace)
    for change in changes:
        tell(f"replaced: {change}")
    return hand_out(root, folder, assignment, numbers, tell)


def _refuse_changes(folder: Path, changes: list[str], replace: bool) -> None:
    """Raises: HandoutError."""
    if changes and not replace:
        listed = "\n".join(f"  - {change}" for change in changes)
        raise HandoutError(
            f"not released: {folder} holds another release, and with these options\n{listed}\n"
            f"Give that release's options again ({ASSIGNMENT_FILE} has its choices), another folder, or --replace"
        )


def _changes(old: Assignment, new: Assignment) -> Iterator[str]:
    """In what two assignments differ, the salt aside, a line each."""
    if old.name != new.name:
        yield f"the name was {old.name}, now {new.name}"
    before, after = _worth(old), _worth(new)
    for one in sorted({*before, *after}):
        if one not in after:
            yield f"{one} counts no longer ({points_text(before[one])})"
        elif one not in before:
            yield f"{one} counts now ({points_text(after[one])})"
        elif before[one] != after[one]:
            yield f"{one} was worth {points_text(before[one])}, now {points_text(after[one])}"
    denied, denying = ({one.exercise_id: set(one.deny) for one in a.exercises} for a in (old, new))
    for one in sorted({*denied} & {*denying}):
        if denied[one] != denying[one]:
            was, now = (", ".join(sorted(names)) or "nothing" for names in (denied[one], denying[one]))
            yield f"{one} was denied {was}, now {now}"


def _worth(assignment: Assignment) -> dict[str, float]:
    coded = {one.exercise_id: one.points for one in assignment.exercises}
    return coded | {one.written_id: one.points for one in assignment.written}


def _vanishing(root: Path, folder: Path, numbers: Iterable[str]) -> Iterator[str]:
    """Notebooks of the course that the folder holds and that are not among these numbers."""
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        if path.name in _names(root) and path.name[:2] not in numbers:
            yield f"notebooks/{path.name} goes"


def _names(root: Path) -> set[str]:
    return {path.name for path in (root / "solutions").glob("*.ipynb")}


def hand_out(
    root: Path,
    folder: Path,
    assignment: Assignment,
    notebooks: Iterable[str] = (),
    tell: Callable[[str], None] = print,
) -> list[Path]:
    """Check the assignment, then write what the class and the instructor get.

    Args:    root: the course's repository.
             notebooks: numbers of those to hand out; none: those that the assignment's questions stand in.
             tell: called with what was checked, a line.
    Returns: the files written.
    Raises:  HandoutError, AssignmentError, ReleaseError; then nothing has been written.
    """
    if folder.resolve() == root.resolve() or (folder / "solutions").exists():
        raise HandoutError(f"--to: {folder} is where the notebooks are edited; give a folder for this class, e.g. hw1")
    numbers = sorted({*notebooks} or {*assignment.notebooks})
    with TemporaryDirectory(prefix="course-release-") as name:
        staged = Path(name)
        for kind, made in (("solutions", solved), ("notebooks", posed)):
            (staged / kind).mkdir()
            for stem, notebook in made(root, numbers, assignment).items():
                write_text_atomically(staged / kind / f"{stem}.ipynb", serialise(notebook))
        if assignment.exercises:
            tell(_tried(assignment, staged))
        return _write(folder, assignment, staged, _names(root))


def _tried(assignment: Assignment, staged: Path) -> str:
    """That solutions pass, stubs are not attempted and known slips are refused, through the grader's whole path."""
    if sys.platform != "linux":
        return "answers were not tried, as that takes Linux; `course grade --validate --assignment ...` does it there"
    try:
        sandbox = Sandbox.bubblewrap()
    except SandboxError:
        sandbox = Sandbox.unsafe()  # only the course's own code runs here
    report = validate(assignment, sandbox, root=staged)
    if not report.is_clean:
        raise HandoutError(f"not released, because answers are not marked as they should be: {report}")
    return str(report)


def _write(folder: Path, assignment: Assignment, staged: Path, ours: set[str]) -> list[Path]:
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted((staged / "notebooks").iterdir()):
        written.append(folder / "notebooks" / path.name)
        write_text_atomically(written[-1], path.read_text("utf-8"))
    for path in (folder / "notebooks").glob("*.ipynb"):
        if path.name in ours and path not in written:
            path.unlink()  # handed out earlier, no longer chosen
    write_assignment(folder / ASSIGNMENT_FILE, assignment)
    return [*written, folder / ASSIGNMENT_FILE]


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """["01.2=5,01.3=2", "02.1=1"] -> (id, text) of each; what follows a comma without an id belongs to the last one."""
    pairs: list[tuple[str, str]] = []
    for text in texts:
        for part in _listed(text):
            name, equals, value = part.partition("=")
            if equals and name.strip() and value.strip():
                pairs.append((name.strip(), value.strip()))
            elif pairs and not equals and option == "--deny":
                pairs[-1] = (pairs[-1][0], f"{pairs[-1][1]},{part}")
            else:
                raise AssignmentError(f"{option}: got {part!r}, need an id and what it gets, as in 01.2=...")
    if twice := {one for one, _ in pairs if [other for other, _ in pairs].count(one) > 1}:
        raise AssignmentError(f"{option}: {', '.join(sorted(twice))} is there twice")
    return pairs


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise AssignmentError(f"--points: got {text!r}, need a number as in 01.2=5") from None
