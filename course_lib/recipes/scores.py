"""The figures that every record of a speaking model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.judging.faults import classes_covered, diversity_ratio
from course_lib.judging.metrics import balanced_rows, judge_logits, load_judge, load_speaker_judge, score_waves
from course_lib.models.layers.latents import balanced_labels
from course_lib.settings.profiles import current_profile
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit

N_SETS = 4  # of samples; from one to the next, the Frechet ratio moves by 0.05


def mean_scores(drawn: Sequence[dict], real: dict) -> dict[str, float]:
    """Means over sets of samples, beside what as many test clips get.

    Args:    drawn: score_waves of each set.     real: score_waves of the test clips."""
    found = {key: sum(scores[key] for scores in drawn) / len(drawn) for key in drawn[0] if drawn[0][key] is not None}
    scores = {
        "judged": found["judged_accuracy"],
        "inception": found["inception_score"],
        "frechet_ratio": found["frechet_ratio"],
        "nearest_train": found["nearest_training_db"],
        "nearest_train_of_test": real["nearest_training_db"],
    }
    if "pocketsphinx_accuracy" in found:
        scores |= {"pocketsphinx": found["pocketsphinx_accuracy"]}
        scores |= {"pocketsphinx_of_test": real["pocketsphinx_accuracy"]}
    return scores


@torch.no_grad()
def spoken_scores(
    speak: Callable[[Tensor, Tensor, torch.Generator], Tensor], clips: Clips, cfg: AudioConfig
) -> tuple[dict[str, float], Tensor]:
    """Mean figures of N_SETS sets of 300 samples, and one sample of each digit in a row: (T,).

    Args:    speak: digits (B,), speakers (B,), rng -> waves (B, T).     clips: the whole data set."""
    profile = current_profile()
    n_clips, n_sets = profile.pick(smoke=20, quick=300, full=300), profile.pick(smoke=1, quick=N_SETS, full=N_SETS)
    labels = balanced_labels(n_clips, len(clips.digit_names), len(clips.speaker_names))
    digits, speakers = (label.to(clips.device) for label in labels)
    drawn = []
    for seed in range(1, 1 + n_sets):
        waves = speak(digits, speakers, torch.Generator(clips.device).manual_seed(seed))
        drawn.append(score_waves(waves, digits, clips, cfg=cfg) | said_by_all(waves, digits, speakers, clips, cfg))
        if seed == 1:
            sample = waves[: len(clips.digit_names)].flatten()
    test = clips.test.select(balanced_rows(clips.test, n_clips))
    real = score_waves(test.waves, test.digits, clips, cfg=cfg)
    scores = mean_scores(drawn, real)
    scores["inception_of_test"] = real["inception_score"]
    for name in ("diversity_ratio", "speaker_judged"):
        scores[name] = sum(of_set[name] for of_set in drawn) / len(drawn)
    for name in ("digits_covered", "speakers_covered"):
        scores[name] = min(of_set[name] for of_set in drawn)
    return scores, sample


@torch.no_grad()
def said_by_all(
    waves: Tensor, digits: Tensor, speakers: Tensor, clips: Clips, cfg: AudioConfig
) -> dict[str, float | int]:
    """How varied the samples are beside test clips, and how many digits and speakers are recognised as asked for."""
    n_digits, n_speakers = len(clips.digit_names), len(clips.speaker_names)
    mels, real = to_unit(log_mel(waves, cfg), cfg), clips.test
    real_db = from_unit(clip_log_mels(clips, cfg)[clips.is_test], cfg)
    n_alike = current_profile().pick(smoke=1, quick=n_speakers, full=n_speakers)  # at smoke, no two clips of one pair
    label, real_label = (
        d * n_alike + s.clamp_max(n_alike - 1) for d, s in ((digits, speakers), (real.digits, real.speakers))
    )
    who = judge_logits(load_speaker_judge(clips.dataset, clips.device, cfg), mels).argmax(dim=1)
    read = judge_logits(load_judge(clips.dataset, clips.device, cfg), mels).argmax(dim=1)
    return {
        "diversity_ratio": diversity_ratio(from_unit(mels, cfg), label, real_db, real_label),
        "digits_covered": classes_covered(digits, read, n_digits),
        "speakers_covered": classes_covered(speakers, who, n_speakers),
        "speaker_judged": (who == speakers).double().mean().item(),
    }
