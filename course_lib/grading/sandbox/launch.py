"""The trusted side: starts sandboxed workers, sends them jobs, and believes nothing that comes back unchecked."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from course_lib.grading.sandbox import UNSENT
from course_lib.grading.sandbox.frames import Job, Reply, job_frame, pack, read_reply, unpack
from course_lib.grading.sandbox.sandboxes import Sandbox, SandboxError, copy_worker, worker_command
from course_lib.grading.sandbox.wire import read_exactly

__all__ = ["Job", "Limits", "Reply", "Sandbox", "SandboxError", "Worker", "WorkerFault"]

START_S = 180.0  # importing torch from a cold disk, on a busy machine
GRACE_S = 90.0  # beyond a job's own time, before the worker itself is given up
_LONGEST_WORD = 1 << 16  # bytes of what a worker says of itself


class WorkerFault(RuntimeError):
    """The worker would not start, died, or broke the protocol: no fault of the answer's, try a fresh one."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use.

    Attributes:
        wall_s: for whoever makes the jobs (Job.wall_s); cpu_s: of all its threads together.
        memory_bytes: beyond what the worker itself has mapped.
        reply_bytes: of one reply; tmpfs_bytes: of all files; file_bytes: of one.
        n_processes: threads count, too.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 2 << 30
    reply_bytes: int = 64 << 20
    tmpfs_bytes: int = 16 << 20
    n_processes: int = 8
    file_bytes: int = 16 << 20
    n_files: int = 64


class Worker:
    """One sandboxed worker: started when first needed, used for many jobs, one at a time.

    A worker dies with the thread that started it (so that a killed grader leaves none behind): call `run` from a thread
    that lives as long as the worker is wanted.
    """

    def __init__(
        self, sandbox: Sandbox, limits: Limits | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """environment: what the sandbox's command is started with; None: nothing for bubblewrap, else ours."""
        self._sandbox, self._limits = sandbox, limits or Limits()
        self._environment = {} if environment is None and sandbox.way == "bubblewrap" else environment
        self._process: subprocess.Popen | None = None
        self._log: IO[bytes] | None = None
        self._folder: Path | None = None
        self._hello: dict = {}

    def run(self, job: Job) -> Reply:
        """Try one answer.

        Raises: WorkerFault if this tells nothing about the answer; the next call starts a fresh worker. FrameError if
            the job itself cannot be sent.
        """
        data = pack(job_frame(job))
        if self._process is None:
            self._start()
        deadline_s = time.monotonic() + job.wall_s + GRACE_S
        try:
            self._send(struct.pack(">dQ", job.wall_s, len(data)) + data, deadline_s)
            reply, status = self._receive(deadline_s)
        except BaseException:
            self.close()
            raise
        if self._hello.get("goes_on") is not True:  # what this answer left behind must not meet the next
            self.close()
        return self._interpret(job, reply, status)

    @property
    def isolates(self) -> bool:
        """Whether the worker shuts each answer in by itself. If not, each gets a fresh one (seconds), unless there is
        no sandbox at all."""
        return self._hello.get("isolates") is True

    @property
    def why_not(self) -> str:
        """What kept it from shutting answers in; empty if nothing did."""
        return "" if self.isolates else str(self._hello.get("why", "it is not started"))

    def start(self) -> None:
        """Start now rather than at the first job.

        Raises: WorkerFault if it would not.
        """
        if self._process is None:
            self._start()

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        options = asdict(self._limits) | {"way": self._sandbox.way, "show_answers": self._sandbox.show_answers}
        try:
            if self._sandbox.way == "custom":
                self._folder = Path(tempfile.mkdtemp(prefix="course-worker-"))
                copy_worker(self._folder, self._sandbox.show_answers)
            self._process = subprocess.Popen(
                worker_command(self._sandbox, json.dumps(options), self._folder),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, bufsize=0, env=self._environment,
                start_new_session=True,  # a Ctrl-C is for the grader to act on
            )  # fmt: skip
            os.set_blocking(self._process.stdin.fileno(), False)
            _, self._hello = self._receive(time.monotonic() + START_S)
        except OSError as error:
            fault = self._fault(f"would not start: {error}")
            self.close()
            raise fault from error
        except BaseException:
            self.close()
            raise

    def _send(self, data: bytes, deadline_s: float) -> None:
        view, fd, poll = memoryview(data), self._process.stdin.fileno(), select.poll()
        poll.register(fd, select.POLLOUT)
        while view:
            if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
                raise self._fault("took no job")
            try:
                view = view[os.write(fd, view) :]
            except BrokenPipeError:
                raise self._fault("died") from None

    def _receive(self, deadline_s: float) -> tuple[bytes, dict]:
        """Pieces of a reply, up to the worker's own word."""
        fd, reply = self._process.stdout.fileno(), bytearray()
        try:
            while True:
                n_bytes = self._number(fd, deadline_s)
                if n_bytes == 0:
                    word = json.loads(self._exactly(fd, min(self._number(fd, deadline_s), _LONGEST_WORD), deadline_s))
                    if not isinstance(word, dict):
                        raise self._fault(f"said {word!r}")
                    return bytes(reply), word
                if len(reply) + n_bytes > self._limits.reply_bytes:
                    raise self._fault("sent more than a reply may hold")
                reply += self._exactly(fd, n_bytes, deadline_s)
        except (ValueError, RecursionError) as error:  # FrameError is one
            raise self._fault(f"broke the protocol ({error})") from error

    def _number(self, fd: int, deadline_s: float) -> int:
        return int.from_bytes(self._exactly(fd, 4, deadline_s), "big")

    def _exactly(self, fd: int, n_bytes: int, deadline_s: float) -> bytes:
        data = read_exactly(fd, n_bytes, deadline_s)
        if len(data) < n_bytes:
            raise self._fault("died")
        return data

    def _fault(self, what: str) -> WorkerFault:
        said = ""
        if self._log is not None:
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 2000))
            said = self._log.read().decode("utf-8", "replace").strip()
        return WorkerFault(f"the worker in {self._sandbox.description} {what}" + (f"; it said: {said}" if said else ""))

    def _interpret(self, job: Job, reply: bytes, status: dict) -> Reply:
        state, *numbers = (status.get(name) for name in ("state", "exit", "ran_s", "waited_s"))
        if not all(isinstance(number, (int, float)) for number in numbers):
            raise self._fault(f"said {status}")
        exit_code, ran_s, waited_s = numbers
        if state == "answered":
            try:
                return read_reply(unpack(reply), len(job.trials))
            except Exception as error:  # FrameError, and whatever nobody foresaw: it is the answer's own doing
                return Reply([], f"sent back something that is no reply: {error}"[:500])
        if state == "late":
            starved = ran_s < job.wall_s / 2 and waited_s > job.wall_s / 3
            return Reply([], f"took longer than {job.wall_s:g} s", starved)
        if state == "heavy":
            return Reply([], f"needed more than {self._limits.memory_bytes / 2**20:g} MiB of memory")
        if state == "many":
            return Reply([], f"ran more than {self._limits.n_processes} threads")
        if state == "long":
            return Reply([], f"sent back more than {self._limits.reply_bytes / 2**20:g} MiB")
        if state == "ended":
            return Reply([], _why_it_ended(int(exit_code), self._limits))
        raise self._fault(f"said {status}")

    def close(self) -> None:
        """End the worker and all in it. It may be run again."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            if self._sandbox.way != "bubblewrap":  # a container outlives its command, but not its end of input
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
            process.kill()
            process.wait()
            process.stdout.close()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            shutil.rmtree(self._folder)
            self._folder = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _why_it_ended(code: int, limits: Limits) -> str:
    if code == -signal.SIGXCPU:
        return f"used more than {limits.cpu_s} s of processor time"
    if code == -signal.SIGKILL:
        return "was killed: it needed more memory or processor time than it may have"
    if code == -signal.SIGSYS:
        return "was stopped: it called the system in a way that no answer needs"
    if code < 0:
        return f"crashed ({signal.Signals(-code).name}): too deep a recursion, or memory that is not its own"
    if code == UNSENT:
        return "has changed python or torch themselves, so that its result could not be sent back"
    return f"ended the whole process (exit code {code}) instead of returning a result"
