"""How the worker passes bytes from pipe to pipe without reading them, and waits for its children and the grader."""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
import time


def wait_for(fd: int, deadline_s: float) -> bool:
    """Whether there is something to read (of a process: whether it has ended) by then."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(0, 0)  # reports only that the grader has gone
    ready = poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000)
    if any(one == 0 for one, _ in ready):
        raise SystemExit("the grader has gone")
    return bool(ready)


def waited_s(child: int) -> float:
    """How long a process was ready to run, but not running; 0 if the kernel does not say."""
    with open(f"/proc/self/fdinfo/{child}") as file:
        pid = next(line.split()[1] for line in file if line.startswith("Pid:"))  # as /proc counts, not as we do
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0


def n_waiting(pipe: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def move(source: int, target: int, n_bytes: int) -> None:
    while n_bytes:
        moved = os.splice(source, target, n_bytes)
        if not moved:
            raise SystemExit("the grader has gone")
        n_bytes -= moved


def read_up_to(fd: int, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes and (piece := os.read(fd, n_bytes - len(data))):
        data += piece
    return data
