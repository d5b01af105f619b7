"""A grader that is killed at any moment: it goes on where it was, and leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from graded import ASSIGNMENT, NO_SANDBOX, FakeMarker, borrowed, course_grade, hand_in, results, tree

from course_lib.grading import grade_command
from course_lib.grading.assignment import choose, write_assignment
from course_lib.grading.grade import Options, grade
from course_lib.grading.sandbox.launch import Limits

RIGHT = """def alias_frequency(frequency_hz, rate_hz):
    f = frequency_hz % rate_hz
    return torch.minimum(f, rate_hz - f)"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with borrowed() as address:
        yield address


def grade_in_this_process(source: Path, out_dir: Path, scheduler: str) -> None:
    make = partial(FakeMarker, ASSIGNMENT, out_dir / "no-bugs")
    grade(source, out_dir, ASSIGNMENT, Options(NO_SANDBOX, Limits(), scheduler), make_marker=make)


def test_a_grader_that_is_killed_goes_on_where_it_was(scheduler, tmp_path):
    """kill -9 while it marks, twice, and while it writes reports: the same bytes as of an undisturbed run."""
    for i in range(40):
        hand_in(tmp_path / "in", f"student-{i:02}", f"right_{i} = 0" if i % 3 else f"wrong = {i}")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course_lib.grading.grade", "course_lib.grading.reports.gradebook", "nbgrader.api"])

    def start(out_dir: Path) -> multiprocessing.Process:
        process = context.Process(target=grade_in_this_process, args=(tmp_path / "in", out_dir, scheduler))
        process.start()
        return process

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed)
    process.join()
    assert process.exitcode == 0
    n_before = 0
    for pattern, n_files in (("results/s*.json", 5), ("results/s*.json", 25), ("feedback/*.html", 10)):
        process = start(killed)
        while len(list(killed.glob(pattern))) < n_files and process.is_alive():
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it had ended by itself"
        n_now = len(list(killed.glob("results/s*.json")))
        assert n_before <= n_now
        n_before = n_now
    process = start(killed)
    process.join()
    assert process.exitcode == 0
    whole, mended = tree(undisturbed), tree(killed)
    assert mended.keys() == whole.keys() and len([name for name in whole if name.startswith("results/")]) == 40
    assert [name for name in whole if mended[name] != whole[name]] == []


# The whole command but for the 5 s in which it tries whether the sandbox holds.
UNTRIED = """
from course_lib.grading import grade_command
grade_command.check_sandbox = lambda sandbox: []
from course_lib.commands.cli import app
app()
"""


def test_a_killed_command_leaves_no_process_behind_and_ends_its_work_when_started_again(monkeypatch, tmp_path):
    """With workers and sandboxes of its own."""
    for i in range(4):
        hand_in(tmp_path / "in", f"s{i}", RIGHT if i % 2 else RIGHT.replace("minimum", "maximum"))
    write_assignment(tmp_path / "hw1.toml", choose(exercises=["01.1"], name="hw1", salt="0" * 32))
    usual = ("in", "-o", "out", "--assignment", "hw1.toml", "--workers", "1")
    grader = subprocess.Popen(
        [sys.executable, "-c", UNTRIED, "grade", *usual],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},  # where a killed one's temporary files stay
    )  # fmt: skip
    while not list(tmp_path.glob("out/results/s*.json")) and grader.poll() is None:
        time.sleep(0.005)
    family = psutil.Process(grader.pid).children(recursive=True) if grader.poll() is None else []
    grader.kill()
    said, _ = grader.communicate()
    assert any("bwrap" in one.name() for one in family if one.is_running()) or len(family) >= 3, said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    monkeypatch.setattr(grade_command, "check_sandbox", lambda sandbox: [])
    monkeypatch.chdir(tmp_path)
    done = course_grade(*usual)
    assert done.exit_code == 0 and "4 submissions" in done.output, done.output
    assert {name: one.points for name, one in results(tmp_path / "out").items()} == {
        f"s{i}": 2 * (i % 2) for i in range(4)
    }
