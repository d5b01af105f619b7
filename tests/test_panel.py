"""The panel: each figure as its own function gives it, each anchor where it has to be, each quantity computed once."""

from __future__ import annotations

import math

import pytest
import torch

from course_lib.clips.clip_features import clip_log_mels
from course_lib.judging import panel as panel_module
from course_lib.judging.distances import frechet_distance, inception_score, nearest_distances
from course_lib.judging.faults import classes_covered, diversity_ratio
from course_lib.judging.metrics import (
    balanced_rows,
    judge_embeddings,
    judge_logits,
    judged_accuracy,
    load_judge,
    load_speaker_judge,
    load_wave_judge,
    resynthesised,
    speech_shaped_noise,
)
from course_lib.judging.panel import Panel
from course_lib.judging.recogniser import recogniser_available
from course_lib.models.classifier import DigitClassifier
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit

CFG = AudioConfig()
N_CLIPS = 50


@pytest.fixture(scope="module")
def judge(clips) -> DigitClassifier:
    return load_judge(clips.dataset, cfg=CFG)


@pytest.fixture(scope="module")
def panel(clips) -> Panel:
    return Panel(clips)


@pytest.fixture(scope="module")
def anchors(panel) -> dict:
    return panel.anchors(N_CLIPS)


def test_the_frechet_ratio_is_1_at_the_vocoders_ceiling_and_as_defined_elsewhere(clips, judge, panel):
    rows = balanced_rows(clips.test, 40)
    copies = panel.hear(resynthesised(clips.test, CFG)[rows])
    assert panel.frechet_ratio(copies) == pytest.approx(1, rel=1e-6)
    noise = panel.hear(speech_shaped_noise(clips.test.select(rows), torch.Generator().manual_seed(0)))
    train = clip_log_mels(clips.train, CFG)[balanced_rows(clips.train, 40)]
    far, near = (
        frechet_distance(judge_embeddings(judge, heard.mels), judge_embeddings(judge, train))
        for heard in (noise, copies)
    )
    assert panel.frechet_ratio(noise) == pytest.approx(far / near, rel=1e-5) and far / near > 3
    too_many = panel.look(torch.zeros(len(clips.test) + 1, 64, 64))
    with pytest.raises(ValueError, match=f"need 2 to {len(clips.test)}, since as many test and training clips"):
        panel.frechet_ratio(too_many)


def test_every_figure_is_what_its_own_function_gives(clips, judge, panel):
    some = clips.validation.select(balanced_rows(clips.validation, 45))
    waves, digits, speakers = some.waves.flip(0), some.digits, some.speakers
    found = panel.score(waves, digits, speakers, recogniser=False)
    mels = to_unit(log_mel(waves, CFG), CFG)
    logits, who = judge_logits(judge, mels), judge_logits(load_speaker_judge(clips.dataset, cfg=CFG), mels)
    mels_db, real_db = from_unit(mels, CFG), from_unit(clip_log_mels(clips.test, CFG), CFG)
    assert found["n_clips"] == 45 and found["pocketsphinx_accuracy"] is None
    assert found["judged_accuracy"] == judged_accuracy(judge, mels, digits)
    assert found["inception_score"] == pytest.approx(inception_score(logits), rel=1e-5)
    assert found["nearest_sample_db"] == pytest.approx(nearest_distances(mels_db).mean().item(), rel=1e-6)
    train_db = from_unit(clip_log_mels(clips.train, CFG), CFG)
    assert found["nearest_training_db"] == pytest.approx(nearest_distances(mels_db, train_db).mean().item(), rel=1e-6)
    assert found["speaker_judged"] == (who.argmax(1) == speakers).double().mean().item()
    assert found["digits_covered"] == classes_covered(digits, logits.argmax(1), 10)
    assert found["speakers_covered"] == classes_covered(speakers, who.argmax(1), 6)
    if len((digits * 6 + speakers).unique()) == 45:  # no two share digit and voice: the digit alone counts
        wanted = diversity_ratio(mels_db, digits, real_db, clips.test.digits)
        assert found["diversity_ratio"] == pytest.approx(wanted, rel=1e-6)


def test_variety_is_that_within_a_digit_and_voice_where_samples_share_both(clips, panel):
    test = clips.test
    found = panel.score(test.waves, test.digits, test.speakers, recogniser=False)
    assert found["diversity_ratio"] == pytest.approx(1.0, abs=1e-6)
    assert found["digits_covered"] == 10 and found["speakers_covered"] == 6 and found["speaker_judged"] > 0.98
    other = panel.score(test.waves, test.digits, (test.speakers + 1) % 6, recogniser=False)
    assert other["speakers_covered"] == 0 and other["judged_accuracy"] == found["judged_accuracy"]
    one_each = panel.score(test.waves[:3], torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), recogniser=False)
    assert one_each["diversity_ratio"] is None  # nothing shares anything


def test_where_no_two_real_clips_share_digit_and_voice_variety_is_that_within_a_digit(clips):
    test = clips.test
    one_of_each = balanced_rows(test, min(60, len(test)))
    few = clips.select(torch.cat([(~clips.is_test).nonzero()[:, 0], clips.is_test.nonzero()[:, 0][one_of_each]]))
    asked = few.test.digits, few.test.speakers
    found = Panel(few).score(few.test.waves, *asked, recogniser=False)
    assert found["diversity_ratio"] == pytest.approx(1.0, abs=1e-6)


def test_the_wave_judge_reads_what_the_first_judge_reads_and_stays_silent_where_choices_are_made(clips):
    if clips.dataset != "fsdd":
        pytest.skip("fsdd is not in the cache")
    rows = balanced_rows(clips.test, 40)
    test, panel = clips.test.select(rows), Panel(clips)
    found = panel.score(resynthesised(clips.test, CFG)[rows], test.digits, recogniser=False)
    assert found["wave_frechet_ratio"] == pytest.approx(1, rel=1e-6) and found["wave_judged"] > 0.85
    unasked = panel.score(test.waves, test.digits, recogniser=False, second_judge=False)
    assert unasked["wave_judged"] is None and unasked["wave_frechet_ratio"] is None
    judge = load_wave_judge("fsdd")
    assert panel.score(test.waves, test.digits, recogniser=False)["wave_judged"] == judged_accuracy(
        judge, test.waves, test.digits
    )
    chosen_on = clips.validation.select(balanced_rows(clips.validation, 40))
    silent = Panel(clips, part="validation").score(chosen_on.waves, chosen_on.digits, recogniser=False)
    assert silent["wave_judged"] is None and silent["wave_frechet_ratio"] is None


def test_a_panel_for_choices_never_touches_a_test_clip(clips):
    spoilt = clips.to("cpu").select(torch.arange(len(clips)))
    spoilt.waves[spoilt.is_test] = math.nan
    spoilt = Panel(spoilt, part="validation")
    some = clips.validation.select(balanced_rows(clips.validation, 40))
    found = spoilt.score(some.waves, some.digits, some.speakers, recogniser=False)
    assert found["part"] == "validation"
    assert all(math.isfinite(value) for value in found.values() if isinstance(value, float))
    clean = Panel(clips, part="validation").score(some.waves, some.digits, some.speakers, recogniser=False)
    assert found == pytest.approx(clean)


def test_anchors_stand_in_the_order_they_must(anchors):
    real, copy, noise = anchors.values()
    assert list(anchors) == ["real test speech", "through log-mel and back", "speech-shaped noise"]
    assert real["n_clips"] == copy["n_clips"] == noise["n_clips"] == N_CLIPS
    assert real["judged_accuracy"] >= 0.97 and copy["judged_accuracy"] >= 0.97 and noise["judged_accuracy"] <= 0.3
    assert real["inception_score"] > 9 and noise["inception_score"] < 4
    assert copy["frechet_ratio"] == pytest.approx(1, rel=1e-6) and 0.5 < real["frechet_ratio"] < 1.5
    assert noise["frechet_ratio"] > 3 and noise["frechet_distance"] > 3 * real["frechet_distance"]
    assert noise["nearest_training_db"] > 1.2 * real["nearest_training_db"] > 0
    if recogniser_available():
        assert real["pocketsphinx_accuracy"] > 0.5 and noise["pocketsphinx_accuracy"] < 0.15


def test_it_sees_a_collapsed_and_a_memorising_model(clips, panel, anchors):
    one = clips.test.waves[:1].expand(N_CLIPS, -1)
    collapsed = panel.score(one, torch.arange(N_CLIPS) % 10, torch.zeros(N_CLIPS, dtype=torch.int64), recogniser=False)
    assert collapsed["nearest_sample_db"] == 0 and collapsed["inception_score"] == pytest.approx(1, abs=1e-3)
    assert collapsed["judged_accuracy"] == pytest.approx(0.1) and collapsed["diversity_ratio"] == 0
    parrot = clips.train.select(balanced_rows(clips.train, N_CLIPS, seed=5))
    copied = panel.score(parrot.waves, parrot.digits, recogniser=False)
    assert copied["nearest_training_db"] < 1e-3 < 1 < anchors["real test speech"]["nearest_training_db"]
    assert copied["nearest_sample_db"] > 1 and "speaker_judged" not in copied


def test_what_it_compares_with_is_computed_once(clips, monkeypatch):
    seen = []
    plain = panel_module.judge_embeddings
    monkeypatch.setattr(panel_module, "judge_embeddings", lambda judge, x: seen.append(len(x)) or plain(judge, x))
    panel = Panel(clips, part="validation")  # where no second judge listens
    some = clips.validation.select(balanced_rows(clips.validation, 30))
    for _ in range(3):
        panel.score(some.waves, some.digits, some.speakers, recogniser=False)
    assert seen == [30] * 5  # the samples, the training clips and the copies; then the samples of each further set


def test_it_refuses_what_it_cannot_judge(clips, panel):
    with pytest.raises(ValueError, match="part: got 'train', need test or validation"):
        Panel(clips, part="train")
    waves = clips.test.waves[:20].clone()
    with pytest.raises(ValueError, match=r"need \(20,\)"):
        panel.score(waves, clips.test.digits[:19])
    waves[3, 5] = math.nan
    with pytest.raises(ValueError, match="diverged"):
        panel.score(waves, clips.test.digits[:20])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_figures_on_a_gpu_agree_with_those_on_the_cpu(clips):
    rows = balanced_rows(clips.test, 40)
    waves, digits, speakers = clips.test.waves[rows], clips.test.digits[rows], clips.test.speakers[rows]
    on_cpu = Panel(clips).score(waves, digits, speakers, recogniser=False)
    on_gpu = Panel(clips.to("cuda")).score(waves, digits, speakers, recogniser=False)
    assert on_gpu == pytest.approx(on_cpu, rel=0.02)
