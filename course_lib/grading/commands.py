"""The instructors' commands: `course release` and `course grade`.

As in course_lib/cli.py, which registers them, each imports what it needs when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def release(
    repo: Annotated[str, typer.Option(help="OWNER/NAME to stamp into badges and set-up cells.")] = "",
    check: Annotated[bool, typer.Option(help="Write nothing; exit 1 if notebooks/ is out of date.")] = False,
    refresh_outputs: Annotated[bool, typer.Option(help="Run solutions/; store the outputs that CI compares.")] = False,
) -> None:
    """Write notebooks/ from solutions/ (instructors)."""
    from course_lib.grading import release as releasing
    from course_lib.grading.colab import set_repository
    from course_lib.profiles import require_checkout

    root = require_checkout()
    if repo and not check:
        set_repository(root, repo)
    changed = releasing.release(root, check=check, refresh=refresh_outputs)
    for path in changed:
        verb = "would change" if check else "wrote" if path.exists() else "removed"
        typer.echo(f"{verb} {path.relative_to(root)}")
    if not changed:
        typer.echo("notebooks/ is what solutions/ says")
    raise typer.Exit(int(check and bool(changed)))


def grade(submissions: Annotated[Path, typer.Argument(help="What was handed in: a folder or a zip file.")]) -> None:
    """Mark what was handed in; write marks, feedback and a gradebook (instructors)."""
    raise NotImplementedError
