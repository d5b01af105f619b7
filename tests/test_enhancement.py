"""Spectral subtraction and mixing, against hand-worked cases, identities and scipy."""

from __future__ import annotations

import pytest
import scipy.signal
import torch

from course_lib.sound.effects import mix_at_snr
from course_lib.sound.enhancement import (
    babble_noise,
    coloured_noise,
    noise_spectrum,
    spectral_subtraction,
    subtract_noise,
)
from course_lib.sound.features import AudioConfig, stft

CFG = AudioConfig(n_fft=256, win_length=256, hop_length=64, n_mels=20)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_like(n_clips: int, n_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(n_clips, n_samples, generator=rng(seed))


# ---- noise


def test_coloured_noise_lies_between_white_and_brown():
    noise = coloured_noise(300, rng())
    assert noise.shape == (300, 8192)
    torch.testing.assert_close(noise.square().mean(1), torch.ones(300))
    power = torch.fft.rfft(noise).abs().square()  # 0.977 Hz a bin
    octave_db = 10 * torch.log10(power[:, 2048:4096].mean(1) / power[:, 1024:2048].mean(1))  # 1-2 to 2-4 kHz
    assert -6.8 < octave_db.min() < -5 and -1 < octave_db.max() < 0.8
    assert torch.equal(noise, coloured_noise(300, rng())) and not torch.equal(noise, coloured_noise(300, rng(1)))


def test_babble_is_a_sum_of_its_voices_turned_round():
    voices = torch.zeros(2, 50)
    voices[0, 3], voices[1, [3, 20]] = 1.0, torch.tensor([2.0, 2.0])  # one click, and two 17 samples apart
    babble = babble_noise(voices, 5, rng(), n_talkers=1)
    torch.testing.assert_close(babble.square().mean(1), torch.ones(5))
    clicks = [row.nonzero()[:, 0].tolist() for row in babble]
    assert {len(row) for row in clicks} == {1, 2}
    assert all((row[-1] - row[0]) % 50 in (0, 17, 33) for row in clicks)
    assert len({row[0] for row in clicks}) > 1  # not all at the same place


def test_many_voices_are_as_loud_as_each_other():
    loud_and_quiet = noise_like(2, 400) * torch.tensor([[1.0], [1e-3]])
    babble = babble_noise(loud_and_quiet, 200, rng(), n_talkers=2)
    alone = [(babble_noise(loud_and_quiet[i : i + 1], 200, rng(), n_talkers=2)) for i in (0, 1)]
    assert babble.shape == (200, 400) and torch.isfinite(babble).all()
    torch.testing.assert_close(alone[0], babble_noise(1e3 * loud_and_quiet[:1], 200, rng(), 2), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone[0].std(), alone[1].std(), rtol=1e-3, atol=0)


# ---- mixing


@pytest.mark.parametrize("snr_db", [-7.0, 0.0, 12.5])
def test_the_mixture_has_the_wanted_ratio_and_the_speech_in_it(snr_db):
    speech, noise = noise_like(3, 500, 1) * torch.tensor([[1.0], [0.01], [3.0]]), noise_like(3, 500, 2)
    added = mix_at_snr(speech, noise, snr_db) - speech
    ratio_db = 10 * torch.log10(speech.square().sum(1) / added.square().sum(1))
    torch.testing.assert_close(ratio_db, torch.full((3,), snr_db), atol=1e-2, rtol=0)
    same_direction = torch.nn.functional.cosine_similarity(added, noise)
    torch.testing.assert_close(same_direction, torch.ones(3), atol=1e-4, rtol=0)


def test_by_hand_and_a_ratio_a_clip():
    speech, noise = torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.5]])
    mixed = mix_at_snr(speech, noise, torch.tensor([0.0, 20.0]))  # as strong as the speech, and a tenth of it
    torch.testing.assert_close(mixed, torch.tensor([[8.0, 4.0], [3.0, 4.5]]))
    torch.testing.assert_close(mix_at_snr(speech[0], noise[0], 0.0), mixed[0])


def test_silent_speech_stays_silent_and_silent_noise_is_refused():
    assert mix_at_snr(torch.zeros(2, 50), noise_like(2, 50), 5.0).abs().max() == 0
    with pytest.raises(ValueError, match="silent"):
        mix_at_snr(noise_like(2, 50), torch.zeros(2, 50), 5.0)
    with pytest.raises(ValueError, match="equal shapes"):
        mix_at_snr(noise_like(2, 50), noise_like(2, 51), 5.0)


# ---- the noise's spectrum


def test_the_noise_spectrum_is_scipys_welch():
    noise = noise_like(2, 64 * 40).double()
    _, density = scipy.signal.welch(
        noise.numpy(), window="hann", nperseg=256, noverlap=192, detrend=False, scaling="spectrum", axis=-1
    )
    ours = noise_spectrum(noise, CFG) / torch.hann_window(256, dtype=torch.float64).sum() ** 2
    ours[:, 1:-1] *= 2  # scipy's is one-sided
    torch.testing.assert_close(ours, torch.from_numpy(density), rtol=1e-6, atol=0)


def test_the_ends_of_the_noise_do_not_lower_its_spectrum():
    short, long = noise_like(200, 1024), noise_like(200, 64 * 200, 1)
    ratio = noise_spectrum(short, CFG).mean() / noise_spectrum(long, CFG).mean()
    assert abs(ratio - 1) < 0.03
    assert noise_spectrum(noise_like(3, 256), CFG).shape == (3, 129)
    with pytest.raises(ValueError, match="at least one window"):
        noise_spectrum(noise_like(3, 255), CFG)


# ---- subtraction


def test_subtraction_by_hand():
    noisy, noise = torch.tensor([[[10.0, 3.0], [8.0, 2.0]]]), torch.tensor([[2.0, 4.0]])  # (1, 2, 2), (1, 2)
    wanted = torch.tensor([[[7.0, 0.12], [2.0, 0.08]]])  # 10 - 1.5 * 2; floors 0.04 * 3 and 0.04 * 2; 8 - 1.5 * 4
    torch.testing.assert_close(subtract_noise(noisy, noise, 1.5, 0.2), wanted)


def test_subtraction_never_adds_and_its_limits_are_identities():
    power, noise = torch.rand(3, 5, 7, generator=rng()), torch.rand(3, 5, generator=rng(1))
    assert (subtract_noise(power, noise, 2.0, 0.1) <= power).all()
    assert torch.equal(subtract_noise(power, noise, 0.0, 0.1), power)
    assert torch.equal(subtract_noise(power, noise, 9.0, 1.0), power)
    assert (subtract_noise(power, noise, 2.0, 0.0) >= 0).all()


def test_subtraction_refuses_what_it_cannot_use():
    power = torch.rand(3, 5, 7)
    with pytest.raises(ValueError, match="one value a bin"):
        subtract_noise(power, torch.rand(3, 7), 1.0, 0.1)
    with pytest.raises(ValueError, match="floor_gain=1.5"):
        subtract_noise(power, torch.rand(3, 5), 1.0, 1.5)
    with pytest.raises(ValueError, match="over_subtraction=-1"):
        subtract_noise(power, torch.rand(3, 5), -1.0, 0.1)


def test_a_tone_comes_out_of_the_noise():
    n = torch.arange(64 * 60)
    tone = 0.3 * torch.sin(2 * torch.pi * torch.tensor([[440.0], [1210.0]]) * n / 8000)
    noisy = mix_at_snr(tone, noise_like(2, len(n)), 5.0)
    cleaned = spectral_subtraction(noisy, (noisy - tone).roll(700, 1), CFG, over_subtraction=3.0, floor_gain=0.05)
    before, after = ((wave - tone).square().mean(1) for wave in (noisy, cleaned))
    assert (after < 0.1 * before).all()  # 10 dB better


def test_no_subtraction_gives_the_wave_back_and_the_phase_is_kept():
    noisy = noise_like(2, 64 * 30)
    torch.testing.assert_close(spectral_subtraction(noisy, noisy, CFG, 0.0, 0.0)[:, :1700], noisy[:, :1700], atol=1e-5,
                               rtol=0)  # fmt: skip
    out = spectral_subtraction(noisy, noisy, CFG, 50.0, 0.5)  # all on the floor: half the amplitude
    torch.testing.assert_close(stft(out, CFG)[..., 3:20], 0.5 * stft(noisy, CFG)[..., 3:20], atol=1e-4, rtol=0)


def test_silence_stays_silence_and_clips_are_independent():
    noisy, noise = noise_like(3, 64 * 30), noise_like(3, 64 * 20, 5)
    alone = spectral_subtraction(noisy[1:2], noise[1:2], CFG)
    torch.testing.assert_close(spectral_subtraction(noisy, noise, CFG)[1:2], alone)
    silent = spectral_subtraction(torch.zeros(1, 64 * 30), noise[:1], CFG)
    assert silent.abs().max() == 0 and silent.isfinite().all()
    with pytest.raises(ValueError, match="same B"):
        spectral_subtraction(noisy, noise[:2], CFG)
