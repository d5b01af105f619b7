"""Graders that run a student's code where they mark it. They are here to be beaten.

`python naive.py` reads a job a line (JSON) and answers with a line. A job's cells are marked one after the other in one
process, the grader, whose parent stands for whatever started it. Both are bounded: memory, CPU, file size, seconds;
whatever outlives the grader is counted and killed.

How: "mark" calls course_lib's own mark, as check() does in the notebook; "allclose" compares as most graders do;
"notebook" runs a check cell after the student's, in IPython, and gives the points if it raises nothing, as nbgrader
does; "verdict" believes the line that a child process writes, as graders in a container do; "pickle" unpickles what
a child returns.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import Exercise, draw_trials, mark

CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_CHILD_SUBREAPER = 36  # orphans become children of this process, so that none gets away


def define(cell: str, function: str) -> Callable:
    names: dict[str, Any] = {"__name__": "__main__", "torch": torch, "math": math, "nn": nn, "np": np}
    exec(cell, names)
    return names[function]


def by_mark(exercise: Exercise, cell: str) -> tuple[bool, str]:
    outcome = mark(exercise, define(cell, exercise.function), seed=5)
    return outcome.status == "passed", outcome.message


def by_allclose(exercise: Exercise, cell: str) -> tuple[bool, str]:
    fn = define(cell, exercise.function)
    for inputs in draw_trials(exercise, 5):
        got = fn(**inputs)
        want = exercise.reference(**inputs)
        if not torch.allclose(got, want, atol=exercise.atol, rtol=exercise.rtol):
            return False, "wrong"
    return True, ""


def by_notebook(exercise: Exercise, cell: str) -> tuple[bool, str]:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.user_ns.update(torch=torch, exercise=exercise, trials=draw_trials(exercise, 5))
    shell.run_cell(cell)
    check = (
        "for inputs in trials:\n"
        f"    got = {exercise.function}(**inputs)\n"
        "    assert torch.allclose(got, exercise.reference(**inputs), atol=exercise.atol)"
    )
    done = shell.run_cell(check)
    return done.success, repr(done.error_in_exec)


def by_verdict(exercise: Exercise, cell: str) -> tuple[bool, str]:
    def child(out: int) -> None:
        passed, message = by_mark(exercise, cell)
        os.write(out, json.dumps({"passed": passed, "message": message}).encode() + b"\n")

    line = _in_child(child).split(b"\n")[0]
    verdict = json.loads(line)
    return verdict["passed"], verdict.get("message", "")


def by_pickle(exercise: Exercise, cell: str) -> tuple[bool, str]:
    trials = draw_trials(exercise, 5)

    def child(out: int) -> None:
        fn = define(cell, exercise.function)
        os.write(out, pickle.dumps([fn(**inputs) for inputs in trials]))

    attempts = pickle.loads(_in_child(child))
    pairs = zip(trials, attempts, strict=True)
    return all(torch.allclose(got, exercise.reference(**inputs), atol=0.3) for inputs, got in pairs), "wrong"


GRADERS = {"mark": by_mark, "allclose": by_allclose, "notebook": by_notebook, "verdict": by_verdict}
GRADERS["pickle"] = by_pickle


def _in_child(work: Callable[[int], None]) -> bytes:
    back, out = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(back)
        try:
            work(out)
        finally:
            os._exit(0)
    os.close(out)
    with open(back, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def grade(job: dict, out: int) -> None:
    """Mark all cells in this process, a line each."""
    os.chdir(tempfile.mkdtemp())
    limit_memory(job["memory_bytes"])
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**41, 2**41))
    for exercise_id, cell in job["cells"]:
        try:
            passed, message = GRADERS[job["how"]](get_exercise(exercise_id), cell)
        except Exception as error:  # a grader would print it and go on
            passed, message = False, f"{type(error).__name__}: {error}"
        os.write(out, json.dumps({"passed": bool(passed), "message": str(message)[:2000]}).encode() + b"\n")


def limit_memory(n_bytes: int) -> None:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + n_bytes, now + n_bytes))


def supervise(job: dict, out: int) -> None:
    """Start the grader, wait for it as long as the job says, count and kill what it leaves behind."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what an attack prints must not be taken for an answer of ours
        os.dup2(nothing, stream)
    adopt_orphans()
    back, marks = os.pipe()
    grader = os.fork()
    if not grader:
        os.close(out)
        os.close(back)
        try:
            grade(job, marks)
        finally:
            os._exit(0)
    os.close(marks)
    hung = not _ended(grader, job["patience_s"])
    time.sleep(0.03)  # what the attack started may still be on its way
    n_left = kill_children() - hung
    with open(back, "rb") as pipe:
        marks_made = [json.loads(line) for line in pipe.read().splitlines()]
    os.write(out, json.dumps({"marks": marks_made, "hung": hung, "n_left": n_left, "parent": "alive"}).encode())


def adopt_orphans() -> None:
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_children() -> int:
    """Kill all of this process's children and theirs; how many there were."""
    killed: set[int] = set()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            children = [int(pid) for pid in file.read().split()]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # this one, not any: others may be on their way that are not killed yet
        killed.update(children)
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return len(killed)
    raise RuntimeError("children faster than their killer")


def _ended(pid: int, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.005)
    return False


def apart(job: dict, out: int) -> None:
    """Supervise in namespaces of its own: what is mounted or signalled must not meet the next job."""
    if LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    first = os.fork()  # process 1, which no signal from within can end
    if not first:
        LIBC.mount(b"proc", b"/proc", b"proc", 0, None)
        supervisor = os.fork()
        if not supervisor:
            supervise(job, out)
            os._exit(0)
        os.close(out)
        os.waitpid(supervisor, 0)
        os._exit(0)
    os.waitpid(first, 0)


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        back, out = os.pipe()
        child = os.fork()
        if not child:
            os.close(back)
            try:
                apart(json.loads(line), out)
            finally:
                os._exit(0)
        os.close(out)
        os.waitpid(child, 0)
        with open(back, "rb") as pipe:
            said = pipe.read().decode()
        print(said or json.dumps({"marks": [], "hung": False, "n_left": 0, "parent": "killed"}), flush=True)


if __name__ == "__main__":
    main()
