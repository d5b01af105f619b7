"""What comes back: tensors that no comparison expects, and bytes that are no reply."""

import textwrap

from attacks.breaking import at_once, breaker
from attacks.table import Attack

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
    "lying about its storage": "torch.empty(0).set_(torch.empty(4).untyped_storage(), 0, (2,), (1,)).as_strided((9,), (0,))",
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


def returner(what: str) -> Attack:
    """A function that answers with this."""
    return breaker(what, f"return {ODD_TENSORS[what]}", "")


def writer(name: str, payload: str, after: str = "os._exit(0)", says: str = "") -> Attack:
    """A cell that writes bytes (an expression) to every file it has open, then does something else."""
    cell = textwrap.dedent(
        f"""
        import json, struct

        def head(n):
            return n.to_bytes(8, "big")

        payload = {payload}
        for fd in range(3, 256):
            try:
                view = memoryview(payload)
                while len(view):
                    view = view[os.write(fd, view):]
            except OSError:
                pass
        {after}
        """
    )
    return at_once(name, cell, "", says)


def _framed(metadata: str, tensors: str = "{}") -> str:
    """A frame of safetensors: 8 bytes of length, then safetensors' own 8 bytes of header length, header, data."""
    return (
        "(lambda text: head(8 + len(text)) + len(text).to_bytes(8, 'little') + text)"
        f"(json.dumps({{'__metadata__': {metadata}}} | {tensors}).encode())"
    )


WRITERS: tuple[Attack, ...] = (
    writer("an empty frame", "head(0)"),
    writer("a frame of 2^63 bytes", "head(2**63) + bytes(100)"),
    writer("a frame of 2^64 - 1 bytes", "b'\\xff' * 8 + bytes(100)"),
    writer("a frame of 10 GB, truncated", "head(10**10) + bytes(1000)"),
    writer("a frame that stalls half way", "head(1000) + bytes(10)", "while True:\n    time.sleep(1)"),
    writer("a frame of noise", "head(4096) + os.urandom(4096)"),
    writer("not a frame", "b'passed 100 points\\n' * 100"),
    writer("a pickle", "(lambda b: head(len(b)) + b)(__import__('pickle').dumps({'passed': True, 'points': 100}))"),
    writer("two frames", "(head(16) + bytes(16)) * 2"),
    writer("frames without end", "head(16) + bytes(16)", "while True:\n    for fd in range(3, 64):\n        try:\n            os.write(fd, payload * 4096)\n        except OSError:\n            pass"),
    writer("a header that claims 100 points", _framed("{'header': json.dumps({'status': 'passed', 'points': 100, 'passed': True, 'attempts': [], 'ok': True})}")),
    writer("a header that is no JSON", _framed("{'header': '{'}")),
    writer("a header with a nest", _framed("{'header': '[' * 100_000}")),
    writer("a header with a giant number", _framed("{'header': '9' * 100_000}")),
    writer("a header of a list", _framed("{'header': '[1, 2]'}")),
    writer("a header with NaN and lone surrogates", _framed("{'header': '{\"attempts\": [NaN, \"\\\\ud800\"]}'}")),
    writer("metadata without a header", _framed("{'other': 'x'}")),
    writer("metadata of numbers", _framed("{'header': 5}")),
    writer("overlapping tensors", _framed("{'header': '{}'}", "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}, 'b': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}") + " + bytes(8)"),
    writer("tensors beyond the end", _framed("{'header': '{}'}", "{'a': {'dtype': 'F32', 'shape': [2**40], 'data_offsets': [0, 2**42]}}")),
    writer("a tensor of negative size", _framed("{'header': '{}'}", "{'a': {'dtype': 'F32', 'shape': [-1], 'data_offsets': [8, 0]}}")),
    writer("a tensor of an unknown dtype", _framed("{'header': '{}'}", "{'a': {'dtype': 'X99', 'shape': [1], 'data_offsets': [0, 4]}}")),
    writer("a header length beyond the frame", "head(8) + (2**63).to_bytes(8, 'little')"),
    writer("a hundred thousand tensors", _framed("{'header': '{}'}", "{f't{n}': {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]} for n in range(100_000)}")),
    writer("100 MB", "head(10**8) + bytes(10**8)"),
    writer("a good frame's worth of nothing, then the answer", "b''", "pass"),
)  # fmt: skip
