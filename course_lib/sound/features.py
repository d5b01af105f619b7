"""From wave to picture: short-time Fourier transform, log-mel spectrogram, MFCC and mu-law, each in a few lines.

Letters: B clips, T samples, K frequency bins, M mels, L frames. A leading batch axis is optional everywhere.
Taught in: notebooks/01_sound_as_data.ipynb; MFCC: notebooks/02_a_machine_that_listens.ipynb
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class AudioConfig:
    """How sound becomes a log-mel picture; the defaults turn 8,192 samples (1.024 s) into 64 mels x 64 frames.

    Raises: ValueError, saying what to change, for settings that cannot work together.

    The defaults were chosen by what vocode() makes of FSDD: PESQ (narrow-band, at most 4.5) on the test clips, and the
    share of 900 clips that PocketSphinx still hears, over that of the originals (0.84), give or take 0.01.
        win_length    256   288   320   384   512 |  320   320   320   320   320
        floor_db      -90   -90   -90   -90   -90 |  -60   -70   -80   -90  -100
        PESQ         3.96  3.97  3.99  3.90  3.67 | 2.91  3.48  3.80  3.99  4.00
        heard        0.99  0.99  0.99  0.98  0.98 | 0.55  0.75  0.91  0.99  1.00
    Speakers differ by 30 dB in level, and log_mel sees the raw level: a floor of -80 would erase the consonants of the
    quietest. The loudest clip reaches -5 dB; top_db = 0 leaves room for a louder voice. A window of 256 leaves the last
    samples of a clip under its very edge, where istft cannot restore them. Slaney's mel scale: PESQ -0.04 to +0.01.
    """

    sample_rate_hz: int = 8_000
    n_fft: int = 320  # 161 bins, 25 Hz apart
    win_length: int = 320  # 40 ms Hann window
    hop_length: int = 128  # 16 ms step
    n_mels: int = 64
    f_min_hz: float = 0.0
    f_max_hz: float = 4_000.0
    floor_db: float = -90.0  # quieter than this counts as silence
    top_db: float = 0.0  # about a full-scale sine

    def __post_init__(self) -> None:
        for name in ("sample_rate_hz", "n_fft", "win_length", "hop_length", "n_mels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: got {value!r}; need a whole number of at least 1")
        if self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is over n_fft {self.n_fft}; raise n_fft or cut the window")
        if self.hop_length >= self.win_length:
            raise ValueError(
                f"hop_length {self.hop_length} is not under win_length {self.win_length}: windows would miss samples; "
                "take a hop of at most half the window"
            )
        rate_hz, low_hz, high_hz = self.sample_rate_hz, self.f_min_hz, self.f_max_hz
        if not 0 <= low_hz < high_hz <= rate_hz / 2:
            raise ValueError(
                f"got f_min_hz {low_hz} and f_max_hz {high_hz}; need 0 <= f_min_hz < f_max_hz <= {rate_hz / 2}, "
                f"the Nyquist frequency of {rate_hz} Hz"
            )
        if not -math.inf < self.floor_db < self.top_db < math.inf:
            raise ValueError(f"got floor_db {self.floor_db} and top_db {self.top_db}; need floor_db < top_db, finite")
        empty = (_filterbank(self, torch.device("cpu"), torch.float32).sum(dim=1) == 0).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(
                f"mel filters {empty} hold no frequency bin: bins lie {rate_hz / self.n_fft:.1f} Hz apart, too far for "
                f"{self.n_mels} mels from {low_hz} to {high_hz} Hz; raise n_fft or f_min_hz, or take fewer mels"
            )


def stft(wave: Tensor, cfg: AudioConfig) -> Tensor:
    """Short-time Fourier transform: frame l is centred on sample l * hop_length; zeros lie beyond the clip's ends.

    Args:    wave: (..., T) float, T >= hop_length.
    Returns: (..., K, L) complex, K = n_fft // 2 + 1, L = T // hop_length.
    """
    if wave.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"got a wave of {wave.dtype}; need float32 or float64; call wave.float()")
    n_frames = wave.shape[-1] // cfg.hop_length
    if n_frames < 1:
        raise ValueError(
            f"got {wave.shape[-1]} samples; need at least one hop of {cfg.hop_length}; pad it, e.g. by fit_length()"
        )
    left = cfg.n_fft // 2
    right = (n_frames - 1) * cfg.hop_length + cfg.n_fft - left - wave.shape[-1]
    padded = F.pad(wave, (left, max(right, 0)))
    window = _window(cfg, wave.device, wave.dtype)
    spec = torch.stft(
        padded.reshape(-1, padded.shape[-1]),
        cfg.n_fft,
        cfg.hop_length,
        window=window,
        center=False,
        return_complex=True,
    )[..., :n_frames]  # (B, K, L)
    return spec.reshape(*wave.shape[:-1], *spec.shape[-2:])


def istft(spec: Tensor, cfg: AudioConfig, n_samples: int) -> Tensor:
    """Inverse of stft: window each frame again, overlap, add, and divide by the sum of squared windows.

    Of all waves it is the one whose STFT comes closest to spec, which need not be any wave's (Griffin & Lim 1984).
    istft(stft(wave)) is wave up to sample L * hop_length, given win_length > 2 * hop_length: the last frame reaches
    no further. Samples that no window reaches are 0; those that it barely reaches fade instead of blowing up.
    Args:    spec: (..., K, L) complex.     Returns: (..., n_samples).
    """
    if spec.shape[-2] != cfg.n_fft // 2 + 1 or not spec.is_complex():
        raise ValueError(
            f"got {spec.dtype} of shape {tuple(spec.shape)}; need a complex (..., K={cfg.n_fft // 2 + 1}, L) "
            "made with the same AudioConfig"
        )
    spec_by_frame = spec.reshape(-1, *spec.shape[-2:]).transpose(1, 2)  # (B, L, K), as torch.stft stores it
    frames = torch.fft.irfft(spec_by_frame, n=cfg.n_fft)  # (B, L, n_fft)
    frames = frames * _window(cfg, frames.device, frames.dtype)
    wave = _overlap_add(frames, cfg) / _overlap_weight(cfg, spec.shape[-1], frames.device, frames.dtype)
    wave = wave[:, cfg.n_fft // 2 :][:, :n_samples]
    return F.pad(wave, (0, n_samples - wave.shape[-1])).reshape(*spec.shape[:-2], n_samples)


def hz_to_mel(hz: Tensor) -> Tensor:
    """Frequency on the mel scale: equal steps sound about equally far apart (O'Shaughnessy 1987; HTK's formula)."""
    return 2595 * torch.log10(1 + torch.as_tensor(hz, dtype=torch.float64) / 700)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of hz_to_mel."""
    return 700 * (10 ** (torch.as_tensor(mel, dtype=torch.float64) / 2595) - 1)


def mel_filterbank(cfg: AudioConfig) -> Tensor:
    """Triangles of height 1, equally spaced in mel (= librosa.filters.mel(htk=True, norm=None)).

    Returns: (M, K) float32: row m tells how much of each frequency bin's power mel band m collects.
    """
    return _filterbank(cfg, torch.device("cpu"), torch.float32).clone()


def mel_power(wave: Tensor, cfg: AudioConfig) -> Tensor:
    """Power in each mel band, (..., T) -> (..., M, L); a full-scale sine has power 1 in its frequency bin."""
    power = stft(wave, cfg).abs().square() * _power_scale(cfg)  # (..., K, L)
    with full_precision(power):
        return _filterbank(cfg, power.device, power.dtype) @ power


def log_mel(wave: Tensor, cfg: AudioConfig) -> Tensor:
    """Mel power in dB relative to full scale, never under floor_db. (..., T) -> (..., M, L)."""
    return 10 * torch.log10(mel_power(wave, cfg).clamp_min(10 ** (cfg.floor_db / 10)))


def to_unit(log_mel_db: Tensor, cfg: AudioConfig) -> Tensor:
    """Scale dB for a network: floor_db -> -1, top_db -> 1, clamped to [-1, 1]."""
    return ((log_mel_db - cfg.floor_db) / (cfg.top_db - cfg.floor_db) * 2 - 1).clamp(-1, 1)


def from_unit(unit: Tensor, cfg: AudioConfig) -> Tensor:
    """Inverse of to_unit: [-1, 1] -> dB."""
    return (unit + 1) / 2 * (cfg.top_db - cfg.floor_db) + cfg.floor_db


def dct_matrix(n_mfcc: int, n_mels: int) -> Tensor:
    """Rows of the orthonormal DCT-II: row q is a cosine of q half-periods over the mel axis. (n_mfcc, M)."""
    if not 1 <= n_mfcc <= n_mels:
        raise ValueError(f"got n_mfcc={n_mfcc} of {n_mels} mels; need 1 to {n_mels}")
    q = torch.arange(n_mfcc, dtype=torch.float64)[:, None]
    m = torch.arange(n_mels, dtype=torch.float64)[None, :]
    matrix = torch.cos(math.pi / n_mels * q * (m + 0.5)) * math.sqrt(2 / n_mels)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def mfcc(log_mel_db: Tensor, n_mfcc: int = 13) -> Tensor:
    """Mel-frequency cepstral coefficients: the DCT-II of each log-mel column. (..., M, L) -> (..., n_mfcc, L)."""
    with full_precision(log_mel_db):
        return dct_matrix(n_mfcc, log_mel_db.shape[-2]).to(log_mel_db) @ log_mel_db


def mu_law_encode(wave: Tensor, n_classes: int = 256) -> Tensor:
    """Compress to integer classes (ITU-T G.711 mu-law curve). (..., T) in [-1, 1] -> int64 in [0, n_classes - 1]."""
    if not (peak := wave.abs().max()) <= 1:  # so put, NaN is refused too
        raise ValueError(f"got |wave| up to {float(peak):.3f}; need at most 1, not NaN; call normalise_peak() first")
    mu = n_classes - 1
    squashed = wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)  # [-1, 1]
    return ((squashed + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decode(classes: Tensor, n_classes: int = 256) -> Tensor:
    """Inverse of mu_law_encode, up to the rounding: int64 classes -> float32 in [-1, 1]."""
    mu = n_classes - 1
    if classes.min() < 0 or classes.max() > mu:
        raise ValueError(f"got classes from {int(classes.min())} to {int(classes.max())}; need 0 to {mu}")
    squashed = classes.float() / mu * 2 - 1
    return squashed.sign() * torch.expm1(squashed.abs() * math.log1p(mu)) / mu


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """Block inside which matrix products keep their dtype: bf16 training would round 90 dB of power to 3 digits."""
    device_type = tensor.device.type
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


@lru_cache(maxsize=32)
def _window(cfg: AudioConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Periodic Hann window of win_length, padded to n_fft with zeros on both sides. (n_fft,)"""
    with torch.inference_mode(False):
        left = (cfg.n_fft - cfg.win_length) // 2
        window = torch.hann_window(cfg.win_length, dtype=torch.float64)
        return F.pad(window, (left, cfg.n_fft - cfg.win_length - left)).to(device, dtype)


def _overlap_add(frames: Tensor, cfg: AudioConfig) -> Tensor:
    """Add up frames, each hop_length after the one before. (B, L, n_fft) -> (B, at least (L - 1) * hop + n_fft)."""
    n_clips, n_frames, _ = frames.shape
    parts = frames.split(cfg.hop_length, dim=2)  # cut into hops: part j of frame l belongs to hop l + j of the wave
    wave = frames.new_zeros(n_clips, n_frames + len(parts) - 1, cfg.hop_length)
    for j, part in enumerate(parts):
        wave[:, j : j + n_frames, : part.shape[2]] += part
    return wave.flatten(1)


@lru_cache(maxsize=32)
def _overlap_weight(cfg: AudioConfig, n_frames: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Sum of the squared windows at each sample, at least 1e-4; as long as _overlap_add makes a wave."""
    with torch.inference_mode(False):
        squared = _window(cfg, torch.device("cpu"), torch.float64).square().expand(1, n_frames, -1)
        return _overlap_add(squared, cfg)[0].clamp_min(1e-4).to(device, dtype)


def _power_scale(cfg: AudioConfig) -> float:
    # A sine of amplitude 1 has |STFT| = sum(window) / 2 at its frequency, and a Hann window sums to win_length / 2.
    return (4 / cfg.win_length) ** 2


@lru_cache(maxsize=32)
def _filterbank(cfg: AudioConfig, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):
        # Not linspace up to Nyquist: the last bin of an odd n_fft lies half a bin below it.
        bins_hz = torch.arange(cfg.n_fft // 2 + 1, dtype=torch.float64) * cfg.sample_rate_hz / cfg.n_fft  # (K,)
        ends_mel = hz_to_mel(torch.tensor([cfg.f_min_hz, cfg.f_max_hz]))
        edges_hz = mel_to_hz(torch.linspace(*ends_mel.tolist(), cfg.n_mels + 2, dtype=torch.float64))  # (M + 2,)
        low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
        rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)  # (M, K)
        return torch.minimum(rising, falling).clamp_min(0).to(device, dtype)
