"""What is said in frames: a job (an answer, a probe, inputs) and its reply (attempts, or what went wrong)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from course_lib.exercises.attempts import MAX_PARTS, MAX_VALUES, Attempt
from course_lib.grading.sandbox.wire import Frame, FrameError, pack, read_frame, short, unpack, write_frame

__all__ = [
    "Frame", "FrameError", "Job", "Reply", "job_frame", "pack", "read_frame", "read_job", "read_reply", "reply_frame",
    "unpack", "write_frame",
]  # fmt: skip

MAX_TEXT = 4000  # characters of an error
MAX_NAME = 200  # of an output's name


@dataclass(frozen=True)
class Job:
    """One answer to be tried.

    Attributes:
        source: the learner's cell; function: the name that it must define.
        probe, probe_name: source text of the exercise's probe and its name; it sees torch and math.
        trials: inputs by name, of each call.
        wall_s: seconds for the whole job, by the clock on the wall.
    """

    source: str
    function: str
    probe: str
    probe_name: str
    may_change: tuple[str, ...]
    trials: list[dict[str, Any]]
    wall_s: float


@dataclass(frozen=True)
class Reply:
    """What a job gave.

    Attributes:
        fault: what stopped the learner's code, in words for them; empty if every call was made.
        starved: it was late, but for more than a third of its time it was ready to run and no processor was free.
    """

    attempts: list[Attempt]
    fault: str = ""
    starved: bool = False


def job_frame(job: Job) -> Frame:
    """Tensors travel as t0, t1 ..., so that a name may be any text."""
    tensors: dict[str, Tensor] = {}
    trials = [[[name, _entry(value, tensors)] for name, value in trial.items()] for trial in job.trials]
    texts = {name: getattr(job, name) for name in ("source", "function", "probe", "probe_name", "wall_s")}
    return Frame(texts | {"may_change": list(job.may_change), "trials": trials}, tensors)


def _entry(value: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if isinstance(value, Tensor):
        key = f"t{len(tensors)}"
        tensors[key] = value
        return {"tensor": key}
    if isinstance(value, (bool, int, float, str)):
        return {"value": value}
    raise FrameError(f"an input has to be a tensor, a number or a text, got {type(value).__name__}")


def read_job(frame: Frame) -> Job:
    """Inside the sandbox, from the grader: it can be believed."""
    header = dict(frame.header)
    trials = [
        {name: frame.tensors[e["tensor"]] if "tensor" in e else e["value"] for name, e in trial}
        for trial in header.pop("trials")
    ]
    return Job(**header | {"may_change": tuple(header["may_change"]), "trials": trials})


def reply_frame(reply: Reply) -> Frame:
    """In the child: what `read_reply` will accept, if nothing was tampered with."""
    tensors: dict[str, Tensor] = {}
    rows = []
    for attempt in reply.attempts:
        outputs = [[name[:MAX_NAME], _entry(value, tensors)["tensor"]] for name, value in attempt.outputs.items()]
        rows.append({
            "outputs": outputs, "error": attempt.error[:MAX_TEXT], "error_kind": attempt.error_kind[:MAX_TEXT],
            "changed": list(attempt.changed), "is_stub": attempt.is_stub,
        })  # fmt: skip
    return Frame({"attempts": rows, "fault": reply.fault[:MAX_TEXT]}, tensors)


def read_reply(frame: Frame, n_trials: int) -> Reply:
    """Raises: FrameError unless this is a reply to a job of n_trials calls, each type and length as it should be."""
    header = frame.header
    if set(header) != {"attempts", "fault"}:
        raise FrameError("a reply holds `attempts` and `fault`, nothing else")
    rows = header["attempts"]
    if not isinstance(rows, list) or len(rows) > n_trials:
        raise FrameError(f"a reply holds a list of at most {n_trials} attempts")
    if sum(tensor.numel() for tensor in frame.tensors.values()) > MAX_VALUES:
        raise FrameError(f"a reply of more than {MAX_VALUES} values")
    used: set[str] = set()
    attempts = [_attempt(row, frame.tensors, used) for row in rows]
    if used != set(frame.tensors):
        raise FrameError("a reply with tensors that belong to no attempt")
    return Reply(attempts, _text(header["fault"], MAX_TEXT, "fault"))


def _attempt(row: Any, tensors: dict[str, Tensor], used: set[str]) -> Attempt:
    if not isinstance(row, dict) or set(row) != {"outputs", "error", "error_kind", "changed", "is_stub"}:
        raise FrameError("an attempt with other fields than the five it has")
    outputs, changed = row["outputs"], row["changed"]
    if not isinstance(outputs, list) or not isinstance(changed, list) or max(len(outputs), len(changed)) > MAX_PARTS:
        raise FrameError(f"outputs and changed have to be lists of at most {MAX_PARTS}")
    named: dict[str, Tensor] = {}
    for pair in outputs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
            raise FrameError("an output has to be a name and a tensor")
        name = _text(pair[0], MAX_NAME, "name of an output")
        if name in named or pair[1] in used or pair[1] not in tensors:
            raise FrameError(f"output {short(name)}: named twice, or its tensor is missing or used twice")
        used.add(pair[1])
        named[name] = tensors[pair[1]]
    if not isinstance(row["is_stub"], bool):
        raise FrameError("is_stub has to be true or false")
    return Attempt(
        named,
        error=_text(row["error"], MAX_TEXT, "error"),
        error_kind=_text(row["error_kind"], MAX_TEXT, "error_kind"),
        changed=tuple(_text(name, MAX_NAME, "changed") for name in changed),
        is_stub=row["is_stub"],
    )


def _text(value: Any, max_chars: int, what: str) -> str:
    if not isinstance(value, str) or len(value) > max_chars:
        raise FrameError(f"{what}: need a text of at most {max_chars} characters")
    return value.encode("utf-8", "replace").decode()  # half a surrogate pair could not be written to any file
