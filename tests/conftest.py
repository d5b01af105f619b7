"""What all tests share: settings that keep them short and off the network, and the clips."""

from __future__ import annotations

import os

# Before course_lib is imported, and inherited by the kernels that run the notebooks.
os.environ.setdefault("COURSE_PROFILE", "smoke")
os.environ.setdefault("COURSE_STILL", "1")

import pytest

from course_lib.clips.clips import Clips
from course_lib.clips.fsdd import find_fsdd
from course_lib.clips.loading import load_clips

if "COURSE_DATASET" not in os.environ:
    os.environ["COURSE_DATASET"] = "fsdd" if find_fsdd() else "bundled"  # never "auto", which may download


@pytest.fixture(scope="session")
def clips() -> Clips:
    """FSDD if it is in the cache, else the bundled digits; do not change it in place."""
    return load_clips()
