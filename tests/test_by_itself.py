"""`check` tells a learner whose right answer takes something from another cell: a grader runs its cell alone."""

import json
import sys
from pathlib import Path

import pytest
from ipykernel.compiler import XCachingCompiler
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from course_lib.exercises.attempts import READY_NAMES
from course_lib.exercises.by_itself import unbound
from course_lib.grading.sandbox import answering
from course_lib.grading.sandbox.frames import Job

CHECK = "from course_lib.exercises import check\noutcome = check('01.1', alias_frequency)"
RIGHT = """def alias_frequency(frequency_hz, rate_hz):
    return (frequency_hz - rate_hz * torch.round(frequency_hz / rate_hz)).abs()
"""
OTHER_CELL = """import torch
from torch import Tensor, nn
from torch.nn import functional as F
import numpy as np, math
from fractions import Fraction as Ratio
import functools

TIMES = 1
def nearest(x):
    return torch.round(x)
def twice(fn):
    return fn
"""
SOLUTIONS = sorted((Path(__file__).parents[1] / "solutions").glob("*.ipynb"))


@pytest.fixture(scope="module")
def shell():
    """What runs the cells in a notebook's kernel, without the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # a shell puts its own there
        yield InteractiveShell(compiler_class=XCachingCompiler, config=Config(HistoryManager={"enabled": False}))


@pytest.fixture
def run_cells(shell, capsys):
    """Run cells one after the other, then the check; what was printed."""

    def run(*cells):
        for cell in (OTHER_CELL, *cells, CHECK):
            shell.run_cell(cell).raise_error()
        assert shell.user_ns["outcome"].status == "passed"
        return capsys.readouterr().out

    return run


def told(shown):
    return [line.removeprefix("  note      ") for line in shown.splitlines() if line.startswith("  note ")]


def as_graded(cell):
    """What the grader says of the same cell."""
    trials = [{"frequency_hz": 5.0, "rate_hz": 4.0}]
    probe = "def call(fn, inputs):\n    return {'output': fn(**{k: torch.tensor(v) for k, v in inputs.items()})}\n"
    reply = answering.answer(Job(cell, "alias_frequency", probe, "call", (), trials, 1.0))
    return reply.fault or reply.attempts[-1].error


@pytest.mark.parametrize(
    "cell",
    [
        RIGHT,
        "import torch\n" + RIGHT,
        "ROUND = torch.round\n" + RIGHT.replace("torch.round", "ROUND"),
        "def near(x):\n    return torch.round(x)\n" + RIGHT.replace("torch.round", "near"),
        RIGHT.replace("rate_hz * torch", "sum(rate_hz for _ in range(1)) * torch"),
        "%pwd\n" + RIGHT,
        RIGHT + "check('01.1', alias_frequency)\ndisplay('done')",
        "@torch.no_grad()\n" + RIGHT,
        "from math import *\nHALF = pi / 2\n" + RIGHT,
        RIGHT.replace("    return", "    F.pad, nn.Linear, np.pi, math.pi, Tensor\n    return"),
    ],
)
def test_a_cell_that_stands_alone_gets_no_note_and_is_graded(run_cells, cell):
    assert told(run_cells("from course_lib.exercises import check", cell)) == []
    assert as_graded(cell) == ""


@pytest.mark.parametrize(
    ("cell", "taken"),
    [
        (RIGHT.replace("rate_hz * torch", "TIMES * rate_hz * torch"), "`TIMES`"),
        (RIGHT.replace("torch.round", "nearest"), "`nearest`"),
        (RIGHT.replace("rate_hz *", "sum(rate_hz * TIMES for _ in range(1)) *"), "`TIMES`"),
        (RIGHT.replace("rate_hz *", "(lambda: rate_hz * Ratio(TIMES).numerator)() *"), "`Ratio`, `TIMES`"),
        (RIGHT.replace("rate_hz)", "rate_hz=TIMES)", 1), "`TIMES`"),
        ("@twice\n" + RIGHT, "`twice`"),
        ("@functools.cache\n@torch.no_grad()\n" + RIGHT, "`functools`"),
        (RIGHT + "print(alias_frequency(torch.tensor(9.0), 4) + TIMES)\n", "`TIMES`"),
        ("class alias_frequency:\n    times = TIMES\n    def __new__(cls, frequency_hz, rate_hz):\n"
         "        return (frequency_hz - cls.times * rate_hz * torch.round(frequency_hz / rate_hz)).abs()\n",
         "`TIMES`"),
    ],
)  # fmt: skip
def test_what_comes_from_another_cell_is_named_and_would_stop_the_grader(run_cells, cell, taken):
    shown = run_cells(cell)
    assert shown.splitlines()[-1] == (
        f"  note      a grader runs this cell by itself: define or import {taken} in it, too"
    )
    assert "NameError" in as_graded(cell)


def test_a_ready_name_that_the_notebook_gave_to_something_else_is_named(run_cells):
    shown = run_cells("F = 1.0", RIGHT.replace("rate_hz * torch", "F * rate_hz * torch"))
    assert told(shown) == ["a grader runs this cell by itself: define or import `F` in it, too"]


def test_what_a_cell_takes_from_the_course_is_told(run_cells):
    cell = "from course_lib.sound.features import AudioConfig\n" + RIGHT
    assert told(run_cells(cell)) == ["a grader runs this cell without course_lib: write what you take from it yourself"]


@pytest.mark.parametrize("frame", ["exec({!r})", "PAGE = 'a\x0cb'\n{}"])
def test_a_cell_that_cannot_be_read_is_no_reason_to_doubt_the_answer(run_cells, frame):
    assert told(run_cells(frame.format(RIGHT.replace("rate_hz *", "TIMES * rate_hz *")))) == []


def test_the_ready_names_are_those_of_the_grader():
    assert sorted(READY_NAMES) == sorted(answering.PRELUDE)


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_the_courses_own_solutions_stand_alone(path):
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text("utf-8"))["cells"]]
    posed = [cell for cell in cells if cell.startswith("# EXERCISE ")]
    assert [unbound(cell)[0] - set(READY_NAMES) for cell in posed] == [set()] * len(posed)
