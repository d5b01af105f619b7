"""Pictures of sound (and, from `charts`, of figures): each draws on `ax` (a new one unless given) and returns it.

Time is in seconds, frequency in Hz or kHz, level in dB relative to full scale. Only notebooks call plt.show().
Colours are those that colour-blind readers can tell apart (Wong 2011, Nature Methods; magma for pictures).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

from course_lib.showing.charts import (
    COLOURS,
    new_axes,
    next_colour,
    numbers,
)
from course_lib.sound.features import AudioConfig, from_unit, hz_to_mel

COLOUR_MAP = "magma"
TICKS_HZ = (0, 250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000)
FEW_TICKS_HZ = (0, 500, 1000, 2000, 4000, 8000, 16_000)
LOWEST_UNIT = -10.0  # no picture scaled to [-1, 1] reaches this, and every picture in dB does
MOST_DOTS = 160  # samples that can still be told apart as dots


def show_wave(wave: Tensor, rate_hz: int, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Amplitude over time; few samples are shown as dots too. wave: (T,)."""
    samples = numbers(wave, "wave", n_axes=1)
    ax = ax or new_axes(8, 2.2)
    is_first = not ax.lines
    dots = {"marker": "o", "markersize": 3} if len(samples) <= MOST_DOTS else {}
    ax.plot(np.arange(len(samples)) / rate_hz, samples, linewidth=0.7, label=label, **dots, **next_colour(ax))
    height = 1.08 * max(float(np.abs(samples).max()), 1e-3)
    ends = [0, len(samples) / rate_hz]
    if not is_first:  # a second wave on the same axes must not cut the first off
        height, ends[1] = max(height, ax.get_ylim()[1]), max(ends[1], ax.get_xlim()[1])
    ax.set(xlabel="Time (s)", ylabel="Amplitude", xlim=ends, ylim=(-height, height))
    if label:
        ax.legend(loc="best" if dots else "upper right")  # "best" is slow among many samples
    return ax


def show_magnitude_spectrum(wave: Tensor, rate_hz: int, ax: Axes | None = None, label: str | None = None) -> Axes:
    """Level of each frequency: a full-scale sine stands at 0 dB (Hann window over the whole wave). wave: (T,)."""
    samples = numbers(wave, "wave", n_axes=1)
    ax = ax or new_axes(8, 2.6)
    window = np.hanning(len(samples))
    magnitude = np.abs(np.fft.rfft(samples * window)) * 2 / max(window.sum(), 1e-12)
    level_db = 20 * np.log10(np.maximum(magnitude, 1e-6))  # (K,)
    ax.plot(np.fft.rfftfreq(len(samples), 1 / rate_hz), level_db, linewidth=0.9, label=label, **next_colour(ax))
    ax.set(xlabel="Frequency (Hz)", ylabel="Level (dB)", xlim=(0, rate_hz / 2), ylim=(-122, 6))
    ax.grid(alpha=0.3)
    if label:
        ax.legend(loc="upper right")
    return ax


def show_spectrogram(level_db: Tensor, cfg: AudioConfig, ax: Axes | None = None, colorbar: bool = True) -> Axes:
    """Level of each frequency at each time, straight from the STFT. level_db: (K, L), K = n_fft // 2 + 1."""
    picture = numbers(level_db, "level_db", n_axes=2)
    if len(picture) != cfg.n_fft // 2 + 1:
        raise ValueError(f"got {len(picture)} rows, need {cfg.n_fft // 2 + 1} frequency bins; for mels: show_mel()")
    ax = ax or new_axes(8, 2.8)
    half_bin_khz = cfg.sample_rate_hz / cfg.n_fft / 2000
    top_khz = (len(picture) - 1) * 2 * half_bin_khz
    _picture(ax, picture, cfg, (-half_bin_khz, top_khz + half_bin_khz), colorbar)
    ax.set(ylabel="Frequency (kHz)", ylim=(0, top_khz))
    return ax


def show_mel(
    mel: Tensor, cfg: AudioConfig, ax: Axes | None = None, colorbar: bool = True, unit: bool | None = None
) -> Axes:
    """A log-mel picture; the frequency axis is spaced as its mel bands are.

    Args:    mel: (M, L) in dB, or scaled to [-1, 1] (values a little outside are allowed).
             unit: whether it is scaled; unless given, told from its values."""
    picture = numbers(mel, "mel", n_axes=2)
    if len(picture) != cfg.n_mels:
        raise ValueError(f"got {len(picture)} rows, need {cfg.n_mels} mel bands; give one clip (M, L) and its cfg")
    ax = ax or new_axes(8, 2.8)
    if unit if unit is not None else picture.min() > LOWEST_UNIT:
        picture = from_unit(torch.from_numpy(picture), cfg).numpy()
    _picture(ax, picture, cfg, (-0.5, cfg.n_mels - 0.5), colorbar)
    _mel_ticks(ax, cfg, TICKS_HZ)
    ax.set(ylabel="Frequency (kHz), mel", ylim=(-1, cfg.n_mels))
    ax.set_facecolor(plt.get_cmap(COLOUR_MAP)(0.0))
    return ax


def show_grid(
    mels: Tensor, cfg: AudioConfig, titles: Sequence[str] | None = None, n_columns: int = 5, unit: bool | None = None
) -> np.ndarray:
    """Many log-mel pictures on common scales. mels: (B, M, L). Returns the axes, (n_rows, n_columns)."""
    pictures = numbers(mels, "mels", n_axes=3)
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"got {len(titles)} titles for {len(pictures)} pictures; give one each")
    n_columns = min(n_columns, len(pictures))
    n_rows = math.ceil(len(pictures) / n_columns)
    size = (1.9 * n_columns + 1.4, 1.7 * n_rows + 0.5)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    figure.set_layout_engine("constrained")
    unit = unit if unit is not None else pictures.min() > LOWEST_UNIT
    for i_clip, ax in enumerate(axes.flat):
        if i_clip >= len(pictures):
            ax.set_visible(False)
            continue
        show_mel(torch.from_numpy(pictures[i_clip]), cfg, ax, colorbar=False, unit=unit)
        ax.set(xlabel="", ylabel="")
        ax.xaxis.set_major_formatter("{x:g}")
        _mel_ticks(ax, cfg, FEW_TICKS_HZ)
        ax.set_title(titles[i_clip] if titles is not None else "", fontsize=10)
        if i_clip + n_columns >= len(pictures):
            ax.tick_params(labelbottom=True)
    figure.supxlabel("Time (s)", fontsize=10)
    figure.supylabel("Frequency (kHz), mel", fontsize=10)
    figure.colorbar(axes.flat[0].images[0], ax=axes, label="Level (dB)", fraction=0.04, pad=0.02)
    return axes


def show_filterbank(filters: Tensor, cfg: AudioConfig, ax: Axes | None = None) -> Axes:
    """The weight that each mel band gives to each frequency. filters: (M, K)."""
    rows = numbers(filters, "filters", n_axes=2)
    ax = ax or new_axes(8, 2.4)
    frequencies_hz = np.linspace(0, cfg.sample_rate_hz / 2, rows.shape[1])
    for m, row in enumerate(rows):
        ax.plot(frequencies_hz, row, linewidth=0.9, color=COLOURS[m % 3])
    ax.set(xlabel="Frequency (Hz)", ylabel="Weight", xlim=(0, cfg.sample_rate_hz / 2), ylim=(0, None))
    return ax


def show_staircase(quantise: Callable[[Tensor], Tensor], ax: Axes | None = None, label: str | None = None) -> Axes:
    """What comes out of a quantiser for each amplitude that goes in. quantise: (T,) in [-1, 1] -> (T,)."""
    ax = ax or new_axes(4, 4)
    amplitude = torch.linspace(-1, 1, 4001)
    if not ax.lines:
        ax.plot([-1, 1], [-1, 1], linewidth=0.8, color="#7A7A7A", linestyle=":", label="_")
    ax.plot(amplitude, numbers(quantise(amplitude), "quantise(...)", 1), linewidth=1.2, label=label, **next_colour(ax))
    ax.set(xlabel="Amplitude in", ylabel="Amplitude out", xlim=(-1, 1), ylim=(-1.05, 1.05), aspect="equal")
    if label:
        ax.legend(loc="upper left")
    return ax


def _picture(ax: Axes, picture: np.ndarray, cfg: AudioConfig, rows: tuple[float, float], colorbar: bool) -> None:
    hop_s = cfg.hop_length / cfg.sample_rate_hz
    end_s = picture.shape[1] * hop_s
    # Frame l is centred on l * hop_s: the first column is cut in half, and times agree with show_wave's.
    extent = (-hop_s / 2, end_s - hop_s / 2, *rows)
    look = {"cmap": COLOUR_MAP, "vmin": cfg.floor_db, "vmax": cfg.top_db, "interpolation": "nearest"}
    image = ax.imshow(picture, origin="lower", aspect="auto", extent=extent, **look)
    ax.set(xlabel="Time (s)", xlim=(0, end_s - hop_s / 2))
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label="Level (dB)", pad=0.02)


def _mel_ticks(ax: Axes, cfg: AudioConfig, ticks_hz: Sequence[float]) -> None:
    low, high = hz_to_mel(torch.tensor([cfg.f_min_hz, cfg.f_max_hz])).tolist()
    ticks_hz = [hz for hz in ticks_hz if cfg.f_min_hz <= hz <= cfg.f_max_hz]
    # Band m is centred m + 1 steps above the lower end, of n_mels + 1 steps.
    bands = [(float(hz_to_mel(hz)) - low) / (high - low) * (cfg.n_mels + 1) - 1 for hz in ticks_hz]
    ax.set_yticks(bands, [f"{hz / 1000:g}" for hz in ticks_hz])
