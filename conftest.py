"""What `pytest` sets before anything runs, for unit tests and for the kernels that nbval starts for the notebooks.

`make test` shares the files out among workers (pytest-xdist): a file, and so a notebook, is one worker's from its first
test to its last, the longest files first. `pytest` alone runs them one after another.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

N_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
MOST_WORKERS = 4  # more gain little, since the longest file takes as long; each holds a torch of its own
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # "" in the process that people start
if WORKER:  # before numpy and torch are imported: threads of two workers that share a core wait for each other
    n_threads = N_CORES // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, n_threads)))

# The cells that CI compares were stored at this profile, and at any other the notebooks would take minutes.
os.environ["COURSE_PROFILE"] = "smoke"
os.environ["COURSE_STILL"] = "1"
# Leave the learner's runs/ alone. A worker has a folder of its own in that of the process which started it.
RUNS_DIR = Path(os.environ["COURSE_RUNS_DIR"], WORKER) if WORKER else Path(tempfile.mkdtemp(prefix="course-runs-"))
os.environ["COURSE_RUNS_DIR"] = str(RUNS_DIR)

# Files of tests that take longest, beside the notebooks: they train, grade in sandboxes, or start kernels and clusters.
LONG_FILES = (
    "tests/test_attacks.py", "tests/test_validate.py", "tests/test_loops.py", "tests/test_recipes.py",
    "tests/test_collecting.py", "tests/test_release.py", "tests/test_nbgrader_workflow.py",
    "tests/test_hostile_files.py", "tests/test_cluster.py", "tests/test_grade_kills.py", "tests/test_colab.py",
    "tests/test_fit_gan.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    import matplotlib  # not above: it brings numpy, which counts its threads when it is imported

    matplotlib.use("Agg")  # here only: kernels show their figures inline
    if os.environ.get("COURSE_DATASET", "auto") == "auto":  # "auto" may download, and tests use no network
        from course_lib.clips.fsdd import find_fsdd

        os.environ["COURSE_DATASET"] = "fsdd" if find_fsdd() else "bundled"


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which plain `pytest` does without
def pytest_xdist_auto_num_workers() -> int:
    return min(N_CORES, MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if WORKER:  # the longest files first, so that no worker is left with one when the others have ended
        items.sort(key=lambda item: _place(item.nodeid.partition("::")[0]))


def _place(file: str) -> int:
    return 0 if file.endswith(".ipynb") else 1 if file in LONG_FILES else 2


def pytest_report_header() -> str:
    return f"course: data set {os.environ['COURSE_DATASET']}, device {os.environ.get('COURSE_DEVICE', 'auto')}"


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(RUNS_DIR, ignore_errors=True)
