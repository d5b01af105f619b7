"""The `course` command: what it runs, what it refuses, and its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from typer.testing import CliRunner, Result

from course_lib.clips import loading
from course_lib.commands import cli
from course_lib.settings import profiles


def course(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with two notebooks that take no time, standing in for the checkout."""
    (tmp_path / "notebooks").mkdir()
    for name, source in (("00_start_here", "print('hello')"), ("01_sound_as_data", "raise RuntimeError('lost')")):
        cell = nbformat.v4.new_code_cell(source)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(profiles, "checkout_dir", lambda: tmp_path)
    monkeypatch.setattr(loading, "load_clips", lambda: SimpleNamespace(dataset="bundled"))
    monkeypatch.setenv("COURSE_RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path


def test_every_job_is_one_command():
    shown = course("--help").output
    for name in ("doctor", "data", "train", "run", "lab", "release", "bench"):
        assert name in shown
    assert course("--version").output == "course 0.1.0\n"


def test_it_starts_without_heavy_modules():
    code = (
        "import sys, course_lib.commands.cli, course_lib.commands.doctor\n"
        "heavy = {'torch', 'numpy', 'librosa', 'matplotlib', 'nbformat', 'nbclient', 'nbgrader', 'IPython'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, f"imported: {done.stderr}"


def test_python_m_course_lib_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "course_lib", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Usage: course" in done.stdout


def test_run_all_names_the_failure_and_exits_1(repository):
    result = course("run", "--profile", "smoke")
    assert result.exit_code == 1
    assert "2 notebook(s), profile smoke" in result.output and "RuntimeError: lost" in result.output
    report = json.loads((repository / "runs/report.json").read_text())
    assert [(row["name"], row["ok"]) for row in report["notebooks"]] == [
        ("00_start_here", True), ("01_sound_as_data", False),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["0", "00", "00_start_here", "00_start_here.ipynb"])
def test_one_notebook(repository, name):
    assert [path.stem for path in cli._find_notebooks(repository / "notebooks", [name])] == ["00_start_here"]


def test_run_one_exits_0(repository):
    result = course("run", "00")
    assert result.exit_code == 0 and "passed 00_start_here" in result.output and "report.json" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "07"], "no notebook '07'; there are 00_start_here, 01_sound_as_data"),
        (["run", "--profile", "fast"], "unknown profile 'fast': need one of smoke, quick, full"),
        (["run", "--solutions"], "solutions/ holds no notebooks"),
        (["data", "import", "absent.tar.gz"], "absent.tar.gz"),
        (["release", "--repo", "just-a-name"], "need OWNER/NAME"),
    ],
)
def test_refusals_are_one_message(repository, arguments, words):
    (repository / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/OWNER/NAME"\n')
    result = course(*arguments)
    assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output


def test_debug_shows_where(repository, monkeypatch):
    monkeypatch.setenv("COURSE_DEBUG", "1")
    with pytest.raises(FileNotFoundError, match="no notebook"):
        course("run", "07")


def test_an_absent_package_is_named_with_the_remedy(repository, monkeypatch):
    monkeypatch.setitem(sys.modules, "course_lib.running.collecting", None)
    result = course("run", "00")
    assert result.exit_code == 1 and "pip install -c" in result.output
    assert "course_lib.running.collecting" in result.output


def test_our_own_mistakes_keep_their_traceback(repository, monkeypatch):
    monkeypatch.setattr(loading, "load_clips", lambda: {}["a bug"])
    with pytest.raises(KeyError):
        course("run", "00")


def test_an_interrupted_run_exits_130(repository, monkeypatch):
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("course_lib.running.collecting.run_notebooks", interrupt)
    result = course("run", "00")
    assert result.exit_code == 130 and "what had finished is kept" in result.output


def test_without_a_checkout(monkeypatch):
    monkeypatch.setattr(profiles, "checkout_dir", lambda: None)
    result = course("run")
    assert result.exit_code == 1 and "clone it" in result.output


def test_lab_opens_the_first_notebook(repository, monkeypatch):
    called: list[list[str]] = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: called.append(command) or 0)
    assert course("lab", "--no-browser").exit_code == 0
    assert called == [
        [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={repository}",
         "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb", "--no-browser"]
    ]  # fmt: skip


def test_bench_runs_in_the_repository(repository, monkeypatch):
    called: list[tuple[list[str], Path]] = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command, cwd: called.append((command, cwd)) or 1)
    assert course("bench", "features").exit_code == 1
    assert called == [([sys.executable, "-m", "benchmarks.collect", "features"], repository)]


def test_an_unknown_benchmark_is_refused():
    command = [sys.executable, "-m", "benchmarks.collect", "nothing"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "no benchmark nothing; there are " in done.stderr
