"""Detectors of what goes wrong with speech made step by step: a held tone, clicks, babble, and no end."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_HELD = 0.6
MOST_CLICKS_A_S = 10.0
LEAST_SURE = 0.5


def held_tone_share(mels_db: Tensor, within_db: float = 4.0) -> Tensor:
    """Longest stretch of frames that all sound like its first one, over the loud part. (B, M, L) dB -> (B,)."""
    frames = mels_db.transpose(1, 2)  # (B, L, M)
    level = 10 * (10 ** (frames / 10)).sum(dim=2).clamp_min(1e-12).log10()
    loud = level > level.amax(dim=1, keepdim=True) - 30
    apart = (frames[:, :, None] - frames[:, None]).square().mean(dim=3).sqrt()  # (B, L, L)
    n_frames = frames.shape[1]
    same = (apart < within_db) & loud[:, :, None] & loud[:, None, :]
    same = same | torch.ones(n_frames, n_frames, dtype=torch.bool).tril(-1)
    runs = same.long().cumprod(dim=2).sum(dim=2) - torch.arange(n_frames)
    return runs.amax(dim=1) / loud.sum(dim=1).clamp_min(1)


def click_rate(waves: Tensor, rate_hz: int) -> Tensor:
    """Clicks a second. (B, T) -> (B,)."""
    raise NotImplementedError("next commit")


def sureness(logits: Tensor) -> Tensor:
    """The judge's chance for the class it takes a clip for. (B, C) -> (B,) in (0, 1]."""
    return logits.softmax(dim=1).amax(dim=1)


def unsure_share(logits: Tensor) -> float:
    """Share of clips that the judge takes for no digit."""
    return (sureness(logits) < LEAST_SURE).double().mean().item()


def ran_on_share(n_frames: Tensor, most_frames: int) -> float:
    """Share of clips that never stopped by themselves."""
    return (n_frames >= most_frames).double().mean().item()
