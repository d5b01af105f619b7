"""Frames as bytes: what goes in comes out, and nothing hostile gets further than FrameError."""

import json
import math
import os
import random
import struct
import threading
import time

import pytest
import torch

from course_lib.grading.sandbox import wire
from course_lib.grading.sandbox.frames import read_reply
from course_lib.grading.sandbox.wire import Frame, FrameError, pack, read_exactly, read_frame, unpack, write_frame


def _again(frame):
    return unpack(pack(frame))


@pytest.mark.parametrize("dtype", [*wire.DTYPES.values(), torch.complex64, torch.complex128], ids=str)
def test_every_dtype_and_shape_comes_out_as_it_went_in(dtype):
    values = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {
        "plain": values, "transposed": values.permute(2, 0, 1), "every other": values[:, ::2], "none": values[:0],
        "number": values[1, 2, 3], "one axis of none": torch.empty(3, 0, 5, dtype=dtype), "shared": values[0],
        "": values,
    }  # fmt: skip
    back = _again(Frame({"a": [1, None, "ü"]}, tensors))
    assert back.header == {"a": [1, None, "ü"]} and set(back.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert back.tensors[name].dtype == dtype and back.tensors[name].shape == tensor.shape
        assert torch.equal(back.tensors[name], tensor)


def test_special_values_views_and_gradients():
    odd = torch.tensor([math.nan, math.inf, -math.inf, -0.0])
    z = torch.tensor([1 + 2j, 3 - 4j])
    weight = torch.nn.Parameter(torch.ones(2))
    back = _again(Frame({}, {"odd": odd, "conj": z.conj(), "neg": z.conj().imag, "grad": weight * 2, "weight": weight}))
    assert torch.equal(back.tensors["odd"].view(torch.int32), odd.view(torch.int32))
    assert back.tensors["conj"].tolist() == [1 - 2j, 3 + 4j] and back.tensors["neg"].tolist() == [-2, 4]
    assert not back.tensors["grad"].requires_grad and back.tensors["weight"].tolist() == [1, 1]


class _Equal(torch.Tensor):
    """Equals everything."""


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.empty(2, device="meta"),
        torch.ones(2).as_subclass(_Equal),
        torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        torch.ones(2).to(torch.float8_e4m3fn),
    ],
    ids=["sparse", "meta", "subclass", "quantised", "float8"],
)
def test_what_is_no_plain_tensor_is_not_packed(tensor):
    with pytest.raises(FrameError, match="one"):
        pack(Frame({}, {"one": tensor}))


@pytest.mark.parametrize("header", [{"a": {1, 2}}, {"a": torch.ones(1)}, {"a": b"x"}])
def test_a_header_that_is_no_json_is_not_packed(header):
    with pytest.raises(FrameError, match="JSON"):
        pack(Frame(header))


def _bytes(described, body=b"", header='{"header": {}, "complex": []}'):
    """Safetensors by hand: its JSON, then its body."""
    if isinstance(described, dict):
        metadata = {} if header is None else {"__metadata__": {"header": header}}
        described = json.dumps(metadata | described).encode()
    return struct.pack("<Q", len(described)) + described + body


def _entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "nothing": (b"", "cut short"),
    "seven bytes": (b"\0" * 7, "cut short"),
    "no header": (struct.pack("<Q", 0), "no JSON"),
    "header beyond the end": (struct.pack("<Q", 50) + b"{}", "cut short"),
    "header of 2**63": (struct.pack("<Q", 1 << 63) + b"{}", "cut short"),
    "header too long": (_bytes(b" " * (wire.MAX_HEADER + 1)), "longer than"),
    "no JSON": (_bytes(b"{'a': 1}"), "no JSON"),
    "not UTF-8": (_bytes(b'{"\xff\xfe": 1}'), "no JSON"),
    "a list": (_bytes(b"[]"), "need an object"),
    "deep": (_bytes(b"[" * 100_000), "no JSON"),
    "a long number": (_bytes(b'{"a": ' + b"9" * 100_000 + b"}"), "no JSON"),
    "no metadata": (_bytes({}, header=None), "metadata"),
    "metadata of another name": (_bytes(b'{"__metadata__": {"header": "{}", "more": ""}}'), "metadata"),
    "metadata is a number": (_bytes(b'{"__metadata__": {"header": 5}}'), "metadata"),
    "our header is no JSON": (_bytes({}, header="{"), "no JSON"),
    "our header is deep": (_bytes({}, header="[" * 100_000), "no JSON"),
    "our header lacks a part": (_bytes({}, header='{"header": {}}'), "complex"),
    "our header is a list": (_bytes({}, header='{"header": [], "complex": []}'), "complex"),
    "dtype unknown": (_bytes({"a": _entry("F8_E4M3")}, b"\0" * 4), "dtype"),
    "dtype a list": (_bytes({"a": _entry(["F32"])}, b"\0" * 4), "dtype"),
    "entry a number": (_bytes({"a": 5}, b"\0" * 4), "dtype"),
    "shape negative": (_bytes({"a": _entry(shape=[-1])}, b"\0" * 4), "sizes"),
    "shape true": (_bytes({"a": _entry(shape=[True])}, b"\0" * 4), "sizes"),
    "shape a float": (_bytes({"a": _entry(shape=[1.0])}, b"\0" * 4), "sizes"),
    "shape huge": (_bytes({"a": _entry(shape=[1 << 62, 4])}, b"\0" * 4), "sizes"),
    "shape overflows": (_bytes({"a": _entry(shape=[1 << 40, 1 << 40])}, b"\0" * 4), "sizes"),
    "strides overflow": (_bytes({"a": _entry(shape=[0, 1 << 40, 1 << 40], offsets=(0, 0))}), "sizes"),
    "many axes": (_bytes({"a": _entry(shape=[1] * 17)}, b"\0" * 4), "axes"),
    "body too short": (_bytes({"a": _entry(shape=[2], offsets=(0, 8))}, b"\0" * 4), "no safetensors"),
    "body too long": (_bytes({"a": _entry()}, b"\0" * 8), "no safetensors"),
    "shape and bytes differ": (_bytes({"a": _entry(shape=[2])}, b"\0" * 4), "no safetensors"),
    "offsets overlap": (_bytes({"a": _entry(), "b": _entry(offsets=(2, 6))}, b"\0" * 6), "no safetensors"),
    "offsets backwards": (_bytes({"a": _entry(offsets=(4, 0))}, b"\0" * 4), "no safetensors"),
    "offsets missing": (_bytes({"a": {"dtype": "F32", "shape": [1]}}, b"\0" * 4), "no safetensors"),
    "too many tensors": (_bytes({f"{i}": 0 for i in range(wire.MAX_TENSORS + 1)}), "more than"),
    "complex of a missing one": (_bytes({}, header='{"header": {}, "complex": ["a"]}'), "pairs"),
    "complex of whole numbers": (
        _bytes({"a": _entry("I32", (2,), (0, 8))}, b"\0" * 8, '{"header": {}, "complex": ["a"]}'), "pairs",
    ),
    "complex of triples": (
        _bytes({"a": _entry("F32", (3,), (0, 12))}, b"\0" * 12, '{"header": {}, "complex": ["a"]}'), "pairs",
    ),
    "complex twice": (
        _bytes({"a": _entry("F32", (2,), (0, 8))}, b"\0" * 8, '{"header": {}, "complex": ["a", "a"]}'), "pairs",
    ),
    "complex of odd names": (_bytes({}, header='{"header": {}, "complex": [5]}'), "list of names"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_by_name(name):
    data, why = HOSTILE[name]
    with pytest.raises(FrameError, match=why):
        unpack(data)


def test_of_an_entry_that_is_there_twice_the_one_used_is_the_one_checked():
    twice = b'{"__metadata__": {"header": "{\\"header\\": {}, \\"complex\\": []}"}, "a": %s, "a": %s}'
    odd, fine = json.dumps(_entry(shape=[1] * 40)).encode(), json.dumps(_entry()).encode()
    assert unpack(_bytes(twice % (odd, fine), b"\0" * 4)).tensors["a"].shape == (1,)
    with pytest.raises(FrameError, match="<= 16 axes"):
        unpack(_bytes(twice % (fine, odd), b"\0" * 4))


def test_bytes_that_are_no_truth_values_become_some():
    back = unpack(_bytes({"a": _entry("BOOL", (3,), (0, 3))}, b"\x02\x00\xff")).tensors["a"]
    assert back.tolist() == [True, False, True] and back.view(torch.uint8).tolist() == [1, 0, 1]


def test_broken_copies_of_a_good_frame_are_frames_or_refused():
    """Fuzz: bytes changed, cut out, doubled. Anything but a Frame or a FrameError fails this test."""
    tensors = {"t0": torch.randn(2, 3), "t1": torch.tensor([1j]), "t2": torch.ones(2, 0), "t3": torch.tensor([True])}
    good, rng = pack(Frame({"attempts": [{"outputs": [["a", "t0"]]}], "fault": ""}, tensors)), random.Random(0)
    n_refused = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.choice([1, 1, 2, 8])):
            place = rng.randrange(len(data))
            change = rng.choice([bytes([rng.randrange(256)]), b"", bytes(data[place : place + 9]), b"9", b"-", b'"'])
            data[place : place + rng.choice([0, 1, 5])] = change
        try:
            read_reply(unpack(bytes(data)), 4)
        except FrameError:
            n_refused += 1
    assert n_refused > 2000


def _pipe(data=b"", close=True):
    out, into = os.pipe()
    os.write(into, data)
    if close:
        os.close(into)
    return out, into


def test_frames_through_a_pipe():
    out, into = _pipe(close=False)
    frames = [Frame({"n": n}, {"x": torch.randn(n, 200)}) for n in (1, 300, 2)]  # the second fills the pipe
    writer = threading.Thread(target=lambda: [write_frame(into, frame) for frame in frames] and os.close(into))
    writer.start()
    for frame in frames:
        back = read_frame(out, 1 << 20)
        assert back.header == frame.header and torch.equal(back.tensors["x"], frame.tensors["x"])
    assert read_frame(out, 1 << 20) is None
    writer.join()


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"\0" * 5, "cut short"), (struct.pack(">Q", 9) + b"abc", "after 3"), (struct.pack(">Q", 1 << 60), "longer than")],
)
def test_streams_that_end_within_a_frame_or_promise_too_much(data, why):
    with pytest.raises(FrameError, match=why):
        read_frame(_pipe(data)[0], 1000)


@pytest.mark.parametrize("data", [b"", b"\0\0", struct.pack(">Q", 20) + b"abc"])
def test_a_stream_that_stalls_is_given_up_at_the_deadline(data):
    out, into = _pipe(data, close=False)
    with pytest.raises(FrameError, match="nothing more came"):
        read_exactly(out, 28, time.monotonic() + 0.05)
    os.close(into)


def test_no_pickle_is_ever_made(monkeypatch):
    import pickle

    class Refused:
        def __init__(self, *arguments, **named):
            raise AssertionError("a pickle")

    for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, Refused)
    assert _again(Frame({"a": 1}, {"x": torch.ones(2)})).tensors["x"].tolist() == [1, 1]
    with pytest.raises(AssertionError, match="a pickle"):
        torch.save(torch.ones(2), os.devnull)
