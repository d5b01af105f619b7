"""Runs inside the sandbox: a process that has imported torch, and forks a child for each answer.

It reads jobs from standard input and writes what comes back to standard output. It never runs a learner's code itself,
and no byte of a job or a reply passes through its memory (os.splice moves them from pipe to pipe in the kernel): the
next child is a copy of this process, and could read there what somebody else wrote.

Where children cannot have namespaces of their own (many containers), it says so, serves one job and ends. Where there
is no sandbox at all, it goes on: nothing is kept apart there, and a fresh worker an answer would only take longer.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from course_lib.grading.sandbox import UNSENT, isolation, syscalls
from course_lib.grading.sandbox.pipes import Watch, held_bytes, move, n_waiting, read_up_to

READY, BROKEN = b"R", b"E"  # a child's first byte: it is shut in, or why it could not be
SHUT_IN, FILTERED, OPEN = "shut in", "filtered", "open"  # namespaces and filter, filter only, nothing (unsafe)
START_S = 60.0  # for a child to be ready; a tenth of a second is long
LEAST_BYTES = 4096  # pieces shorter than this wait a little for more


def main() -> None:
    """`worker.py OPTIONS`: JSON of launch.Limits' fields, `way` (bubblewrap, custom, unsafe) and `show_answers`."""
    options = json.loads(sys.argv[1])
    start_again()
    way, why, pid_namespace = OPEN, "started with no sandbox", -1
    if options["way"] == "custom":
        look_around()
        rehearse()  # there, python's own files may be readable by root only
    if options["way"] != "unsafe":
        way, why, pid_namespace = choose_way(options["way"])
    warm_up(options["show_answers"])
    if way == SHUT_IN:
        why = try_child(options, pid_namespace)
        way = FILTERED if why else SHUT_IN
    options["own_bytes"] = held_bytes()
    say({"isolates": way == SHUT_IN, "goes_on": way != FILTERED, "why": why})
    while serve(options, way, pid_namespace) and way != FILTERED:
        pass


def start_again() -> None:
    """With what has to be known before python starts: sets in one order in every worker, memory fit for huge pages.

    One thread only: a process with more cannot enter a user namespace.
    """
    wanted = {"PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}
    wanted |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
    if not wanted.items() <= os.environ.items():
        if not sys.executable:  # no PATH, so that python does not know where it lies itself
            wanted |= {"PATH": os.defpath}
        program = sys.executable or shutil.which(sys.orig_argv[0]) or "/proc/self/exe"
        os.execve(program, sys.orig_argv, os.environ | wanted)


def look_around() -> None:
    """Raises: SystemExit with what a sandbox of the instructor's own lacks, and how to give it."""
    if not os.path.exists("/proc/self/uid_map"):
        raise SystemExit("there is no /proc of its own here (bwrap: --proc /proc)")
    for name, mode in (("/dev/null", os.O_RDWR), ("/dev/urandom", os.O_RDONLY)):
        try:
            os.close(os.open(name, mode))
        except OSError as error:
            raise SystemExit(f"{name} cannot be opened here (bwrap: --dev /dev): {error}") from error
    if not os.path.isdir("/tmp"):
        raise SystemExit("there is no /tmp here (bwrap: --tmpfs /tmp)")
    for name in ("torch", "numpy", "safetensors"):
        if importlib.util.find_spec(name) is None:
            raise SystemExit(f"python3 here is {sys.executable}, without {name}: put one that has it first on PATH")


def choose_way(sandbox: str) -> tuple[str, str, int]:
    """Give up root, then go into namespaces if that is possible here."""
    if not syscalls.is_supported():
        raise SystemExit("no filter of kernel calls for this processor: need x86_64 or aarch64")
    try:
        isolation.give_up_root()
    except OSError:
        if sandbox == "bubblewrap":  # elsewhere, root may have lost the right to: the check tells what it still can
            raise
    try:
        return SHUT_IN, "", isolation.enter_namespaces()
    except OSError as error:
        return FILTERED, f"{type(error).__name__}: {error}", -1


def warm_up(show_answers: bool) -> None:
    """Import and touch what answers use, so that no child pays for it."""
    rehearse()
    syscalls.prepare(1)
    if show_answers:  # only then is this package there
        importlib.import_module("course_lib.exercises").list_exercises()
    gc.collect()
    gc.freeze()
    isolation.collapse_pages()


def rehearse() -> None:
    from course_lib.grading.sandbox import answering

    answering.rehearse()


def try_child(options: dict, pid_namespace: int) -> str:
    """Shut a first child in. Returns what went wrong, or ""."""
    reply_out, reply_in = os.pipe()
    try:
        pid = isolation.fork_apart(pid_namespace)
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    if pid == 0:
        become_ready(options, SHUT_IN, None, reply_in)
        os._exit(0)
    os.close(reply_in)
    said = read_up_to(reply_out, 2000)
    os.close(reply_out)
    os.waitpid(pid, 0)
    return "" if said == READY else said[1:].decode("utf-8", "replace") or "a child died at once"


def say(status: dict) -> None:
    """A word of the worker's own: an empty piece, then its length and JSON."""
    text = json.dumps(status).encode()
    os.write(1, struct.pack(">II", 0, len(text)) + text)


def serve(options: dict, way: str, pid_namespace: int) -> bool:
    """One job. False at the end of the input."""
    head = read_up_to(0, 16)
    if len(head) < 16:
        return False
    wall_s, n_bytes = struct.unpack(">dQ", head)
    job_out, job_in = os.pipe()
    reply_out, reply_in = os.pipe()
    pid = isolation.fork_apart(pid_namespace) if way == SHUT_IN else os.fork()
    if pid == 0:
        run_child(options, way, job_out, reply_in)
    if way == OPEN:  # elsewhere a child has no children, or they are in its pid namespace
        os.setpgid(pid, pid)
    child = os.pidfd_open(pid)
    watch = Watch(child, options["memory_bytes"] + options["own_bytes"], options["n_processes"])
    os.close(job_out)
    os.close(reply_in)
    try:
        with contextlib.suppress(BrokenPipeError):  # a child that did not take it all says why
            os.write(job_in, head[8:])
            move(0, job_in, n_bytes)
        os.close(job_in)
        state = relay(reply_out, watch, wall_s, options["reply_bytes"])
        waited_s = watch.waited_s() if state == "late" else 0.0
    finally:
        os.kill(pid, signal.SIGKILL)  # all of its namespace goes with it
        with contextlib.suppress(ProcessLookupError):  # it has gone to another group: nothing is kept apart here
            if way == OPEN:
                os.killpg(pid, signal.SIGKILL)
    _, code, used = os.wait4(pid, 0)
    os.close(reply_out)
    os.close(child)
    ran_s = used.ru_utime + used.ru_stime
    say({"state": state, "exit": os.waitstatus_to_exitcode(code), "ran_s": ran_s, "waited_s": waited_s})
    return True


def relay(reply: int, watch: Watch, wall_s: float, max_bytes: int) -> str:
    """Pass one frame on as it comes, without its length. Returns: answered, ended, late, heavy, many or long."""
    watch.deadline_s = time.monotonic() + START_S
    if watch.why_not(reply):
        raise SystemExit("a child was not shut in, in time")
    if os.read(reply, 1) != READY:
        raise SystemExit(f"a child could not be shut in: {os.read(reply, 2000)!r}")
    watch.deadline_s = time.monotonic() + wall_s
    head = b""
    while len(head) < 8:
        if why := watch.why_not(reply):
            return why
        piece = os.read(reply, 8 - len(head))
        if not piece:
            return watch.at_its_end()
        head += piece
    left = int.from_bytes(head, "big")
    if left > max_bytes:
        return "long"
    while left:
        if why := watch.why_not(reply):
            return why
        n_bytes = min(n_waiting(reply), left)
        if n_bytes < min(left, LEAST_BYTES):
            time.sleep(0.001)  # a byte at a time would keep us and the grader busy
            n_bytes = min(n_waiting(reply), left)
        if not n_bytes:
            return watch.at_its_end()
        os.write(1, struct.pack(">I", n_bytes))
        move(reply, 1, n_bytes)
        left -= n_bytes
    return "answered"


def become_ready(options: dict, way: str, job_fd: int | None, reply_fd: int) -> tuple[int, object]:
    """In a child, before any of a learner's code: take the job, close every door, say so."""
    from course_lib.grading.sandbox import frames

    try:
        own_bytes = isolation.mapped_bytes()
        if way == SHUT_IN:
            isolation.enter_child(options["tmpfs_bytes"], isolation.scratch_folder())
        job = None if job_fd is None else frames.read_job(frames.read_frame(job_fd, 1 << 40))
        isolation.limit_resources(options, own_bytes, count_processes=way == SHUT_IN)
        reply_fd = isolation.keep_only(reply_fd)
        if way != OPEN:
            isolation.give_up_capabilities()
            syscalls.allow_computing_only()
        os.write(reply_fd, READY)
    except BaseException as error:
        os.write(reply_fd, BROKEN + f"{type(error).__name__}: {error}"[:1500].encode("utf-8", "replace"))
        os._exit(1)
    return reply_fd, job


def run_child(options: dict, way: str, job_fd: int, reply_fd: int) -> None:
    """Never returns."""
    from course_lib.grading.sandbox import answering, frames

    reply_fd, job = become_ready(options, way, job_fd, reply_fd)
    code = UNSENT
    try:
        frames.write_frame(reply_fd, frames.reply_frame(answering.answer(job)))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
