"""From picture back to sound: undo the mel filters, then find a phase that fits (Griffin-Lim).

Letters: B clips, T samples, K frequency bins, M mels, L frames.
Taught in: notebooks/01_sound_as_data.ipynb
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from course_lib.sound.features import AudioConfig, _filterbank, _power_scale, from_unit, full_precision, istft, stft

PHASE_SEED = 0  # where no rng is given: the same picture always gives the same sound
CLIPS_AT_ONCE = {"cpu": 16}  # so many clips' spectrograms stay in a core's cache; elsewhere, large batches are faster


def mel_to_magnitude(mel_power: Tensor, cfg: AudioConfig, n_iter: int = 20) -> Tensor:
    """Linear magnitudes whose mel power comes close to the wanted one: non-negative least squares.

    Starts from the pseudo-inverse, without its negative values. Each multiplicative update (Lee & Seung 2001) keeps
    every value >= 0 and never raises the squared error |filterbank @ power - mel_power|.
    Args:    mel_power: (..., M, L) >= 0, as features.mel_power() gives it.
    Returns: (..., K, L) >= 0, on the scale of stft().abs().     Raises: ValueError for another M, or negative power.
    """
    if mel_power.shape[-2] != cfg.n_mels:
        raise ValueError(f"got {mel_power.shape[-2]} mels in {tuple(mel_power.shape)}; need {cfg.n_mels} (..., M, L)")
    if (mel_power < 0).any():
        raise ValueError(f"got mel power down to {float(mel_power.min()):.3g}; need >= 0: power, not dB; see vocode()")
    filters = _filterbank(cfg, mel_power.device, mel_power.dtype)  # (M, K)
    by_frame = mel_power.transpose(-1, -2)  # (..., L, M): frames outside make one large matrix product of it all
    with full_precision(mel_power):
        wanted = by_frame @ filters  # (..., L, K)
        # Updates multiply, so that an exact zero would stay one: wanted lifts what the pseudo-inverse sends below it.
        inverse = _pseudo_inverse(cfg, mel_power.device, mel_power.dtype)  # (K, M)
        power = (by_frame @ inverse.T).clamp_min(0) + 1e-3 * wanted
        tiny = torch.finfo(power.dtype).tiny
        for _ in range(n_iter):
            power = power * (wanted / (power @ filters.T @ filters).clamp_min(tiny))
    return (power / _power_scale(cfg)).sqrt().transpose(-1, -2)  # (..., K, L)


def griffin_lim(
    magnitude: Tensor,
    cfg: AudioConfig,
    n_iter: int = 32,
    momentum: float = 0.99,
    rng: torch.Generator | None = None,
    n_samples: int | None = None,
) -> Tensor:
    """Find a wave whose STFT has these magnitudes, by alternating projections from a random phase.

    Each round goes to the nearest spectrogram that some wave has (istft, then stft), and from there to the nearest one
    with the wanted magnitudes (Griffin & Lim 1984). Going a little further than each step asks, by momentum, gets
    closer in as many rounds (Perraudin, Balazs & Sondergaard 2013); momentum 0 is the original.
    Args:
        magnitude: (..., K, L) >= 0.
        rng: draws the first phase, one picture shared by all clips, so that a clip sounds the same in any batch.
        n_samples: length T of the waves; L * hop_length unless given.
    Returns: (..., T). Zero magnitudes give zeros.
    """
    if n_iter < 0 or not 0 <= momentum < 2:
        raise ValueError(f"got n_iter={n_iter}, momentum={momentum}; need at least 0, and [0, 2)")
    n_samples = magnitude.shape[-1] * cfg.hop_length if n_samples is None else n_samples
    rng = torch.Generator().manual_seed(PHASE_SEED) if rng is None else rng
    magnitude = magnitude.transpose(-1, -2).contiguous().transpose(-1, -2)  # stored as torch.stft stores its result
    phase = torch.rand(magnitude.shape[-2:], generator=rng, device=rng.device, dtype=magnitude.dtype)  # (K, L)
    spec = magnitude * torch.exp(2j * torch.pi * phase).to(magnitude.device)  # (..., K, L)
    previous = spec
    for _ in range(n_iter):
        rebuilt = stft(istft(spec, cfg, n_samples), cfg)
        # Only the phase of rebuilt + momentum * (rebuilt - previous) is kept, so that its scale may be dropped.
        ahead = torch.sub(rebuilt, previous, alpha=momentum / (1 + momentum))
        spec = ahead.sgn_().mul_(magnitude)  # sgn: length 1, and 0 for 0
        previous = rebuilt
    return istft(spec, cfg, n_samples)


@torch.no_grad()
def vocode(unit_log_mel: Tensor, cfg: AudioConfig, n_iter: int = 32, rng: torch.Generator | None = None) -> Tensor:
    """Turn unit log-mels, real or a model's, into sound.

    The floor, -1, is silence, and comes out as zeros; values outside [-1, 1] are clamped. A clip whose peak would pass
    1 is scaled down to a peak of 1; no other clip's level is touched. The same seed gives the same sound.
    Args:    unit_log_mel: (B, M, L) or (M, L), as to_unit(log_mel(wave)) gives it.     rng: see griffin_lim.
    Returns: (B, T) or (T,) in [-1, 1], T = L * hop_length.
    Raises:  ValueError for NaN, another M, or another number of axes.
    """
    shape = tuple(unit_log_mel.shape)
    if unit_log_mel.ndim not in (2, 3) or shape[-2] != cfg.n_mels or 0 in shape:
        raise ValueError(f"got shape {shape}; need (B, {cfg.n_mels}, L) or ({cfg.n_mels}, L), none of them 0")
    if unit_log_mel.isnan().any():
        raise ValueError("the log-mel holds NaN: the model that made it has diverged; look at its loss")
    batch = unit_log_mel[None] if unit_log_mel.ndim == 2 else unit_log_mel
    batch = batch if batch.dtype == torch.float64 else batch.float()  # a bf16 model's pictures too
    rng = torch.Generator().manual_seed(PHASE_SEED) if rng is None else rng
    state = rng.get_state()
    waves = []
    for part in batch.split(CLIPS_AT_ONCE.get(batch.device.type, 512)):
        rng.set_state(state)  # the same first phase for every part: see griffin_lim
        # The last samples lie under one window's edge only, where the division in istft turns errors into a click:
        # hold the last frame for one hop more, and cut that hop off.
        held = torch.cat([part, part[..., -1:]], dim=-1)  # (B, M, L + 1)
        magnitude = mel_to_magnitude(_unit_to_power(held, cfg), cfg)  # (B, K, L + 1)
        waves.append(griffin_lim(magnitude, cfg, n_iter, rng=rng)[..., : -cfg.hop_length])  # (B, T)
    wave = torch.cat(waves)
    wave = wave / wave.abs().amax(dim=-1, keepdim=True).clamp_min(1)
    return wave[0] if unit_log_mel.ndim == 2 else wave


def _unit_to_power(unit_log_mel: Tensor, cfg: AudioConfig) -> Tensor:
    floor = 10 ** (cfg.floor_db / 10)
    return (10 ** (from_unit(unit_log_mel.clamp(-1, 1), cfg) / 10) - floor).clamp_min(0)  # the floor itself is 0


@lru_cache(maxsize=32)
def _pseudo_inverse(cfg: AudioConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.linalg.pinv(_filterbank(cfg, torch.device("cpu"), torch.float64)).to(device, dtype)  # (K, M)
