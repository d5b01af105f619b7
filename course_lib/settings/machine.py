"""What the doctor asks of the machine: free memory, and a Python of its own to try things in. Standard library only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 180  # a first import of torch from a cold, slow disk


def free_memory_gib() -> float | None:
    """Memory that a program can still have, in GiB; None where the system does not say."""
    if sys.platform == "win32":
        import ctypes

        class MemoryStatus(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")
            ]

        status = MemoryStatus()
        status.length = ctypes.sizeof(status)
        return status.free / 2**30 if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    if sys.platform == "darwin":
        pages = subprocess.run(["vm_stat"], capture_output=True, text=True, check=True).stdout
        counts = dict(re.findall(r"Pages (free|inactive|speculative):\s+(\d+)", pages))
        return sum(map(int, counts.values())) * os.sysconf("SC_PAGE_SIZE") / 2**30
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(available[1]) / 2**20 if available else None


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python of its own, so that a crash in it is caught."""
    command = [sys.executable, "-c", code, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {TIMEOUT_S} s")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a process said, or how it died."""
    if done.returncode < 0:
        return f"Python crashed (signal {-done.returncode})"
    return next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
