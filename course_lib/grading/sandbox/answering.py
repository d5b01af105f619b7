"""Inside a child: run the learner's cell, then the probe on every trial; nothing of ours is at stake any more."""

from __future__ import annotations

import builtins
import linecache
import math
import random
import re
import traceback
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from course_lib.exercises.attempts import Attempt, run_call
from course_lib.grading.sandbox import frames
from course_lib.grading.sandbox.frames import Job, Reply

CELL = "<your answer>"
_MAGIC = re.compile(r"^([ \t]*)[%!?].*$", re.MULTILINE)


def _nothing(*arguments: object, **named: object) -> None:
    """Stands in for `check` and `display`, which some put into the cell of the exercise."""


PRELUDE = {
    "torch": torch, "math": math, "nn": nn, "F": functional, "np": np, "Tensor": torch.Tensor,
    "check": _nothing, "display": _nothing,
}  # fmt: skip


def answer(job: Job) -> Reply:
    """Every trial up to the first that raised; or a fault, if the cell itself did not run."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    linecache.cache[CELL] = (len(job.source), None, job.source.splitlines(keepends=True), CELL)
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins} | PRELUDE
    try:
        exec(_compiled(job.source), names)
    except BaseException as error:  # exit() in a cell, too
        return Reply([], _why(error))
    if job.function not in names:
        return Reply([], _what_is_there(job.function, names))
    probe = _probe(job)
    attempts: list[Attempt] = []
    for trial in job.trials:
        try:
            attempts.append(run_call(probe, names[job.function], trial, job.may_change))
        except KeyboardInterrupt as error:  # nobody is there to press a key
            return Reply(attempts, _why(error))
        if attempts[-1].error:
            break
    return Reply(attempts)


def _compiled(source: str) -> CodeType:
    """A notebook's own commands (`%matplotlib inline`, `!pip install`) are left out, as they define nothing."""
    try:
        return compile(source, CELL, "exec", dont_inherit=True)
    except SyntaxError:
        if not _MAGIC.search(source):
            raise
        return compile(without_commands(source), CELL, "exec", dont_inherit=True)


def without_commands(source: str) -> str:
    """The cell as plain Python: `pass` where a line begins with %, ! or ?."""
    return _MAGIC.sub(r"\1pass", source)


def _probe(job: Job) -> Any:
    names: dict[str, Any] = {"__name__": "probe", "torch": torch, "math": math}
    exec(compile("from __future__ import annotations\n" + job.probe, "<frozen probe>", "exec"), names)
    return names[job.probe_name]


def _what_is_there(function: str, names: dict[str, Any]) -> str:
    defined = [name for name in names if name not in PRELUDE and not name.startswith("__")][:8]
    instead = f"it defines {', '.join(defined)}" if defined else "it defines nothing"
    return f"the cell defines no `{function}`: {instead}"


def _why(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")[:300]
    except BaseException:  # an exception of the learner's own whose __str__ fails
        text = "an exception without a readable message"
    if isinstance(error, SyntaxError):
        return f"the cell is no Python that can be run: {error.msg}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == CELL]
    where = f" in line {lines[-1]}" if lines else ""
    if isinstance(error, NameError):
        return f"{text}{where}: the grader runs this cell by itself, so define or import in it what it uses"
    return f"your code stopped{where}: {text}"


def rehearse() -> None:
    """Touch what answers use, so that no child is the first to do so."""
    torch.set_num_threads(1)
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
    source = "import torch\n\n\ndef double(x, y):\n    return 2 * x, y\n"
    probe = "def call(fn, inputs):\n    return {'output': fn(**inputs)}\n"
    job = Job(source, "double", probe, "call", (), [{"x": wave, "y": wave[0].to(torch.complex64)}], 1.0)
    asked = frames.read_job(frames.unpack(frames.pack(frames.job_frame(job))))
    said = frames.reply_frame(answer(asked))
    if frames.read_reply(frames.unpack(frames.pack(said)), 1).fault:
        raise RuntimeError("the worker cannot answer its own question")
