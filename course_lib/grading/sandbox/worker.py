"""Runs inside the sandbox: a process that has imported torch, and forks a child for each answer.

It reads jobs from standard input and writes what comes back to standard output. It never runs a learner's code itself,
and no byte of a job or a reply ever passes through its memory (os.splice moves them from pipe to pipe in the kernel):
the next child, a copy of it, could read it there.
"""

from __future__ import annotations

import array
import fcntl
import gc
import json
import os
import select
import struct
import sys
import termios
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from course_lib.grading.sandbox import isolation, syscalls

READY, BROKEN = b"R", b"E"  # a child's first byte: it is shut in, or why it could not be


def main() -> None:
    """`worker.py LIMITS`: a JSON object of launch.Limits, `isolate` and `show_answers`."""
    limits = json.loads(sys.argv[1])
    isolation.give_up_root()
    pid_namespace = isolation.enter_namespaces()
    warm_up(limits["show_answers"])
    say({"isolates": True})
    while serve(limits, pid_namespace):
        pass


def warm_up(show_answers: bool) -> None:
    """Import and touch what answers use, so that no child pays for it."""
    import random  # noqa: F401

    import numpy as np  # noqa: F401
    import torch

    from course_lib.grading.sandbox import answering

    torch.set_num_threads(1)
    answering.rehearse()
    if show_answers:
        from course_lib.exercises import list_exercises

        list_exercises()
    gc.collect()
    gc.freeze()
    isolation.collapse_pages()


def say(status: dict) -> None:
    """A word of the worker's own: an empty chunk, then its length and JSON."""
    text = json.dumps(status).encode()
    os.write(1, struct.pack(">II", 0, len(text)) + text)


def serve(limits: dict, pid_namespace: int) -> bool:
    """One job. False at the end of the input."""
    head = read_up_to(0, 16)
    if len(head) < 16:
        return False
    wall_s, n_bytes = struct.unpack(">dQ", head)
    job_out, job_in = os.pipe()
    reply_out, reply_in = os.pipe()
    pid = isolation.fork_apart(pid_namespace)
    if pid == 0:
        run_child(limits, job_out, reply_in)
    os.close(job_out)
    os.close(reply_in)
    child = os.pidfd_open(pid)
    deadline_s = time.monotonic() + wall_s
    os.write(job_in, head[8:])
    move(0, job_in, n_bytes)
    os.close(job_in)
    status = relay(reply_out, child, deadline_s, limits["reply_bytes"])
    isolation.libc.kill(pid, 9)
    _, code, used = os.wait4(pid, 0)
    os.close(reply_out)
    os.close(child)
    exit_code = os.waitstatus_to_exitcode(code)
    say(status | {"exit": exit_code, "cpu_s": used.ru_utime + used.ru_stime})
    return status["state"] != "broken"


def relay(reply: int, child: int, deadline_s: float, max_bytes: int) -> dict:
    """Pass one frame on, as it comes. Returns how that went."""
    poll = select.poll()
    poll.register(reply, select.POLLIN)

    def wait() -> bool:
        return bool(poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000))

    if not wait():
        return {"state": "broken", "text": "a child was not ready in time"}
    first = os.read(reply, 1)
    if first != READY:
        return {"state": "broken", "text": os.read(reply, 2000).decode("utf-8", "replace")}
    head = b""
    while len(head) < 8:
        if not wait():
            return {"state": "late"}
        piece = os.read(reply, 8 - len(head))
        if not piece:
            return wait_for_end(child, deadline_s)
        head += piece
    left = int.from_bytes(head, "big")
    if left > max_bytes:
        return {"state": "long"}
    os.write(1, struct.pack(">I", 8) + head)
    waiting = array.array("i", [0])
    while left:
        if not wait():
            return {"state": "late"}
        fcntl.ioctl(reply, termios.FIONREAD, waiting)
        n_bytes = min(waiting[0], left)
        if not n_bytes:
            return wait_for_end(child, deadline_s)
        os.write(1, struct.pack(">I", n_bytes))
        move(reply, 1, n_bytes)
        left -= n_bytes
    return {"state": "answered"}


def wait_for_end(child: int, deadline_s: float) -> dict:
    """The child has closed its pipe without a whole reply: see whether it ends by itself."""
    poll = select.poll()
    poll.register(child, select.POLLIN)
    return {"state": "ended" if poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000) else "late"}


def move(source: int, target: int, n_bytes: int) -> None:
    while n_bytes:
        moved = os.splice(source, target, n_bytes)
        if not moved:
            raise EOFError("the stream ended within a message")
        n_bytes -= moved


def read_up_to(fd: int, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        piece = os.read(fd, n_bytes - len(data))
        if not piece:
            break
        data += piece
    return data


def run_child(limits: dict, job_fd: int, reply_fd: int) -> None:
    """Never returns."""
    try:
        own_bytes = isolation.mapped_bytes()
        isolation.enter_child(limits["tmpfs_bytes"])
        isolation.limit_resources(limits, own_bytes)
        from course_lib.grading.sandbox import answering, frames

        job = frames.read_job(frames.read_frame(job_fd, 1 << 40))
        reply_fd = isolation.keep_only(reply_fd)
        isolation.give_up_capabilities()
        syscalls.allow_computing_only()
        os.write(reply_fd, READY)
    except BaseException as error:
        os.write(reply_fd, BROKEN + f"{type(error).__name__}: {error}"[:1500].encode())
        os._exit(1)
    try:
        frames.write_frame(reply_fd, frames.reply_frame(answering.answer(job)))
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
