"""What is shown while grading: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from course_lib.grading import progress
from course_lib.grading.progress import LINE_EVERY_S, GradeProgress
from course_lib.grading.results import NOT_GRADED, ExerciseResult, SubmissionResult

WHOLE = SubmissionResult("ada", "digest")
IN_PART = SubmissionResult("bob", "digest", exercises=(ExerciseResult("01.1", "title", NOT_GRADED, 0, 2),))


@pytest.fixture
def clock(monkeypatch):
    """Seconds; set clock[0]."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_with_rate_and_time_left(clock):
    said = io.StringIO()
    shown = GradeProgress(Console(file=said, width=120))
    shown.begin(130)
    shown.stage("marking")
    for _ in range(10):
        shown.kept()
    clock[0] += 60  # workers start
    shown.marked(WHOLE)
    clock[0] += LINE_EVERY_S / 2
    shown.marked(WHOLE)
    assert said.getvalue().splitlines() == ["130 submissions", "marking ..."]  # too soon for another
    clock[0] += LINE_EVERY_S / 2 + 2.5
    shown.marked(IN_PART)
    shown.marked(WHOLE)
    shown.end()
    # 2 after the first in 12.5 s: 0.16/s; the other 130 - 13 take 731 s.
    assert said.getvalue().splitlines()[2:] == ["13 of 130, 1 not graded, 0.2/s, 12:11 left"]


def test_a_terminal_gets_a_bar_with_rate_and_time_left():
    said = io.StringIO()
    shown = GradeProgress(Console(file=said, width=120, force_terminal=True, color_system=None))
    shown.begin(3)
    shown.stage("marking")
    for result in (WHOLE, IN_PART, WHOLE):
        shown.marked(result)
    shown.end()
    last = [line for line in said.getvalue().splitlines() if "marking" in line][-1]
    assert re.search(r"marking .* 3/3 [0-9.]+/s 0:00:0\d 0:00:0\d", last), last


def test_nobody_s_name_moves_the_cursor_or_colours_the_terminal():
    said = io.StringIO()
    GradeProgress(Console(file=said, width=120, force_terminal=True)).tell("[red]eve\x1b[2J\u202e was not graded")
    assert said.getvalue() == "[red]eve?[2J? was not graded\n"
