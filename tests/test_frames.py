"""Jobs and replies in frames: they arrive whole, and a forged reply is refused."""

import math

import pytest
import torch

from course_lib.exercises.attempts import MAX_PARTS, MAX_VALUES, Attempt
from course_lib.grading.sandbox.frames import (
    FrameError,
    Job,
    Reply,
    job_frame,
    pack,
    read_job,
    read_reply,
    reply_frame,
    unpack,
)


def _again(frame):
    return unpack(pack(frame))


def test_a_job_arrives_whole():
    first = {"x": torch.randn(2, 3), "n": 3, "rate": 0.1, "inf": -math.inf, "on": True, "mode": "ü\0"}
    trials = [first, {"big": 2**70}]
    job = Job("def f(x): ...", "f", "def p(fn, inputs): ...", "p", ("x",), trials, 2.5)
    back = read_job(_again(job_frame(job)))
    assert torch.equal(back.trials[0].pop("x"), trials[0].pop("x"))
    assert back == job and [type(v) for v in back.trials[0].values()] == [int, float, float, bool, str]


def test_a_job_with_another_input_is_not_sent():
    with pytest.raises(FrameError, match="list"):
        job_frame(Job("", "f", "", "p", (), [{"x": [1, 2]}], 1.0))


def _reply():
    outputs = {"output": torch.randn(2, 3), "gradient in x": torch.randn(4), "z": torch.tensor([1j])}
    failed = Attempt(error="  ValueError: no", error_kind="ValueError: no")
    return Reply([Attempt(outputs, changed=("x",)), failed], "late")


def test_a_reply_arrives_whole():
    reply, back = _reply(), read_reply(_again(reply_frame(_reply())), 2)
    names = [list(one.outputs) for one in back.attempts]
    assert back.fault == "late" and names == [["output", "gradient in x", "z"], []]
    assert back.attempts[1] == reply.attempts[1] and back.attempts[0].changed == ("x",)
    assert back.attempts[0].outputs["z"].tolist() == [1j] and not back.starved


def _changed(path, value):
    """The reply's header with one place in it set to another value."""

    def change(header):
        place = header
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


FORGED = {
    "another field": _changed(["starved"], True),
    "attempts no list": _changed(["attempts"], {}),
    "an attempt too many": lambda header: header["attempts"].append(header["attempts"][1]),
    "an attempt no object": _changed(["attempts", 0], 5),
    "an attempt with another field": _changed(["attempts", 0, "points"], 5),
    "outputs an object": _changed(["attempts", 0, "outputs"], {"output": "t0"}),
    "an output of one part": _changed(["attempts", 0, "outputs", 0], ["t0"]),
    "an output without its tensor": _changed(["attempts", 0, "outputs", 0], ["output", "t9"]),
    "an output's tensor no name": _changed(["attempts", 0, "outputs", 0], ["output", {}]),
    "an output's name no text": _changed(["attempts", 0, "outputs", 0], [5, "t0"]),
    "an output's name too long": _changed(["attempts", 0, "outputs", 0], ["o" * 201, "t0"]),
    "a name twice": _changed(["attempts", 0, "outputs", 1], ["output", "t1"]),
    "a tensor twice": _changed(["attempts", 0, "outputs", 1], ["other", "t0"]),
    "a tensor of nobody": lambda header: header["attempts"][0]["outputs"].pop(),
    "too many outputs": _changed(["attempts", 1, "outputs"], [["o", "t0"]] * (MAX_PARTS + 1)),
    "too many changed": _changed(["attempts", 1, "changed"], ["x"] * (MAX_PARTS + 1)),
    "changed no texts": _changed(["attempts", 1, "changed"], [None]),
    "error no text": _changed(["attempts", 1, "error"], ["a"]),
    "error too long": _changed(["attempts", 1, "error"], "x" * 4001),
    "error_kind none": _changed(["attempts", 1, "error_kind"], None),
    "is_stub a number": _changed(["attempts", 1, "is_stub"], 0),
    "fault a number": _changed(["fault"], 0),
    "fault too long": _changed(["fault"], "x" * 4001),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_replies_are_refused(name):
    frame = _again(reply_frame(_reply()))
    FORGED[name](frame.header)
    with pytest.raises(FrameError):
        read_reply(frame, 2)


def test_a_reply_may_hold_only_so_many_values():
    one = torch.zeros(MAX_VALUES // 2, dtype=torch.bool)
    read_reply(reply_frame(Reply([Attempt({"a": one, "b": one})])), 1)
    with pytest.raises(FrameError, match="values"):
        read_reply(reply_frame(Reply([Attempt({"a": one, "b": one, "c": torch.ones(1)})])), 1)


def test_texts_that_no_file_could_hold_are_mended():
    frame = _again(reply_frame(Reply([Attempt(error="half \ud800", error_kind="\udfff")], "\udcff")))
    back = read_reply(frame, 1)
    assert (back.attempts[0].error, back.attempts[0].error_kind, back.fault) == ("half ?", "?", "?")


def test_long_texts_are_cut_before_they_are_sent():
    long = Reply([Attempt({"o" * 300: torch.ones(1)}, error="x" * 9000)], "y" * 9000)
    back = read_reply(_again(reply_frame(long)), 1)
    assert (len(*back.attempts[0].outputs), len(back.attempts[0].error), len(back.fault)) == (200, 4000, 4000)
