"""`course release --to FOLDER`: what a class gets, and what its instructor keeps.

FOLDER/notebooks/ is for the learners. FOLDER/assignment.toml is for `course grade`, and stays secret: with its salt
one can work out the inputs that answers are tried on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from course_lib.executing import write_text_atomically
from course_lib.grading.assignment import Assignment, write_assignment
from course_lib.grading.release import serialise
from course_lib.grading.sandbox.launch import Sandbox
from course_lib.grading.sandbox.sandboxes import SandboxError
from course_lib.grading.tailored import posed, solved
from course_lib.grading.validate import Report, validate

ASSIGNMENT_FILE = "assignment.toml"


class HandoutError(Exception):
    """A folder that cannot be handed out; the message says what to do."""


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
            tell(str(_checked(assignment, staged)))
        return _write(folder, assignment, staged, {path.name for path in (root / "solutions").glob("*.ipynb")})


def _checked(assignment: Assignment, staged: Path) -> Report:
    """That solutions pass, stubs are not attempted and known slips are refused, through the grader's whole path."""
    try:
        sandbox = Sandbox.bubblewrap()
    except SandboxError:
        sandbox = Sandbox.unsafe()  # only the course's own code runs here
    report = validate(assignment, sandbox, root=staged)
    if not report.is_clean:
        raise HandoutError(f"not released, because answers are not marked as they should be: {report}")
    return report


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
