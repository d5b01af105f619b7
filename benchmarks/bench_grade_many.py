"""Grading a class with `course grade`: submissions a second, all reports and gradebook.db among it, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks import Row
from benchmarks.hand_ins import assignment, write_hand_ins
from benchmarks.nbgrader_peer import autograde_s
from course_lib.grading.assignment import write_assignment

N_STUDENTS = int(os.environ.get("COURSE_BENCH_STUDENTS", "1000"))  # 10000 takes 5 minutes and 2 GB of disk
SAMPLE_S = 0.5


@dataclass
class Watch:
    """Memory of the grader's processes (resident MB) and when so many results were there."""

    at_s: list[float] = field(default_factory=list)
    n_results: list[int] = field(default_factory=list)
    client_mb: list[float] = field(default_factory=list)
    workers_mb: list[float] = field(default_factory=list)  # the largest of its children


def run() -> list[Row]:
    """Submissions a second from start to exit (sandbox check, workers, marks, reports), and those of marking alone."""
    with TemporaryDirectory(prefix="course-bench-") as name:
        whole_s, watch, said = grade_class(Path(name), N_STUDENTS)
    first, last = (next(i for i, n in enumerate(watch.n_results) if n >= share * N_STUDENTS) for share in (0.1, 0.9))
    per_s = (watch.n_results[last] - watch.n_results[first]) / (watch.at_s[last] - watch.at_s[first])
    print(said, f"{N_STUDENTS} in {whole_s:.1f} s; marking {per_s:.1f}/s", *memory_lines(watch), sep="\n")
    nbgrader_per_s = 1 / autograde_s()
    return [
        Row(name, ours, nbgrader_per_s, "submissions/s", higher_is_better=True, of=f"{N_STUDENTS:,} submissions")
        for name, ours in (("grade_many", N_STUDENTS / whole_s), ("grade_many_marking", per_s))
    ]


def memory_lines(watch: Watch) -> list[str]:
    """Resident memory after 10 %, 50 % and all of the results, and while the reports were written."""
    lines = []
    for n in (watch.n_results[-1] // 10, watch.n_results[-1] // 2, watch.n_results[-1]):
        i = next(i for i, m in enumerate(watch.n_results) if m >= n)
        lines.append(f"after {n}: client {watch.client_mb[i]:.0f} MB, largest worker {watch.workers_mb[i]:.0f} MB")
    return [*lines, f"most of all: client {max(watch.client_mb):.0f} MB, worker {max(watch.workers_mb):.0f} MB"]


def grade_class(home: Path, n_students: int) -> tuple[float, Watch, str]:
    """Wall seconds, memory, and what the command said.

    Raises: RuntimeError if it did not grade everyone.
    """
    write_hand_ins(home / "in", n_students)
    write_assignment(home / "hw.toml", assignment())
    command = [sys.executable, "-m", "course_lib", "grade", "in", "-o", "out", "--assignment", "hw.toml"]
    start_s = time.monotonic()
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch = Watch()
    watcher = threading.Thread(target=_watch, args=(process.pid, home / "out/results", watch, start_s))
    watcher.start()
    said, _ = process.communicate()
    whole_s = time.monotonic() - start_s
    watcher.join()
    n_results = sum(1 for _ in (home / "out/results").glob("*.json"))
    if process.returncode or n_results != n_students:
        raise RuntimeError(f"exit status {process.returncode}, {n_results} results of {n_students}:\n{said}")
    return whole_s, watch, said


def _watch(pid: int, results: Path, watch: Watch, start_s: float) -> None:
    client = psutil.Process(pid)
    while client.is_running() and client.status() != psutil.STATUS_ZOMBIE:
        try:
            sizes = [child.memory_info().rss / 1e6 for child in client.children(recursive=True)]
            client_mb = client.memory_info().rss / 1e6
        except psutil.NoSuchProcess:
            continue  # a child ended while we looked
        watch.at_s.append(time.monotonic() - start_s)
        watch.n_results.append(len(os.listdir(results)) if results.is_dir() else 0)
        watch.client_mb.append(client_mb)
        watch.workers_mb.append(max(sizes, default=0.0))
        time.sleep(SAMPLE_S)
