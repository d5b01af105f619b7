"""Change a sound on purpose: echo, delay, speed, pitch, noise, level; for the ear, and to augment training data.

Waves are (T,) or (B, T) float; every function leaves its input untouched and takes any device and float dtype.
Taught in: notebooks/02_a_machine_that_listens.ipynb
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.sound.audio import fit_length, resample
from course_lib.sound.features import AudioConfig, istft, stft

INAUDIBLE = 1e-6  # -120 dB: echoes quieter than this lie below the steps of 16-bit sound
STRETCH = AudioConfig(n_fft=512, win_length=512, hop_length=128)  # overlap of 75 %: phases advance smoothly
SPEEDS = (0.9, 0.95, 1.0, 1.05, 1.1)  # few, so that a batch is resampled a few times and not once a clip


def delay(wave: Tensor, rate_hz: int, delay_s: float) -> Tensor:
    """The same sound later, to the nearest sample: zeros first, the end cut off. (..., T) -> (..., T).

    Raises: ValueError if delay_s is negative.
    """
    n_late = round(delay_s * rate_hz)
    if n_late < 0:
        raise ValueError(f"got delay_s={delay_s}; need 0 or more: sound cannot come before it is made")
    n_samples = wave.shape[-1]
    return F.pad(wave, (min(n_late, n_samples), 0))[..., :n_samples]


def echo(
    wave: Tensor, rate_hz: int, delay_s: float, feedback: float = 0.5, wet: float = 0.5, tail_s: float = 0.0
) -> Tensor:
    """Add repeats: out = (1 - wet) * wave + wet * (delay_1 + feedback * delay_2 + feedback**2 * delay_3 + ...).

    Args:
        delay_s:  seconds between repeats, at least one sample.
        feedback: level of each repeat over the one before, in [0, 1): at 1 it would never die away. 0: one repeat.
        wet:      share of the repeats in the mix, in [0, 1].
        tail_s:   seconds by which the output is longer than the input, for repeats to die away in.
    Returns: (..., T + tail_s * rate_hz).     Raises: ValueError for settings out of these ranges.
    """
    if not (0 <= feedback < 1 and 0 <= wet <= 1 and tail_s >= 0):
        raise ValueError(f"got feedback={feedback}, wet={wet}, tail_s={tail_s}; need [0, 1), [0, 1] and at least 0")
    n_delay = round(delay_s * rate_hz)
    if n_delay < 1:
        raise ValueError(f"got delay_s={delay_s}: {n_delay} samples at {rate_hz} Hz; need at least 1")
    wave = F.pad(wave, (0, round(tail_s * rate_hz)))
    out, level, n_late = (1 - wet) * wave, wet, n_delay
    while n_late < wave.shape[-1] and level > INAUDIBLE:
        out[..., n_late:] += level * wave[..., :-n_late]
        level, n_late = level * feedback, n_late + n_delay
    return out


def change_level(wave: Tensor, gain_db: float | Tensor) -> Tensor:
    """Make louder (gain_db > 0) or quieter; -6 dB halves the amplitude, nearly. gain_db: number, or (B,) per clip."""
    gain_db = torch.as_tensor(gain_db, device=wave.device, dtype=wave.dtype)
    return wave * 10 ** (gain_db[..., None] / 20)


def change_speed(wave: Tensor, factor: float) -> Tensor:
    """Play faster (factor > 1) or slower, like a tape: the pitch moves by the same factor.

    Args:    factor: in [0.25, 4], rounded to a ratio of whole numbers up to 100.
    Returns: (..., ceil(T / factor)).
    """
    ratio = _ratio(factor, "factor")
    return resample(wave, ratio.numerator, ratio.denominator)


def stretch_time(wave: Tensor, factor: float) -> Tensor:
    """Make longer (factor > 1) or shorter at the same pitch, by a phase vocoder (Flanagan & Golden 1966).

    Magnitudes are read between frames at 1 / factor of the old speed; phases advance by what each bin's own frequency
    asks for in one hop, so that partials stay in tune.
    Args:    factor: in [0.25, 4].     Returns: (..., round(T * factor)).
    """
    n_samples = round(wave.shape[-1] * float(_ratio(factor, "factor")))
    hop = STRETCH.hop_length
    spec = stft(F.pad(wave, (0, 2 * hop - wave.shape[-1] % hop)), STRETCH)  # (..., K, L), zeros at the end
    n_frames = spec.shape[-1]
    position = torch.arange(-(-n_samples // hop) + 1, device=wave.device, dtype=wave.dtype) / factor  # (L_out,)
    before = position.long().clamp_max(n_frames - 2)
    share = (position - before).clamp_max(1)
    magnitude = (1 - share) * spec[..., before].abs() + share * spec[..., before + 1].abs()  # (..., K, L_out)

    bins = torch.arange(spec.shape[-2], device=wave.device, dtype=wave.dtype)[:, None]
    expected = 2 * torch.pi * hop / STRETCH.n_fft * bins  # (K, 1): a bin's centre frequency turns by this in one hop
    turned = spec[..., before + 1].angle() - spec[..., before].angle() - expected
    advance = expected + turned - 2 * torch.pi * torch.round(turned / (2 * torch.pi))  # (..., K, L_out)
    phase = spec[..., :1].angle() + F.pad(advance, (1, 0))[..., :-1].cumsum(dim=-1)
    spec = torch.polar(magnitude, phase)
    # Neighbouring bins of one partial must agree, or it beats against itself: each takes the phase of the strongest
    # near it. (Signs alternate since a frame's phase counts from its start: Puckette 1995, loose phase locking.)
    near = F.pad(spec, (0, 0, 1, 1))
    agreed = spec - near[..., :-2, :] - near[..., 2:, :]
    return istft(torch.polar(magnitude, agreed.angle()), STRETCH, n_samples)


def change_pitch(wave: Tensor, n_semitones: float) -> Tensor:
    """Raise (n_semitones > 0) or lower the pitch at the same length: stretch, then play faster by the same factor.

    Formants move too: a voice raised by much sounds like a cartoon's.
    Args:    n_semitones: in [-24, 24]; 12 is an octave.     Returns: (..., T).
    """
    ratio = float(_ratio(2 ** (n_semitones / 12), f"n_semitones={n_semitones}, that is a factor"))
    return fit_length(change_speed(stretch_time(wave, ratio), ratio), wave.shape[-1])


def mix_at_snr(speech: Tensor, noise: Tensor, snr_db: float | Tensor) -> Tensor:
    """Speech plus noise, the noise scaled clip by clip so that the ratio of their powers is snr_db exactly.

    Power is the mean square over the whole clip, padding included. The speech is left as it is: a network that learns
    to give it back must find it at its own level. Silent speech has no ratio, and gets no noise.
    Args:    speech, noise: (B, T) or (T,) alike.     snr_db: number, or (B,) per clip; smaller is noisier.
    Returns: as speech, and not clipped: loud noise may pass 1.
    Raises:  ValueError for unequal shapes, or silent noise, which no factor makes louder."""
    if speech.shape != noise.shape:
        raise ValueError(f"got speech {tuple(speech.shape)} and noise {tuple(noise.shape)}; need equal shapes")
    if not (noise.square().mean(dim=-1) > 0).all():
        raise ValueError("a clip of the noise is silent: no factor brings it to a level; draw or cut it anew")
    return _add_scaled(speech, noise, snr_db)


def add_noise(wave: Tensor, snr_db: float | Tensor, rng: torch.Generator) -> Tensor:
    """Add white Gaussian noise, scaled so that each clip's power over the noise's is snr_db exactly; see mix_at_snr.

    Args: snr_db: number, or (B,) per clip; smaller is noisier, 0 as loud as the sound.
    """
    noise = torch.randn(wave.shape, generator=rng, device=rng.device, dtype=wave.dtype).to(wave.device)
    return _add_scaled(wave, noise, snr_db)


def _add_scaled(wave: Tensor, noise: Tensor, snr_db: float | Tensor) -> Tensor:
    snr_db = torch.as_tensor(snr_db, device=wave.device, dtype=wave.dtype)
    wanted = wave.square().mean(-1) * 10 ** (-snr_db / 10)  # (...): the noise's power
    return wave + noise * (wanted / noise.square().mean(-1)).sqrt()[..., None]


def random_shift(wave: Tensor, rng: torch.Generator, n_earlier: int = 0, n_later: int = 1_600) -> Tensor:
    """Move each clip by its own whole number of samples, uniform in [-n_earlier, n_later]; zeros fill the gap.

    Nothing wraps round: what leaves at one end does not come back at the other. (..., T) -> (..., T).
    """
    if n_earlier < 0 or n_later < 0:
        raise ValueError(f"got n_earlier={n_earlier}, n_later={n_later}; need both 0 or more")
    shift = torch.randint(-n_earlier, n_later + 1, wave.shape[:-1], generator=rng, device=rng.device)
    source = torch.arange(wave.shape[-1], device=wave.device) - shift.to(wave.device)[..., None]  # (..., T)
    inside = (source >= 0) & (source < wave.shape[-1])
    return wave.gather(-1, source.clamp(0, wave.shape[-1] - 1)) * inside


def augment(
    waves: Tensor,
    rng: torch.Generator,
    *,
    speeds: tuple[float, ...] = SPEEDS,
    n_earlier: int = 0,
    n_later: int = 1_600,
    gain_db: tuple[float, float] = (-12.0, 6.0),
    snr_db: tuple[float, float] = (15.0, 40.0),
) -> Tensor:
    """Draw a new version of each clip: its own speed, shift, noise and level.

    Args:
        waves: (B, T) in [-1, 1].
        speeds: factors, each as likely; (1.0,) keeps the speed. Pitch moves with speed.
        n_earlier, n_later: furthest shift, in samples; zeros fill the gap.
        gain_db, snr_db: ranges, drawn from uniformly.
    Returns: (B, T) in [-1, 1]: a clip whose peak would pass 1 is scaled down to a peak of 1.
    """
    if waves.ndim != 2:
        raise ValueError(f"got waves of shape {tuple(waves.shape)}; need (B, T); for one clip pass wave[None]")
    n_clips, n_samples = waves.shape
    out = waves.clone()
    choice = torch.randint(len(speeds), (n_clips,), generator=rng, device=rng.device).to(waves.device)
    for i, speed in enumerate(speeds):
        rows = (choice == i).nonzero()[:, 0]
        if len(rows):
            out[rows] = fit_length(change_speed(waves[rows], speed), n_samples)
    out = random_shift(out, rng, n_earlier, n_later)
    low_high = torch.tensor([snr_db, gain_db], dtype=waves.dtype)  # (2, 2)
    draws = torch.rand(2, n_clips, generator=rng, device=rng.device, dtype=waves.dtype).cpu()
    snr, gain = (low_high[:, :1] + draws * (low_high[:, 1:] - low_high[:, :1])).to(waves.device)  # (B,), (B,)
    out = change_level(add_noise(out, snr, rng), gain)
    return out / out.abs().amax(dim=-1, keepdim=True).clamp_min(1)


def _ratio(factor: float, name: str) -> Fraction:
    if not 0.25 <= factor <= 4:
        raise ValueError(f"got {name} {factor}; need a value in [0.25, 4] (two octaves down or up)")
    return Fraction(factor).limit_denominator(100)
