"""A GRU layer whose way back through time is written by hand, for training on long sequences on a CPU.

Autograd walks back through nn.GRU one step at a time, and at each multiplies two thin matrices to add a little to the
gradient of the weights. But only the state's gradient has to be walked back; those of all gates, once known, give the
gradient of the weights in a single product. Half the arithmetic then runs at the machine's full speed. On a GPU, cuDNN
does so itself.

Letters: B clips, T steps, H hidden. Gates stand as in nn.GRU: r (reset), z (update), n (candidate).
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def gru_over_time(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    """All states of a GRU, given what the inputs add to its gates; the same numbers as nn.GRU's, up to rounding.

        r, z = sigmoid(x_r + W_r h + b_r), sigmoid(x_z + W_z h + b_z)
        n = tanh(x_n + r * (W_n h + b_n))
        h' = n + z * (h - n)                                                                        (Cho et al. 2014)

    Args:
        gates_x: (T, B, 3H), time first: W_ih x + b_ih.
        state: (B, H) before the first step.
        weight_hh: (3H, H); bias_hh: (3H,).
    Returns: (T, B, H).
    Raises:  ValueError for shapes that do not fit. There are no second derivatives.
    """
    n_hidden = state.shape[-1]
    wanted = (gates_x.shape[1:2] + (n_hidden,), (3 * n_hidden, n_hidden), (3 * n_hidden,))
    if gates_x.ndim != 3 or gates_x.shape[2] != 3 * n_hidden or (state.shape, weight_hh.shape, bias_hh.shape) != wanted:
        raise ValueError(
            f"got gates_x {tuple(gates_x.shape)}, state {tuple(state.shape)}, weight_hh {tuple(weight_hh.shape)}, "
            f"bias_hh {tuple(bias_hh.shape)}; need (T, B, 3H), (B, H), (3H, H), (3H,)"
        )
    return _GruOverTime.apply(gates_x, state, weight_hh, bias_hh)


class _GruOverTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
        n_steps, n_clips, _ = gates_x.shape
        n_hidden = state.shape[1]
        states = state.new_empty(n_steps + 1, n_clips, n_hidden)
        gates = torch.empty_like(gates_x)  # r, z, n, after their sigmoids and tanh
        from_state = torch.empty_like(states[1:])  # W_n h + b_n, which r lets through
        states[0] = state
        weight_rz, weight_n = weight_hh.T[:, : 2 * n_hidden], weight_hh.T[:, 2 * n_hidden :]
        bias_n = bias_hh[2 * n_hidden :]
        sums_rz = gates_x[:, :, : 2 * n_hidden] + bias_hh[: 2 * n_hidden]
        # Views of all steps are taken at once: a slice costs as much as a small product.
        steps = zip(
            sums_rz.unbind(),
            gates_x[:, :, 2 * n_hidden :].unbind(),
            gates[:, :, : 2 * n_hidden].unbind(),
            *(gate.unbind() for gate in gates.chunk(3, dim=2)),
            from_state.unbind(),
            states[:-1].unbind(),
            states[1:].unbind(),
            strict=True,
        )
        for sum_rz, x_n, rz, r, z, n, h_n, before, after in steps:
            torch.sigmoid(torch.addmm(sum_rz, before, weight_rz), out=rz)
            torch.addmm(bias_n, before, weight_n, out=h_n)
            torch.tanh(torch.addcmul(x_n, r, h_n), out=n)
            torch.lerp(n, before, z, out=after)
        ctx.save_for_backward(states, gates, from_state, weight_hh)
        return states[1:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states, gates, from_state, weight_hh = ctx.saved_tensors
        r, z, n = gates.chunk(3, dim=2)  # (T, B, H) each
        n_hidden = r.shape[2]
        # What one unit of the new state's slope is worth to each gate's sum, and, of n's, to the sum of r.
        to_z, to_n = (states[:-1] - n) * z * (1 - z), (1 - z) * (1 - n * n)
        to_r = from_state * r * (1 - r)
        sums = torch.empty_like(gates)  # slopes of W_hh h + b_hh: r, z, and n's share that r lets through
        slopes_n, d_state = torch.empty_like(r), torch.zeros_like(states[0])
        all_steps = (slope, to_z, to_n, to_r, r, z, slopes_n, sums, *sums.chunk(3, dim=2))
        steps = zip(*(reversed(values.unbind()) for values in all_steps), strict=True)
        for d_now, by_z, by_n, by_r, r_t, z_t, d_n, d_sums, d_sum_r, d_sum_z, d_sum_n in steps:
            d_state += d_now
            torch.mul(d_state, by_n, out=d_n)
            torch.mul(d_n, by_r, out=d_sum_r)
            torch.mul(d_state, by_z, out=d_sum_z)
            torch.mul(d_n, r_t, out=d_sum_n)
            d_state = torch.addmm(d_state.mul_(z_t), d_sums, weight_hh)
        rows = sums.flatten(0, 1)  # (T * B, 3H)
        d_weight = rows.T @ states[:-1].flatten(0, 1)  # all steps' products at once
        d_gates_x = torch.cat([sums[:, :, : 2 * n_hidden], slopes_n], dim=2)
        return d_gates_x, d_state, d_weight, rows.sum(dim=0)
