"""The `course` command: everything that the Makefile does, one command each, so that every system can do it.

Each command imports what it needs when it runs, so that `course --help` answers at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from course_lib import __version__
from course_lib.grading import commands

app = typer.Typer(
    help="Deep generative models for sound: run, test and look after the course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="The recordings that the notebooks use.", no_args_is_help=True)
app.add_typer(data, name="data")
INTERRUPTED = 130  # what a shell reports after Ctrl-C


@app.callback(invoke_without_command=True)
def main(version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    if version:
        typer.echo(f"course {__version__}")
        raise typer.Exit


@app.command()
def doctor(
    install_missing: Annotated[bool, typer.Option(help="Install absent requirements, and only those.")] = False,
) -> None:
    """Is this machine ready? [OK], [NOTE] and [FAIL] lines, with the remedy for each."""
    from course_lib.commands.doctor import main as run_doctor

    raise typer.Exit(run_doctor(["--install-missing"] if install_missing else []))


@data.command("import")
def data_import(
    path: Annotated[Path, typer.Argument(help="FSDD 1.0.10: an archive (.tar.gz, .zip) or a folder.")],
) -> None:
    """Take the recordings from a file or folder instead of the network."""
    with _plain_errors():
        from course_lib.clips.fsdd import import_fsdd

        typer.echo(f"imported and verified: {import_fsdd(path)}")


@data.command("download")
def data_download() -> None:
    """Fetch FSDD into the cache now, for an offline class (the notebooks do it by themselves)."""
    with _plain_errors():
        from course_lib.clips.fsdd import download_fsdd, find_fsdd

        typer.echo(f"downloaded and verified: {find_fsdd() or download_fsdd()}")


@data.command("info")
def data_info() -> None:
    """Which data set the notebooks find without a network."""
    from course_lib.commands.doctor import check_data
    from course_lib.commands.findings import FAIL

    finding = check_data()
    typer.echo(str(finding))
    raise typer.Exit(int(finding.status == FAIL))


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="What to train, e.g. judge_fsdd.")],
    profile: Annotated[str, typer.Option(help="smoke, quick or full.")] = "",
) -> None:
    """Train one of the pretrained models again, as data/pretrained/NAME.json records it."""
    with _plain_errors():
        _set_profile(profile)
        from course_lib.recipes import making

        making.train(name)


@app.command()
def run(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Which ones, e.g. 01; all without.")] = None,
    profile: Annotated[str, typer.Option(help="smoke (seconds), quick (minutes) or full (GPU).")] = "",
    timeout_min: Annotated[float, typer.Option(min=0, help="Minutes a notebook may take; 0: any time.")] = 0,
    solutions: Annotated[bool, typer.Option(help="Run the solved notebooks instead.")] = False,
) -> None:
    """Run notebooks from the top; write them to runs/ with sound and pictures, and runs/report.json.

    Exits 1 if a notebook fails (the others still run), 130 after Ctrl-C (what had finished is kept).
    """
    with _plain_errors():
        _set_profile(profile)
        from course_lib.settings.profiles import require_checkout

        paths = _find_notebooks(require_checkout() / ("solutions" if solutions else "notebooks"), notebooks or [])
        from rich.console import Console

        from course_lib.clips.loading import load_clips
        from course_lib.commands.run_display import RunProgress, shown_path, summary_table
        from course_lib.running.collecting import run_notebooks
        from course_lib.settings import profiles

        console, out_dir = Console(), profiles.runs_dir()
        if not console.is_terminal:
            console.width = max(console.width, 120)  # a log file has room; rich would take it for 80 columns
        chosen, device = profiles.current_profile(), profiles.current_device()
        dataset = load_clips().dataset  # gets the data once, where a download can show its progress
        console.print(f"{len(paths)} notebook(s), profile {chosen}, device {device}, data {dataset}", highlight=False)
        runs = run_notebooks(
            paths,
            profile=chosen.name,
            device=str(device),
            dataset=dataset,
            out_dir=out_dir,
            timeout_s=timeout_min * 60 or None,
            listener=RunProgress(console),
        )
        console.print(summary_table(runs, console.width))
        console.print(f"All figures: {shown_path(out_dir / 'report.json')}", highlight=False)
    raise typer.Exit(int(any(not one.ok for one in runs)))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def lab(context: typer.Context) -> None:
    """Open JupyterLab on notebook 00 (further options go to JupyterLab, e.g. --no-browser)."""
    with _plain_errors():
        from course_lib.settings.profiles import require_checkout

        root = require_checkout()
        first = _find_notebooks(root / "notebooks", ["00"])[0].relative_to(root).as_posix()
    # Opened on the whole repository, so that runs/ is at hand; the address that is printed leads to the notebook, too.
    places = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{first}"]
    raise typer.Exit(subprocess.call([sys.executable, "-m", "jupyterlab", *places, *context.args]))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(context: typer.Context) -> None:
    """Measure our building blocks beside their peers (course bench --help tells how)."""
    with _plain_errors():
        from course_lib.settings.profiles import require_checkout

        command = [sys.executable, "-m", "benchmarks.collect", *context.args]
        status = subprocess.call(command, cwd=require_checkout())  # they are no part of the installed package
    raise typer.Exit(status)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Show the errors that we raise for people as one message without a traceback; programming errors keep theirs."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; what had finished is kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError, ImportError) as error:
        _fail(error)
    except Exception as error:
        if type(error).__module__.startswith("course_lib."):  # DataError, ReleaseError, CheckpointError ...
            _fail(error)
        raise


def _fail(error: Exception) -> None:
    if os.environ.get("COURSE_DEBUG"):
        raise error
    typer.echo(f"{type(error).__name__}: {error}", err=True)
    if isinstance(error, ImportError):
        extras = "lab,instructor" if {"grade", "release"} & set(sys.argv[1:2]) else "lab,judge"
        typer.echo(f"A package is absent: pip install -c requirements.lock -e '.[{extras}]'", err=True)
    typer.echo("(COURSE_DEBUG=1 shows where; see also: course doctor)", err=True)
    raise typer.Exit(1) from error


def _set_profile(profile: str) -> None:
    """An option wins over the environment; an empty one, as from `make course PROFILE=`, does not."""
    from course_lib.settings.profiles import Profile, current_profile

    if profile:
        os.environ["COURSE_PROFILE"] = Profile(profile).name
    current_profile()  # refuse a misspelt COURSE_PROFILE now, not after the first notebook


def _find_notebooks(folder: Path, wanted: list[str]) -> list[Path]:
    """The notebooks whose number or name was given ("1", "01", "01_sound_as_data"), in order; all for none.

    Raises: FileNotFoundError, naming those there are.
    """
    there = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not there:
        raise FileNotFoundError(f"{folder.name}/ holds no notebooks; `course release` writes them from solutions/")
    chosen: set[Path] = set()
    for name in wanted:
        found = [p for p in there if name.removesuffix(".ipynb") == p.stem or name.zfill(2) == p.stem[:2]]
        if not found:
            raise FileNotFoundError(f"no notebook {name!r}; there are {', '.join(p.stem for p in there)}")
        chosen.update(found)
    return [path for path in there if not wanted or path in chosen]


def _plainly(command: Callable[..., None]) -> Callable[..., None]:
    """The same command, with plain errors."""

    @wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        with _plain_errors():
            command(*args, **kwargs)

    return run


for instructors in (commands.release, commands.grade):
    app.command()(_plainly(instructors))


if __name__ == "__main__":
    app()
