"""What `course grade` does before and after grading: chooses assignment and sandbox, shows what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from course_lib.grading import grade as grading
from course_lib.grading import validate as validating
from course_lib.grading.assignment import Assignment, AssignmentError, choose, read_assignment
from course_lib.grading.marking_plugin import ClusterError
from course_lib.grading.progress import GradeProgress
from course_lib.grading.reports import RosterError
from course_lib.grading.reports.texts import count, first_names
from course_lib.grading.results_folder import InUseError
from course_lib.grading.sandbox.checking import check_sandbox
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError
from course_lib.grading.submissions import SubmissionsError

CANNOT_BEGIN = 2
INTERRUPTED = 130  # what a shell reports after Ctrl-C
UNSAFE = """\
--unsafe-no-sandbox: students' code runs as you, with your files, your network and this grader within its reach. It can
read the other submissions and your keys, delete your files, and forge its own marks. Use it only for code that you
wrote, or in a machine that you throw away afterwards."""


@contextmanager
def refusals() -> Iterator[None]:
    """Show why grading cannot begin (or go on) as one message, and exit with CANNOT_BEGIN."""
    try:
        yield
    except (AssignmentError, ClusterError, InUseError, RosterError, SandboxError, SubmissionsError, grading.GradeError,
            FileNotFoundError) as error:  # fmt: skip
        if os.environ.get("COURSE_DEBUG"):
            raise
        typer.echo(f"course grade: {error}", err=True)
        raise typer.Exit(CANNOT_BEGIN) from error
    except KeyboardInterrupt:
        typer.echo("stopped; what is marked is kept: start the same command again for the rest", err=True)
        raise typer.Exit(INTERRUPTED) from None


def choose_sandbox(command: str, unsafe: bool) -> Sandbox:
    """The sandbox, not tried yet; or none where that was asked for, aloud.

    Raises: SandboxError if there is none.
    """
    if unsafe:
        typer.echo(UNSAFE, err=True)
        return Sandbox.unsafe()
    return Sandbox.custom(command) if command else Sandbox.bubblewrap()


def refuse_holes(sandbox: Sandbox) -> None:
    """Try the sandbox; takes seconds.

    Raises: SandboxError if it has a hole.
    """
    if holes := check_sandbox(sandbox):
        listed = "\n".join(f"  - {hole}" for hole in holes)
        raise SandboxError(
            f"the sandbox ({sandbox.description}) does not hold:\n{listed}\nNothing was graded. Mend it, or give "
            "another with --sandbox; --unsafe-no-sandbox says what grading without one means"
        )


def choose_assignment(path: Path | None, notebooks: tuple[str, ...], source: Path, out_dir: Path) -> Assignment:
    """What to mark against: the file; else what OUT was graded against before; else all exercises of the notebooks.

    Raises: AssignmentError, GradeError, SubmissionsError.
    """
    if path is not None:
        if notebooks:
            raise AssignmentError(f"got --notebooks and --assignment {path.name}, which has its own; drop one")
        return read_assignment(path)
    earlier = grading.stored_assignment(out_dir)
    if earlier is None:
        chosen = notebooks or grading.default_notebooks(source)
        return choose(chosen, name=f"notebooks-{'-'.join(chosen)}")
    if notebooks and tuple(sorted(notebooks)) != earlier.notebooks:
        raise AssignmentError(
            f"{out_dir} holds marks for notebooks {', '.join(earlier.notebooks)}, "
            f"got --notebooks {','.join(notebooks)}; drop it, or give another -o"
        )
    return earlier


def grade(
    source: Path,
    out_dir: Path,
    assignment: Assignment,
    sandbox: Sandbox,
    wall_s: float,
    *,
    scheduler: str,
    n_workers: int,
    roster: Path | None,
    similarity: bool,
) -> int:
    """Grade; return the exit status."""
    console = _console()
    ids = ", ".join(one.exercise_id for one in assignment.exercises) or "no exercises"
    console.print(f"{assignment.name}: {ids} ({assignment.max_points:g} points)", highlight=False, markup=False)
    options = grading.Options(sandbox, _limits(wall_s), scheduler, n_workers or _n_cores(), roster, similarity)
    check = partial(refuse_holes, sandbox) if sandbox.isolated else None  # else going without one was asked for
    summary = grading.grade(source, out_dir, assignment, options, GradeProgress(console), check=check)
    n_students = summary.n_marked + summary.n_kept
    console.print(
        f"{count(n_students, 'submission')}: {summary.n_marked} marked now, {summary.n_kept} up to date. "
        f"Marks: {out_dir / 'grades.csv'}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if summary.not_graded:
        console.print(
            f"{len(summary.not_graded)} not graded in full, through no fault of theirs: "
            f"{first_names(summary.not_graded)}\n"
            "Start the same command again: it marks these, and nothing else.",
            style="bold red", highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    if summary.trouble:
        console.print(summary.trouble, style="bold red", highlight=False, markup=False, soft_wrap=True)
    return int(bool(summary.not_graded or summary.trouble))


def validate(path: Path | None, notebooks: tuple[str, ...], sandbox: Sandbox, wall_s: float) -> int:
    """Mark solutions, stubs and known wrong answers; return the exit status."""
    from course_lib.exercises.checking import list_exercises

    console = _console()
    everything = tuple(sorted({one.id.split(".")[0] for one in list_exercises()}))
    assignment = read_assignment(path) if path else choose(notebooks or everything, name="validation")
    with console.status("trying the sandbox") as status:
        if sandbox.isolated:
            refuse_holes(sandbox)
        status.update("marking solutions, stubs and wrong answers")
        report = validating.validate(
            assignment,
            sandbox,
            _limits(wall_s),
            lambda n_done, n_all: status.update(f"marking solutions, stubs and wrong answers: {n_done} of {n_all}"),
        )
    table = Table("exercise", "answers", "as they should be", "what came instead", title="The grader, graded")
    for exercise_id, n_answers in report.n_answers.items():
        odd = [one for one in report.deviations if one.exercise_id == exercise_id]
        lines = "\n".join(f"{one.answer}: wanted {one.wanted}; got {one.got}" for one in odd)
        n_right = n_answers - len({one.answer for one in odd})
        table.add_row(exercise_id, str(n_answers), f"[{'red' if odd else 'green'}]{n_right}[/]", escape(lines))
    console.print(table)
    return int(not report.is_clean)


def _limits(wall_s: float) -> Limits:
    return Limits(wall_s=wall_s, cpu_s=max(1, round(wall_s)))


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 120)  # a log file has room; rich would take it for 80 columns
    return console


def _n_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
