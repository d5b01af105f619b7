"""Where two sets of outputs first differ, in words that help."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def describe_inputs(inputs: Mapping[str, Any]) -> str:
    """`wave (3, 41) float32, rate_hz = 8000`"""
    parts = []
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            parts.append(f"{name} {_shape(value)} {_dtype(value)}")
        else:
            parts.append(f"{name} = {value:.5g}" if isinstance(value, float) else f"{name} = {value}")
    return ", ".join(parts)


def first_difference(expected: Mapping[str, Tensor], got: Mapping[str, Tensor], atol: float, rtol: float) -> str:
    """Empty where all agree; else two lines, what was expected and what came.

    Numbers (tensors without axes) may be of any width, and whole where a float is expected; other tensors must agree
    in dtype too.
    """
    if list(expected) != list(got):
        return _pair(_names(expected), _names(got))
    for name in expected:
        difference = _tensor_difference(name, expected[name], got[name], atol, rtol)
        if difference:
            return difference
    return ""


def _tensor_difference(name: str, expected: Tensor, got: Tensor, atol: float, rtol: float) -> str:
    if expected.shape != got.shape:
        return _pair(f"{name} of shape {_shape(expected)}", f"{name} of shape {_shape(got)}")
    if not _dtypes_agree(expected, got):
        return _pair(
            f"{name} of dtype {_dtype(expected)}",
            f"{name} of dtype {_dtype(got)}   (its values are compared once the dtype is right)",
        )
    if expected.dtype == got.dtype and torch.equal(expected, got):
        return ""  # as most right answers are, to the last bit; it costs a twentieth of what follows
    wide = _wide(expected)
    want, have = expected.to(wide), got.to(wide)
    # isclose is false for nan against a number and for +inf against -inf, true for equal infinities.
    bad = (~torch.isclose(have, want, atol=atol, rtol=rtol, equal_nan=True)).nonzero()
    if not len(bad):
        return ""
    index = tuple(bad[0].tolist())
    place = name + (f"[{', '.join(map(str, index))}]" if index else "")
    count = f"   ({len(bad)} of {expected.numel()} values differ)" if index else ""
    value, instead = _tell_apart(want[index].item(), have[index].item())
    return _pair(f"{place} = {value}", f"{place} = {instead}{count}")


def _dtypes_agree(expected: Tensor, got: Tensor) -> bool:
    if expected.dim():
        return expected.dtype == got.dtype
    if expected.is_floating_point():
        return not got.is_complex() and got.dtype != torch.bool
    return _kind(expected) == _kind(got)


def _kind(tensor: Tensor) -> str:
    if tensor.dtype == torch.bool:
        return "bool"
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "int"


def _wide(tensor: Tensor) -> torch.dtype:
    if tensor.is_complex():
        return torch.complex128
    return torch.float64 if tensor.is_floating_point() else torch.int64


def _pair(expected: str, got: str) -> str:
    return f"  expected  {expected}\n  got       {got}"


def _names(outputs: Mapping[str, Tensor]) -> str:
    noun = "tensor" if any(tensor.dim() for tensor in outputs.values()) else "number"
    if len(outputs) == 1:
        return f"one {noun}"
    shown = ", ".join(list(outputs)[:6]) + (", ..." if len(outputs) > 6 else "")
    return f"{len(outputs)} {noun}s ({shown})" if outputs else "nothing"


def _tell_apart(one: complex, other: complex) -> tuple[str, str]:
    """Both as text: four digits, more only where the two would look the same (and so be the same on any machine)."""
    if isinstance(one, int):
        return str(one), str(other)
    for n_digits in (4, 6, 9, 17):
        texts = f"{one:.{n_digits}g}", f"{other:.{n_digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
