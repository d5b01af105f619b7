"""How recipes choose, and the figures that every record of a speaking model gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from course_lib.clips.clips import Clips
from course_lib.judging.metrics import balanced_rows
from course_lib.judging.panel import Panel
from course_lib.models.layers.latents import balanced_labels
from course_lib.settings.profiles import current_profile
from course_lib.sound.features import AudioConfig
from course_lib.training.moments import BestMoment

N_SETS = 4  # of samples; from one to the next, the Frechet ratio moves by 0.05
CHOICE_SEED = 0  # of the samples that a choice is made on; the record's sets have other seeds
NAMES = {  # in a record: in a panel's figures
    "judged": "judged_accuracy",
    "inception": "inception_score",
    "frechet_ratio": "frechet_ratio",
    "wave_judged": "wave_judged",
    "wave_frechet_ratio": "wave_frechet_ratio",
    "nearest_train": "nearest_training_db",
    "pocketsphinx": "pocketsphinx_accuracy",
    "diversity_ratio": "diversity_ratio",
    "speaker_judged": "speaker_judged",
}
OF_TEST = ("inception", "nearest_train", "pocketsphinx", "wave_judged", "wave_frechet_ratio")
Speak = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # digits (B,), speakers (B,), rng -> waves (B, T)


def asked_of(clips: Clips) -> tuple[Tensor, Tensor]:
    """The digits and speakers of one set of samples, (B,) each: as many of each."""
    n_clips = min(current_profile().pick(smoke=20, quick=300, full=300), len(clips.test), len(clips.validation))
    labels = balanced_labels(n_clips, len(clips.digit_names), len(clips.speaker_names))
    return tuple(label.to(clips.device) for label in labels)


@torch.no_grad()
def validation_ratio(speak: Speak, panel: Panel) -> float:
    """The Frechet ratio of one set of samples beside validation clips: what recipes choose by."""
    rng = torch.Generator(panel.clips.device).manual_seed(CHOICE_SEED)
    return panel.frechet_ratio(panel.hear(speak(*asked_of(panel.clips), rng)))


def best_by_ratio(speaker_of: Callable[[nn.Module], Speak], clips: Clips, cfg: AudioConfig, every: int) -> BestMoment:
    """The moment whose samples come nearest to speech on the validation set.     speaker_of: model -> how it speaks."""
    panel = Panel(clips, cfg, part="validation")
    return BestMoment(
        lambda model: validation_ratio(speaker_of(model), panel), every=every, name="validation Frechet ratio"
    )


def choose(speaker_of: Callable[[float], Speak], values: Iterable[float], clips: Clips, cfg: AudioConfig) -> float:
    """The value (a temperature, say) whose samples come nearest to speech on the validation set."""
    panel = Panel(clips, cfg, part="validation")
    return min(values, key=lambda value: validation_ratio(speaker_of(value), panel))


@torch.no_grad()
def spoken_scores(speak: Speak, clips: Clips, cfg: AudioConfig) -> tuple[dict[str, float], Tensor]:
    """Mean figures of N_SETS sets of samples beside the test clips, and one sample of each digit in a row: (T,)."""
    panel, (digits, speakers) = Panel(clips, cfg), asked_of(clips)
    drawn = []
    for seed in range(1, 1 + current_profile().pick(smoke=1, quick=N_SETS, full=N_SETS)):
        waves = speak(digits, speakers, torch.Generator(clips.device).manual_seed(seed))
        drawn.append(panel.score(waves, digits, speakers))
        if seed == 1:
            sample = waves[: len(clips.digit_names)].flatten()
    test = clips.test.select(balanced_rows(clips.test, len(digits)))
    return mean_scores(drawn, panel.score(test.waves, test.digits)), sample


def mean_scores(drawn: list[dict], real: dict) -> dict[str, float]:
    """Means over sets of samples, beside what as many test clips get; of what is covered, the least.

    Args:    drawn: Panel.score of each set.     real: Panel.score of the test clips."""
    scores = {}
    for name, key in NAMES.items():
        if drawn[0].get(key) is not None:
            scores[name] = sum(figures[key] for figures in drawn) / len(drawn)
            if name in OF_TEST:
                scores[f"{name}_of_test"] = real[key]
    return scores | {name: min(figures[name] for figures in drawn) for name in ("digits_covered", "speakers_covered")}
