"""Which of the course's files have a part in marks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from course_lib.grading import versions

PACKAGE = Path(versions.__file__).parents[1]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the course's code, and a function that gives its digest."""
    shutil.copytree(PACKAGE, tmp_path / "course_lib", ignore=lambda folder, names: {"__pycache__"} & {*names})
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "course_lib/grading/versions.py"))
    return tmp_path / "course_lib", versions.code_digest.__wrapped__  # not the one that was kept


def test_what_has_no_part_in_marks_is_there():
    for name in versions._NO_PART_IN_MARKS:
        assert (PACKAGE / name).exists(), f"{name} was moved: say in versions.py where it is now"


@pytest.mark.parametrize("name", ["commands/cli.py", "grading/reports/feedback.py", "grading/progress.py"])
def test_what_only_shows_marks_marks_nobody_again(copy, name):
    root, digest = copy
    before = digest()
    assert len(before) == 64
    with open(root / name, "a") as file:
        file.write("# changed\n")
    assert digest() == before


@pytest.mark.parametrize(
    "name", ["exercises/framework.py", "exercises/new.py", "grading/sandbox/worker.py", "grading/marking.py"]
)
def test_what_may_change_a_mark_marks_all_again(copy, name):
    root, digest = copy
    before = digest()
    with open(root / name, "a") as file:
        file.write("# changed\n")
    assert digest() != before
