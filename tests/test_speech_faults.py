"""Each detector on faults made on purpose, and on real speech, which must pass."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from course_lib.clips.clip_features import clip_log_mels
from course_lib.judging import speech_faults
from course_lib.judging.metrics import judge_logits, load_judge, resynthesised
from course_lib.judging.speech_faults import alarms, click_rate, held_tone_share, ran_on_share, sureness, unsure_share
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit
from course_lib.sound.vocoder import vocode

CFG = AudioConfig()
RATE_HZ = 8000


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(waves: Tensor, dataset: str) -> Tensor:
    return judge_logits(load_judge(dataset), to_unit(log_mel(waves, CFG), CFG))


# -- all together ---------------------------------------------------------------------------------------------------


def test_real_speech_raises_hardly_an_alarm(clips):
    test = clips.test
    for waves in (test.waves, resynthesised(test, CFG)):
        for name, alarm in alarms(waves, logits_of(waves, clips.dataset), CFG).items():
            assert alarm.shape == (len(test),) and alarm.double().mean() <= 0.02, name


def test_each_fault_raises_its_alarm(clips):
    real = clips.test.waves[:20]
    hiss = 0.1 * torch.randn(20, 8192, generator=rng())
    clicking = real.clone()
    clicking[:, [700, 1500]] += 0.8
    held = held_from_the_middle(from_unit(clip_log_mels(clips.test, CFG), CFG)[:20])
    made = {"silence": real * 1e-4, "held tone": vocode(to_unit(held, CFG), CFG), "clicks": clicking, "babble": hiss}
    for name, waves in made.items():
        assert alarms(waves.clamp(-1, 1), logits_of(waves, clips.dataset), CFG)[name].double().mean() >= 0.9, name


# -- held tone ------------------------------------------------------------------------------------------------------


def held_from_the_middle(mels_db: Tensor, n_frames: int = 40) -> Tensor:
    """One frame in the first third of the word, then the same for ever: what a network in a fixed point makes."""
    held = mels_db.clone()
    for clip in held:  # (M, L)
        level = (10 ** (clip / 10)).mean(dim=0)
        loud = (level > level.max() / 1000).nonzero()[:, 0]
        first = int(loud[len(loud) // 3])
        clip[:, first:n_frames] = clip[:, first : first + 1]
    return held


def test_the_held_share_by_hand():
    mels = torch.full((1, 3, 12), -90.0)
    mels[0, :, 2:10] = torch.tensor([0.0, -10, -20])[:, None]  # 8 loud frames, ...
    mels[0, :, 2:4] -= 8  # ... of which 2 are 8 dB quieter,
    mels[0, 0, 9] += 9  # and one differs in 1 mel of 3 by 9 dB: 5.2 dB over all
    assert held_tone_share(mels).item() == pytest.approx(5 / 8)
    assert held_tone_share(mels, within_db=5.3).item() == pytest.approx(6 / 8)
    assert held_tone_share(mels, within_db=8.1).item() == pytest.approx(7 / 8)  # 8 dB and 9 dB in a third: 10.6 dB
    assert held_tone_share(mels - 30).item() == pytest.approx(5 / 8)
    assert held_tone_share(mels - 80).item() == 0  # not heard
    mels[0, :, 6] = -40  # a pause cuts the stretch in two
    assert held_tone_share(mels).item() == pytest.approx(2 / 7)


def test_a_slow_glide_is_not_held_though_each_frame_is_like_the_last():
    glide = -20 - 1.0 * torch.arange(25.0).expand(2, 4, 25)  # 1 dB a frame: 5 frames within 5 dB of the first
    assert held_tone_share(glide).tolist() == pytest.approx([5 / 25] * 2)
    assert held_tone_share(torch.zeros(2, 4, 25) - 20).tolist() == [1, 1]


def test_a_held_tone_is_found_before_and_after_the_vocoder(clips):
    held = held_from_the_middle(from_unit(clip_log_mels(clips.test, CFG), CFG)[:20])
    for mels in (held, log_mel(vocode(to_unit(held, CFG), CFG), CFG)):
        assert (held_tone_share(mels) > speech_faults.MOST_HELD).double().mean() >= 0.9
    tone = 0.1 * torch.sin(2 * math.pi * 210 / RATE_HZ * torch.arange(8192.0))[None]
    assert held_tone_share(log_mel(tone, CFG)).item() > 0.9


# -- clicks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [0.2, -0.5])
def test_clicks_are_counted(height):
    waves = 0.002 * torch.randn(3, 4000, generator=rng())
    waves[1, [300, 1200, 1205, 3000]] += height  # two of them are 0.6 ms apart: one click
    waves[2, 2000:] += height  # a step
    assert click_rate(waves, RATE_HZ).tolist() == pytest.approx([0, 3 / 0.5, 1 / 0.5])
    assert click_rate(waves, 4 * RATE_HZ).tolist() == pytest.approx([0, 12 / 0.5, 4 / 0.5])


def test_pulses_of_a_voice_are_no_clicks_and_a_lone_one_is():
    voiced, lone = torch.zeros(1, 4000), torch.zeros(1, 4000)
    voiced[0, ::20], lone[0, 2000] = 0.5, 0.5  # 400 Hz
    assert click_rate(voiced, RATE_HZ).item() <= 2 / 0.5  # at most the first and the last
    assert click_rate(lone, RATE_HZ).item() == 1 / 0.5
    assert click_rate(lone * 0.01, RATE_HZ).item() == 0  # -46 dB, and lone: not heard
    assert click_rate(torch.zeros(2, 4000), RATE_HZ).tolist() == [0, 0]


def test_clicks_in_real_speech_are_found(clips):
    test = clips.test.select(torch.arange(min(100, len(clips.test))))
    clicking = test.waves.clone()
    for clip, n_valid in enumerate(test.n_valid.tolist()):
        height = 10 * test.waves[clip, :n_valid].square().mean().sqrt()
        clicking[clip, torch.randint(100, n_valid - 100, (3,), generator=rng(clip))] += height
    found = click_rate(clicking, RATE_HZ) > speech_faults.MOST_CLICKS_A_S
    assert found.double().mean() >= 0.95


# -- babble and no end ----------------------------------------------------------------------------------------------


def test_sureness_by_hand():
    logits = torch.tensor([[0.7, 0.1, 0.2], [0.02, 0.03, 0.95], [1 / 3, 1 / 3, 1 / 3]]).log() - 4
    assert sureness(logits).tolist() == pytest.approx([0.7, 0.95, 1 / 3])
    assert unsure_share(logits) == pytest.approx(2 / 3)


def test_who_never_stops_is_counted():
    assert ran_on_share(torch.tensor([64, 20, 63, 64]), 64) == 0.5
    assert ran_on_share(torch.tensor([10]), 64) == 0


def test_detectors_refuse():
    with pytest.raises(ValueError, match=r"need \(B, M, L\) in dB, all finite"):
        held_tone_share(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="all finite"):
        held_tone_share(torch.full((1, 2, 3), -math.inf))
    for waves in (torch.zeros(400), torch.zeros(1, 64), torch.full((1, 400), math.nan)):
        with pytest.raises(ValueError, match=r"need \(B, T\), T over 64, no NaN"):
            click_rate(waves, RATE_HZ)
    with pytest.raises(ValueError, match=r"need \(B, C\) from judge_logits"):
        unsure_share(torch.zeros(3))
    for n_frames, most in ((torch.zeros(0), 64), (torch.ones(3), 0)):
        with pytest.raises(ValueError, match="at least 1"):
            ran_on_share(n_frames, most)
