"""The vocoder: least squares against scipy, falling errors, silence, bounds, the same sound by seed, real speech."""

import math

import pytest
import scipy.optimize
import torch

from course_lib.sound.features import AudioConfig, istft, log_mel, mel_filterbank, mel_power, stft, to_unit
from course_lib.sound.vocoder import griffin_lim, mel_to_magnitude, vocode

CFG = AudioConfig()
ODD = AudioConfig(sample_rate_hz=11_025, n_fft=375, win_length=301, hop_length=77, n_mels=33, f_max_hz=5_000.0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def speech_like(n_clips=2, n_samples=4_096, seed=0, rate_hz=8_000):
    """Harmonics of a gliding 120 Hz voice under an envelope, with a little noise."""
    time_s = torch.arange(n_samples) / rate_hz
    phase = 2 * math.pi * (120 + 10 * torch.arange(n_clips)[:, None]) * (time_s + 0.2 * time_s**2)
    voice = sum(torch.sin(k * phase) / k for k in range(1, 20)) * torch.hann_window(n_samples)
    return 0.2 * voice + 0.001 * torch.randn(n_clips, n_samples, generator=rng(seed))


def spectral_convergence(wave, magnitude, cfg):
    """Error of the wave's magnitudes, relative: what Griffin-Lim brings down."""
    return float((stft(wave, cfg).abs() - magnitude).norm() / magnitude.norm())


# --- mel -> magnitude ---


def test_magnitudes_come_near_the_best_non_negative_least_squares():
    wanted = mel_power(speech_like(1)[0], CFG)[:, 8:14].double()  # (M, 6)
    filters = mel_filterbank(CFG).double()
    best = sum(scipy.optimize.nnls(filters.numpy(), column.numpy())[1] ** 2 for column in wanted.T)
    power = mel_to_magnitude(wanted, CFG).square() * (4 / CFG.win_length) ** 2
    ours = float((filters @ power - wanted).square().sum())
    total = float(wanted.square().sum())
    assert best <= ours < best + 2e-4 * total  # 37 dB below the power itself


def test_each_update_lowers_the_error():
    wanted = mel_power(speech_like(3), CFG)
    filters = mel_filterbank(CFG)
    errors = []
    for n_iter in (0, 1, 5, 20, 100):
        power = mel_to_magnitude(wanted, CFG, n_iter).square() * (4 / CFG.win_length) ** 2
        errors.append(float((filters @ power - wanted).norm() / wanted.norm()))
    assert errors == sorted(errors, reverse=True) and errors[3] < 0.3 * errors[0]


@pytest.mark.parametrize("cfg", [CFG, ODD], ids=["course", "odd"])
def test_magnitudes_have_the_shape_of_the_stft_and_zero_gives_zero(cfg):
    wanted = mel_power(speech_like(3, 2_500, rate_hz=cfg.sample_rate_hz), cfg)
    wanted[1] = 0
    got = mel_to_magnitude(wanted, cfg)
    assert got.shape == (3, cfg.n_fft // 2 + 1, 2_500 // cfg.hop_length)
    assert (got >= 0).all() and got.isfinite().all() and (got[1] == 0).all() and got[2].max() > 0


def test_what_is_no_mel_power_is_refused():
    with pytest.raises(ValueError, match=r"got 65 mels in \(2, 65, 7\); need 64"):
        mel_to_magnitude(torch.zeros(2, 65, 7), CFG)
    with pytest.raises(ValueError, match="got mel power down to -80; need >= 0: power, not dB"):
        mel_to_magnitude(torch.full((64, 7), -80.0), CFG)


# --- magnitude -> wave ---


def test_griffin_lims_error_falls_each_round_and_momentum_brings_it_lower():
    magnitude = stft(speech_like(), CFG).abs()
    rounds = [griffin_lim(magnitude, CFG, n_iter, momentum=0, rng=rng()) for n_iter in range(0, 33, 4)]
    plain = [spectral_convergence(wave, magnitude, CFG) for wave in rounds]
    assert plain == sorted(plain, reverse=True)
    fast = spectral_convergence(griffin_lim(magnitude, CFG, 32, rng=rng()), magnitude, CFG)
    assert fast < plain[-1] < 0.6 * plain[0]


def test_one_round_is_the_two_projections_written_out():
    magnitude = stft(speech_like(1, 2_048, rate_hz=8_000), CFG).abs()
    start = griffin_lim(magnitude, CFG, 0, rng=rng(5))
    turned = stft(start, CFG)
    second = griffin_lim(magnitude, CFG, 1, momentum=0, rng=rng(5))
    torch.testing.assert_close(second, istft(magnitude * turned / turned.abs(), CFG, 2_048), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_griffin_lim_keeps_dtype_shape_and_length(dtype):
    magnitude = stft(speech_like(6, 2_500, rate_hz=11_025).to(dtype), ODD).abs().reshape(2, 3, 188, 32)
    assert griffin_lim(magnitude, ODD, 2).shape == (2, 3, 32 * 77)
    got = griffin_lim(magnitude, ODD, 2, n_samples=2_500)
    assert got.shape == (2, 3, 2_500) and got.dtype == dtype and got.isfinite().all()


def test_griffin_lim_refuses_settings_that_diverge():
    with pytest.raises(ValueError, match=r"n_iter=5, momentum=2.5; need at least 0, and \[0, 2\)"):
        griffin_lim(torch.zeros(161, 4), CFG, 5, momentum=2.5)


# --- the whole way ---


def test_silence_is_silent_and_every_picture_gives_finite_bounded_sound():
    noise = 2 * torch.rand(64, 30, generator=rng()) - 1
    pictures = torch.stack([-torch.ones(64, 30), torch.ones(64, 30), 3 * noise, noise, torch.full((64, 30), -math.inf)])
    pictures = torch.cat([pictures, (3 * noise).clamp(-1, 1)[None]])
    waves = vocode(pictures, CFG)
    assert waves.shape == (6, 30 * 128) and waves.isfinite().all() and waves.abs().max() <= 1
    assert (waves[0] == 0).all() and (waves[4] == 0).all()
    assert waves[1].abs().max() == pytest.approx(1) and waves[3].abs().max() > 0
    torch.testing.assert_close(waves[2], waves[5], atol=1e-3, rtol=0)


def test_levels_come_through_as_they_are():
    loud = speech_like()
    waves = torch.cat([loud, loud / 10])
    got = vocode(to_unit(log_mel(waves, CFG), CFG), CFG)
    level_db = 10 * torch.log10(got.square().mean(1) / waves.square().mean(1))
    assert level_db.abs().max() < 0.5


def test_a_sound_that_goes_on_to_the_end_does_not_end_in_a_click():
    hiss = 0.1 * torch.randn(3, 4_096, generator=rng())
    got = vocode(to_unit(log_mel(hiss, CFG), CFG), CFG)
    assert got[:, -100:].abs().max() < 1.3 * got[:, 500:-500].abs().max()
    assert float(got[:, -50:].square().mean().sqrt()) == pytest.approx(0.1, rel=0.6)  # nor does it fade away


def test_the_seed_decides_and_the_batch_does_not():
    pictures = to_unit(log_mel(speech_like(20, 1_024), CFG), CFG)  # more than one part of CLIPS_AT_ONCE
    waves = vocode(pictures, CFG, rng=rng(3))
    assert torch.equal(waves, vocode(pictures, CFG, rng=rng(3)))
    assert not torch.allclose(waves, vocode(pictures, CFG, rng=rng(4)), atol=1e-3)
    assert torch.equal(vocode(pictures, CFG), vocode(pictures, CFG))
    alone = vocode(pictures[18], CFG, rng=rng(3))
    assert alone.shape == (1_024,)
    torch.testing.assert_close(alone, waves[18], atol=1e-3, rtol=0)


def test_one_generator_gives_new_sound_at_each_call():
    picture = to_unit(log_mel(speech_like(1), CFG), CFG)
    draws = rng(3)
    assert not torch.equal(vocode(picture, CFG, rng=draws), vocode(picture, CFG, rng=draws))


def test_a_models_output_is_taken_with_its_graph_and_in_bf16():
    picture = to_unit(log_mel(speech_like(1), CFG), CFG)
    waves = vocode(picture.clone().requires_grad_(), CFG)
    assert not waves.requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(vocode(picture, CFG), waves)
    coarse = vocode(picture.bfloat16(), CFG)
    assert coarse.dtype == torch.float32 and coarse.isfinite().all()
    assert vocode(picture.double(), CFG).dtype == torch.float64


def test_pictures_that_cannot_be_heard_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 65, 9\); need \(B, 64, L\)"):
        vocode(torch.zeros(2, 65, 9), CFG)
    with pytest.raises(ValueError, match=r"shape \(2, 1, 64, 9\)"):
        vocode(torch.zeros(2, 1, 64, 9), CFG)
    with pytest.raises(ValueError, match=r"shape \(0, 64, 9\)"):
        vocode(torch.zeros(0, 64, 9), CFG)
    with pytest.raises(ValueError, match="holds NaN: the model that made it has diverged"):
        vocode(torch.full((64, 9), math.nan), CFG)


def test_real_digits_keep_their_picture(clips):
    some = clips.test.select(torch.arange(0, len(clips.test), len(clips.test) // 30))
    pictures = to_unit(log_mel(some.waves, CFG), CFG)
    again = to_unit(log_mel(vocode(pictures, CFG), CFG), CFG)
    error_db = (again - pictures).abs()[pictures > -1].mean() * 45
    assert error_db < 1.5  # FSDD: 0.8 dB; a random phase without Griffin-Lim: 4.5 dB


def test_griffin_lim_follows_the_device_of_its_input():
    magnitude = torch.zeros(2, 161, 9, device="meta")  # shapes only, but refuses to mix with the CPU, as a GPU does
    assert griffin_lim(magnitude, CFG, 2, rng=rng()).shape == (2, 9 * 128)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_sound_that_the_cpu_gives():
    pictures = to_unit(log_mel(speech_like(3), CFG), CFG)
    on_cpu, on_cuda = vocode(pictures, CFG), vocode(pictures.cuda(), CFG)
    assert on_cuda.is_cuda and on_cuda.isfinite().all()
    again = to_unit(log_mel(on_cuda, CFG), CFG).cpu()
    error_db = (again - to_unit(log_mel(on_cpu, CFG), CFG)).abs().mean() * 45
    assert error_db < 1
    seeded = [vocode(pictures.cuda(), CFG, rng=torch.Generator("cuda").manual_seed(1)) for _ in range(2)]
    assert (seeded[0] - seeded[1]).abs().max() < 1e-3
