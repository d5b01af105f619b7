"""Each detector on sounds and curves whose fault is known by construction, and on real speech, which must pass."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from course_lib.clips.clip_features import clip_log_mels
from course_lib.judging import faults
from course_lib.judging.faults import (
    classes_covered,
    dc_share,
    diversity_ratio,
    level_db,
    oscillation,
    same_label_distance_db,
    stride_buzz_db,
)
from course_lib.judging.metrics import balanced_rows, resynthesised
from course_lib.models.wavegan import upsampler
from course_lib.sound.features import AudioConfig, from_unit

RATE_HZ = 8000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n_clips: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.01 * torch.randn(n_clips, n_samples, generator=rng(seed), dtype=torch.float64)


def tone(hz: float, amplitude: float, n_samples: int, rate_hz: int = RATE_HZ) -> torch.Tensor:
    time_s = torch.arange(n_samples, dtype=torch.float64) / rate_hz
    return amplitude * torch.sin(2 * math.pi * hz * time_s + 0.7)


# -- buzz -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [125, 500, 2000, 3875])
def test_a_line_at_a_stride_frequency_counts_with_its_height(hz):
    """A sine of amplitude a over white noise of standard deviation s, through a Hann window w: the line's power is
    (a sum w / 2)^2, the noise's s^2 sum w^2 in the mean, whose dB are 2.51 less in the mean (exponential law)."""
    n_samples, amplitude = 5000, 0.05
    clean, other = noise(60, n_samples), noise(70, n_samples, seed=1)
    window = torch.hann_window(4992, dtype=torch.float64)  # whole periods of 64 samples
    ratio = (amplitude * window.sum() / 2).square() / (0.01**2 * window.square().sum())
    expected = 10 * math.log10(ratio) + 10 * 0.5772156649 / math.log(10)
    found = stride_buzz_db(clean + tone(hz, amplitude, n_samples), other, RATE_HZ)
    baseline = faults._line_heights_db(other, 64).max().item()  # what chance gives the worst of 31 lines
    assert 0 < baseline < 2.5 and found + baseline == pytest.approx(expected, abs=0.5)
    louder = stride_buzz_db(clean + tone(hz, 10 * amplitude, n_samples), other, RATE_HZ)
    assert louder - found == pytest.approx(20, abs=0.2)


@pytest.mark.parametrize("hz", [140, 440, 1990, 0, 4000])
def test_what_is_no_stride_frequency_does_not_count(hz):
    clean, other = noise(60, 4096), noise(70, 4096, seed=1)
    extra = tone(hz, 0.05, 4096) if hz not in (0, 4000) else 0.05 * (1 - 2.0 * (hz > 0)) ** torch.arange(4096)
    assert abs(stride_buzz_db(clean + extra, other, RATE_HZ)) < faults.MOST_BUZZ_DB


def test_the_lines_looked_at_are_those_of_the_layers():
    clean, other = noise(60, 4096), noise(70, 4096, seed=1)
    for stride, n_layers, hz, heard in (
        (4, 1, 2000, True),
        (4, 1, 500, False),  # of a second layer, which there is not
        (4, 2, 1500, True),
        (3, 3, 8000 / 27, True),
        (3, 3, 2000, False),
        (2, 12, 125, True),
        (2, 12, 62.5, False),  # too low to be heard
    ):
        found = stride_buzz_db(clean + tone(hz, 0.05, 4096), other, RATE_HZ, stride, n_layers)
        assert (found > 20) is heard, (stride, n_layers, hz)


def test_one_silent_clip_and_other_lengths_do_not_disturb():
    loud = noise(20, 4096) + tone(500, 0.05, 4096)
    found = stride_buzz_db(torch.cat([loud, torch.zeros(20, 4096)]), noise(20, 7000, seed=1), RATE_HZ)
    alone = faults._line_heights_db(loud, 64).max().item()
    baseline = faults._line_heights_db(noise(20, 7000, seed=1), 64).max().item()
    assert found == pytest.approx(alone / 2 - baseline, abs=1e-6)  # half of the clips hold no line


def test_unequal_painting_is_found_at_the_strides_frequency():
    """A transposed convolution whose kernel is no multiple of its stride, fed a steady input with some noise."""
    found = {}
    for n_kernel in (24, 26):
        layer = upsampler("transposed", 1, 1, n_kernel, 4).double()
        torch.nn.init.ones_(layer.weight)
        inputs = 1 + 0.3 * torch.randn(40, 1, 1024, generator=rng(), dtype=torch.float64)
        with torch.no_grad():
            found[n_kernel] = stride_buzz_db(layer(inputs)[:, 0], noise(40, 4096), RATE_HZ)
    assert found[26] > found[24] + 10 and found[26] > 20


def test_real_speech_passes_and_a_quiet_buzz_under_it_does_not(clips):
    rows = balanced_rows(clips.test, min(120, len(clips.test)))
    train = clips.train.waves[balanced_rows(clips.train, len(rows))]
    real = clips.test.waves[rows]
    assert abs(stride_buzz_db(real, train, RATE_HZ)) < faults.MOST_BUZZ_DB
    assert stride_buzz_db(resynthesised(clips.test, AudioConfig())[rows], train, RATE_HZ) < faults.MOST_BUZZ_DB
    buzzing = real + tone(2000, 2**0.5 * 10 ** (-65 / 20), real.shape[1]).float()  # -65 dBFS RMS
    assert stride_buzz_db(buzzing, train, RATE_HZ) > faults.MOST_BUZZ_DB + 3


def test_buzz_refuses():
    clips = noise(3, 4096)
    with pytest.raises(ValueError, match="clips of 900 samples; need at least 1024"):
        stride_buzz_db(clips, clips[:, :900], RATE_HZ)
    with pytest.raises(ValueError, match=r"got shape \(4096,\), need \(B, T\)"):
        stride_buzz_db(clips[0], clips, RATE_HZ)
    with pytest.raises(ValueError, match="stride=1"):
        stride_buzz_db(clips, clips, RATE_HZ, stride=1)
    with pytest.raises(ValueError, match="stride=81"):
        stride_buzz_db(clips, clips, RATE_HZ, stride=81)
    with pytest.raises(ValueError, match="diverged"):
        stride_buzz_db(clips * math.nan, clips, RATE_HZ)


# -- offset and level -----------------------------------------------------------------------------------------------


def test_dc_and_level_by_hand():
    waves = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.5], [0.3, -0.3, 0.3, -0.3, 0.0], [0.0] * 5, [1.0, 0.0, 0.0, 0.0, 0.0]])
    assert dc_share(waves).tolist() == pytest.approx([1.0, 0.0, 0.0, (1 / 25) / (1 / 5)], abs=1e-6)
    levels = level_db(waves).tolist()
    assert levels[0] == pytest.approx(20 * math.log10(0.5)) and levels[3] == pytest.approx(-10 * math.log10(5))
    assert levels[1] == pytest.approx(10 * math.log10(0.36 / 5)) and levels[2] == -math.inf
    offset = tone(1000, 0.1, 4000)[None] + 0.05  # powers 0.005 and 0.0025
    assert dc_share(offset).item() == pytest.approx(1 / 3)
    for detector in (dc_share, level_db):
        with pytest.raises(ValueError, match=r"need \(B, T\)"):
            detector(waves[0])
        with pytest.raises(ValueError, match="NaN"):
            detector(waves * math.nan)


def test_real_speech_has_a_level_and_no_offset(clips):
    assert dc_share(clips.waves).max() < faults.MOST_DC and level_db(clips.waves).min() > faults.SILENT_DB
    assert (dc_share(clips.test.waves + 0.1) > faults.MOST_DC).all()
    assert (level_db(clips.test.waves / 2000) < faults.SILENT_DB).all()


# -- distances ------------------------------------------------------------------------------------------------------


def test_distances_between_clips_of_the_same_label_by_hand():
    mels = torch.zeros(5, 2, 3)
    mels[0] += 6  # label 7: clips 0, 2, 3 at 6, 0 and 0 with one value off by sqrt(6) * 2
    mels[3, 1, 2] = 2 * math.sqrt(6)
    mels[4] += 100  # alone with its label, as clip 1 is
    labels = torch.tensor([7, 1, 7, 7, 4])
    far = math.sqrt((5 * 36 + (6 - 2 * math.sqrt(6)) ** 2) / 6)
    assert same_label_distance_db(mels, labels) == pytest.approx((6 + 2 + far) / 3)
    every = same_label_distance_db(mels, torch.zeros(5, dtype=torch.int64))
    by_hand = [(mels[a] - mels[b]).square().mean().sqrt().item() for a, b in itertools.combinations(range(5), 2)]
    assert every == pytest.approx(sum(by_hand) / 10)


def test_pairs_count_equally_whatever_their_label():
    mels = torch.randn(11, 4, 5, generator=rng(), dtype=torch.float64)
    labels = torch.tensor([0, 0, 0, 0, 0, 2, 2, 5, 0, 2, 9])
    pairs = [(a, b) for a, b in itertools.combinations(range(11), 2) if labels[a] == labels[b]]
    expected = sum((mels[a] - mels[b]).square().mean().sqrt().item() for a, b in pairs) / len(pairs)
    assert len(pairs) == 15 + 3 and same_label_distance_db(mels, labels) == pytest.approx(expected)


def test_the_diversity_ratio_and_what_collapse_does_to_it():
    real = torch.randn(12, 3, 4, generator=rng())
    labels, one_of_each = torch.arange(12) % 3, torch.arange(3).repeat(4)
    assert diversity_ratio(0.25 * real + 5, labels, real, labels) == pytest.approx(0.25, rel=1e-5)
    assert diversity_ratio(real[one_of_each], one_of_each, real, labels) == 0
    with pytest.raises(ValueError, match="all the same"):
        diversity_ratio(real, labels, real[one_of_each], one_of_each)


def test_real_test_speech_is_as_varied_as_training_speech(clips):
    mels_db = from_unit(clip_log_mels(clips, AudioConfig()), AudioConfig())
    test, train = clips.is_test, ~clips.is_test & ~clips.is_validation
    found = diversity_ratio(mels_db[test], clips.digits[test], mels_db[train][:600], clips.digits[train][:600])
    assert 0.8 < found < 1.25


def test_distances_refuse():
    with pytest.raises(ValueError, match="no two clips share a label"):
        same_label_distance_db(torch.zeros(3, 2, 4), torch.arange(3))
    with pytest.raises(ValueError, match=r"labels: got shape \(4,\), need \(3,\)"):
        same_label_distance_db(torch.zeros(3, 2, 4), torch.arange(4))
    with pytest.raises(ValueError, match=r"need \(B, M, L\)"):
        same_label_distance_db(torch.zeros(3, 2), torch.zeros(3))


# -- coverage -------------------------------------------------------------------------------------------------------


def test_classes_covered_by_hand():
    asked = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 4])
    read = torch.tensor([0, 0, 3, 1, 4, 4, 2, 2, 2, -1])
    shares = [0.5, 0.0, 1.0, 0.0]  # of 0, 1, 2 and 4; nobody asked for 3
    for least in (0.1, 0.5, 0.51, 1.0):
        assert classes_covered(asked, read, 5, least) == sum(share >= least for share in shares)
    assert classes_covered(asked, read, 5) == 2
    assert classes_covered(torch.arange(7), torch.zeros(7, dtype=torch.int64), 7) == 1  # whatever is asked: "zero"


@pytest.mark.parametrize(
    ("asked", "read", "least"), [([0, 1], [0], 0.5), ([0, 5], [0, 1], 0.5), ([], [], 0.5), ([0], [0], 0.0)]
)
def test_coverage_refuses(asked, read, least):
    with pytest.raises(ValueError, match="need"):
        classes_covered(torch.tensor(asked), torch.tensor(read), 5, least)


# -- oscillation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 41, 200])
@pytest.mark.parametrize("cycles", [3.5, 7, 9.8])
def test_a_sine_oscillates_whatever_its_trend(n, cycles):
    time = torch.arange(n, dtype=torch.float64)
    sine = torch.sin(2 * math.pi * cycles * time / n + 0.4)
    assert oscillation(sine.tolist()) > 0.98
    assert oscillation((5 + 0.3 * time + 0.01 * sine).tolist()) > 0.98


def test_the_share_is_that_of_the_variance():
    time = torch.arange(400, dtype=torch.float64)
    sine, hiss = torch.sin(2 * math.pi * time / 8), torch.randn(400, generator=rng(), dtype=torch.float64)
    hiss = hiss / hiss.std()
    for weight in (0.3, 1.0, 3.0):
        expected = 0.5 * weight**2 / (0.5 * weight**2 + 1)
        assert oscillation((weight * sine + hiss).tolist()) == pytest.approx(expected, abs=0.05)


def test_noise_trends_and_drifts_do_not_oscillate():
    for seed in range(20):
        assert oscillation(torch.randn(40, generator=rng(seed)).tolist()) < faults.MOST_OSCILLATION
    time = torch.arange(60, dtype=torch.float64)
    assert oscillation((3 - 0.2 * time).tolist()) == 0 and oscillation([2.5] * 20) == 0
    for drift in (torch.exp(-time / 10), torch.log1p(time), torch.sin(2 * math.pi * time / 60), (time - 30) ** 2):
        assert oscillation(drift.tolist()) < 0.2


def test_the_fastest_oscillation_is_seen():
    assert oscillation([(-1.0) ** i for i in range(25)]) > 0.98


def test_players_that_chase_each_other_in_circles_oscillate():
    """Simultaneous gradient steps on x * y go round and outwards; with a pull to 0, as R1's, they settle."""

    def play(pull: float) -> list[float]:
        x, y, seen = 1.0, 0.5, []
        for _ in range(300):
            x, y = x - 0.1 * (y + pull * x), y + 0.1 * (x - pull * y)
            seen.append(x)
        return seen

    assert oscillation(play(0.0)) > faults.MOST_OSCILLATION > oscillation(play(1.0))


def test_oscillation_refuses():
    with pytest.raises(ValueError, match="got 19 readings; need at least 20"):
        oscillation([0.0] * 19)
    with pytest.raises(ValueError, match="all finite"):
        oscillation([0.0] * 30 + [math.nan])
