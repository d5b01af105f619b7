"""Effects by mathematics: impulse responses, measured pitch, exact ratios, lengths, and the same sound by seed."""

import math

import pytest
import torch
import torchaudio.functional as taf

from course_lib.sound.effects import (
    STRETCH,
    add_noise,
    augment,
    change_level,
    change_pitch,
    change_speed,
    delay,
    echo,
    random_shift,
    stretch_time,
)
from course_lib.sound.features import stft

RATE_HZ = 8_000


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def tone(hz, n_samples=8_192, dtype=torch.float32):
    return (0.5 * torch.sin(2 * math.pi * hz * torch.arange(n_samples, dtype=torch.float64) / RATE_HZ)).to(dtype)


def pitch_hz(wave):
    """Frequency of the highest peak of a long, zero-padded spectrum: good to 0.1 Hz."""
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave)), n=2**18).abs()
    return int(spectrum.argmax()) * RATE_HZ / 2**18


def impulse(n_samples, dtype=torch.float32):
    return torch.nn.functional.one_hot(torch.tensor(0), n_samples).to(dtype)


# --- delay and echo ---


def test_delay_moves_to_the_nearest_sample_and_cuts_the_end():
    wave = torch.arange(1.0, 7.0).reshape(2, 3)
    assert delay(wave, 10, 0.14).tolist() == [[0, 1, 2], [0, 4, 5]]
    assert delay(wave, 10, 0.0).tolist() == wave.tolist()
    assert delay(wave, 10, 99.0).tolist() == [[0, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="delay_s=-0.1; need 0 or more"):
        delay(wave, 10, -0.1)


def test_echo_has_exactly_the_impulse_response_that_its_docstring_says():
    got = echo(impulse(10, torch.float64), 100, delay_s=0.03, feedback=0.5, wet=0.4)
    want = torch.tensor([0.6, 0, 0, 0.4, 0, 0, 0.2, 0, 0, 0.1], dtype=torch.float64)
    torch.testing.assert_close(got, want)


def test_echo_obeys_its_recursion_and_rings_on_in_the_tail():
    wave = torch.randn(2, 50, generator=rng(), dtype=torch.float64)
    got = echo(wave, 1_000, delay_s=0.007, feedback=0.8, wet=1.0, tail_s=0.03)
    assert got.shape == (2, 80)
    padded = torch.nn.functional.pad(wave, (0, 30))
    # y[n] = x[n - D] + feedback * y[n - D]
    torch.testing.assert_close(got[:, 7:], padded[:, :-7] + 0.8 * got[:, :-7])
    assert (got[:, :7] == 0).all() and got[:, 50:].abs().max() > 0.1


def test_echo_leaves_its_input_alone_and_dry_means_dry():
    wave = torch.randn(30, generator=rng())
    before = wave.clone()
    assert torch.equal(echo(wave, 100, 0.05, wet=0.0), wave)
    echo(wave, 100, 0.05)
    assert torch.equal(wave, before)


@pytest.mark.parametrize("change", [{"feedback": 1.0}, {"wet": 1.1}, {"tail_s": -1.0}, {"delay_s": 0.0001}])
def test_echo_refuses_settings_out_of_range(change):
    with pytest.raises(ValueError, match="; need"):
        echo(torch.zeros(9), 100, **{"delay_s": 0.02, **change})


# --- level, speed, time, pitch ---


def test_level_changes_by_exactly_so_many_db_per_clip():
    waves = torch.ones(2, 3)
    torch.testing.assert_close(change_level(waves, 20.0), 10 * waves)
    got = change_level(waves, torch.tensor([-20.0, 0.0]))
    torch.testing.assert_close(got, torch.tensor([[0.1] * 3, [1.0] * 3]))


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.25, 2.0])
def test_speed_moves_length_and_pitch_together(factor):
    got = change_speed(tone(440).repeat(2, 1), factor)
    assert got.shape == (2, math.ceil(8_192 / factor))
    assert pitch_hz(got[1]) == pytest.approx(440 * factor, abs=0.3)


def test_doubled_speed_does_not_alias():
    assert change_speed(tone(3_000), 2.0)[100:-100].abs().max() < 0.01  # 6,000 Hz would fold down to 2,000


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3, 2.0])
def test_stretching_changes_length_but_neither_pitch_nor_level(factor):
    got = stretch_time(torch.stack([tone(440), tone(1_003.7)]), factor)
    assert got.shape == (2, round(8_192 * factor))
    assert pitch_hz(got[0]) == pytest.approx(440, abs=0.5) and pitch_hz(got[1]) == pytest.approx(1_003.7, abs=0.5)
    middle = got[:, got.shape[1] // 4 : 3 * got.shape[1] // 4]
    level_db = 10 * torch.log10(middle.square().mean(1) / 0.125)
    assert level_db.abs().max() < 0.2  # without phase locking: -1 dB, beating


def test_stretching_by_one_returns_nearly_the_same_sound():
    wave = tone(300) * torch.hann_window(8_192)
    torch.testing.assert_close(stretch_time(wave, 1.0)[500:-500], wave[500:-500], atol=0.01, rtol=0)


def test_a_stretched_spectrogram_is_that_of_torchaudios_phase_vocoder():
    wave = torch.randn(8_192, generator=rng()).cumsum(0) * torch.hann_window(8_192) / 100
    spec = stft(wave, STRETCH)
    advance = 2 * math.pi * 128 / 512 * torch.arange(257)[:, None]
    want = taf.phase_vocoder(spec, rate=1 / 1.6, phase_advance=advance).abs()
    got = stft(stretch_time(wave, 1.6), STRETCH).abs()
    n_frames = min(want.shape[-1], got.shape[-1])
    want, got = want[:40, 4 : n_frames - 4], got[:40, 4 : n_frames - 4]
    assert float((got - want).norm() / want.norm()) < 0.25  # magnitudes: no phases reproduce them exactly


def test_a_sound_keeps_its_place_when_stretched():
    wave = torch.zeros(8_192)
    wave[4_000:4_100] = tone(1_000, 100)
    loudest = int(stretch_time(wave, 1.5).abs().argmax())
    assert loudest == pytest.approx(4_050 * 1.5, abs=150)


@pytest.mark.parametrize("n_semitones", [-7, -1, 0, 3, 12])
def test_pitch_moves_by_semitones_and_length_stays(n_semitones):
    got = change_pitch(tone(440).repeat(3, 1), n_semitones)
    assert got.shape == (3, 8_192)
    cents = 1_200 * math.log2(pitch_hz(got[2][1_000:-1_000]) / (440 * 2 ** (n_semitones / 12)))
    assert abs(cents) < 2


@pytest.mark.parametrize("bad", [0.1, 5.0, -1.0, math.nan])
def test_extreme_factors_are_refused(bad):
    for effect in (change_speed, stretch_time):
        with pytest.raises(ValueError, match=r"need a value in \[0.25, 4\]"):
            effect(tone(440), bad)
    with pytest.raises(ValueError, match="n_semitones=25, that is a factor"):
        change_pitch(tone(440), 25)


@pytest.mark.parametrize("n_samples", [1, 37, 300])
def test_very_short_clips_keep_their_promised_lengths(n_samples):
    wave = tone(440, n_samples)
    assert change_pitch(wave, 3).shape == (n_samples,)
    assert stretch_time(wave, 1.5).shape == (round(n_samples * 1.5),)
    assert change_speed(wave, 0.9).shape == (math.ceil(n_samples / 0.9),)


# --- noise, shifts, augmentation ---


def test_noise_has_exactly_the_ratio_asked_for_per_clip():
    waves = torch.stack([tone(440), 0.01 * tone(300), tone(200)])
    snr_db = torch.tensor([0.0, 20.0, -6.0])
    noise = add_noise(waves, snr_db, rng()) - waves
    got = 10 * torch.log10(waves.square().mean(1) / noise.square().mean(1))
    torch.testing.assert_close(got, snr_db, atol=0.01, rtol=0)
    # White: neighbouring samples are uncorrelated, and no two clips share their noise.
    unit = noise / noise.norm(dim=1, keepdim=True)
    assert (unit[:, 1:] * unit[:, :-1]).sum(1).abs().max() < 0.05 and (unit[0] @ unit[2]).abs() < 0.05


def test_noise_is_the_same_by_seed_and_silence_stays_silent():
    waves = torch.stack([tone(440), torch.zeros(8_192)])
    a, b, c = (add_noise(waves, 10.0, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert (a[1] == 0).all()


def test_shifts_are_whole_moves_without_wrapping_uniform_over_their_range():
    waves = torch.arange(1.0, 6.0).repeat(600, 1)
    got = random_shift(waves, rng(), n_earlier=1, n_later=2)
    wanted = {
        (2, 3, 4, 5, 0): 0,
        (1, 2, 3, 4, 5): 0,
        (0, 1, 2, 3, 4): 0,
        (0, 0, 1, 2, 3): 0,
    }
    for row in got.tolist():
        wanted[tuple(row)] += 1  # KeyError: a row that no allowed shift makes
    assert min(wanted.values()) > 110  # 150 each, on average
    assert torch.equal(got, random_shift(waves, rng(), n_earlier=1, n_later=2))
    with pytest.raises(ValueError, match="n_earlier=-1.*need both 0 or more"):
        random_shift(waves, rng(), n_earlier=-1)


def test_augmented_clips_are_new_bounded_and_the_same_by_seed():
    waves = torch.stack([tone(hz) * torch.hann_window(8_192) for hz in range(200, 840, 10)])
    a, b, c = (augment(waves, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == waves.shape and a.abs().max() <= 1 and a.isfinite().all()
    assert not any(torch.equal(new, old) for new, old in zip(a, waves, strict=True))


def test_augmenting_uses_each_speed_as_often():
    got = augment(tone(400).repeat(300, 1), rng(), n_later=0, gain_db=(0.0, 0.0), snr_db=(60.0, 60.0))
    heard = torch.tensor([pitch_hz(wave) for wave in got]).round()
    shares = [float((heard == 400 * speed).float().mean()) for speed in (0.9, 0.95, 1.0, 1.05, 1.1)]
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0.13 and max(shares) < 0.27


def test_augmenting_draws_gain_and_noise_from_their_ranges_and_scales_down_what_would_clip():
    waves = tone(400).repeat(200, 1)
    got = augment(waves, rng(), speeds=(1.0,), n_later=0, gain_db=(-12.0, 3.0), snr_db=(90.0, 90.0))
    gain_db = 20 * torch.log10(got.abs().amax(1) / 0.5)
    assert -12.1 < gain_db.min() < -11 and 2 < gain_db.max() < 3.1
    loud = augment(waves, rng(), speeds=(1.0,), n_later=0, gain_db=(20.0, 20.0), snr_db=(90.0, 90.0))
    torch.testing.assert_close(loud, 2 * waves, atol=1e-3, rtol=0)


def test_augmenting_one_clip_without_a_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"shape \(8192,\); need \(B, T\); for one clip pass wave\[None\]"):
        augment(tone(440), rng())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_effects_keep_the_dtype_and_their_input(dtype):
    waves = tone(440, 1_000, dtype).repeat(2, 1)
    before = waves.clone()
    outputs = [
        delay(waves, RATE_HZ, 0.01),
        echo(waves, RATE_HZ, 0.01),
        change_level(waves, 3.0),
        change_speed(waves, 1.1),
        stretch_time(waves, 1.1),
        change_pitch(waves, 1),
        add_noise(waves, 10.0, rng()),
        random_shift(waves, rng()),
        augment(waves, rng()),
    ]
    assert all(out.dtype == dtype and len(out) == 2 and out.isfinite().all() for out in outputs)
    assert torch.equal(waves, before)


def test_effects_follow_the_device_of_their_input_whatever_that_of_the_rng():
    wave = torch.zeros(2, 1_000, device="meta")  # shapes only, but refuses to mix with the CPU, as a GPU does
    outputs = [
        delay(wave, RATE_HZ, 0.01),
        echo(wave, RATE_HZ, 0.01),
        change_level(wave, 3.0),
        change_pitch(wave, 1),
        add_noise(wave, 10.0, rng()),
        random_shift(wave, rng()),
    ]
    assert all(out.is_meta and out.shape == (2, 1_000) for out in outputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_effects_run_on_cuda_with_an_rng_on_either_device():
    waves = tone(440).repeat(4, 1).cuda()
    torch.testing.assert_close(augment(waves, rng()).cpu(), augment(waves.cpu(), rng()), atol=1e-3, rtol=0)
    assert augment(waves, torch.Generator("cuda").manual_seed(0)).is_cuda
    torch.testing.assert_close(change_pitch(waves, 3).cpu(), change_pitch(waves.cpu(), 3), atol=1e-2, rtol=0)
