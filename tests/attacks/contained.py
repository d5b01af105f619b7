"""Starts the naive graders: in namespaces of their own, where the machine can be read and only one folder written.

The defences that are being tested are off in there; this fence is for the machine that the tests run on. Some attacks
(a mount, a signal to every process) would work on the whole of it, when tests are run by root.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

from attacks.table import BREACH, DIES, HANGS, LINGERS, PASSES, ROOT, SPOILS
from course_lib.grading.sandbox.sandboxes import Sandbox, SandboxError

NAIVE = Path(__file__).with_name("naive.py")


def bwrap() -> str:
    """Where bubblewrap is; "" if it is not."""
    try:
        command = Sandbox.bubblewrap().command
    except SandboxError:
        return ""
    return command[0]


class Naive:
    """Graders without defences, an attack at a time. They may write to `folder`, and to a /tmp that ends with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fence = [bwrap(), "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"]
        fence += ["--tmpfs", "/tmp", "--tmpfs", "/dev/shm"]
        for needed in (str(ROOT), sys.prefix, sys.base_prefix):
            fence += ["--ro-bind", needed, needed]  # which may lie below /tmp
        fence += ["--bind", str(folder), str(folder), "--unshare-pid", "--unshare-ipc", "--die-with-parent"]
        fence += ["--cap-add", "ALL"] + ([] if os.getuid() == 0 else ["--unshare-user", "--uid", "0", "--gid", "0"])
        environment = {
            **os.environ,
            "TMPDIR": "/tmp",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "COURSE_TEST_SECRET": "salt",
        }
        self._process = subprocess.Popen(
            [*fence, sys.executable, str(NAIVE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env=environment,
        )  # fmt: skip

    def grade(self, cells: list[tuple[str, str]], how: str = "mark", patience_s: float = 60.0) -> dict:
        """Marks of these cells (exercise and source), one after another, by one grader."""
        job = {
            "memory_bytes": 2**33,
            "cells": cells,
            "how": how,
            "patience_s": patience_s,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], patience_s + 60)
        line = self._process.stdout.readline() if ready else ""
        if not ready:
            self._process.kill()
        assert line, f"the naive grader ended with {self._process.wait()}"
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def evidence(answer: dict) -> set[str]:
    """What an attack did to the naive grader, whose second cell was innocent and right."""
    marks, seen = answer["marks"], set()
    if marks and marks[0]["passed"]:
        seen.add(PASSES)
    if marks and "BREACH" in marks[0]["message"]:
        seen.add(BREACH)
    if len(marks) < 2:
        seen.add(HANGS if answer["hung"] else DIES)
    elif not marks[1]["passed"]:
        seen.add(SPOILS)
    if answer["n_left"]:
        seen.add(LINGERS)
    return seen
