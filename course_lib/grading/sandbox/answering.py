"""Inside a child: run the learner's cell, then the probe on every trial; nothing of ours is at stake any more."""

from __future__ import annotations

import builtins
import linecache
import math
import random
import traceback
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_lib.exercises.attempts import Attempt, run_call
from course_lib.grading.sandbox.frames import Job, Reply

PRELUDE = {"torch": torch, "math": math, "nn": nn, "F": functional, "np": np, "Tensor": torch.Tensor}
CELL = "<your answer>"


def answer(job: Job) -> Reply:
    """Every trial up to the first that raised; or a fault, if the cell itself did not run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    linecache.cache[CELL] = (len(job.source), None, job.source.splitlines(keepends=True), CELL)
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins} | PRELUDE
    try:
        exec(compile(job.source, CELL, "exec", dont_inherit=True), names)
    except BaseException as error:
        return Reply([], _why(error, job.source))
    if job.function not in names:
        return Reply([], _what_is_there(job.function, names))
    probe = _probe(job)
    attempts: list[Attempt] = []
    for trial in job.trials:
        attempts.append(run_call(probe, names[job.function], trial, job.may_change))
        if attempts[-1].error:
            break
    return Reply(attempts)


def _probe(job: Job) -> Any:
    names: dict[str, Any] = {"__name__": "probe", "torch": torch, "math": math}
    exec(compile("from __future__ import annotations\n" + job.probe, "<frozen probe>", "exec"), names)
    return names[job.probe_name]


def _what_is_there(function: str, names: dict[str, Any]) -> str:
    defined = [name for name in names if name not in PRELUDE and not name.startswith("__")][:8]
    instead = f"it defines {', '.join(defined)}" if defined else "it defines nothing"
    return f"the cell defines no `{function}`: {instead}"


def _why(error: BaseException, source: str) -> str:
    text = f"{type(error).__name__}: {error}"[:300]
    if isinstance(error, SyntaxError):
        magic = [line.strip() for line in source.splitlines() if line.lstrip()[:1] in ("%", "!")]
        if magic:
            return f"the cell is run as plain Python: `{magic[0][:80]}` works in a notebook only, take it out"
        return f"the cell is no Python: {error.msg}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == CELL]
    where = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, NameError):
        return f"{text}{where}: the grader runs this cell by itself, so define or import in it what it uses"
    return f"the cell itself stopped{where}: {text}"


def rehearse() -> None:
    """Touch what answers use, so that no child is the first to do so."""
    wave = torch.randn(2, 256)
    weight = torch.randn(8, 8, requires_grad=True)
    (weight @ weight).square().sum().backward()
    window = torch.hann_window(64)
    torch.istft(torch.stft(wave, 64, 16, window=window, return_complex=True), 64, 16, window=window)
    functional.conv1d(wave[:, None], torch.randn(1, 1, 3))
    torch.linalg.svd(torch.randn(5, 4)), torch.linalg.qr(torch.randn(5, 4))
    torch.distributions.Normal(wave, 1.0).log_prob(wave)
    torch.distributions.kl_divergence(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(wave, 1.0))
    nn.GRU(3, 4)(torch.randn(2, 5, 3))
    source = "def double(x):\n    return 2 * x\n"
    probe = "def call(fn, inputs):\n    return {'output': fn(**inputs)}\n"
    answer(Job(source, "double", probe, "call", (), [{"x": wave}], 1.0))
