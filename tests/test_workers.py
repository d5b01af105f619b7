"""Workers: started, replaced, ended; where they run; and whether the check of a sandbox finds its holes."""

import contextlib
import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_jobs import is_well, job

from course_lib.exercises.checking import get_exercise
from course_lib.grading.sandbox import checking, pipes, sandboxes
from course_lib.grading.sandbox.checking import check_sandbox
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError, Worker, WorkerFault
from course_lib.grading.sandbox.pipes import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap and namespaces are Linux's")
LIMITS = Limits(memory_bytes=512 << 20)


def test_answers_are_there_only_if_asked_for():
    source = "from course_lib.exercises import get_exercise\nf = get_exercise('01.2').reference"
    asked = replace(job(source), trials=[{"wave": torch.linspace(-1, 1, 7), "n_classes": 256}])
    with Worker(replace(Sandbox.bubblewrap(), show_answers=True), LIMITS) as worker:
        expected = get_exercise("01.2").reference(**asked.trials[0])
        assert torch.equal(worker.run(asked).attempts[0].outputs["output"], expected)


def _descendants(pid):
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _gone(pids, within_s=20):
    end = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_dead_worker_is_told_from_a_wrong_answer_and_replaced():
    before = _descendants(os.getpid())
    with Worker(Sandbox.bubblewrap(), LIMITS) as worker:
        assert is_well(worker)
        pids = _descendants(os.getpid()) - before
        assert len(pids) >= 3  # bwrap, its process 1, the worker
        worker._process.kill()
        with pytest.raises(WorkerFault, match="died"):
            worker.run(job("def f(x): return x"))
        assert _gone(pids) and is_well(worker)
        pids = _descendants(os.getpid()) - before
    assert _gone(pids)


def test_a_killed_grader_leaves_no_worker_behind():
    script = (
        "import torch\nfrom course_lib.grading.sandbox.launch import *\nworker = Worker(Sandbox.bubblewrap())\n"
        "job = Job('while True: pass', 'f', 'def p(fn, i): ...', 'p', (), [], 60.0)\nworker.start()\n"
        "print('ready', flush=True)\nworker.run(job)\n"
    )
    grader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert grader.stdout.readline() == "ready\n"
    time.sleep(0.3)  # the loop is running
    pids = _descendants(grader.pid)
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    grader.stdout.close()
    assert len(pids) >= 3 and _gone(pids)


def _path_with_this_python(monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def test_the_check_finds_the_holes_of_a_sandbox_that_is_none(monkeypatch, tmp_path):
    _path_with_this_python(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.txt").write_text("x")
    holes = check_sandbox(Sandbox.custom("env --"), LIMITS)
    package = sandboxes.PACKAGE
    open_to_all = os.getuid() != 0 or all(folder.stat().st_mode & stat.S_IXOTH for folder in package.parents)
    in_sight = open_to_all and not package.is_relative_to("/tmp")  # which an answer finds covered, even there
    assert any("reference answers" in hole for hole in holes) == in_sight
    assert any("environment" in hole for hole in holes) and not any("network" in hole for hole in holes)
    assert "an answer can do whatever you can" in check_sandbox(Sandbox.unsafe())[0]


def test_what_the_check_cannot_remove_is_told_and_hides_no_hole(monkeypatch):
    def refuse(path, missing_ok):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(checking, "_holes", lambda *_: ["a hole"])
    monkeypatch.setattr(Path, "unlink", refuse)
    told = []
    assert check_sandbox(Sandbox.custom("env --"), LIMITS, told.append) == ["a hole"]
    assert len(told) == 3 and all("may remove" in line and "not permitted" in line for line in told)


def test_the_check_finds_no_hole_in_bubblewrap():
    assert check_sandbox(Sandbox.bubblewrap()) == []


def test_sandboxes_that_are_not_there(monkeypatch, tmp_path):
    with pytest.raises(SandboxError, match="no command 'nosuchprogram' on PATH"):
        Sandbox.custom("nosuchprogram run {worker}")
    with pytest.raises(SandboxError, match="quote it"):
        Sandbox.custom("docker 'run")
    with Worker(Sandbox.custom("false"), LIMITS) as worker, pytest.raises(WorkerFault, match="died"):
        worker.run(job(""))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sandboxes, "_bundled", lambda: None)
    with pytest.raises(SandboxError, match="bubblewrap"):
        Sandbox.bubblewrap()


def test_memory_is_watched_from_outside_too():
    """A limit of address space alone would count what a child gives back of the space that it was born with."""
    source = "import time\nprint(flush=True)\nkept = bytearray(300 << 20)\ntime.sleep(99)"
    grower = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    assert grower.stdout.read(1) == b"\n"
    silent, never = os.pipe()
    child = os.pidfd_open(grower.pid)
    watch = Watch(child, pipes.held_bytes(f"/proc/{grower.pid}") + (200 << 20), 1)
    watch.deadline_s = time.monotonic() + 60
    assert watch.why_not(silent) == "heavy"
    grower.kill()
    grower.wait()
    assert watch.at_its_end() == "ended"
    for fd in (silent, never, child):
        os.close(fd)
    grower.stdout.close()


def test_bubblewraps_binds_hold_neither_answers_nor_more_than_needed():
    words = sandboxes.worker_command(Sandbox.bubblewrap(), "{}", None)
    sources = [Path(words[i + 1]) for i, word in enumerate(words) if word in ("--ro-bind", "--bind", "--dev-bind")]
    package = sandboxes.PACKAGE
    exercises = [path for path in sources if package in path.parents and "exercises" in path.parts]
    assert exercises == [package / "exercises" / "attempts.py"]
    assert not any(path == package or path in package.parents or path in Path.home().parents for path in sources)
    assert "--bind" not in words and "--clearenv" in words and "--unshare-net" in words
