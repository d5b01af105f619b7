"""Pictures of sound and of training: each function takes `ax` (or makes one) and returns it. First version."""

from __future__ import annotations

import torch
from matplotlib import pyplot as plt
from torch import Tensor

from course_lib.features import AudioConfig, from_unit


def show_wave(wave: Tensor, rate_hz: int, ax=None):
    """Amplitude over time in seconds. wave: (T,)."""
    ax = ax or plt.subplots(figsize=(8, 2.2), layout="constrained")[1]
    wave = wave.detach().cpu()
    ax.plot(torch.arange(len(wave)) / rate_hz, wave, linewidth=0.6)
    ax.set(xlabel="Time (s)", ylabel="Amplitude", xlim=(0, len(wave) / rate_hz))
    return ax


def show_mel(mel: Tensor, cfg: AudioConfig, ax=None):
    """A log-mel picture (M, L), unit-scaled or in dB."""
    ax = ax or plt.subplots(figsize=(8, 2.6), layout="constrained")[1]
    mel = mel.detach().cpu()
    db = from_unit(mel, cfg) if mel.min() >= -1 and mel.max() <= 1 else mel
    seconds = db.shape[1] * cfg.hop_length / cfg.sample_rate_hz
    image = ax.imshow(
        db, origin="lower", aspect="auto", extent=(0, seconds, 0, db.shape[0]), vmin=cfg.floor_db, vmax=cfg.top_db
    )
    ax.figure.colorbar(image, ax=ax, label="Level (dB)")
    ax.set(xlabel="Time (s)", ylabel="Mel band")
    return ax


def show_history(history, ax=None):
    """Every named part of the loss over the steps."""
    ax = ax or plt.subplots(figsize=(8, 2.6), layout="constrained")[1]
    for name, values in history.parts.items():
        ax.plot(history.steps, values, label=name)
    ax.set(xlabel="Step", ylabel="Loss")
    ax.legend()
    return ax
