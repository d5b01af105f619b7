"""PocketSphinx hears real digits, hears nothing in noise and silence, and each clip on its own."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch

from course_lib.judging import recogniser
from course_lib.judging.metrics import balanced_rows, speech_shaped_noise
from course_lib.judging.recogniser import NOTHING_HEARD, MissingRecogniser, recognise_digits, recogniser_available
from course_lib.sound.audio import resample

needs_pocketsphinx = pytest.mark.skipif(not recogniser_available(), reason="the extra `judge` is not installed")


@pytest.fixture(scope="module")
def some(clips):
    return clips.test.select(balanced_rows(clips.test, 60))


@pytest.fixture(scope="module")
def heard(some):
    return recognise_digits(some.waves, some.sample_rate_hz)


@needs_pocketsphinx
def test_real_digits_are_heard_far_better_than_chance(some, heard):
    assert heard.shape == (60,) and heard.dtype == torch.int64 and heard.device.type == "cpu"
    accuracy = float((heard == some.digits).double().mean())
    assert accuracy > (0.75 if some.dataset == "fsdd" else 0.5), accuracy
    assert float((heard == some.digits.roll(1)).double().mean()) < 0.3  # and not since it says what it is asked for


@needs_pocketsphinx
def test_no_digit_is_heard_in_noise_or_silence(some):
    white = torch.randn(30, 6000, generator=torch.Generator().manual_seed(0))
    for level in (0.2, 0.01):
        assert (recognise_digits((white * level).clamp(-1, 1), 8000) == NOTHING_HEARD).double().mean() >= 0.9
    shaped = speech_shaped_noise(some, torch.Generator().manual_seed(0))
    assert (recognise_digits(shaped, 8000) == some.digits).double().mean() < 0.15
    assert recognise_digits(torch.zeros(2, 8192), 8000).tolist() == [NOTHING_HEARD] * 2
    assert recognise_digits(some.waves[:3] * 1e-5, 8000).tolist() == [NOTHING_HEARD] * 3  # under -60 dB: silence


@needs_pocketsphinx
def test_each_clip_is_heard_on_its_own_whatever_came_before(some, heard):
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    recognise_digits(torch.rand(3, 16000) * 2 - 1, 8000)  # loud noise first
    assert torch.equal(recognise_digits(some.waves[order], 8000), heard[order])
    alone = torch.cat([recognise_digits(some.waves[row], 8000) for row in range(8)])  # (T,) is accepted too
    assert torch.equal(alone, heard[:8])


@needs_pocketsphinx
def test_neither_level_nor_rate_matters_much(some, heard):
    quiet = recognise_digits(some.waves * 0.05, 8000)
    assert (quiet == heard).double().mean() > 0.95
    faster = recognise_digits(resample(some.waves, 8000, 22_050), 22_050)
    assert (faster == heard).double().mean() > 0.85
    wrong_rate = recognise_digits(some.waves, 16_000)  # an octave up and twice as fast: the rate is used
    assert (wrong_rate == some.digits).double().mean() < (heard == some.digits).double().mean() - 0.2


@needs_pocketsphinx
def test_what_cannot_be_heard_is_refused():
    with pytest.raises(ValueError, match=r"got shape \(1, 2, 3\)"):
        recognise_digits(torch.zeros(1, 2, 3), 8000)
    with pytest.raises(ValueError, match="NaN"):
        recognise_digits(torch.tensor([[0.0, math.nan]]), 8000)
    assert recognise_digits(torch.zeros(0, 100), 8000).tolist() == []


def test_where_pocketsphinx_is_absent_the_error_names_the_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pocketsphinx" else found(name))
    recogniser._decoder.cache_clear()
    assert not recogniser_available()
    with pytest.raises(MissingRecogniser, match="the extra `judge`.*pip install pocketsphinx"):
        recognise_digits(torch.ones(1, 800), 8000)
    recogniser._decoder.cache_clear()
