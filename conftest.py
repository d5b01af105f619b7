"""What `pytest` sets before anything runs, for unit tests and for the kernels that nbval starts for the notebooks."""

from __future__ import annotations

import os
import shutil
import tempfile

import matplotlib
import pytest

# The cells that CI compares were stored at this profile, and at any other the notebooks would take minutes.
os.environ["COURSE_PROFILE"] = "smoke"
os.environ["COURSE_STILL"] = "1"
RUNS_DIR = os.environ["COURSE_RUNS_DIR"] = tempfile.mkdtemp(prefix="course-runs-")  # leave the learner's runs/ alone
matplotlib.use("Agg")  # here only: kernels show their figures inline


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("COURSE_DATASET", "auto") == "auto":  # "auto" may download, and tests use no network
        from course_lib.clips.fsdd import find_fsdd

        os.environ["COURSE_DATASET"] = "fsdd" if find_fsdd() else "bundled"


def pytest_report_header() -> str:
    return f"course: data set {os.environ['COURSE_DATASET']}, device {os.environ.get('COURSE_DEVICE', 'auto')}"


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(RUNS_DIR, ignore_errors=True)
