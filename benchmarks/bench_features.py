"""Feeding log-mels to a training loop: computed once and indexed on the device, or by librosa, an item at a time."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

import librosa
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks import Row
from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import BatchIndices, Clips
from course_lib.clips.loading import load_clips
from course_lib.settings.profiles import current_device
from course_lib.sound.features import AudioConfig, log_mel, to_unit

BATCH_SIZE = 64
N_ROUNDS = 5
N_PEER_CLIPS = 320  # a round of the peer takes half a second
N_OUR_BATCHES = 2_000


class LibrosaLogMels(Dataset):
    """The usual way: each item is read and turned into a picture when it is asked for."""

    def __init__(self, clips: Clips, cfg: AudioConfig) -> None:
        self.waves, self.cfg = clips.waves.cpu().numpy()[:N_PEER_CLIPS], cfg
        self.scale = (4 / cfg.win_length) ** 2  # a full-scale sine has power 1

    def __len__(self) -> int:
        return len(self.waves)

    def __getitem__(self, row: int) -> torch.Tensor:
        cfg = self.cfg
        power = librosa.feature.melspectrogram(
            y=self.waves[row],
            sr=cfg.sample_rate_hz,
            n_fft=cfg.n_fft,
            hop_length=cfg.hop_length,
            win_length=cfg.win_length,
            pad_mode="constant",
            n_mels=cfg.n_mels,
            fmin=cfg.f_min_hz,
            fmax=cfg.f_max_hz,
            htk=True,
            norm=None,
        )[:, :-1]
        db = librosa.power_to_db(power * self.scale, ref=1.0, amin=10 ** (cfg.floor_db / 10), top_db=None)
        unit = (db - cfg.floor_db) / (cfg.top_db - cfg.floor_db) * 2 - 1
        return torch.from_numpy(np.clip(unit, -1, 1).astype(np.float32))  # (M, L)


def run() -> list[Row]:
    """Clips per second into a training loop, medians of interleaved rounds; and the one pass that ours needs first."""
    cfg, device = AudioConfig(), current_device()
    clips = load_clips().to(device)
    dataset = LibrosaLogMels(clips, cfg)
    _same_pictures(clips, dataset, cfg)
    # Workers cost more than they bring for items this small on some machines: the peer may use what suits it best.
    loaders = [DataLoader(dataset, BATCH_SIZE, shuffle=True, num_workers=n) for n in (0, os.cpu_count() or 1)]
    mels = clip_log_mels(clips, cfg)
    batches = BatchIndices(len(clips), BATCH_SIZE, torch.Generator(device).manual_seed(0))

    def ours() -> int:
        for _ in range(N_OUR_BATCHES):
            mels[next(batches)]
        return N_OUR_BATCHES * BATCH_SIZE

    def compute_all() -> int:
        for waves in clips.waves.split(256):
            to_unit(log_mel(waves, cfg), cfg)
        return len(clips)

    def peer(loader: DataLoader) -> Callable[[], int]:
        return lambda: sum(len(mel.to(device)) for mel in loader)

    jobs = [ours, compute_all, *map(peer, loaders)]
    speeds = [[_clips_per_s(job, device) for job in jobs] for _ in range(N_ROUNDS)]
    indexed, computed, *peers = (statistics.median(column) for column in zip(*speeds, strict=True))
    return [
        Row("features", indexed, max(peers), "clips/s", higher_is_better=True),
        Row("features_first_pass", computed, max(peers), "clips/s", higher_is_better=True),
    ]


def _same_pictures(clips: Clips, dataset: LibrosaLogMels, cfg: AudioConfig) -> None:
    ours, peers = clip_log_mels(clips, cfg)[:16].cpu(), torch.stack([dataset[row] for row in range(16)])
    difference_db = float((ours - peers).abs().max()) * (cfg.top_db - cfg.floor_db) / 2
    if difference_db > 0.1:
        raise RuntimeError(f"our log-mels differ from librosa's by {difference_db:.2f} dB: the comparison is not fair")


def _clips_per_s(job: Callable[[], int], device: torch.device) -> float:
    start_s = time.perf_counter()
    n_clips = job()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return n_clips / (time.perf_counter() - start_s)
