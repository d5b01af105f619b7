"""How the worker passes bytes from pipe to pipe without reading them, and waits for its children and the grader."""

from __future__ import annotations

import array
import fcntl
import math
import os
import resource
import select
import termios
import time
from functools import cached_property

LOOK_S = 0.05  # between two looks at a child's memory


class Watch:
    """Waits for a child, with one eye on the clock, one on its memory, and one on the grader.

    Args:
        child: a pidfd of it.
        max_bytes: of memory that it may hold, all together. Its address space alone is no measure: it may give back
            what of that it was born with.
        max_threads: that it may run; where root is the only user there is, the kernel limits none.
    """

    def __init__(self, child: int, max_bytes: int, max_threads: int) -> None:
        self._child, self._max_bytes, self._max_threads = child, max_bytes, max_threads
        self.deadline_s = math.inf

    @cached_property
    def _folder(self) -> str:
        with open(f"/proc/self/fdinfo/{self._child}") as file:  # its number as /proc counts, which is not as we count
            return "/proc/" + next(line.split()[1] for line in file if line.startswith("Pid:"))

    def why_not(self, fd: int) -> str:
        """Empty once there is something to read; else "late", "heavy" or "many"."""
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(0, 0)  # reports only that the grader has gone
        while True:
            left_s = self.deadline_s - time.monotonic()
            ready = poll.poll(max(0.0, min(left_s, LOOK_S)) * 1000)
            if any(one == 0 for one, _ in ready):
                raise SystemExit("the grader has gone")
            if ready:
                return ""
            if left_s <= 0:
                return "late"
            if held_bytes(self._folder) > self._max_bytes:
                return "heavy"
            if n_threads(self._folder) > self._max_threads:
                return "many"

    def at_its_end(self) -> str:
        """The child has closed its pipe without a whole reply: "ended" if it ends by itself."""
        return self.why_not(self._child) or "ended"

    def waited_s(self) -> float:
        """How long it was ready to run, but not running; 0 if the kernel does not say."""
        try:
            with open(f"{self._folder}/schedstat") as file:
                return int(file.read().split()[1]) / 1e9
        except OSError:
            return 0.0


def held_bytes(folder: str = "/proc/self") -> int:
    """Memory that a process holds; 0 if it has ended."""
    try:
        with open(f"{folder}/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def n_threads(folder: str) -> int:
    """Of a process; 0 if it has ended."""
    try:
        with open(f"{folder}/stat") as file:
            return int(file.read().rsplit(")", 1)[1].split()[17])
    except OSError:
        return 0


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
