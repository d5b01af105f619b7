"""From log-mel to sound: our batched vocoder beside librosa.feature.inverse.mel_to_audio, in speed and in quality."""

from __future__ import annotations

import statistics
import time

import librosa
import torch
from torch import Tensor

from benchmarks import Row
from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.clips.loading import load_clips
from course_lib.judging.metrics import judged_accuracy, load_judge
from course_lib.judging.recogniser import MissingRecogniser, recognise_digits
from course_lib.settings.profiles import current_device
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit
from course_lib.sound.vocoder import vocode

N_CLIPS = 100  # of the official test set, spread over digits and speakers; librosa takes about 0.3 s each
N_ROUNDS = 5
N_ITER = 32


def run() -> list[Row]:
    """Milliseconds a clip (medians of interleaved rounds, a batch of 20 each), and how well both are understood."""
    cfg, device = AudioConfig(), current_device()
    test = load_clips().test
    clips = test.select(torch.linspace(0, len(test) - 1, min(N_CLIPS, len(test))).long()).to(device)
    mels = clip_log_mels(clips, cfg)
    vocode(mels[:2], cfg, N_ITER)  # both make their tables and compile before the clock starts
    _librosa_vocode(mels[0].cpu(), cfg)

    ours, peers, ours_ms, peers_ms = [], [], [], []
    for part in mels.split(-(-len(mels) // N_ROUNDS)):
        start_s = time.perf_counter()
        ours.append(vocode(part, cfg, N_ITER).cpu())  # .cpu() waits for a GPU
        between_s = time.perf_counter()
        peers.append(torch.stack([_librosa_vocode(mel, cfg) for mel in part.cpu()]))
        ours_ms.append((between_s - start_s) * 1_000 / len(part))
        peers_ms.append((time.perf_counter() - between_s) * 1_000 / len(part))
    ours_wave, peers_wave = torch.cat(ours), torch.cat(peers)
    speed = Row("vocoder", statistics.median(ours_ms), statistics.median(peers_ms), "ms/clip", higher_is_better=False)
    return [speed, *_understood(ours_wave, peers_wave, clips, cfg)]


def _understood(ours: Tensor, peers: Tensor, clips: Clips, cfg: AudioConfig) -> list[Row]:
    judge, digits = load_judge(clips.dataset, "cpu"), clips.digits.cpu()
    judged = [judged_accuracy(judge, to_unit(log_mel(wave, cfg), cfg), digits) for wave in (ours, peers)]
    rows = [Row("vocoder_judged", *judged, "accuracy", higher_is_better=True)]
    try:
        heard = [recognise_digits(wave, cfg.sample_rate_hz) for wave in (ours, peers)]
    except MissingRecogniser as missing:
        print(f"no row vocoder_pocketsphinx: {missing}")
        return rows
    right = [float((answer.cpu() == digits).float().mean()) for answer in heard]
    return [*rows, Row("vocoder_pocketsphinx", *right, "accuracy", higher_is_better=True)]


def _librosa_vocode(unit_mel: Tensor, cfg: AudioConfig) -> Tensor:
    """The same picture through librosa, at the same settings and with as many rounds. (M, L) -> (T,)."""
    held = torch.cat([unit_mel, unit_mel[:, -1:]], dim=1)  # librosa's clips have a frame more, at their very end
    power = 10 ** (from_unit(held, cfg) / 10) / (4 / cfg.win_length) ** 2  # librosa's scale: |STFT|**2
    wave = librosa.feature.inverse.mel_to_audio(
        power.numpy(),
        sr=cfg.sample_rate_hz,
        n_fft=cfg.n_fft,
        hop_length=cfg.hop_length,
        win_length=cfg.win_length,
        pad_mode="constant",
        n_iter=N_ITER,
        length=unit_mel.shape[-1] * cfg.hop_length,
        fmin=cfg.f_min_hz,
        fmax=cfg.f_max_hz,
        htk=True,
        norm=None,
    )
    return torch.from_numpy(wave).clamp(-1, 1)
