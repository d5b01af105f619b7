"""Figures that say whether generated sound is understood, varied, and like the real thing.

Each figure means something only beside its anchors: what real test speech, the same speech sent through log-mel and
back (no model can sound better than that), and noise would get. `reference_scores` measures them.
Taught in: notebooks 02 (the judge), 03 to 09 (each model), 10 (what the figures miss)
"""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from course_lib.audio import fit_length
from course_lib.clips import Clips
from course_lib.distances import frechet_distance, inception_score, mel_cepstral_distance, nearest_distances
from course_lib.features import AudioConfig, clip_log_mels, from_unit, log_mel, to_unit
from course_lib.models.classifier import DigitClassifier
from course_lib.pretrained import load_pretrained
from course_lib.recogniser import NOTHING_HEARD, MissingRecogniser, recognise_digits, recogniser_available
from course_lib.vocoder import vocode

__all__ = [
    "MissingRecogniser",
    "balanced_rows",
    "confusion_counts",
    "frechet_distance",
    "frechet_ratio",
    "inception_score",
    "judge_embeddings",
    "judge_logits",
    "judged_accuracy",
    "load_judge",
    "load_speaker_judge",
    "mel_cepstral_distance",
    "nearest_distances",
    "recognise_digits",
    "recogniser_available",
    "reference_scores",
    "resynthesised",
    "score_waves",
    "speech_shaped_noise",
]

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


def _frozen(name: str, device: str | torch.device, cfg: AudioConfig | None) -> DigitClassifier:
    judge, record = load_pretrained(name, device)
    learned_from = record.get("audio_config")
    if cfg is not None and learned_from is not None and AudioConfig(**learned_from) != cfg:
        raise ValueError(f"{name} reads pictures of AudioConfig(**{learned_from}), got {cfg}; use AudioConfig()")
    return judge.eval().requires_grad_(False)


def judge_logits(judge: DigitClassifier, unit_mel: Tensor) -> Tensor:
    """The judge's score of each class for each picture, in eval mode. (B, M, L) -> (B, C)."""
    return _in_batches(judge, judge, unit_mel)


def judge_embeddings(judge: DigitClassifier, unit_mel: Tensor) -> Tensor:
    """Where the judge's last hidden layer puts each picture. (B, M, L) -> (B, E)."""
    return _in_batches(judge, judge.embed, unit_mel)


def judged_accuracy(judge: DigitClassifier, unit_mel: Tensor, digits: Tensor) -> float:
    """Share of pictures (B, M, L) that the judge reads as the digit they were meant to be (B,), in [0, 1]."""
    read = judge_logits(judge, unit_mel).argmax(dim=1)  # (B,)
    _check_labels(digits, len(read))
    return (read == digits.to(read.device)).double().mean().item()


def confusion_counts(digits: Tensor, read: Tensor, n_classes: int = 10) -> Tensor:
    """How often each digit was read as each. digits, read: (B,) -> (C, C) int64, rows: meant, columns: read as.

    Where something was read as -1 (recognise_digits: nothing heard), a last column counts that: (C, C + 1)."""
    _check_labels(digits, len(read))
    digits, read = digits.cpu(), read.cpu()
    n_columns = n_classes + bool((read == NOTHING_HEARD).any())
    columns = torch.where(read == NOTHING_HEARD, n_classes, read)
    for name, values, n_values in (("digits", digits, n_classes), ("read", columns, n_columns)):
        if len(values) and (int(values.min()) < 0 or int(values.max()) >= n_values):
            raise ValueError(f"{name}: from {int(values.min())} to {int(values.max())}, need 0 to {n_classes - 1}")
    return torch.bincount(digits * n_columns + columns, minlength=n_classes * n_columns).view(n_classes, n_columns)


def frechet_ratio(judge: DigitClassifier, samples_mel: Tensor, clips: Clips, cfg: AudioConfig) -> float:
    """How many times as far from the training speech as resynthesised real speech is, in the judge's embedding.

    FD(samples, n training clips) / FD(n real test clips through log-mel and back, the same n training clips), with n
    the number of samples, and rows as balanced_rows picks them. 1: as good as the vocoder allows. Under 1: nearer to
    the training clips than unheard real speech is; look for memorised clips (nearest_distances).

    Args:    samples_mel: (n, M, L) unit-scaled log-mels of the samples' *sound*, all digits equally frequent,
             n at most the number of test clips.     clips: the whole data set (train and test)."""
    train, ceiling = _frechet_anchors(judge, clips, cfg, len(samples_mel))
    return frechet_distance(judge_embeddings(judge, samples_mel), train) / ceiling


def _frechet_anchors(judge: DigitClassifier, clips: Clips, cfg: AudioConfig, n_clips: int) -> tuple[Tensor, float]:
    """Embeddings (n, E) of n training clips, and how far n resynthesised test clips are from them."""
    n_most = min(len(clips.test), len(clips.train))
    if not 2 <= n_clips <= n_most:
        raise ValueError(
            f"got {n_clips} samples, need 2 to {n_most}, since as many test and training clips are compared with "
            f"them; judge the first {n_most}, and give the whole data set as clips"
        )
    test_rows, train_rows = balanced_rows(clips.test, n_clips), balanced_rows(clips.train, n_clips)
    train = judge_embeddings(judge, clip_log_mels(clips.train, cfg)[train_rows])
    ceiling = judge_embeddings(judge, to_unit(log_mel(resynthesised(clips.test, cfg)[test_rows], cfg), cfg))
    return train, frechet_distance(ceiling, train)


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


def score_waves(
    waves: Tensor,
    digits: Tensor,
    clips: Clips,
    *,
    judge: DigitClassifier | None = None,
    cfg: AudioConfig | None = None,
) -> dict[str, float | None]:
    """Every figure of a batch of generated sounds.

    Args:    waves: (B, T) in [-1, 1] at the clips' rate, B at most the number of test clips, digits equally frequent.
             digits: (B,) what each was meant to say.     clips: the whole data set that the model learned from.
             judge: load_judge(clips.dataset) unless given.
    Returns: n_clips; judged_accuracy; pocketsphinx_accuracy (None where PocketSphinx is absent); inception_score;
             frechet_distance (to n_clips training clips) and frechet_ratio; nearest_sample_db (the mean over samples of
             the distance to the nearest other sample: variety) and nearest_training_db (to the nearest of all training
             clips: 0 is a copy), root-mean-square differences of log-mels in dB.
             All but the accuracies depend on B: compare figures of equal B only."""
    cfg = cfg or AudioConfig(sample_rate_hz=clips.sample_rate_hz)
    judge = judge or load_judge(clips.dataset, clips.device, cfg)
    waves, digits = fit_length(waves.to(clips.device), clips.waves.shape[1]), digits.to(clips.device)
    if not torch.isfinite(waves).all():
        raise ValueError("waves hold NaN or infinity: the model that made them has diverged; look at its loss")
    mels = to_unit(log_mel(waves, cfg), cfg)  # (B, M, L): pictures of the sound, not what the model drew
    train, ceiling = _frechet_anchors(judge, clips, cfg, len(waves))
    distance = frechet_distance(judge_embeddings(judge, mels), train)
    heard = recognise_digits(waves, clips.sample_rate_hz) if recogniser_available() else None
    mels_db, train_db = from_unit(mels, cfg), from_unit(clip_log_mels(clips.train, cfg), cfg)
    return {
        "n_clips": len(waves),
        "judged_accuracy": judged_accuracy(judge, mels, digits),
        "pocketsphinx_accuracy": None if heard is None else (heard == digits.cpu()).double().mean().item(),
        "inception_score": inception_score(judge_logits(judge, mels)),
        "frechet_distance": distance,
        "frechet_ratio": distance / ceiling,
        "nearest_sample_db": nearest_distances(mels_db).mean().item(),
        "nearest_training_db": nearest_distances(mels_db, train_db).mean().item(),
    }


def reference_scores(
    clips: Clips,
    n_clips: int | None = None,
    *,
    judge: DigitClassifier | None = None,
    cfg: AudioConfig | None = None,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """The same figures for real test speech, for the same through log-mel and back, and for speech-shaped noise.

    Args:    n_clips: as many as the samples that will be compared (all test clips unless given).
    Returns: {"real test speech": figures, "through log-mel and back": ..., "speech-shaped noise": ...}, as
             score_waves gives them; score_table shows them."""
    cfg = cfg or AudioConfig(sample_rate_hz=clips.sample_rate_hz)
    rows = balanced_rows(clips.test, n_clips or len(clips.test))
    chosen = clips.test.select(rows)
    noise = speech_shaped_noise(chosen, torch.Generator().manual_seed(seed))
    anchors = {
        "real test speech": chosen.waves,
        "through log-mel and back": resynthesised(clips.test, cfg)[rows],
        "speech-shaped noise": noise,
    }
    return {name: score_waves(waves, chosen.digits, clips, judge=judge, cfg=cfg) for name, waves in anchors.items()}


@torch.no_grad()
def _in_batches(judge: DigitClassifier, look, unit_mel: Tensor) -> Tensor:
    if unit_mel.isnan().any():
        raise ValueError("unit_mel holds NaN: the model that made it has diverged; look at its loss")
    device = next(judge.parameters()).device
    was_training = judge.training
    judge.eval()
    looked = torch.cat([look(part.to(device)) for part in unit_mel.split(AT_ONCE)])
    judge.train(was_training)
    return looked


def _check_labels(digits: Tensor, n_clips: int) -> None:
    if digits.shape != (n_clips,):
        raise ValueError(f"digits: got shape {tuple(digits.shape)}, need ({n_clips},), one intended digit a clip")
