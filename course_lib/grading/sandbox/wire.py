"""Bytes that cross the line between the grader and its sandbox: frames of safetensors, no pickle, every field checked.

A frame is 8 bytes (big-endian length) and that many bytes of safetensors, whose metadata holds one JSON text. Whoever
reads one from a sandbox must take it for an attack until every check here has passed.
"""

from __future__ import annotations

import json
import math
import os
import select
import struct
import time
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

MAX_HEADER = 1 << 20  # bytes; names and error texts of a reply need a few thousand
MAX_TENSORS = 4096
MAX_AXES = 16
MAX_SPAN = 1 << 40  # of all sizes multiplied, 0 taken as 1: even a tensor without values has strides to be computed
DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
}  # fmt: skip
_REAL_OF = {torch.complex64: torch.float32, torch.complex128: torch.float64}


class FrameError(ValueError):
    """Bytes that are no frame, or a frame that is not what it should be."""


@dataclass(frozen=True)
class Frame:
    """A JSON object and tensors by name."""

    header: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


def pack(frame: Frame) -> bytes:
    """Raises: FrameError for a tensor that safetensors cannot carry, or a header that is no JSON."""
    dense, complex_names = {}, []
    for name, tensor in frame.tensors.items():
        if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or tensor.is_meta:
            raise FrameError(f"{name}: need a plain dense tensor, got {type(tensor).__name__}, {tensor.layout}")
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        if plain.dtype in _REAL_OF:
            complex_names.append(name)
            plain = torch.view_as_real(plain)
        if plain.dtype not in DTYPES.values():
            raise FrameError(f"{name}: a tensor of {tensor.dtype} cannot be sent")
        dense[name] = plain.clone(memory_format=torch.contiguous_format)
    try:
        header = json.dumps({"header": frame.header, "complex": complex_names})
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {error}") from error
    return safetensors.torch.save(dense, {"header": header})


def unpack(data: bytes) -> Frame:
    """Raises: FrameError, which names what is wrong, for anything that `pack` could not have made."""
    if len(data) < 8 or (n_header := int.from_bytes(data[:8], "little")) > min(MAX_HEADER, len(data) - 8):
        raise FrameError(f"a frame of {len(data)} bytes whose header is cut short or longer than {MAX_HEADER} bytes")
    described = _json_object(data[8 : 8 + n_header], "safetensors header")
    metadata = described.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {"header"} or not isinstance(metadata["header"], str):
        raise FrameError("the metadata has to be one text called header")
    ours = _json_object(metadata["header"], "header")
    if set(ours) != {"header", "complex"} or not isinstance(ours["header"], dict):
        raise FrameError("the header has to hold `header` and `complex`")
    if len(described) > MAX_TENSORS:
        raise FrameError(f"{len(described)} tensors, more than {MAX_TENSORS}")
    for name, entry in described.items():
        _check_entry(name, entry)
    try:
        parts = safetensors.deserialize(bytes(data))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic in its Rust is no Exception
        raise FrameError(f"no safetensors: {error}") from error
    for name, part in parts:  # again: of an entry that is there twice, each reader may take another
        _check_entry(name, part)
    tensors = {name: _tensor(part) for name, part in parts}
    return Frame(ours["header"], _with_complex(tensors, ours["complex"]))


def _json_object(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"{what}: no JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise FrameError(f"{what}: need an object, got {type(value).__name__}")
    return value


def _check_entry(name: str, entry: Any) -> None:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) > MAX_AXES or entry.get("dtype") not in tuple(DTYPES):
        raise FrameError(f"{short(name)}: need a dtype of {', '.join(DTYPES)} and a shape of <= {MAX_AXES} axes")
    if not all(type(size) is int and size >= 0 for size in shape) or math.prod(max(1, n) for n in shape) > MAX_SPAN:
        raise FrameError(f"{short(name)}: sizes need to be whole numbers >= 0, and at most {MAX_SPAN} multiplied")


def _tensor(part: dict[str, Any]) -> Tensor:
    dtype, shape = DTYPES[part["dtype"]], part["shape"]
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(part["data"], dtype=torch.uint8)
    if dtype is torch.bool:  # a byte of 2 is no truth value that torch has to cope with
        return flat.ne(0).reshape(shape)
    return flat.view(dtype).reshape(shape)


def _with_complex(tensors: dict[str, Tensor], names: Any) -> dict[str, Tensor]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FrameError("`complex` has to be a list of names")
    for name in names:
        pairs = tensors.get(name)
        if pairs is None or pairs.dtype not in _REAL_OF.values() or pairs.shape[-1:] != (2,):
            raise FrameError(f"{short(name)}: a complex tensor has to come as pairs of floats")
        tensors[name] = torch.view_as_complex(pairs)
    return tensors


def short(text: str) -> str:
    """A name from outside, for a message."""
    return repr(text[:60])


def write_frame(fd: int, frame: Frame) -> None:
    """Write to a descriptor that blocks."""
    data = pack(frame)
    view = memoryview(struct.pack(">Q", len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def read_frame(fd: int, max_bytes: int) -> Frame | None:
    """None at the end of the stream.

    Raises: FrameError if it is cut short or longer than max_bytes.
    """
    head = read_exactly(fd, 8)
    if not head:
        return None
    n_bytes = int.from_bytes(head, "big")
    if len(head) < 8 or n_bytes > max_bytes:
        raise FrameError(f"a frame that is cut short or longer than {max_bytes} bytes (got length {n_bytes})")
    data = read_exactly(fd, n_bytes)
    if len(data) < n_bytes:
        raise FrameError(f"a frame of {n_bytes} bytes was cut short after {len(data)}")
    return unpack(data)


def read_exactly(fd: int, n_bytes: int, deadline_s: float | None = None) -> bytes:
    """Fewer only where the stream ends; deadline_s: on time.monotonic's clock.

    Raises: FrameError if they have not all come by the deadline.
    """
    data = bytearray()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while len(data) < n_bytes:
        left_ms = None if deadline_s is None else max(0.0, deadline_s - time.monotonic()) * 1000
        if not poll.poll(left_ms):
            raise FrameError(f"nothing more came after {len(data)} of {n_bytes} bytes")
        piece = os.read(fd, min(n_bytes - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)
