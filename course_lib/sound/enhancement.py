"""Noise to hide speech in, and spectral subtraction, the baseline that a denoising autoencoder must beat.

Letters: B clips, T samples, K frequency bins, L frames.
Taught in: notebooks/03_autoencoders.ipynb
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.sound.features import AudioConfig, istft, stft


def coloured_noise(
    n_clips: int, rng: torch.Generator, n_samples: int = 8_192, sample_rate_hz: int = AudioConfig.sample_rate_hz
) -> Tensor:
    """Steady noise of any slope between white and brown (0 to -6 dB an octave, flat below 60 Hz), RMS 1. (B, T)."""
    spec = torch.fft.rfft(torch.randn(n_clips, n_samples, generator=rng, device=rng.device))
    slope = torch.rand(n_clips, 1, generator=rng, device=rng.device)  # of the amplitude: 1 is -6 dB an octave
    bins = torch.arange(spec.shape[1], device=rng.device).clamp_min(max(1, round(60 * n_samples / sample_rate_hz)))
    noise = torch.fft.irfft(spec * bins**-slope, n=n_samples)
    return noise / noise.square().mean(dim=1, keepdim=True).sqrt()


def babble_noise(voices: Tensor, n_clips: int, rng: torch.Generator, n_talkers: int = 16) -> Tensor:
    """Many voices at once, each as loud as the others and starting anywhere, RMS 1. voices: (N, T) -> (B, T).

    Take the voices of training clips to train, of test clips to test; none of them silent.
    """
    n_samples = voices.shape[1]
    chosen = torch.randint(len(voices), (n_clips, n_talkers), generator=rng, device=rng.device)
    start = torch.randint(n_samples, (n_clips, n_talkers), generator=rng, device=rng.device)
    noise = torch.zeros(n_clips, n_samples, device=voices.device)
    time = torch.arange(n_samples, device=voices.device)
    for talker in range(n_talkers):  # one at a time: all at once would take 16 times the memory
        voice = voices[chosen[:, talker].to(voices.device)]  # (B, T)
        voice = voice / voice.square().mean(dim=1, keepdim=True).sqrt()
        noise += voice.gather(1, (time + start[:, talker, None].to(voices.device)) % n_samples)
    return noise / noise.square().mean(dim=1, keepdim=True).sqrt()


def noise_spectrum(noise: Tensor, cfg: AudioConfig) -> Tensor:
    """Mean power of each frequency bin over frames that hold noise only. (B, T) -> (B, K).

    Each power of one frame scatters as widely as its mean is large, so take a second or more (60 frames: +-13 %).
    Raises: ValueError if the noise is shorter than one window."""
    if noise.shape[-1] < cfg.n_fft:
        raise ValueError(f"got {noise.shape[-1]} samples of noise; need at least one window of {cfg.n_fft}")
    spec = stft(noise, cfg)  # (B, K, L)
    first = -(-(cfg.n_fft // 2) // cfg.hop_length)  # frames that reach beyond either end hold zeros, and read too low
    inside = spec[..., first : max(first + 1, (noise.shape[-1] - cfg.n_fft // 2) // cfg.hop_length + 1)]
    return inside.abs().square().mean(dim=-1)


def subtract_noise(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
    """max(P - a N, g^2 P): what is left of each bin's power when a times the noise's mean is taken away.

    Signal and noise are uncorrelated, so their powers add on average: a = 1 (Boll 1979). In a single frame the noise
    scatters, and what pokes out tinkles ("musical noise"): a > 1 takes more away, and a floor g > 0 covers the rest
    (Berouti, Schwartz & Makhoul 1979; their floor is a share of N, ours of P: it never exceeds what was there).
    Args:    noisy_power: (B, K, L).     noise_power: (B, K).     over_subtraction: a >= 0.     floor_gain: g in [0, 1].
    Returns: (B, K, L), never above noisy_power."""
    if over_subtraction < 0 or not 0 <= floor_gain <= 1:
        raise ValueError(f"got over_subtraction={over_subtraction}, floor_gain={floor_gain}; need >= 0, and [0, 1]")
    if noise_power.shape != noisy_power.shape[:-1]:
        raise ValueError(
            f"got noise_power {tuple(noise_power.shape)} for noisy_power {tuple(noisy_power.shape)}; need (B, K): one "
            "value a bin, the mean over frames of noise, see noise_spectrum()"
        )
    return torch.maximum(noisy_power - over_subtraction * noise_power[..., None], floor_gain**2 * noisy_power)


def spectral_subtraction(
    noisy: Tensor, noise: Tensor, cfg: AudioConfig, over_subtraction: float = 4.0, floor_gain: float = 0.2
) -> Tensor:
    """Subtract the noise's mean power spectrum from each frame, and keep the noisy phase (Boll 1979; Berouti 1979).

    Args:    noisy: (B, T).     noise: (B, T'), a stretch of each clip's noise alone, at the level it has in `noisy`.
    Returns: (B, T)."""
    if noisy.ndim != 2 or noise.ndim != 2 or len(noisy) != len(noise):
        raise ValueError(f"got noisy {tuple(noisy.shape)}, noise {tuple(noise.shape)}; need (B, T) and (B, T'), same B")
    spec = stft(noisy, cfg)  # (B, K, L)
    power = spec.abs().square()
    cleaned = subtract_noise(power, noise_spectrum(noise, cfg), over_subtraction, floor_gain)
    gain = (cleaned / power.clamp_min(torch.finfo(power.dtype).tiny)).sqrt()  # real: the phase stays
    return istft(spec * gain, cfg, noisy.shape[-1])
