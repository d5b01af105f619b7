"""The instructors' commands: `course release` and `course grade`.

As in course_lib/commands/cli.py, which registers them, each imports what it needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def release(
    repo: Annotated[str, typer.Option(help="OWNER/NAME to stamp into badges and set-up cells.")] = "",
    check: Annotated[bool, typer.Option(help="Write nothing; exit 1 if notebooks/ is out of date.")] = False,
    refresh_outputs: Annotated[bool, typer.Option(help="Run solutions/; store the outputs that CI compares.")] = False,
    to: Annotated[Path | None, typer.Option(help="Folder for a class's notebooks and assignment.toml.")] = None,
    name: Annotated[str, typer.Option(help="With --to: the assignment's name; the folder's without.")] = "",
    notebooks: Annotated[str, typer.Option(help="With --to: which ones, e.g. 01,03.")] = "",
    exercises: Annotated[str, typer.Option(help="With --to: the questions that count, e.g. 01.2,02.2.")] = "",
    points: Annotated[list[str] | None, typer.Option(help="With --to: other points, e.g. 01.2=5.")] = None,
    deny: Annotated[
        list[str] | None, typer.Option(help="With --to: names not to be used, e.g. 04.2=torch.distributions.")
    ] = None,
    salt: Annotated[str, typer.Option(help="With --to: of the drawn inputs; drawn, or the file's, without.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="With --to: change what the folder holds.")] = False,
) -> None:
    """Write notebooks/ from solutions/; with --to, a class's notebooks and its assignment.toml (instructors)."""
    from course_lib.grading import release as releasing
    from course_lib.grading.colab import set_repository
    from course_lib.settings.profiles import require_checkout

    root = require_checkout()
    if to is not None:
        from course_lib.grading.handout import release_to

        chosen = (notebooks, exercises, points or [], deny or [])
        for path in release_to(root, to, name, *chosen, salt=salt, replace=replace, tell=typer.echo):
            typer.echo(f"wrote {path}")
        return
    if name or notebooks or exercises or points or deny or salt or replace:
        raise ValueError("--name, --notebooks, --exercises, --points, --deny, --salt and --replace need --to FOLDER")
    if repo and not check:
        set_repository(root, repo)
    changed = releasing.release(root, check=check, refresh=refresh_outputs)
    for path in changed:
        verb = "would change" if check else "wrote" if path.exists() else "removed"
        typer.echo(f"{verb} {path.relative_to(root)}")
    if not changed:
        typer.echo("notebooks/ is what solutions/ says")
    raise typer.Exit(int(check and bool(changed)))


def grade(
    submissions: Annotated[Path | None, typer.Argument(help="What was handed in: a folder or a zip.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for marks, feedback and gradebook.")] = None,
    assignment: Annotated[Path | None, typer.Option(help="assignment.toml, as `course release --to` wrote it.")] = None,
    notebooks: Annotated[str, typer.Option(help="Without --assignment: which ones, e.g. 01,03.")] = "",
    scheduler: Annotated[str, typer.Option(help="Address of a dask scheduler, e.g. tcp://host:8786.")] = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes that mark, here; 0: one a core.")] = 0,
    wall_s: Annotated[float, typer.Option(min=0.1, help="Seconds that an exercise may take.")] = 10,
    roster: Annotated[
        Path | None, typer.Option(help="CSV of the class: Canvas's export, Moodle's worksheet, or a column `student`.")
    ] = None,
    similarity: Annotated[bool, typer.Option(help="List groups whose code is alike.")] = True,
    sandbox: Annotated[str, typer.Option(help="Command that runs the worker, e.g. in a container or VM.")] = "",
    unsafe_no_sandbox: Annotated[
        bool, typer.Option("--unsafe-no-sandbox", help="Run students' code as you: it can read your files.")
    ] = False,
    validate: Annotated[
        bool, typer.Option("--validate", help="Mark the course's own right and wrong answers instead.")
    ] = False,
) -> None:
    """Mark what was handed in: OUT/grades.csv, feedback/, nbgrader/gradebook.db and more (instructors).

    Started again, it marks only what is new, changed or not graded yet. Exits 0 if all is graded, 1 if something could
    not be (or, with --validate, is not marked as it should be), 2 if it could not begin.
    """
    from course_lib.grading import grade_command

    if not validate and (submissions is None or out is None):
        raise typer.BadParameter("need SUBMISSIONS and -o OUT, as in: course grade submitted/ -o graded/")
    numbers = tuple(one.strip().zfill(2) for one in notebooks.split(",") if one.strip())
    with grade_command.refusals():
        box = grade_command.choose_sandbox(sandbox, unsafe_no_sandbox)
        if validate:
            status = grade_command.validate(assignment, numbers, box, wall_s)
        else:
            chosen = grade_command.choose_assignment(assignment, numbers, submissions, out)
            settings = dict(scheduler=scheduler, n_workers=workers, roster=roster, similarity=similarity)
            status = grade_command.grade(submissions, out, chosen, box, wall_s, **settings)
    raise typer.Exit(status)
