"""From picture back to sound: undo the mel filters, then find a phase that fits (Griffin-Lim).

Taught in: notebooks/01_sound_as_data.ipynb
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from course_lib.features import AudioConfig, _filterbank, _power_scale, from_unit, istft, stft


def mel_to_magnitude(mel_power: Tensor, cfg: AudioConfig, n_iter: int = 20) -> Tensor:
    """Linear magnitudes whose mel power comes closest: non-negative least squares by multiplicative updates.

    Starts from the pseudo-inverse; each update keeps signs and lowers the squared error (Lee & Seung 2001).
    Args:    mel_power: (..., M, L) >= 0, as mel_power() gives it.     Returns: (..., K, L) as stft().abs() gives it.
    """
    filters = _filterbank(cfg, mel_power.device, mel_power.dtype)  # (M, K)
    power = (_pseudo_inverse(cfg, mel_power.device, mel_power.dtype) @ mel_power).clamp_min(0)
    power = power + 1e-3 * filters.T @ mel_power  # updates multiply: an exact zero could never grow again
    wanted, gram = filters.T @ mel_power, filters.T @ filters
    for _ in range(n_iter):
        power = power * wanted / (gram @ power).clamp_min(1e-20)
    return (power / _power_scale(cfg)).sqrt()


def griffin_lim(
    magnitude: Tensor,
    cfg: AudioConfig,
    n_iter: int = 32,
    momentum: float = 0.99,
    rng: torch.Generator | None = None,
    n_samples: int | None = None,
) -> Tensor:
    """Wave whose STFT has these magnitudes, as nearly as alternating projections find (Perraudin et al. 2013)."""
    n_samples = n_samples or magnitude.shape[-1] * cfg.hop_length
    rng = rng or torch.Generator(magnitude.device).manual_seed(0)
    phase = torch.rand(magnitude.shape, generator=rng, device=rng.device, dtype=magnitude.dtype) * 2 * torch.pi
    spec = magnitude * torch.exp(1j * phase.to(magnitude.device))
    previous = torch.zeros_like(spec)
    for _ in range(n_iter):
        rebuilt = stft(istft(spec, cfg, n_samples), cfg)
        ahead = rebuilt + momentum * (rebuilt - previous)
        spec = magnitude * ahead / ahead.abs().clamp_min(1e-12)
        previous = rebuilt
    return istft(spec, cfg, n_samples)


@torch.no_grad()
def vocode(unit_log_mel: Tensor, cfg: AudioConfig, n_iter: int = 32, rng: torch.Generator | None = None) -> Tensor:
    """Turn unit log-mels into sound. (B, M, L) in [-1, 1] -> waves (B, L * hop_length) in [-1, 1].

    A clip whose peak would pass 1 is scaled down to 1; no other level is touched. The floor comes out as silence.
    """
    floor = 10 ** (cfg.floor_db / 10)
    mel = (10 ** (from_unit(unit_log_mel.clamp(-1, 1), cfg) / 10) - floor).clamp_min(0)
    wave = griffin_lim(mel_to_magnitude(mel, cfg), cfg, n_iter, rng=rng)
    return wave / wave.abs().amax(dim=-1, keepdim=True).clamp_min(1)


@lru_cache(maxsize=32)
def _pseudo_inverse(cfg: AudioConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        return torch.linalg.pinv(_filterbank(cfg, torch.device("cpu"), torch.float64)).to(device, dtype)
