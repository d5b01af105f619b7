"""Judges, what they say of pictures and waves, and the sounds that figures are compared with.

`panel.Panel` makes every figure of a batch of sounds with them.
Taught in: notebooks 02 (the judge), 03 to 09 (each model), 10 (what the figures miss)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.judging.recogniser import NOTHING_HEARD
from course_lib.models.classifier import DigitClassifier
from course_lib.models.wave_classifier import WaveClassifier
from course_lib.sound.features import AudioConfig
from course_lib.sound.vocoder import vocode
from course_lib.training.pretrained import load_pretrained

WAVE_JUDGES = ("fsdd",)  # data sets that have a judge of raw waves
AT_ONCE = 256  # clips the judge looks at together: bounds the memory


def load_judge(dataset: str, device: str | torch.device = "cpu", cfg: AudioConfig | None = None) -> DigitClassifier:
    """The pretrained judge of a data set ("fsdd" or "bundled"), in eval mode, its weights frozen.

    Args:    cfg: how the pictures that it will judge are made, to check that it learned from the same kind.
    Raises:  CheckpointError if there is no such judge; ValueError if it learned from pictures made otherwise."""
    return _frozen(f"judge_{dataset}", device, cfg)


def load_speaker_judge(
    dataset: str, device: str | torch.device = "cpu", cfg: AudioConfig | None = None
) -> DigitClassifier:
    """The judge that reads who speaks: a class for each of the set's speaker_names.

    Arguments and errors as load_judge's; judge_logits and judged_accuracy(judge, mels, speakers) work with it too."""
    return _frozen(f"speaker_judge_{dataset}", device, cfg)


def load_wave_judge(dataset: str, device: str | torch.device = "cpu") -> WaveClassifier | None:
    """The judge that hears raw waves, and by which nothing is chosen; None for a data set that has none.

    judge_logits, judge_embeddings and judged_accuracy work with it too, given waves (B, T) for pictures."""
    return _frozen(f"judge_wave_{dataset}", device, None) if dataset in WAVE_JUDGES else None


def _frozen(name: str, device: str | torch.device, cfg: AudioConfig | None) -> nn.Module:
    judge, record = load_pretrained(name, device)
    learned_from = record.get("audio_config")
    if cfg is not None and learned_from is not None and AudioConfig(**learned_from) != cfg:
        raise ValueError(f"{name} reads pictures of AudioConfig(**{learned_from}), got {cfg}; use AudioConfig()")
    return judge.eval().requires_grad_(False)


def judge_logits(judge: DigitClassifier, unit_mel: Tensor) -> Tensor:
    """The judge's score of each class for each picture, in eval mode. (B, M, L) -> (B, C)."""
    return in_batches(judge, judge, unit_mel)


def judge_embeddings(judge: DigitClassifier, unit_mel: Tensor) -> Tensor:
    """Where the judge's last hidden layer puts each picture. (B, M, L) -> (B, E)."""
    return in_batches(judge, judge.embed, unit_mel)


def judged_accuracy(judge: DigitClassifier, unit_mel: Tensor, digits: Tensor) -> float:
    """Share of pictures (B, M, L) that the judge reads as the digit they were meant to be (B,), in [0, 1]."""
    read = judge_logits(judge, unit_mel).argmax(dim=1)  # (B,)
    check_labels(digits, len(read))
    return (read == digits.to(read.device)).double().mean().item()


def confusion_counts(digits: Tensor, read: Tensor, n_classes: int = 10) -> Tensor:
    """How often each digit was read as each. digits, read: (B,) -> (C, C) int64, rows: meant, columns: read as.

    Where something was read as -1 (recognise_digits: nothing heard), a last column counts that: (C, C + 1)."""
    check_labels(digits, len(read))
    digits, read = digits.cpu(), read.cpu()
    n_columns = n_classes + bool((read == NOTHING_HEARD).any())
    columns = torch.where(read == NOTHING_HEARD, n_classes, read)
    for name, values, n_values in (("digits", digits, n_classes), ("read", columns, n_columns)):
        if len(values) and (int(values.min()) < 0 or int(values.max()) >= n_values):
            raise ValueError(f"{name}: from {int(values.min())} to {int(values.max())}, need 0 to {n_classes - 1}")
    return torch.bincount(digits * n_columns + columns, minlength=n_classes * n_columns).view(n_classes, n_columns)


def resynthesised(clips: Clips, cfg: AudioConfig) -> Tensor:
    """The clips' sound after log-mel and back, computed once: the best a model of log-mels could do. (N, T)."""

    def compute(clips: Clips) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():  # kept, so it must stay usable in autograd
            return vocode(clip_log_mels(clips, cfg), cfg)

    return clips.feature(("resynthesised", cfg), compute)


def speech_shaped_noise(clips: Clips, rng: torch.Generator) -> Tensor:
    """Noise with the clips' mean spectrum, each clip as long and, in RMS, as loud as its model: no word in it. (N, T).

    Harder to tell from speech than white noise, so a fairer lower anchor."""
    n_samples = clips.waves.shape[1]
    shape = torch.fft.rfft(clips.waves).abs().square().mean(dim=0).sqrt()  # (K,)
    white = torch.randn(clips.waves.shape, generator=rng, device=rng.device).to(clips.device)
    noise = torch.fft.irfft(torch.fft.rfft(white) * shape, n=n_samples)  # (N, T)
    noise = noise * (torch.arange(n_samples, device=clips.device) < clips.n_valid[:, None])
    level = clips.waves.square().mean(dim=1, keepdim=True) / noise.square().mean(dim=1, keepdim=True).clamp_min(1e-20)
    return (noise * level.sqrt()).clamp(-1, 1)


def balanced_rows(clips: Clips, n_clips: int, seed: int = 0) -> Tensor:
    """Which n clips stand for a set: digits equally often, and in each digit all speakers; same seed, same rows. (n,)

    Equally up to one clip where n does not divide; where a digit or a speaker has run out, the others fill up."""
    if not 1 <= n_clips <= len(clips):
        raise ValueError(f"got n_clips={n_clips}, need 1 to {len(clips)}, as many as there are")
    rows = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed)).tolist()
    digits, speakers = clips.digits.tolist(), clips.speakers.tolist()
    rows = _take_turns(rows, [(digits[row], speakers[row]) for row in rows])
    rows = _take_turns(rows, [digits[row] for row in rows])
    return torch.tensor(rows[:n_clips], device=clips.device)


def _take_turns(rows: list[int], groups: list) -> list[int]:
    """The same rows, sorted so that first comes one of each group, then a second of each, and so on."""
    seen: Counter = Counter()
    turns = []
    for group in groups:
        turns.append(seen[group])
        seen[group] += 1
    return [row for _, row in sorted(zip(turns, rows, strict=True), key=lambda pair: pair[0])]


@torch.no_grad()
def in_batches(judge: nn.Module, look: Callable[[Tensor], Tensor], unit_mel: Tensor) -> Tensor:
    """What `look` (the judge, or a part of it) says of each clip, AT_ONCE at a time, the judge in eval mode. (B, ...)

    Raises: ValueError for NaN."""
    if unit_mel.isnan().any():
        raise ValueError("unit_mel holds NaN: the model that made it has diverged; look at its loss")
    device = next(judge.parameters()).device
    was_training = judge.training
    judge.eval()
    looked = torch.cat([look(part.to(device)) for part in unit_mel.split(AT_ONCE)])
    judge.train(was_training)
    return looked


def check_labels(digits: Tensor, n_clips: int) -> None:
    """Raises: ValueError unless there is one label a clip."""
    if digits.shape != (n_clips,):
        raise ValueError(f"digits: got shape {tuple(digits.shape)}, need ({n_clips},), one intended digit a clip")
