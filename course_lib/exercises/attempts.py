"""Call an answer once, and bring back what it did as plain data: tensors by name, or an error in words."""

import inspect
import linecache
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# What a grader's cell finds without importing it (sandbox/answering.py's PRELUDE); `check` warns of all other names.
READY_NAMES = ("torch", "math", "nn", "F", "np", "Tensor", "check", "display")
MAX_PARTS = 100  # an answer returns a handful of tensors; beyond this it is refused unread
MAX_VALUES = 10_000_000  # torch.zeros(1).expand(10**15) costs nothing to make, and everything to compare
_NOT_THEIRS = (
    "<frozen",
    str(Path(__file__).parents[1]) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")),
)


@dataclass(frozen=True)
class Attempt:
    """What one call gave.

    Attributes:
        outputs: tensors by name, on the CPU, without gradients; numbers become tensors without axes.
        error: empty, or what went wrong, in words for the learner.
        error_kind: the exception's name and message: two answers that fail alike have the same.
        changed: names of inputs that the call changed in place and should not have.
        is_stub: the answer is still the stub's NotImplementedError.
    """

    outputs: dict[str, Tensor] = field(default_factory=dict)
    error: str = ""
    error_kind: str = ""
    changed: tuple[str, ...] = ()
    is_stub: bool = False


class NotATensor(TypeError):
    """The answer returned something that is neither a tensor nor a number (nor a few of them)."""


def run_call(probe: Callable, fn: Callable, inputs: Mapping[str, Any], may_change: tuple[str, ...] = ()) -> Attempt:
    """Run probe(fn, copies of inputs). Raises nothing but KeyboardInterrupt.

    Randomness that the answer takes from torch's global generator is seeded, and the caller's state left as it was.
    """
    if not callable(fn):
        return Attempt(error=f"  need your function, got {_type_name(fn)}", error_kind="not callable")
    copies = {name: value.clone() if isinstance(value, Tensor) else value for name, value in inputs.items()}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            outputs = dict(_tensors(probe(fn, dict(copies))))
        changed = tuple(name for name in inputs if name not in may_change and _is_changed(inputs[name], copies[name]))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an answer may call exit(); a check must survive that too
        kind = f"{type(error).__name__}: {_text(error)}"
        return Attempt(error=_explain(error, fn, inputs), error_kind=kind, is_stub=_is_stub(error))
    return Attempt(outputs, changed=changed)


def _is_changed(before: Any, after: Any) -> bool:
    return isinstance(before, Tensor) and not (before.shape == after.shape and torch.equal(before, after))


def _tensors(outputs: Any) -> Iterator[tuple[str, Tensor]]:
    """Flatten {"output": (a, b)} to ("output[0]", a), ("output[1]", b)."""
    pending, n_parts = list(reversed(list(outputs.items()))), 0
    while pending:
        name, value = pending.pop()
        n_parts += 1
        if n_parts > MAX_PARTS:
            raise NotATensor(f"output: need a tensor or a number, got more than {MAX_PARTS} of them")
        if isinstance(value, Tensor):
            yield name, _plain(name, value)
        elif isinstance(value, (bool, int, float, complex)):
            yield name, _number(name, value)
        elif isinstance(value, (tuple, list)):
            parts = [(f"{name}[{i}]", part) for i, part in enumerate(islice(value, MAX_PARTS + 1))]
            pending.extend(reversed(parts))
        elif isinstance(value, dict):
            parts = [(f"{name}[{str(key)[:40]!r}]", part) for key, part in islice(value.items(), MAX_PARTS + 1)]
            pending.extend(reversed(parts))
        else:
            raise NotATensor(_what_instead(name, value))


def _plain(name: str, value: Tensor) -> Tensor:
    if value.layout != torch.strided or value.is_meta or value.is_quantized:
        raise NotATensor(f"{name}: need a dense tensor that holds values, got layout {value.layout} on {value.device}")
    if value.numel() > MAX_VALUES:
        raise NotATensor(f"{name}: shape {tuple(value.shape)} is far larger than any right answer")
    # A copy: an answer that fills one buffer again and again must not rewrite what it gave before.
    return torch.Tensor.detach(value).cpu().as_subclass(Tensor).clone()


def _number(name: str, value: complex) -> Tensor:
    if type(value) is float:
        return torch.tensor(value, dtype=torch.float64)
    try:
        return torch.tensor(value)
    except (OverflowError, RuntimeError):
        raise NotATensor(f"{name}: a whole number too large for 64 bits") from None


def _what_instead(name: str, value: Any) -> str:
    if value is None:
        return f"{name}: need a tensor or a number, got None: is the `return` missing?"
    if type(value).__module__.split(".")[0] == "numpy":
        return f"{name}: need a tensor, got {_type_name(value)}: stay in torch, or end with torch.as_tensor(...)"
    return f"{name}: need a tensor or a number, got {_type_name(value)}"


def _explain(error: BaseException, fn: Callable, inputs: Mapping[str, Any]) -> str:
    if isinstance(error, NotATensor):
        return f"  {_text(error)}"
    frame = _learners_frame(error)
    if frame is None and isinstance(error, TypeError):
        wanted = ", ".join(inputs)
        return f"  the call did not fit your function: it takes {_signature(fn)}, the check calls it with ({wanted})"
    where = "" if frame is None else f"\n  in line {frame.lineno} of your code: {_source(frame)}".rstrip(": ")
    return f"  {type(error).__name__}: {_text(error)}".rstrip(": ") + where


def _learners_frame(error: BaseException) -> traceback.FrameSummary | None:
    """The innermost frame that is neither ours nor a library's."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    theirs = [f for f in frames if not f.filename.startswith(_NOT_THEIRS)]
    return theirs[-1] if theirs else None


def _is_stub(error: BaseException) -> bool:
    """torch raises NotImplementedError too (an operation it lacks for a dtype): only the stub names it in its line."""
    if not isinstance(error, NotImplementedError):
        return False
    frame = _learners_frame(error)
    return not error.args or (frame is not None and "NotImplementedError" in _source(frame))


def _source(frame: traceback.FrameSummary) -> str:
    return linecache.getline(frame.filename, frame.lineno or 0).strip()[:100]


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:300]
    except Exception:  # an exception of the learner's own whose __str__ fails
        return "(no readable message)"


def _signature(fn: Callable) -> str:
    try:
        return str(inspect.signature(fn))[:100]
    except Exception:  # builtins and odd callables have none
        return "other arguments"


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"
