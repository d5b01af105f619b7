"""Recurrent networks written out, to be read: Elman's and the gated one, equal to nn.RNN and nn.GRU weight by weight.

Shapes: B clips, T steps, I inputs, H hidden units. Train with nn.RNN and nn.GRU: the same numbers, many times faster.
Taught in: notebooks/08_a_network_that_remembers.ipynb
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class ElmanRNN(nn.Module):
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b): the state is all that is kept of the past (Elman 1990).

    Parameters have the names and shapes of nn.RNN(n_in, n_hidden, batch_first=True), whose state_dict loads here; like
    it, this has two biases, of which one would do.
    """

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        _declare(self, n_in, n_hidden, n_blocks=1)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, I), state before the first step (B, H), None for zeros -> states (B, T, H), the last one (B, H)."""
        state = _first_state(self, x, state)
        bias = self.bias_ih_l0 + self.bias_hh_l0
        states = []
        for x_t in x.unbind(dim=1):  # (B, I)
            state = torch.tanh(x_t @ self.weight_ih_l0.T + state @ self.weight_hh_l0.T + bias)  # (B, H)
            states.append(state)
        return torch.stack(states, dim=1), state


class GatedRNN(nn.Module):
    """A gated recurrent unit: each hidden unit decides at each step how much of its past to keep (Cho et al. 2014).

    Parameters have the names and shapes of nn.GRU(n_in, n_hidden, batch_first=True), whose state_dict loads here: three
    blocks of H rows each, in the order reset, update, candidate.
    """

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        _declare(self, n_in, n_hidden, n_blocks=3)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, T, I), state before the first step (B, H), None for zeros -> states (B, T, H), the last one (B, H)."""
        states = gru_gates(self, x, state).state  # (B, T, H)
        return states, states[:, -1]


class Gates(NamedTuple):
    """What happens inside a GRU at each step, (B, T, H) each."""

    reset: Tensor  # in (0, 1): how much of the old state the candidate may see
    update: Tensor  # in (0, 1): how much of the old state is kept; 1: all of it
    candidate: Tensor  # in (-1, 1): what would replace it
    state: Tensor  # the sum: update * old + (1 - update) * candidate


def gru_gates(gru: nn.GRU | GatedRNN, x: Tensor, state: Tensor | None = None) -> Gates:
    """Run a GRU of one layer step by step and keep its gates, which nn.GRU does not hand out.

    Args:    x: (B, T, I), whatever gru.batch_first says.     state: (B, H) or (1, B, H) before the first step.
    Raises:  ValueError for several layers, two directions, or shapes that do not fit.
    """
    if isinstance(gru, nn.GRU) and (gru.num_layers > 1 or gru.bidirectional):
        raise ValueError(f"got {gru}; need one layer, one direction: its weights are weight_ih_l0 and weight_hh_l0")
    state = _first_state(gru, x, state)
    weight_hh, bias_hh = gru.weight_hh_l0, getattr(gru, "bias_hh_l0", None)
    from_x = nn.functional.linear(x, gru.weight_ih_l0, getattr(gru, "bias_ih_l0", None))  # (B, T, 3H), all at once
    steps = []
    for from_x_t in from_x.unbind(dim=1):
        reset_x, update_x, candidate_x = from_x_t.chunk(3, dim=1)  # (B, H) each
        reset_h, update_h, candidate_h = nn.functional.linear(state, weight_hh, bias_hh).chunk(3, dim=1)
        reset = torch.sigmoid(reset_x + reset_h)
        update = torch.sigmoid(update_x + update_h)
        candidate = torch.tanh(candidate_x + reset * candidate_h)
        state = update * state + (1 - update) * candidate
        steps.append((reset, update, candidate, state))
    return Gates(*(torch.stack(values, dim=1) for values in zip(*steps, strict=True)))


def scale_spectral_radius(weight: Tensor, radius: float) -> Tensor:
    """The matrix (H, H) times the number that makes its largest |eigenvalue| radius.

    Over many steps W_hh multiplies by about its spectral radius each time (Pascanu et al. 2013).
    Raises: ValueError if it is not square, if radius is negative, or if all its eigenvalues are 0."""
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
        raise ValueError(f"weight: got shape {tuple(weight.shape)}, need (H, H), e.g. rnn.weight_hh_l0")
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius: got {radius}, need a number from 0 up")
    now = torch.linalg.eigvals(weight.detach().double()).abs().max().item()
    if now <= 1e-12 * weight.detach().norm().item():
        raise ValueError("all eigenvalues of weight are 0: no factor gives it another radius; draw it at random")
    return weight * (radius / now)


def state_jacobian_norms(rnn: ElmanRNN, x: Tensor) -> Tensor:
    """How much the last state h_T still depends on each state before it: |d h_T / d h_t|, the largest singular value.

    By the chain rule, d h_T / d h_t is the product of diag(1 - h_s^2) W_hh over the steps s after t (Bengio et al.
    1994). Args: x (1, T, I).     Returns: (T,); the last one is 1.
    """
    if x.ndim != 3 or len(x) != 1:
        raise ValueError(f"x: got shape {tuple(x.shape)}, need (1, T, I): one sequence; take x[:1]")
    with torch.no_grad():
        states = rnn(x)[0][0]  # (T, H)
        jacobian = torch.eye(states.shape[1], dtype=x.dtype, device=x.device)
        norms = [torch.linalg.matrix_norm(jacobian, 2)]
        for state in states[1:].flip(0):
            jacobian = jacobian @ ((1 - state.square())[:, None] * rnn.weight_hh_l0)
            norms.append(torch.linalg.matrix_norm(jacobian, 2))
    return torch.stack(norms[::-1])


def trainable_without_gradient(model: nn.Module) -> list[str]:
    """Names of the parameters that a backward pass has not reached: declared, but not part of the loss.

    An optimiser passes over them without a word. Call it after backward() and before zero_grad().
    Raises: ValueError if no parameter has a gradient: there was no backward pass yet."""
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    if all(grad is None for grad in trainable.values()):
        raise ValueError("no parameter has a gradient; call loss.backward() first, and this before zero_grad()")
    return [name for name, grad in trainable.items() if grad is None]


def _declare(rnn: nn.Module, n_in: int, n_hidden: int, n_blocks: int) -> None:
    """The parameters of nn.RNN and nn.GRU by name, shape, and law of the first values."""
    if n_in < 1 or n_hidden < 1:
        raise ValueError(f"got n_in={n_in}, n_hidden={n_hidden}; need at least 1 of each")
    rows, most = n_blocks * n_hidden, 1 / math.sqrt(n_hidden)
    shapes = {"weight_ih": (rows, n_in), "weight_hh": (rows, n_hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    for name, shape in shapes.items():
        rnn.register_parameter(f"{name}_l0", nn.Parameter(torch.empty(shape).uniform_(-most, most)))


def _first_state(rnn: nn.Module, x: Tensor, state: Tensor | None) -> Tensor:
    """The state before the first step (B, H): zeros if there is none."""
    n_hidden, n_in = rnn.weight_hh_l0.shape[1], rnn.weight_ih_l0.shape[1]
    if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != n_in:
        raise ValueError(f"x: got shape {tuple(x.shape)}, need (B, T, {n_in}), T at least 1")
    if state is None:
        return x.new_zeros(len(x), n_hidden)
    if state.ndim == 3 and len(state) == 1:
        state = state[0]  # as nn.GRU hands it out
    if state.shape != (len(x), n_hidden):
        raise ValueError(f"state: got shape {tuple(state.shape)}, need ({len(x)}, {n_hidden}), one row a clip")
    return state
