"""Marking one submission of two light exercises: our sandboxed Marker beside nbgrader's autograder."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import Row
from benchmarks.hand_ins import assignment, write_hand_ins
from benchmarks.nbgrader_peer import autograde_s
from course_lib.exercises.framework import PASSED
from course_lib.grading.answers import read_contents
from course_lib.grading.marking import Marker
from course_lib.grading.sandbox.launch import Sandbox
from course_lib.grading.submissions import find_submissions

N_SUBMISSIONS = 120
N_WARM_UP = 10


def run() -> list[Row]:
    """Median milliseconds from the file on disk to its marks, with a Marker that has marked before, on one core.

    The peer starts a kernel for each notebook and runs all of it.

    Raises: RuntimeError if right answers do not pass.
    """
    with TemporaryDirectory(prefix="course-bench-") as name:
        taken_ms = mark_each(write_hand_ins(Path(name), N_SUBMISSIONS))
    ours_ms = statistics.median(taken_ms[N_WARM_UP:])
    return [Row("grade_one", ours_ms, 1e3 * autograde_s(), "ms", higher_is_better=False)]


def mark_each(folder: Path) -> list[float]:
    """Milliseconds for each submission in the folder."""
    against, taken_ms, n_passed = assignment(), [], 0
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Marker(against, Sandbox.bubblewrap()) as marker:
            for submission in find_submissions(folder, against.notebooks):
                start_s = time.perf_counter()
                found = read_contents(submission.read(), [one.exercise_id for one in against.exercises], [])
                results = marker.mark(submission.student, found.answers)
                taken_ms.append(1e3 * (time.perf_counter() - start_s))
                n_passed += sum(result.status == PASSED for result in results)
    finally:
        torch.set_num_threads(n_threads)
    if n_passed < len(taken_ms) // 2:
        raise RuntimeError(f"grade_one: only {n_passed} answers of {len(taken_ms)} students passed: no fair measure")
    return taken_ms
