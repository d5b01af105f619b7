"""One sample a step on a FoldedRNN: a row of a table, one product, gates, a choice. What all fast samplers do.

Letters: B clips, T samples, L frames of conditions, C classes, H hidden.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.models.mulaw_rnn import FoldedRNN
from course_lib.sampling.choosing import choose


class Place(NamedTuple):
    """Where a sampler has come to in its clips, and all that the samples so far have left behind."""

    state: Tensor  # (B, H)
    previous: Tensor  # (B,) int64, the last class
    step: int


def start(folded: FoldedRNN) -> Place:
    """Before the first sample: a state of zeros, and silence, the middle class, as the sample before."""
    n_clips = len(folded.conditions)
    state = folded.weight_hh.new_zeros(n_clips, folded.weight_hh.shape[1])
    previous = torch.full((n_clips,), len(folded.table) // 2, dtype=torch.int64, device=state.device)
    return Place(state, previous, 0)


def refuse_nan(weights: Iterable[Tensor]) -> None:
    """Raises: ValueError if there is a NaN among them, which would choose the same class for ever, or an infinity."""
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise ValueError("weights or conditions hold NaN or infinity: the training failed; load an earlier checkpoint")


def stacked(folded: FoldedRNN) -> tuple[Tensor, Tensor]:
    """[weight_hh; weight_out] transposed, (H, 3H + C), and its biases, (3H + C,).

    Both are multiplied with the same state: the scores of the next sample, and what the step after it starts with."""
    weight = torch.cat([folded.weight_hh, folded.weight_out]).T.contiguous()
    return weight, torch.cat([folded.bias_hh, folded.bias_out])


def frame_of(folded: FoldedRNN, step: int) -> int:
    """Which condition a sample is told: the last one, after their end."""
    return min(step // folded.frame_length, folded.conditions.shape[1] - 1)


def gru_step(gates_x: Tensor, products: Tensor, state: Tensor) -> Tensor:
    """One step of nn.GRU whose products are known. (B, 3H), (B, >= 3H), (B, H) -> the new state (B, H)."""
    n = state.shape[1]
    gates = torch.sigmoid(gates_x[:, : 2 * n] + products[:, : 2 * n])  # reset and update at once
    candidate = torch.addcmul(gates_x[:, 2 * n :], gates[:, :n], products[:, 2 * n : 3 * n]).tanh_()
    return torch.lerp(candidate, state, gates[:, n:])


@torch.no_grad()
def advance_folded(
    folded: FoldedRNN,
    noise: Tensor,
    place: Place,
    temperature: float,
    top_p: float,
    prime: Tensor | None = None,
    logits: Tensor | None = None,
) -> tuple[Tensor, Place]:
    """Draw the next samples of all clips.

    Args:
        noise: (T, B, C); prime: (B, T0) int64, what the first T0 of them are instead of drawn.
        logits: (T, B, C), where each step's scores are written, if given.
    Returns: (B, T) int64, and where the clips are now."""
    weight, biases = stacked(folded)
    state, previous, step = place
    n_gates, n_prime = folded.table.shape[1], 0 if prime is None else prime.shape[1]
    classes = torch.empty(noise.shape[:2], dtype=torch.int64, device=noise.device)  # (T, B)
    # argmax(logits / temperature - log e) = argmax(logits - temperature * log e), the latter known before the loop.
    pushes = noise.log().mul_(-temperature) if top_p == 1 or temperature == 0 else None
    products, frame = torch.addmm(biases, state, weight), -1
    for t in range(len(noise)):
        if frame != frame_of(folded, step + t):
            frame = frame_of(folded, step + t)
            condition = folded.conditions[:, frame]
        gates_x = folded.table[previous] + condition
        state = gru_step(gates_x, products, state)
        torch.addmm(biases, state, weight, out=products)
        scores = products[:, n_gates:]
        if t < n_prime:
            classes[t] = prime[:, t]
        elif pushes is not None:
            torch.argmax(scores + pushes[t], dim=1, out=classes[t])
        else:
            classes[t] = choose(scores, noise[t], temperature, top_p)
        previous = classes[t]
        if logits is not None:
            logits[t] = scores
    return classes.T.contiguous(), Place(state, previous.clone(), step + len(noise))
