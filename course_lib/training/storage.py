"""Files of weights: safetensors and JSON, written whole or not at all. Nothing is unpickled, so none can run code."""

import json
import os
from pathlib import Path

import torch
from safetensors import torch as safetensors_torch
from torch import Tensor


class CheckpointError(RuntimeError):
    """A file of weights can't be used or written; the message says why and what to do."""


def plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares its memory with nothing and is laid out row by row, as safetensors needs it."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def to_content(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file. The tensors must be plain()."""
    return safetensors_torch.save(tensors, metadata)


def from_content(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Inverse of to_content: the tensors, and the metadata in the header."""
    tensors = safetensors_torch.load(content)
    n_header = int.from_bytes(content[:8], "little")
    return tensors, json.loads(content[8 : 8 + n_header]).get("__metadata__", {})


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: whoever reads it, and whenever the power fails, sees the old file or the new one."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # in the same folder, so that it can be renamed
    try:
        with open(temp, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the content must be on disk before the name points to it
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name must reach the disk too; Windows can't open a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
