"""Figures against hand-worked cases, closed forms and scipy; on real clips, each anchor where it has to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch

from course_lib.clips.clip_features import clip_log_mels
from course_lib.judging.distances import frechet_distance, inception_score, mel_cepstral_distance, nearest_distances
from course_lib.judging.metrics import (
    balanced_rows,
    confusion_counts,
    judge_embeddings,
    judge_logits,
    judged_accuracy,
    load_judge,
    load_speaker_judge,
    load_wave_judge,
    resynthesised,
    speech_shaped_noise,
)
from course_lib.models.classifier import DigitClassifier
from course_lib.sound.audio import rms_level_db
from course_lib.sound.features import AudioConfig, from_unit, log_mel, mfcc

CFG = AudioConfig()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


# -- inception score ------------------------------------------------------------------------------------------------


def test_inception_score_is_1_where_the_judge_cannot_tell_and_c_where_it_is_sure_and_all_classes_occur():
    assert inception_score(torch.zeros(6, 10)) == pytest.approx(1, abs=1e-12)
    assert inception_score(torch.eye(7).repeat(3, 1) * 200) == pytest.approx(7, rel=1e-12)
    assert inception_score(torch.eye(10)[:4] * 200) == pytest.approx(4, rel=1e-12)  # six classes never occur
    assert inception_score(torch.eye(10)[[3] * 5] * 200) == pytest.approx(1, abs=1e-12)  # sure, but one class only


def test_inception_score_by_hand():
    # p(y|x) = (3/4, 1/4) and (1/4, 3/4); p(y) = (1/2, 1/2); KL of each = 3/4 ln 3/2 + 1/4 ln 1/2.
    logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
    assert inception_score(logits) == pytest.approx(math.exp(0.75 * math.log(1.5) + 0.25 * math.log(0.5)), rel=1e-6)
    infinite = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])  # probabilities of exactly 0 and 1
    assert inception_score(infinite) == pytest.approx(2)


def test_inception_score_stays_within_its_bounds_and_is_blind_to_the_order_of_clips():
    for seed in range(20):
        logits = normal(11, 5, seed=seed) * 3
        score = inception_score(logits)
        assert 1 <= score <= 5
        assert inception_score(logits.flip(0)) == pytest.approx(score)
        assert inception_score(logits + 7) == pytest.approx(score)


# -- Frechet distance -----------------------------------------------------------------------------------------------


def frechet_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real))


def test_frechet_distance_agrees_with_scipy_sqrtm():
    for seed in range(4):
        a = normal(40, 6, seed=seed) @ normal(6, 6, seed=seed + 10) + 1
        b = normal(40, 6, seed=seed + 20) @ normal(6, 6, seed=seed + 30)
        assert frechet_distance(a, b) == pytest.approx(frechet_by_scipy(a.numpy(), b.numpy()), rel=1e-8)
        assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_frechet_distance_in_closed_form():
    a = normal(50, 4)
    shift = torch.tensor([3.0, -4.0, 0.0, 12.0])  # length 13
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-9)  # sets have no order
    assert frechet_distance(a, a + shift) == pytest.approx(169, rel=1e-9)
    # Scaling by s about the mean: cov_b = s^2 cov_a, which commute: tr(cov_a) (1 - s)^2.
    scaled = (a - a.mean(0)) * 3 + a.mean(0)
    assert frechet_distance(a, scaled) == pytest.approx(4 * np.trace(np.cov(a.numpy(), rowvar=False)), rel=1e-9)


def test_frechet_distance_with_fewer_clips_than_dimensions():
    a, b = normal(5, 32), normal(5, 32, seed=1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    # Square roots of singular matrices: the trace of (cov_a cov_b)^1/2 is the sum of singular values of X_a X_b^T.
    centred_a, centred_b = (a - a.mean(0)) / 2, (b - b.mean(0)) / 2  # / sqrt(n - 1)
    cross = torch.linalg.svdvals(centred_a @ centred_b.T).sum()
    wanted = (a.mean(0) - b.mean(0)).square().sum() + centred_a.square().sum() + centred_b.square().sum() - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(wanted.item(), rel=1e-6)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(wanted.item(), rel=1e-4)


def test_frechet_distance_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="5 and 6 clips, need equal numbers.*balanced_rows"):
        frechet_distance(normal(5, 3), normal(6, 3))
    with pytest.raises(ValueError, match="3 and 4 dimensions.*same judge"):
        frechet_distance(normal(5, 3), normal(5, 4))
    with pytest.raises(ValueError, match="B at least 2"):
        frechet_distance(normal(1, 3), normal(1, 3))
    broken = normal(5, 3)
    broken[2, 1] = math.nan
    with pytest.raises(ValueError, match="emb_b holds NaN"):
        frechet_distance(normal(5, 3), broken)
    with pytest.raises(ValueError, match="logits holds NaN"):
        inception_score(broken)


# -- neighbours -----------------------------------------------------------------------------------------------------


def test_nearest_distances_by_hand():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]])
    others = torch.tensor([[0.0, 2.0], [30.0, 4.0]])
    root = math.sqrt(2)  # root of the mean over two values
    assert nearest_distances(points).tolist() == pytest.approx([5 / root, 0, 0])
    assert nearest_distances(points, others).tolist() == pytest.approx([2 / root, *[math.sqrt(13) / root] * 2])


def test_nearest_distances_agree_with_a_tree_and_know_an_exact_copy():
    points, others = normal(9, 3, 4) * 10 - 80, normal(31, 3, 4, seed=1) * 10 - 80
    tree = scipy.spatial.KDTree(others.flatten(1).numpy())
    wanted = tree.query(points.flatten(1).numpy())[0] / math.sqrt(12)
    torch.testing.assert_close(nearest_distances(points, others), torch.from_numpy(wanted))
    others[17] = points[4]
    assert nearest_distances(points.float(), others.float())[4] == 0
    assert (nearest_distances(points)[4] > 0) and nearest_distances(torch.cat([points, points])).amax() == 0


def test_nearest_distances_refuse_a_lonely_point_and_other_shapes():
    with pytest.raises(ValueError, match="at least two"):
        nearest_distances(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="equal sizes"):
        nearest_distances(torch.zeros(4, 3), torch.zeros(4, 2))


# -- mel-cepstral distance ------------------------------------------------------------------------------------------


def test_a_constant_gain_has_no_mel_cepstral_distance():
    mel = normal(2, 40, 7) * 10 - 20
    torch.testing.assert_close(mel_cepstral_distance(mel, mel + 6), torch.zeros(2, dtype=torch.float64))


def test_mel_cepstral_distance_of_a_ripple_is_its_rms_in_db():
    # A ripple of 6 dB (peak) in q half-periods over the mel axis has an RMS of 6 / sqrt(2) dB.
    m = torch.arange(40, dtype=torch.float64)
    flat = torch.full((1, 40, 5), -20.0, dtype=torch.float64)
    for q, wanted in ((1, 6 / math.sqrt(2)), (12, 6 / math.sqrt(2)), (13, 0.0)):  # c_13 is smoothed away
        ripple = flat + 6 * torch.cos(math.pi * q * (m + 0.5) / 40)[:, None]
        assert mel_cepstral_distance(flat, ripple).item() == pytest.approx(wanted, abs=1e-6)


def test_mel_cepstral_distance_with_all_coefficients_is_the_spread_of_the_difference_in_db():
    a, b = normal(3, 20, 6) * 10 - 20, normal(3, 20, 6, seed=1) * 10 - 20
    wanted = (a - b).std(dim=1, correction=0).mean(dim=-1)  # Parseval: everything but the mean over M
    torch.testing.assert_close(mel_cepstral_distance(a, b, n_coefficients=19), wanted)
    # And as the paper writes it, from the cepstra of the natural log of power.
    cepstra = [mfcc(x * math.log(10) / 10, 13)[:, 1:] / math.sqrt(2 * 20) for x in (a, b)]
    by_paper = 10 / math.log(10) * (2 * (cepstra[0] - cepstra[1]).square().sum(1)).sqrt().mean(-1)
    torch.testing.assert_close(mel_cepstral_distance(a, b), by_paper)


def test_mel_cepstral_distance_leaves_out_frames_that_are_quiet_in_both():
    a, b = torch.full((1, 20, 4), -90.0), torch.full((1, 20, 4), -90.0)
    assert mel_cepstral_distance(a, b).item() == 0
    b[:, :10, 0] = -70  # still quiet: does not count
    assert mel_cepstral_distance(a, b).item() == 0
    b[:, :10, 1] = -20  # one loud frame: the mean is over this one
    only = mel_cepstral_distance(a[:, :, 1:2], b[:, :, 1:2])
    assert only > 1 and mel_cepstral_distance(a, b) == only == mel_cepstral_distance(b, a)


def test_mel_cepstral_distance_refuses_unequal_shapes_and_too_many_coefficients():
    with pytest.raises(ValueError, match="equal shape"):
        mel_cepstral_distance(torch.zeros(1, 20, 4), torch.zeros(1, 20, 5))
    with pytest.raises(ValueError, match="need 1 to 19"):
        mel_cepstral_distance(torch.zeros(1, 20, 4), torch.zeros(1, 20, 4), n_coefficients=20)


# -- the judge ------------------------------------------------------------------------------------------------------


def test_judged_accuracy_counts_what_the_judge_reads_and_ignores_dropout():
    torch.manual_seed(0)
    model = DigitClassifier(n_mels=32, n_channels=(4, 4, 4, 4), n_embed=5, dropout=0.9).train()
    mels = torch.rand(300, 32, 17, generator=rng()) * 2 - 1  # more than one batch
    logits, embedding = judge_logits(model, mels), judge_embeddings(model, mels)
    assert logits.shape == (300, 10) and embedding.shape == (300, 5)
    assert torch.equal(logits, judge_logits(model, mels)) and model.training  # looked in eval mode, left as it was
    read = logits.argmax(1)
    wrong = (read + 1) % 10
    assert judged_accuracy(model, mels, read) == 1 and judged_accuracy(model, mels, wrong) == 0
    assert judged_accuracy(model, mels, torch.cat([read[:75], wrong[75:]])) == 0.25
    with pytest.raises(ValueError, match=r"need \(300,\)"):
        judged_accuracy(model, mels, read[:, None])
    mels[7, 3, 2] = math.nan
    with pytest.raises(ValueError, match="diverged"):
        judge_logits(model, mels)


def test_confusion_counts_put_what_was_meant_in_rows_and_nothing_heard_last():
    meant, read = torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 1, 2, 0, 2])
    assert confusion_counts(meant, read, 3).tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 2]]
    assert confusion_counts(meant, torch.tensor([0, -1, 2, 0, 2]), 3).tolist() == [[1, 0, 0, 1], [0] * 4, [1, 0, 2, 0]]
    with pytest.raises(ValueError, match="from 0 to 3, need 0 to 2"):
        confusion_counts(torch.tensor([0, 3]), torch.tensor([0, 1]), 3)


def test_load_judge_refuses_pictures_of_another_kind(clips):
    with pytest.raises(ValueError, match="reads pictures of"):
        load_judge(clips.dataset, cfg=AudioConfig(floor_db=-80))


def test_the_speaker_judge_tells_who_speaks(clips):
    judge = load_speaker_judge(clips.dataset, cfg=CFG)
    assert judge.config["n_classes"] == len(clips.speaker_names)
    assert not judge.training and not any(weight.requires_grad for weight in judge.parameters())
    rows = balanced_rows(clips.test, 60)
    mels = clip_log_mels(clips.test, CFG)[rows]
    assert judged_accuracy(judge, mels, clips.test.speakers[rows]) >= 0.95
    assert judged_accuracy(judge, mels, clips.test.digits[rows]) < 0.5  # who, not what
    with pytest.raises(ValueError, match=f"speaker_judge_{clips.dataset} reads pictures of"):
        load_speaker_judge(clips.dataset, cfg=AudioConfig(floor_db=-80))


def test_the_judge_of_raw_waves_hears_what_is_said_and_is_there_for_fsdd_only(clips):
    assert load_wave_judge("bundled") is None and load_wave_judge("my_sounds") is None
    if clips.dataset != "fsdd":
        pytest.skip("fsdd is not in the cache")
    judge = load_wave_judge("fsdd")
    assert not judge.training and not any(weight.requires_grad for weight in judge.parameters())
    rows = balanced_rows(clips.test, 60)
    test = clips.test.select(rows)
    assert judged_accuracy(judge, test.waves, test.digits) >= 0.95
    assert judged_accuracy(judge, -test.waves, test.digits) >= 0.95  # which way up is not heard
    assert judged_accuracy(judge, test.waves, (test.digits + 1) % 10) <= 0.05


# -- on clips -------------------------------------------------------------------------------------------------------


def test_balanced_rows_take_every_digit_of_every_speaker_equally_often(clips):
    test = clips.test
    n_cells = len(clips.digit_names) * len(clips.speaker_names)
    cells = test.digits * len(clips.speaker_names) + test.speakers
    n_there = torch.bincount(cells, minlength=n_cells)
    if (n_there > 0).all():  # one clip of each cell before a second of any
        rows = balanced_rows(test, n_cells)
        assert torch.bincount(cells[rows], minlength=n_cells).tolist() == [1] * n_cells
    rows = balanced_rows(clips.train, 60)
    assert torch.bincount(clips.train.digits[rows], minlength=10).tolist() == [6] * 10
    by_digit = [clips.train.speakers[rows][clips.train.digits[rows] == digit] for digit in range(10)]
    assert all(len(speakers.unique()) == min(6, len(clips.speaker_names)) for speakers in by_digit)
    rows = balanced_rows(test, 25)
    counts = torch.bincount(test.digits[rows], minlength=10)
    assert len(set(rows.tolist())) == 25 and counts.max() - counts.min() == 1
    assert torch.equal(rows, balanced_rows(test, 25)) and not torch.equal(rows, balanced_rows(test, 25, seed=1))
    assert sorted(balanced_rows(test, len(test)).tolist()) == list(range(len(test)))
    with pytest.raises(ValueError, match=f"need 1 to {len(test)}"):
        balanced_rows(test, len(test) + 1)


def test_speech_shaped_noise_has_the_level_length_and_spectrum_of_speech(clips):
    some = clips.test.select(balanced_rows(clips.test, 60))
    noise = speech_shaped_noise(some, rng(3))
    assert noise.shape == some.waves.shape and noise.abs().max() <= 1
    torch.testing.assert_close(rms_level_db(noise), rms_level_db(some.waves), atol=0.5, rtol=0)
    for wave, n_valid in zip(noise, some.n_valid, strict=True):
        assert (wave[n_valid:] == 0).all() and (wave[: int(n_valid)] != 0).float().mean() > 0.9
    octaves = [torch.fft.rfft(x).abs().square().mean(0).split(512)[:8] for x in (noise, some.waves)]
    ratio_db = [10 * math.log10(a.sum() / b.sum()) for a, b in zip(*octaves, strict=True)]
    assert max(map(abs, ratio_db)) < 3, ratio_db
    assert torch.equal(noise, speech_shaped_noise(some, rng(3))) and not torch.equal(
        noise, speech_shaped_noise(some, rng())
    )


def test_a_copy_through_the_vocoder_is_nearer_in_mel_cepstra_than_another_word(clips):
    some = clips.test.select(balanced_rows(clips.test, 12))
    real = from_unit(clip_log_mels(some, CFG), CFG)
    copy = log_mel(resynthesised(clips.test, CFG)[balanced_rows(clips.test, 12)], CFG)
    assert mel_cepstral_distance(real, copy).max() < mel_cepstral_distance(real, real.roll(1, 0)).min()
