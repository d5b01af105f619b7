"""What comes back: tensors that no comparison expects, and bytes that are no reply."""

import json

import torch

from attacks.breaking import at_once, breaker
from attacks.table import DIES, Attack
from course_lib.grading.sandbox.wire import DTYPES

ODD_TENSORS: dict[str, str] = {
    "nan": "frequency_hz * float('nan')",
    "inf": "frequency_hz + float('inf')",
    "complex": "frequency_hz.to(torch.complex64)",
    "conjugate view": "torch.complex(frequency_hz, frequency_hz).conj()",
    "negative view": "torch.complex(frequency_hz, frequency_hz).conj().imag",
    "sparse": "frequency_hz.to_sparse()",
    "sparse csr": "torch.eye(9).to_sparse_csr()",
    "meta": "frequency_hz.to('meta')",
    "quantised": "torch.quantize_per_tensor(frequency_hz, 1.0, 0, torch.qint8)",
    "nested": "torch.nested.nested_tensor([frequency_hz.flatten(), frequency_hz.flatten()[:3]])",
    "not contiguous": "torch.stack([frequency_hz, frequency_hz * 0], -1)[..., 0]",
    "expanded to 10^15 values": "torch.zeros(1).expand(10**15)",
    "expanded to a hundred million values": "torch.zeros(1).expand(10**8)",
    "shape with a zero and a giant": "torch.zeros(0, 2**40)",
    "sixty axes": "torch.zeros([1] * 60)",
    "no axes": "frequency_hz.sum()",
    "empty": "frequency_hz.new_empty(0)",
    "float16": "frequency_hz.half()",
    "bfloat16": "frequency_hz.bfloat16()",
    "float8": "frequency_hz.to(torch.float8_e5m2)",
    "uint64": "frequency_hz.to(torch.uint64)",
    "bool": "frequency_hz > 0",
    "bits": "frequency_hz.view(torch.uint8)",
    "one bit": "torch.empty(9, dtype=torch.bits8)",
    "a hundred thousand parts": "[frequency_hz] * 100_000",
    "a nest of lists": "__import__('functools').reduce(lambda x, _: [x], range(50_000), frequency_hz)",
    "names as long as a book": "{'x' * 10**7: frequency_hz}",
    "names with control characters": "{'\\x00\\x1b[2J\\u202e\\ud800': frequency_hz}",
    "nine views of one value": "torch.empty(0).set_(torch.empty(4).untyped_storage(), 0, (9,), (0,))",
    "freed storage": "(lambda t: (t.untyped_storage().resize_(0), t)[1])(frequency_hz.clone())",
    "a huge whole number": "10**400",
    "a bool": "True",
    "a numpy array": "frequency_hz.numpy()",
    "a string": "'right'",
    "None": "None",
    "a generator": "(x for x in frequency_hz)",
    "a Parameter": "torch.nn.Parameter(frequency_hz)",
    "a fake tensor": "torch._subclasses.FakeTensorMode().from_tensor(frequency_hz)",
    "a mutated input": "frequency_hz.resize_(3)",
    "a tensor with gradients": "(frequency_hz.clone().requires_grad_() * 2)",
}


_WRITE = """
import json

def head(n):
    return n.to_bytes(8, "big")

def framed(header, **tensors):
    text = json.dumps({"__metadata__": {"header": header}} | tensors).encode()
    return head(8 + len(text)) + len(text).to_bytes(8, "little") + text

def reply(**changed):
    attempt = {"outputs": [], "error": "", "error_kind": "", "changed": [], "is_stub": False} | changed
    return framed(json.dumps({"header": {"attempts": [attempt], "fault": ""}, "complex": []}))

def tensors(n):
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({"header": {"attempts": [], "fault": ""}, "complex": []})
    return framed(header, **{f"t{i}": empty for i in range(n)})

payload = PAYLOAD
for fd in range(3, 256):
    try:
        view = memoryview(payload)
        while len(view):
            view = view[os.write(fd, view):]
    except OSError:
        pass
"""


# Values that only a strange answer gives, and one like each that stops the comparison or the grader.
_LIKE = {
    "nan": "complex", "inf": "complex", "negative view": "conjugate view", "not contiguous": "sparse",
    "sixty axes": "expanded to a hundred million values", "no axes": "empty",
    "nine views of one value": "freed storage",
    "a Parameter": "nested", "a tensor with gradients": "nested", "a fake tensor": "meta",
    "a mutated input": "the inputs emptied in place",
}  # fmt: skip
# On these torch.allclose raises.
INCOMPARABLE = tuple(what for what in ODD_TENSORS if what not in _LIKE and what != "freed storage")


def returner(what: str) -> Attack:
    """A function that answers with this."""
    ends = DIES if what == "freed storage" else ""
    return breaker(what, f"return {ODD_TENSORS[what]}", ends, twin="" if ends else _LIKE.get(what, what))


def writer(
    name: str, payload: str | bytes, says: str = "is no reply", after: str = "os._exit(0)", twin: str = ""
) -> Attack:
    """A cell that writes bytes (or what an expression gives) to every file it has open, then does something else."""
    text = payload if isinstance(payload, str) else repr(payload)
    return at_once(name, f"{_WRITE.replace('PAYLOAD', text)}\n{after}\n", "", says, twin or name)


def framed(described: object, data: bytes = b"") -> bytes:
    """A frame: 8 bytes of length, then safetensors' own length, description and data."""
    text = json.dumps(described).encode()
    body = len(text).to_bytes(8, "little") + text + data
    return len(body).to_bytes(8, "big") + body


def reply(described: dict[str, object], data: bytes = b"", **changed: object) -> bytes:
    """A whole reply whose one attempt gives these tensors; `changed`: fields of that attempt, of any kind."""
    attempt = {"outputs": [["output", name] for name in described], "error": "", "error_kind": "", "changed": []}
    header = {"attempts": [attempt | {"is_stub": False} | changed], "fault": ""}
    return framed(described | {"__metadata__": {"header": json.dumps({"header": header, "complex": []})}}, data)


def headed(header: object) -> bytes:
    """A frame with this as its header."""
    return framed({"__metadata__": {"header": header if isinstance(header, str) else json.dumps(header)}})


def tensor(shape: list[object], dtype: object = "F32", offsets: tuple[int, int] = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


GIANT = 2**60
LONG = "sent back more than"


def believed(data: bytes) -> object:
    """The header that a reader takes from a frame if it believes what it is told, having made room for the tensors.

    Raises: ValueError for what even such a reader is prepared for (no JSON, no UTF-8); anything else ends it.
    """
    n_bytes = int.from_bytes(data[:8], "big")
    buffer = bytearray(n_bytes)  # as if it were all there
    body = data[8 : 8 + n_bytes]
    buffer[: len(body)] = body
    described = json.loads(bytes(buffer[8 : 8 + int.from_bytes(buffer[:8], "little")]))
    header = json.loads(described.pop("__metadata__")["header"])
    header = header.get("header", header)
    room = {name: torch.empty(one["shape"], dtype=DTYPES[one["dtype"]]) for name, one in described.items()}
    for attempt in header.get("attempts", ()):
        attempt["outputs"] = {output: room[name] for output, name in attempt["outputs"]}
    return header


# Frames that it accepts.
FOOLS: dict[str, bytes] = {
    "a frame that ends half way": reply({"a": tensor([2])}, bytes(8))[:-4],
    "a header that claims 100 points": headed({"status": "passed", "points": 100, "passed": True}),
    "a reply with points in it": reply({}, points=100),
    "a header with a lone surrogate": headed('{"header": {"attempts": [], "fault": "\ud800"}, "complex": 1}'),
    "a text where a number belongs": reply({}, is_stub="no"),
    "NaN for an error": reply({}, error=float("nan")),
    "an output twice": reply({"a": tensor([2])}, bytes(8), outputs=[["x", "a"], ["y", "a"]]),
    "a tensor of nobody's": reply({"a": tensor([2])}, bytes(8), outputs=[]),
    "overlapping tensors": reply({"a": tensor([2]), "b": tensor([2])}, bytes(8)),
    "tensors beyond the end": reply({"a": tensor([2], offsets=(0, 2**42))}),
}
# Frames that end it.
ENDERS: dict[str, bytes] = {
    "a frame of 2^63 bytes": (2**63).to_bytes(8, "big") + bytes(100),
    "a frame of 2^62 bytes": (2**62).to_bytes(8, "big") + bytes(100),
    "not a frame": b"passed 100 points\n" * 100,
    "a header of a list": headed([1, 2]),
    "a header that is a number": framed(7),
    "metadata without a header": framed({"__metadata__": {"other": "x"}}),
    "metadata of numbers": framed({"__metadata__": {"header": 5}}),
    "an output of another's name": reply({"a": tensor([2])}, bytes(8), outputs=[["x", "b"]]),
    "a shape of more than there is": reply({"a": tensor([GIANT])}, bytes(8)),
    "a tensor of negative size": reply({"a": tensor([-2])}, bytes(8)),
    "a shape of half a value": reply({"a": tensor([2.0])}, bytes(8)),
    "a tensor of an unknown dtype": reply({"a": tensor([2], "X99")}, bytes(8)),
    "a dtype that is a list": reply({"a": tensor([2], ["F32"])}, bytes(8)),
    "shapes whose strides overflow": reply({"a": tensor([0, GIANT, GIANT, GIANT], offsets=(0, 0))}),
    "shapes of a giant and nothing": reply({"a": tensor([GIANT, GIANT, 0], offsets=(0, 0))}),
    "a header with a nest": headed("[" * 20_000),
}
_UNREAD = ("a frame of 2^63 bytes", "a frame of 2^62 bytes", "not a frame")  # for the length that they give
FORGED = "a verdict written before the marker's"
WRITERS: tuple[Attack, ...] = (
    *(writer(name, data) for name, data in FOOLS.items() if name != "a frame that ends half way"),
    *(writer(name, data, LONG if name in _UNREAD else "is no reply") for name, data in ENDERS.items()),
    writer("an empty frame", "head(0)", twin=FORGED),
    writer("a frame of 2^64 - 1 bytes", b"\xff" * 8 + bytes(100), LONG, twin="a frame of 2^63 bytes"),
    writer("a frame of 10 GB, truncated", "head(10**10) + bytes(1000)", LONG, twin="a frame of 2^62 bytes"),
    writer("a frame that ends half way", "head(1000) + bytes(10)", "ended the whole process"),
    writer("a frame that stalls half way", "head(1000) + bytes(10)", "took longer", "time.sleep(60)", "a sleep"),
    writer("a frame of noise", "head(4096) + os.urandom(4096)", twin="not a frame"),
    writer(
        "a pickle", "(lambda data: head(len(data)) + data)(__import__('pickle').dumps({'points': 100}))",
        twin="a pickle that patches the marker",
    ),
    writer("two frames", (16).to_bytes(8, "big") + bytes(16) + (16).to_bytes(8, "big") + bytes(16), twin=FORGED),
    writer(
        "frames without end", "head(16) + bytes(16)", after="while True:\n    os.write(3, payload * 4096)",
        twin="a flood of output",
    ),
    writer("100 MB", "head(10**8) + bytes(10**8)", LONG, twin="a flood of output"),
    writer("7 MB, a byte at a time", "head(7 << 20)", "took longer", "while True:\n    os.write(3, b'x')", "a sleep"),
    writer(
        "a pipe in packet mode, which forgets what is not read", b"", "",
        "import fcntl\nfcntl.fcntl(3, 4, 0o40001)\nos.write(3, head(4096) + bytes(900))\nos._exit(0)", FORGED,
    ),
    writer("a header that is no JSON", headed("{"), twin="a header of a list"),
    writer("a header with a giant number", "framed('9' * 100_000)", twin="a header that is a number"),
    writer("an error of a megabyte", "reply(error='x' * 900_000)", twin="NaN for an error"),
    writer(
        "a header length beyond the frame", (8).to_bytes(8, "big") + (2**63).to_bytes(8, "little"),
        twin="a frame of 2^63 bytes",
    ),
    writer("ten thousand tensors", "tensors(10_000)", twin="a tensor of nobody's"),
    writer("a good frame's worth of nothing, then an answer", b"", "expected", "pass", FORGED),
)  # fmt: skip
