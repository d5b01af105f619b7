"""Whether a sandbox holds: an answer that tries to get out of it, run as any learner's is."""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.grading.sandbox.launch import Job, Limits, Worker, WorkerFault
from course_lib.grading.sandbox.sandboxes import PACKAGE, Sandbox

_CANARY = "COURSE_LIB_CANARY"
_PROBE = "def look(fn, inputs):\n    return fn(**inputs)\n"
# Each entry is 1 where the answer could do it. What it is called here, and what that means for the instructor. Memory,
# processes and root's powers are not tried: the worker itself limits or drops them, in whatever sandbox it runs.
_MEANING = {
    "network": "it reaches the network of this machine (docker: --network none)",
    "abstract": "it reaches sockets of programs on this machine (docker: --network none)",
    "canary": "it reads this machine's files: the folder for temporary files",
    "home": "it reads this machine's files: your home folder",
    "answers": "it finds the reference answers (course_lib): no installed copy may be where the worker runs",
    "environment": "it sees the environment of the grader",
    "processes": "it sees other processes' memory or environment in /proc",
    "left": "one answer leaves files that the next one finds",
}
_CELL = """
import os, socket
from pathlib import Path


def can(action, *arguments):
    try:
        return bool(action(*arguments))
    except BaseException:
        return False


def reaches(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as line:
        line.settimeout(2)
        line.connect(address)
    return True


def sees_processes():
    for entry in os.listdir("/proc"):
        own = entry in (str(os.getpid()), str(os.getppid())) or not entry.isdigit()
        if not own and (can(open, f"/proc/{entry}/environ") or can(open, f"/proc/{entry}/mem")):
            return True
    return False


def find_answers():
    import importlib
    importlib.import_module("course_lib.exercises.framework")
    return True


def has_left(name):
    found = any(can(os.path.exists, f"{folder}/{name}") for folder in ("/tmp", "/dev/shm", "/var/tmp"))
    for folder in ("/tmp", "/dev/shm", "/var/tmp"):
        can(open, f"{folder}/{name}", "w")
    return found


def look(port, address, abstract, canary, home, answers, environment, secret, mark):
    found = {
        "network": can(reaches, socket.AF_INET, ("127.0.0.1", port)) or can(reaches, socket.AF_INET, (address, port)),
        "abstract": can(reaches, socket.AF_UNIX, "\\0" + abstract),
        "canary": can(open, canary),
        "home": can(open, home),
        "answers": can(os.path.exists, answers) or can(find_answers),
        "environment": os.environ.get(environment) == secret,
        "processes": can(sees_processes),
        "left": has_left(mark),
    }
    return {name: float(value) for name, value in found.items()}
"""


@dataclass(frozen=True)
class _Bait:
    """What is laid out for the answer to find."""

    inputs: dict[str, Any]
    environment: Mapping[str, str]


def _keep_quiet(line: str) -> None:
    pass


def check_sandbox(
    sandbox: Sandbox, limits: Limits | None = None, tell: Callable[[str], None] = _keep_quiet
) -> list[str]:
    """Try to get out, and if that fails once more (5 to 50 s in all). tell: called with each step, a line.

    Returns: the holes found, in words; empty if it held.
    """
    if not sandbox.isolated:
        return ["there is none: an answer can do whatever you can"]
    with _bait() as bait:
        try:
            return _holes(sandbox, limits or Limits(), bait, tell)
        finally:
            _tidy(bait.inputs["mark"], tell)


def _holes(sandbox: Sandbox, limits: Limits, bait: _Bait, tell: Callable[[str], None]) -> list[str]:
    """Of two answers in one worker: what the first leaves, the second may find."""
    job = Job(_CELL, "look", _PROBE, "look", (), [bait.inputs], max(limits.wall_s, 30.0))
    holes: dict[str, None] = {}
    with Worker(sandbox, limits, environment=bait.environment) as worker:
        for i in range(2):
            try:
                tell(f"trying the sandbox, {i + 1} of 2: python and torch start in it, then an answer tries to get out")
                began_s = time.monotonic()
                worker.start()
                reply = worker.run(job)
            except WorkerFault as fault:
                return [f"it does not work: {fault}"]
            problem = reply.fault or (reply.attempts[0].error if reply.attempts else "no answer")
            if problem:
                return [f"what should have tried it failed: {problem.strip()}"]
            if i == 1 and not worker.isolates:
                took_s = time.monotonic() - began_s
                tell(f"each answer needs a python of its own in it, about {took_s:.0f} s ({worker.why_not})")
            outputs = reply.attempts[0].outputs
            if set(outputs) != set(_MEANING):
                return ["what should have tried it came back incomplete"]
            holes |= dict.fromkeys(_MEANING[name] for name, value in outputs.items() if value.item() != 0)
            if holes:
                break
    return list(holes)


def _tidy(mark: str, tell: Callable[[str], None]) -> None:
    """Remove what the answer left here, if the sandbox is none; what cannot be removed is told, as holes count more."""
    for folder in ("/tmp", "/dev/shm", "/var/tmp"):
        path = Path(folder, mark)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # another user's, in a folder where only the owner may remove
            tell(f"the answer that tried the sandbox left an empty file that you may remove, {path}: {error.strerror}")


@contextmanager
def _bait() -> Iterator[_Bait]:
    """Sockets, a file and a variable, as real ones would be."""
    name, secret = secrets.token_hex(8), secrets.token_hex(16)
    with (
        tempfile.NamedTemporaryFile(prefix="course-canary-") as canary,
        socket.create_server(("", 0)) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as abstract,
    ):
        os.chmod(canary.name, 0o644)
        abstract.bind(f"\0{name}")
        abstract.listen()
        inputs = {
            "port": server.getsockname()[1], "address": _own_address(), "abstract": name, "canary": canary.name,
            "home": _file_at_home(), "answers": str(PACKAGE / "exercises" / "framework.py"),
            "environment": _CANARY, "secret": secret, "mark": f"course-{name}",
        }  # fmt: skip
        yield _Bait(inputs, os.environ | {_CANARY: secret})


def _file_at_home() -> str:
    """Any file that lies openly in the home folder; empty if none does."""
    home = Path.home()
    return next((str(path) for path in sorted(home.iterdir()) if path.is_file()), "") if home.is_dir() else ""


def _own_address() -> str:
    """This machine's address on its network, else loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))  # a documentation address: nothing is sent
        except OSError:
            return "127.0.0.1"
        return line.getsockname()[0]
