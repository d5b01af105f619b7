"""Kill the grader at random moments, start it again, and compare what it wrote with an undisturbed run's.

`python -m benchmarks.kills [STUDENTS] [KILLS]`: kill -9 of the whole command, sandbox and all; exits 1 on a difference.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.hand_ins import assignment, write_hand_ins
from course_lib.grading.assignment import write_assignment

# `course`, without the 5 s in which it tries whether the sandbox holds.
_COMMAND = """
from course_lib.grading import grade_command
grade_command.check_sandbox = lambda sandbox: []
from course_lib.commands.cli import app
app()
"""


def kill_and_compare(n_students: int = 500, n_kills: int = 20, seed: int = 0) -> list[str]:
    """Names of the files that differ, or are in one run only; of results that were marked twice; of processes left.

    Of the kills, the first comes while the grader starts, the last two while it writes reports, the others after a
    random number of new results (so that some are left for the last), each a random moment later.
    """
    rng = random.Random(seed)
    with TemporaryDirectory(prefix="course-kills-") as name:
        home = Path(name)
        write_hand_ins(home / "in", n_students)
        write_assignment(home / "hw.toml", assignment())
        began_s = time.monotonic()
        _finish(_start(home, "undisturbed"))
        whole_s = time.monotonic() - began_s
        print(f"undisturbed: {whole_s:.0f} s", flush=True)
        faults: list[str] = []
        for number in range(n_kills):
            n_left = n_students - len(_results(home / "killed"))
            n_more = rng.randint(1, max(1, 2 * n_left // (n_kills - number)))
            n_awaited = 0 if number == 0 else None if number >= n_kills - 2 else n_students - max(1, n_left - n_more)
            faults += _kill_once(home, n_awaited, rng.random())
            print(f"kill {number + 1}: {len(_results(home / 'killed'))} results", flush=True)
        _finish(_start(home, "killed"))
        return faults + differences(home / "undisturbed", home / "killed")


def differences(one: Path, other: Path) -> list[str]:
    """Names of files that are not the same in both folders."""
    a, b = (
        {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        for folder in (one, other)
    )
    shared = a.keys() & b.keys()
    return sorted((a.keys() ^ b.keys()) - {".lock"}) + sorted(
        n for n in shared if a[n].read_bytes() != b[n].read_bytes()
    )


def _start(home: Path, out: str) -> subprocess.Popen:
    command = [sys.executable, "-c", _COMMAND, "grade", "in", "-o", out, "--assignment", "hw.toml"]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process: subprocess.Popen) -> None:
    said, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the grader exited with {process.returncode}:\n{said}")


def _results(folder: Path) -> dict[str, int]:
    """When each result was written, in ns."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("results/s*.json")}


def _kill_once(home: Path, n_awaited: int | None, later_s: float) -> list[str]:
    """Start it, and kill it when there are so many results, or (None) when it begins to write reports.

    Returns: results that were marked again although they were whole; processes that did not end with the grader.
    """
    before, began_s = _results(home / "killed"), time.time()
    process = _start(home, "killed")
    while process.poll() is None:
        if n_awaited is None and any(page.stat().st_mtime > began_s for page in home.glob("killed/feedback/*.html")):
            break
        if n_awaited is not None and len(_results(home / "killed")) >= n_awaited:
            break
        time.sleep(0.002)
    time.sleep(later_s)
    if process.poll() is not None:
        print("(it had ended by itself)")
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.communicate()
    _, left = psutil.wait_procs(family, timeout=30)
    now = _results(home / "killed")
    twice = [f"{name} was marked twice" for name in before if now.get(name) != before[name]]
    return twice + [f"{one} was left behind" for one in left]


if __name__ == "__main__":
    found = kill_and_compare(*map(int, sys.argv[1:]))
    print("\n".join(found) or "no difference")
    sys.exit(bool(found))
