"""Every figure that a record gives of 300 waves: one panel, each quantity computed once, beside version 0.1.0's way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchmarks import Row
from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.clips.loading import load_clips
from course_lib.judging.distances import frechet_distance, inception_score, nearest_distances
from course_lib.judging.faults import classes_covered, diversity_ratio
from course_lib.judging.metrics import (
    balanced_rows,
    judge_embeddings,
    judge_logits,
    load_judge,
    load_speaker_judge,
    resynthesised,
)
from course_lib.judging.panel import Panel
from course_lib.recipes.scores import NAMES
from course_lib.settings.profiles import current_device
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit

N_WAVES = 300
N_ROUNDS = 5
SAME = ("judged", "inception", "frechet_ratio", "nearest_train", "diversity_ratio", "speaker_judged")
Figures = dict[str, float]


def run() -> list[Row]:
    """Milliseconds, medians of interleaved rounds, log-mels of the data set computed before in either way.

    `score`: from nothing to the figures of one set, and of as many test clips for comparison. `score_more`: of each
    further set, of which a record has three.

    PocketSphinx is left out of both: it hears each wave once in either way, and takes longer than all the rest.

    Raises: RuntimeError if the two ways find different figures.
    """
    clips, cfg = load_clips(device=current_device()), AudioConfig()
    rows = balanced_rows(clips.test, min(N_WAVES, len(clips.test)))
    asked = resynthesised(clips.test, cfg)[rows], clips.test.digits[rows], clips.test.speakers[rows]
    ours, ours_more = new_way(clips, cfg, *asked)
    ways = [ours, lambda: old_way(clips, cfg, *asked), ours_more, lambda: old_set(clips, cfg, *asked)]
    found = [way() for way in ways]  # warms up
    _same_figures(*found[:2]), _same_figures(*found[2:])
    rounds = [[_ms(way) for way in ways] for _ in range(N_ROUNDS)]
    ours_ms, peer_ms, ours_more_ms, peer_more_ms = (statistics.median(column) for column in zip(*rounds, strict=True))
    of = f"{len(rows)} waves"
    return [
        Row("score", ours_ms, peer_ms, "ms", higher_is_better=False, of=of),
        Row("score_more", ours_more_ms, peer_more_ms, "ms", higher_is_better=False, of=of),
    ]


def _ms(way: Callable[[], Mapping]) -> float:
    start_s = time.perf_counter()
    way()  # figures are Python's numbers: a GPU has been waited for
    return (time.perf_counter() - start_s) * 1_000


def _same_figures(ours: Mapping[str, float], peers: Mapping[str, float]) -> None:
    for name in SAME:
        if abs(ours[name] - peers[name]) > 0.01 * abs(peers[name]):
            raise RuntimeError(f"score: {name} is {ours[name]:.4g} our way, {peers[name]:.4g} the old: not the same")


# ---- the new way


def new_way(
    clips: Clips, cfg: AudioConfig, waves: Tensor, digits: Tensor, speakers: Tensor
) -> tuple[Callable[[], Figures], Callable[[], Figures]]:
    """What makes a panel, scores a set and as many test clips; and what scores another set with a panel that is there.

    Neither asks the judge of raw waves, whom version 0.1.0 did not have: the same figures in both ways."""
    test = clips.test.select(balanced_rows(clips.test, len(waves)))
    ready = Panel(clips, cfg)

    def score(panel: Panel) -> Figures:
        figures = panel.score(waves, digits, speakers, recogniser=False, second_judge=False)
        return {name: figures[NAMES.get(name, name)] for name in SAME}

    def from_nothing() -> Figures:
        panel = Panel(clips, cfg)
        panel.score(test.waves, test.digits, recogniser=False, second_judge=False)
        return score(panel)

    return from_nothing, lambda: score(ready)


# ---- as version 0.1.0 did it, its functions put together: judges loaded again, log-mels and logits taken again


@torch.no_grad()
def old_way(clips: Clips, cfg: AudioConfig, waves: Tensor, digits: Tensor, speakers: Tensor) -> Figures:
    """Figures of one set, and those of as many test clips (recipes/scores.spoken_scores)."""
    scores = old_set(clips, cfg, waves, digits, speakers)
    test = clips.test.select(balanced_rows(clips.test, len(waves)))
    real = old_score_waves(clips, cfg, test.waves, test.digits)
    return scores | {"inception_of_test": real["inception"], "nearest_train_of_test": real["nearest_train"]}


@torch.no_grad()
def old_set(clips: Clips, cfg: AudioConfig, waves: Tensor, digits: Tensor, speakers: Tensor) -> Figures:
    return old_score_waves(clips, cfg, waves, digits) | old_said_by_all(clips, cfg, waves, digits, speakers)


def old_score_waves(clips: Clips, cfg: AudioConfig, waves: Tensor, digits: Tensor) -> Figures:
    """metrics.score_waves: three looks of the judge at the waves, two at clips that never change."""
    judge = load_judge(clips.dataset, clips.device, cfg)
    mels = to_unit(log_mel(waves, cfg), cfg)
    test_rows, train_rows = balanced_rows(clips.test, len(waves)), balanced_rows(clips.train, len(waves))
    train = judge_embeddings(judge, clip_log_mels(clips.train, cfg)[train_rows])
    ceiling = judge_embeddings(judge, to_unit(log_mel(resynthesised(clips.test, cfg)[test_rows], cfg), cfg))
    ceiling_distance = frechet_distance(ceiling, train)
    distance = frechet_distance(judge_embeddings(judge, mels), train)
    mels_db, train_db = from_unit(mels, cfg), from_unit(clip_log_mels(clips.train, cfg), cfg)
    read = judge_logits(judge, mels).argmax(dim=1)
    return {
        "judged": (read == digits).double().mean().item(),
        "inception": inception_score(judge_logits(judge, mels)),
        "frechet_distance": distance,
        "frechet_ratio": distance / ceiling_distance,
        "nearest_sample": nearest_distances(mels_db).mean().item(),
        "nearest_train": nearest_distances(mels_db, train_db).mean().item(),
    }


def old_said_by_all(clips: Clips, cfg: AudioConfig, waves: Tensor, digits: Tensor, speakers: Tensor) -> Figures:
    """recipes/scores.said_by_all: the waves' log-mels and logits once more, and the spread of the test clips."""
    n_digits, n_speakers = len(clips.digit_names), len(clips.speaker_names)
    mels, real = to_unit(log_mel(waves, cfg), cfg), clips.test
    real_db = from_unit(clip_log_mels(clips, cfg)[clips.is_test], cfg)
    label, real_label = (d * n_speakers + s for d, s in ((digits, speakers), (real.digits, real.speakers)))
    who = judge_logits(load_speaker_judge(clips.dataset, clips.device, cfg), mels).argmax(dim=1)
    read = judge_logits(load_judge(clips.dataset, clips.device, cfg), mels).argmax(dim=1)
    return {
        "diversity_ratio": diversity_ratio(from_unit(mels, cfg), label, real_db, real_label),
        "digits_covered": classes_covered(digits, read, n_digits),
        "speakers_covered": classes_covered(speakers, who, n_speakers),
        "speaker_judged": (who == speakers).double().mean().item(),
    }
