"""Detectors of what goes wrong with speech made step by step: silence, one held tone, clicks, babble, and no end.

Limits were measured on FSDD's validation clips, as recorded and through log-mel and back: at most
2 % of them raise an alarm.
Taught in: notebooks/08_a_network_that_remembers.ipynb
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.judging.faults import SILENT_DB, level_db
from course_lib.sound.features import AudioConfig, log_mel

WITHIN_DB = 5.0  # frames nearer to each other sound alike; a vowel that is held drifts by that in 50 ms
MOST_HELD = 0.5  # share of the loud part; validation clips: 0.29 or less in 98 of 100, at most 0.35
LOUD_DB = 30.0  # frames so far under the loudest are pauses
HEARD_DB = -70.0  # mean over mels; a clip whose loudest frame is under that is silent; FSDD's quietest to train on: -61
CLICK_RATIO = 16.0  # times the sharpness around; 1 % of real clips have a sample that is sharper
CLICK_FLOOR = 2e-3  # sharpness that a quiet room has: a click far below it is not heard
NEAR, FAR = 4, 32  # samples on either side: what belongs to the click, and what it is compared with
CLICK_GAP = 16  # samples: 2 ms, within which all that is sharp is one click
MOST_CLICKS_A_S = 0.5  # one click in a clip of a second is one too many
LEAST_SURE = 0.9  # chance of the class that a clip is read as; of FSDD's validation clips 1 in 100 is under it


def held_tone_share(mels_db: Tensor, within_db: float = WITHIN_DB) -> Tensor:
    """Longest stretch of frames that all sound like its first one, over the number of loud frames; 1: one held tone.

    Not each like the one before it: speech moves slowly enough for that. A steady hiss counts as held, too.

    Args:    mels_db: (B, M, L) in dB.     within_db: root mean square over mels, under which frames sound alike.
    Returns: (B,) in [0, 1]; 0 of clips that are not heard. More than MOST_HELD is a fault."""
    if mels_db.ndim != 3 or mels_db.numel() == 0 or not mels_db.isfinite().all():
        raise ValueError(f"mels_db: got shape {tuple(mels_db.shape)}; need (B, M, L) in dB, all finite")
    frames = mels_db.detach().transpose(1, 2)  # (B, L, M)
    level = 10 * (10 ** (frames / 10)).mean(dim=2).log10()  # (B, L)
    loudest = level.amax(dim=1, keepdim=True)
    loud = (level > loudest - LOUD_DB) & (loudest > HEARD_DB)
    apart_db = (frames[:, :, None] - frames[:, None]).square().mean(dim=3).sqrt()  # (B, L, L)
    alike = (apart_db < within_db) & loud[:, :, None] & loud[:, None]
    n_frames = frames.shape[1]
    upto = torch.ones(n_frames, n_frames, dtype=torch.bool, device=frames.device).tril(-1)  # frames before the first
    n_before = torch.arange(n_frames, device=frames.device)
    n_alike = (alike | upto).cumprod(dim=2).sum(dim=2) - n_before  # (B, L): stretch that starts at each frame
    return n_alike.amax(dim=1) / loud.sum(dim=1).clamp_min(1)


def click_rate(waves: Tensor, rate_hz: int) -> Tensor:
    """Clicks a second: samples much sharper than those around. (B, T) -> (B,); over MOST_CLICKS_A_S is a fault.

    Sharp is what its neighbours don't foretell: |x[t + 1] - 2 x[t] + x[t - 1]|. The pulses of a voice are sharp, but
    each is as sharp as the last."""
    if waves.ndim != 2 or waves.shape[1] <= 2 * FAR or waves.isnan().any():
        raise ValueError(f"waves: got shape {tuple(waves.shape)}; need (B, T), T over {2 * FAR}, no NaN")
    sharp = F.pad(waves.detach().diff(n=2, dim=1).abs(), (1, 1))  # (B, T)
    around = (_window_sum(sharp, FAR) - _window_sum(sharp, NEAR)).clamp_min(0) / (2 * (FAR - NEAR))
    hits = (sharp > CLICK_RATIO * (around + CLICK_FLOOR)).to(waves.dtype)
    recent = F.max_pool1d(F.pad(hits, (CLICK_GAP, 0))[:, None, :-1], CLICK_GAP, 1)[:, 0]  # any in the 2 ms before
    return ((hits > 0) & (recent == 0)).sum(dim=1) * (rate_hz / waves.shape[1])


def _window_sum(values: Tensor, reach: int) -> Tensor:
    """Sum of the values up to `reach` samples away on either side, zeros beyond the ends. (B, T) -> (B, T)."""
    return F.avg_pool1d(values[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0] * (2 * reach + 1)


def sureness(logits: Tensor) -> Tensor:
    """The judge's chance for the class that it reads a clip as. (B, C) -> (B,) in [1 / C, 1].

    The judge was trained to be unsure of noise; of a plain tone it may be quite sure. Under LEAST_SURE, speech is
    babble: like a voice, perhaps, but no digit."""
    if logits.ndim != 2 or logits.numel() == 0 or logits.isnan().any():
        raise ValueError(f"logits: got shape {tuple(logits.shape)}; need (B, C) from judge_logits, no NaN")
    return logits.detach().softmax(dim=1).amax(dim=1)


def unsure_share(logits: Tensor) -> float:
    """Share of clips that the judge reads as no digit for sure. (B, C) -> in [0, 1]."""
    return (sureness(logits) < LEAST_SURE).double().mean().item()


def ran_on_share(n_frames: Tensor, most_frames: int) -> float:
    """Share of clips that never stopped by themselves: as long as they were allowed to be. n_frames (B,) int."""
    if n_frames.ndim != 1 or len(n_frames) == 0 or most_frames < 1:
        raise ValueError(f"got n_frames {tuple(n_frames.shape)}, most_frames={most_frames}; need (B,) and at least 1")
    return (n_frames >= most_frames).double().mean().item()


def alarms(waves: Tensor, logits: Tensor, cfg: AudioConfig) -> dict[str, Tensor]:
    """What each clip suffers from, {"silence", "held tone", "clicks", "babble"}: (B,) bool each.

    Args:    waves: (B, T).     logits: (B, C), the judge's, of their log-mels."""
    return {
        "silence": level_db(waves) < SILENT_DB,
        "held tone": held_tone_share(log_mel(waves, cfg)) > MOST_HELD,
        "clicks": click_rate(waves, cfg.sample_rate_hz) > MOST_CLICKS_A_S,
        "babble": sureness(logits) < LEAST_SURE,
    }
