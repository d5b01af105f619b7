"""Detectors of what goes wrong with generated sound: each gives a number, and a constant says what is too much.

A detector is worth something only if real speech passes it, so each limit has the real clips' own figure beside it.
Taught in: notebooks/06_gans_on_spectrograms.ipynb (silence, DC, collapse, oscillation),
notebooks/07_gans_on_waveforms.ipynb (buzz)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.sound.audio import rms_level_db

LOWEST_LINE_HZ = 100.0  # a buzz below is felt rather than heard, and its lines stand too close to be told from speech
MOST_BUZZ_DB = 1.5  # FSDD's validation clips beside its training clips, 100 each, four draws: 0.8 or less
MOST_DC = 0.1  # share of the energy; the worst training or validation clip of FSDD: 0.05
SILENT_DB = -65.0  # the quietest training or validation clip of FSDD, mostly padding: -58 dBFS
LEAST_DIVERSITY = 0.5  # of the distance between real clips of the same label
MOST_OSCILLATION = 0.65  # share of the variance; white noise of 20 readings: under 0.5 in 19 cases of 20
LEAST_CYCLES = 3  # what swings less often than that is a drift
LEAST_READINGS = 20


def stride_buzz_db(waves: Tensor, real: Tensor, rate_hz: int, stride: int = 4, n_layers: int = 5) -> float:
    """How far the worst line at a stride's frequency stands out of its surroundings, compared with real clips.

    A layer that makes `stride` samples of each of its inputs repeats its own unevenness at rate_hz / stride and the
    multiples of that; the layer before it at rate_hz / stride**2, and so on. Lines nearer to each other than
    LOWEST_LINE_HZ are not looked at, nor are 0 Hz and half the sample rate.

    Args:
        waves: (B, T) generated; real: (B', T') recorded, of the same speakers (a recording may hum: one of FSDD's
            does). Of few clips, chance decides: give 50 or more of each.
        rate_hz: samples a second.     stride, n_layers: of the up-samplings.
    Returns: dB; about 0 where nothing buzzes, above MOST_BUZZ_DB a pitched artefact.
    Raises:  ValueError for another shape, NaN, or clips too short to tell a line from what surrounds it."""
    if stride < 2 or n_layers < 1 or rate_hz / stride < LOWEST_LINE_HZ:
        raise ValueError(f"got stride={stride}, n_layers={n_layers}, {rate_hz} Hz; need >= 2, >= 1, an audible line")
    n_audible = int(math.log(rate_hz / LOWEST_LINE_HZ, stride) + 1e-9)
    period = stride ** min(n_layers, n_audible)  # in samples, of the lowest line
    return _line_heights_db(waves, period).amax().item() - _line_heights_db(real, period).amax().item()


def _line_heights_db(waves: Tensor, period: int) -> Tensor:
    """How far each multiple of 1 / period stands above the mean level (in dB) of its neighbours. -> (lines,)"""
    waves = _checked("waves", waves, 2).double()
    n_samples = waves.shape[1] // period * period  # whole periods: each line falls on one bin exactly
    apart = n_samples // period  # bins from line to line
    if apart < 16:
        raise ValueError(f"got clips of {waves.shape[1]} samples; need at least {16 * period} for lines so close")
    # The window keeps the start and the end of a word from spreading over all frequencies.
    window = torch.hann_window(n_samples, dtype=waves.dtype, device=waves.device)
    level_db = 10 * (torch.fft.rfft(waves[:, :n_samples] * window).abs().square() + 1e-20).log10()  # (B, K)
    lines = torch.arange(apart, n_samples // 2 - apart // 2, apart, device=waves.device)
    reach = torch.arange(3, min(24, apart // 2) + 1, device=waves.device)  # not the skirts of the line itself
    around = torch.cat([lines[:, None] - reach, lines[:, None] + reach], dim=1)  # (lines, neighbours)
    # The mean of dB, not of power: a loud clip counts no more than a quiet one, and a steady buzz stands in all.
    return (level_db[:, lines] - level_db[:, around].mean(dim=2)).mean(dim=0)


def dc_share(waves: Tensor) -> Tensor:
    """Share of each clip's energy that is a constant offset: squared mean over mean square. (B, T) -> (B,) in [0, 1].

    0 of a silent clip. Inaudible, but it takes headroom and clicks at both ends: more than MOST_DC is a fault."""
    waves = _checked("waves", waves, 2)
    energy = waves.square().mean(dim=1)
    return torch.where(energy > 0, waves.mean(dim=1).square() / energy.clamp_min(torch.finfo(waves.dtype).tiny), 0.0)


def level_db(waves: Tensor) -> Tensor:
    """RMS level of each clip in dBFS, -inf for all zeros; below SILENT_DB nothing is heard. (B, T) -> (B,)."""
    return rms_level_db(_checked("waves", waves, 2))


def same_label_distance_db(mels_db: Tensor, labels: Tensor) -> float:
    """Mean root-mean-square difference in dB, over all pairs of clips that share a label.

    Args:    mels_db: (B, M, L) in dB, labels: (B,) int; clips that are alone with their label count for nothing.
    Raises:  ValueError if no two clips share a label."""
    mels_db = _checked("mels_db", mels_db, 3).flatten(1).double()
    if labels.shape != (len(mels_db),):
        raise ValueError(f"labels: got shape {tuple(labels.shape)}, need ({len(mels_db)},), one a clip")
    labels = labels.to(mels_db.device)
    total, n_pairs = 0.0, 0
    for label in labels.unique():
        group = mels_db[labels == label]
        if len(group) > 1:
            pairs = torch.nn.functional.pdist(group) / math.sqrt(group.shape[1])  # Euclidean: root of a sum
            total, n_pairs = total + pairs.sum().item(), n_pairs + len(pairs)
    if n_pairs == 0:
        raise ValueError("no two clips share a label: draw several of each")
    return total / n_pairs


def diversity_ratio(mels_db: Tensor, labels: Tensor, real_db: Tensor, real_labels: Tensor) -> float:
    """same_label_distance_db of generated clips over that of real ones: 1 as varied, 0 collapsed.

    Blind to *what* varies: noise is more varied than speech. Below LEAST_DIVERSITY, a model repeats itself."""
    real = same_label_distance_db(real_db, real_labels)
    if real == 0:
        raise ValueError("the real clips are all the same: nothing to compare with")
    return same_label_distance_db(mels_db, labels) / real


def classes_covered(asked: Tensor, read: Tensor, n_classes: int, least_share: float = 0.5) -> int:
    """How many classes a model can say: those of which at least least_share of the clips asked for are read so.

    Args:    asked, read: (B,) what each clip was meant to be, and what the judge took it for (-1: nothing)."""
    if asked.shape != read.shape or asked.ndim != 1 or len(asked) == 0:
        raise ValueError(f"got asked {tuple(asked.shape)}, read {tuple(read.shape)}; need the same (B,), B at least 1")
    if int(asked.min()) < 0 or int(asked.max()) >= n_classes or not 0 < least_share <= 1:
        raise ValueError(f"got asked up to {int(asked.max())}, least_share={least_share}; need 0 to {n_classes - 1}, "
                         "and a share above 0, at most 1")  # fmt: skip
    right = (asked == read.to(asked.device)).double()
    shares = [right[asked == label].mean().item() for label in range(n_classes) if (asked == label).any()]
    return sum(share >= least_share for share in shares)


def oscillation(readings: Sequence[float]) -> float:
    """Share of a curve's variance that one sine explains, after its straight trend is taken out: 0 to 1.

    The sine swings at least LEAST_CYCLES times, at any frequency: a slow drift does not count. Above MOST_OSCILLATION,
    players chase each other in circles; white noise of n readings gets about 2 ln(n) / n. 0 of a straight line.

    Args:    readings: of a loss, a score or a weight, evenly spaced, LEAST_READINGS or more.
    Raises:  ValueError for fewer, or NaN."""
    values = torch.as_tensor(readings, dtype=torch.float64).flatten()
    n = len(values)
    if n < LEAST_READINGS or not values.isfinite().all():
        raise ValueError(f"got {n} readings; need at least {LEAST_READINGS}, all finite")
    time = torch.arange(n, dtype=torch.float64)
    rest = _residual(values, torch.stack([torch.ones_like(time), time], dim=1))
    if rest.square().sum() <= 1e-20 * n * values.square().amax().clamp_min(1e-300):
        return 0.0
    power = torch.fft.rfft(rest, n=8 * n).abs().square()  # eight times as fine as whole cycles
    power[: 8 * LEAST_CYCLES] = 0
    angle = 2 * math.pi * int(power.argmax()) / (8 * n) * time
    left = _residual(rest, torch.stack([torch.ones_like(time), time, angle.cos(), angle.sin()], dim=1))
    return 1 - (left.square().sum() / rest.square().sum()).item()


def _residual(values: Tensor, columns: Tensor) -> Tensor:
    """What a least-squares fit of the columns (n, k) leaves of values (n,)."""
    return values - columns @ (torch.linalg.pinv(columns) @ values)


def _checked(name: str, values: Tensor, n_axes: int) -> Tensor:
    if values.ndim != n_axes or values.numel() == 0:
        need = "(B, T)" if n_axes == 2 else "(B, M, L)"
        raise ValueError(f"{name}: got shape {tuple(values.shape)}, need {need}")
    if values.isnan().any():
        raise ValueError(f"{name} holds NaN: the model that made it has diverged; look at its loss")
    return values.detach()
