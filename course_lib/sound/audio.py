"""Sound files in and out: a wave is a float32 tensor of samples in [-1, 1], (T,) for one clip or (B, T) for a batch.

Taught in: notebooks/01_sound_as_data.ipynb
"""

from __future__ import annotations

import html
import os
import uuid
from pathlib import Path
from typing import BinaryIO

import soundfile
import torch
from torch import Tensor

PCM_STEPS = 32768  # 16-bit sound has 2**15 steps between 0 and 1


def read_wave(path_or_file: str | Path | BinaryIO) -> tuple[Tensor, int]:
    """Read a sound file (wav, flac, ogg, mp3) as one mono clip; several channels are averaged.

    Returns: (wave (T,) float32, rate_hz).
    Raises:  FileNotFoundError; ValueError if the file is not readable sound, is empty, or holds NaN or infinity.
    """
    name = Path(path_or_file).name if isinstance(path_or_file, str | Path) else "the open file"
    if isinstance(path_or_file, str | Path) and not Path(path_or_file).is_file():
        raise FileNotFoundError(f"no sound file at {path_or_file}; check the path")
    try:
        samples, rate_hz = soundfile.read(path_or_file, dtype="float32", always_2d=True)  # (T, n_channels)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{name}: not readable as sound ({error}); need wav, flac, ogg or mp3") from error
    wave = torch.from_numpy(samples).mean(dim=1)  # (T,)
    if wave.numel() == 0:
        raise ValueError(f"{name}: holds no samples; leave this file out or record it again")
    if not torch.isfinite(wave).all():
        raise ValueError(f"{name}: holds NaN or infinite samples; export it again as 16-bit wav")
    return wave, int(rate_hz)


def write_wave(path: str | Path, wave: Tensor, rate_hz: int) -> None:
    """Write one mono clip as 16-bit PCM. The file appears whole or not at all, even if the power fails half-way.

    Args:    wave: (T,) float in [-1, 1].
    Raises:  ValueError for NaN, infinity, |wave| > 1, no samples, or more than one dimension.
    """
    path = Path(path)
    wave = torch.as_tensor(wave).detach().cpu()
    _check_one_clip(wave, path.name)
    if wave.abs().max() > 1:
        raise ValueError(
            f"{path.name}: peak {float(wave.abs().max()):.3f} is over 1 and would clip; call normalise_peak() first"
        )
    # Steps of 1/32768, as wav files are read: file -> wave -> file is exact. +1 is one step too many.
    steps = (wave.double() * PCM_STEPS).round().clamp(-PCM_STEPS, PCM_STEPS - 1).to(torch.int16)  # (T,)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".part_{uuid.uuid4().hex}_{path.name}")
    try:
        with temporary.open("wb") as file:
            soundfile.write(file, steps.numpy(), rate_hz, subtype="PCM_16", format=path.suffix.lstrip(".") or "wav")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def resample(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Change the sampling rate, low-pass filtered below the lower Nyquist frequency so that nothing aliases.

    Args:    wave: (..., T).     Returns: (..., ceil(T * to_hz / from_hz)).
    """
    if from_hz <= 0 or to_hz <= 0 or int(from_hz) != from_hz or int(to_hz) != to_hz:
        raise ValueError(f"got rates {from_hz} Hz and {to_hz} Hz; need positive whole numbers")
    if from_hz == to_hz:
        return wave
    from torchaudio.functional import resample as sinc_resample  # imported late: `import course_lib` stays quick

    return sinc_resample(wave, int(from_hz), int(to_hz), lowpass_filter_width=16)


def peak_level_db(wave: Tensor) -> Tensor:
    """Level of the largest sample, in dB relative to full scale (1.0); silence is -inf. (..., T) -> (...)."""
    return 20 * torch.log10(wave.abs().amax(dim=-1))


def rms_level_db(wave: Tensor) -> Tensor:
    """Level of the root mean square, in dB relative to full scale (a full-scale sine: -3.01). (..., T) -> (...)."""
    return 10 * torch.log10(wave.square().mean(dim=-1))


def normalise_peak(wave: Tensor, level_db: float = -1.0) -> Tensor:
    """Scale each clip so that its peak stands at level_db below full scale; a silent clip stays silent. (..., T)."""
    peak = wave.abs().amax(dim=-1, keepdim=True)
    return wave * torch.where(peak > 0, 10 ** (level_db / 20) / peak.clamp_min(torch.finfo(wave.dtype).tiny), 1.0)


def fit_length(wave: Tensor, n_samples: int) -> Tensor:
    """Cut the end off, or pad it with zeros, to n_samples. (..., T) -> (..., n_samples)."""
    if n_samples < 1:
        raise ValueError(f"got n_samples={n_samples}; need at least 1")
    missing = n_samples - wave.shape[-1]
    return torch.nn.functional.pad(wave, (0, missing)) if missing > 0 else wave[..., :n_samples]


def play(wave: Tensor, rate_hz: int, title: str | None = None) -> None:
    """Show a player under its title. Levels are heard as they are: nothing is normalised behind your back.

    Args:    wave: (T,), or (1, T). A silent clip, or one that clips at |wave| > 1, says so in its title.
    Raises:  ValueError for NaN or infinity, or for a batch.
    """
    from IPython.display import HTML, Audio, display

    wave = torch.as_tensor(wave).detach().cpu().float()
    wave = wave[0] if wave.ndim == 2 and wave.shape[0] == 1 else wave
    _check_one_clip(wave, title or "play()")
    peak = float(wave.abs().max())
    remark = " (silent)" if peak == 0 else f" (clipped: its peak is {peak:.2f})" if peak > 1 else ""
    if title or remark:
        display(HTML(f"<div><b>{html.escape(title or '')}</b>{remark}</div>"))
    display(Audio(wave.clamp(-1, 1).numpy(), rate=rate_hz, normalize=False))


def _check_one_clip(wave: Tensor, name: str) -> None:
    if wave.ndim != 1 or wave.numel() == 0:
        raise ValueError(f"{name}: got a wave of shape {tuple(wave.shape)}; need one clip (T,), e.g. waves[0]")
    if not wave.is_floating_point():
        raise ValueError(f"{name}: got {wave.dtype} samples; need floats in [-1, 1]")
    if not torch.isfinite(wave).all():
        raise ValueError(f"{name}: the wave holds NaN or infinity; find where it came from before you listen to it")
