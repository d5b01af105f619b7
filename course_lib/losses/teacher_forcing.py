"""Losses of networks that say the next of a sequence, given all that truly came before it.

Letters: B clips, T samples, L frames, P principal coordinates, C classes, H hidden.
Taught in: notebooks/08_a_network_that_remembers.ipynb, notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.losses.variational import mixture_log_likelihood
from course_lib.models.mel_rnn import MelRNN
from course_lib.models.mulaw_rnn import MuLawRNN


def mel_rnn_parts(
    model: MelRNN,
    unit_mel: Tensor,
    n_frames: Tensor,
    digits: Tensor,
    speakers: Tensor,
    rng: torch.Generator,
    dither: float = 0.1,
) -> dict[str, Tensor]:
    """Teacher forcing: each frame's likelihood given the true frames before it.

    Args:
        unit_mel: (B, M, L); n_frames: (B,) int64, later frames do not count; digits, speakers: (B,) int64.
        dither: standard deviation of noise on the targets, in the coordinates' spread: frames that repeat exactly
            (digital silence) have an unbounded density; blurred by noise, theirs is that of the noise at most.
    Returns: "nll", nats a coordinate of a frame; "stop", nats a frame.
    Raises:  ValueError for a frame count outside 1 to L, or a dither below 0."""
    if n_frames.shape != (len(unit_mel),) or not 1 <= int(n_frames.min()) <= int(n_frames.max()) <= unit_mel.shape[2]:
        raise ValueError(
            f"n_frames: got {tuple(n_frames.shape)} from {int(n_frames.min())} to {int(n_frames.max())}; need "
            f"({len(unit_mel)},), each 1 to {unit_mel.shape[2]}; see frames_of_speech"
        )
    if not dither >= 0:
        raise ValueError(f"dither: got {dither}, need 0 or more")
    n_steps = int(n_frames.max())
    frames = model.coordinates(unit_mel[:, :, :n_steps])  # (B, L, P)
    silence = model.silent_frame().expand(len(frames), 1, -1)
    previous = torch.cat([silence, frames[:, :-1]], dim=1)  # (B, L, P): shifted by one, so that no frame sees itself
    said = model(previous, digits, speakers)
    noise = torch.randn(frames.shape, generator=rng, device=rng.device).to(frames)
    log_likelihood = mixture_log_likelihood(frames + dither * noise, said.log_weights, said.means, said.sigmas)
    steps = torch.arange(n_steps, device=n_frames.device)
    inside = (steps < n_frames.unsqueeze(1)).to(frames.dtype)  # (B, L)
    is_last = (steps == n_frames.unsqueeze(1) - 1).to(frames.dtype)
    stop = F.binary_cross_entropy_with_logits(said.stop_logits, is_last, reduction="none")
    n_inside = inside.sum()
    return {
        "nll": -(log_likelihood * inside).sum() / n_inside / frames.shape[2],
        "stop": (stop * inside).sum() / n_inside,
    }


def shifted(classes: Tensor, silence: int) -> Tensor:
    """What a model is shown when it says something of each sample: the one before it, silence before the first.

    classes (B, T) int64 -> (B, T)."""
    return F.pad(classes, (1, 0), value=silence)[:, :-1]


def class_bits(logits: Tensor, classes: Tensor) -> Tensor:
    """-log2 p(class), p = softmax(logits). logits (B, T, C), classes (B, T) -> (B, T) bits."""
    if logits.ndim != 3 or logits.shape[:2] != classes.shape:
        raise ValueError(f"got logits {tuple(logits.shape)}, classes {tuple(classes.shape)}; need (B, T, C), (B, T)")
    nats = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none")
    return nats.view_as(classes) / math.log(2)


def mulaw_rnn_parts(
    model: MuLawRNN,
    previous: Tensor,
    classes: Tensor,
    inside: Tensor,
    conditions: Tensor,
    state: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Teacher forcing on one chunk of each clip. -> {"bits": a sample}, and the state (1, B, H), detached.

    Args:
        previous, classes: (B, T) int64; inside: (B, T) bool, which samples belong to the recording.
        conditions: (B, L, n_in) of whole clips; starts: (B,) int64, where in its clip each chunk starts (a multiple of
            the frame's length), 0 unless given.
        state: (1, B, H), what the chunk before has left, zeros for a clip that begins.
    """
    if starts is not None:
        n_frames, frame_length = conditions.shape[1], model.config["frame_length"]
        first = torch.arange(-(-classes.shape[1] // frame_length), device=starts.device)
        index = (starts.unsqueeze(1) // frame_length + first).clamp(max=n_frames - 1)  # (B, frames of the chunk)
        conditions = conditions.gather(1, index.unsqueeze(2).expand(-1, -1, conditions.shape[2]))
    logits, state = model(previous, conditions, state)
    costs = class_bits(logits.float(), classes)  # (B, T)
    return {"bits": (costs * inside).sum() / inside.sum().clamp_min(1)}, state.detach()
