"""Features: hand-worked transforms, Parseval, exact inverses, and librosa, scipy and torchaudio as references."""

import math

import librosa
import numpy as np
import pytest
import scipy.fft
import torch
import torchaudio.functional as taf

from course_lib.clips.clip_features import clip_log_mels
from course_lib.sound.features import (
    AudioConfig,
    dct_matrix,
    from_unit,
    hz_to_mel,
    istft,
    log_mel,
    mel_filterbank,
    mel_power,
    mel_to_hz,
    mfcc,
    mu_law_decode,
    mu_law_encode,
    stft,
    to_unit,
)

CFG = AudioConfig()
WIDE = AudioConfig(
    sample_rate_hz=16_000, n_fft=512, win_length=400, hop_length=160, n_mels=80, f_min_hz=60.0, f_max_hz=7_600.0
)
ODD = AudioConfig(sample_rate_hz=11_025, n_fft=375, win_length=301, hop_length=77, n_mels=33, f_max_hz=5_000.0)
CONFIGS = pytest.mark.parametrize("cfg", [CFG, WIDE, ODD], ids=["course", "wide", "odd"])


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 0.1


def librosa_power(wave, cfg):
    """librosa's mel power, on our scale: a full-scale sine has power 1 in its bin. librosa keeps the last frame."""
    power = librosa.feature.melspectrogram(
        y=wave.numpy(),
        sr=cfg.sample_rate_hz,
        n_fft=cfg.n_fft,
        win_length=cfg.win_length,
        hop_length=cfg.hop_length,
        pad_mode="constant",
        n_mels=cfg.n_mels,
        fmin=cfg.f_min_hz,
        fmax=cfg.f_max_hz,
        htk=True,
        norm=None,
    )
    return torch.from_numpy(power)[..., : wave.shape[-1] // cfg.hop_length] * (4 / cfg.win_length) ** 2


# --- AudioConfig ---


def test_the_defaults_make_a_square_picture_of_a_course_clip():
    assert log_mel(torch.zeros(3, 8192), CFG).shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop_length": 400}, "hop_length 400 is not under win_length 320.*at most half the window"),
        ({"win_length": 512}, "win_length 512 is over n_fft 320; raise n_fft"),
        ({"f_max_hz": 4_001.0}, "f_max_hz 4001.0.*<= 4000.0, the Nyquist frequency of 8000 Hz"),
        ({"f_min_hz": 4_000.0}, "need 0 <= f_min_hz < f_max_hz"),
        ({"n_mels": 200}, r"mel filters \[0, 1, .* hold no frequency bin: bins lie 25.0 Hz apart.*raise n_fft"),
        ({"n_fft": 320.0}, "n_fft: got 320.0; need a whole number of at least 1"),
        ({"n_mels": 0}, "n_mels: got 0"),
        ({"floor_db": 0.0}, "floor_db 0.0 and top_db 0.0; need floor_db < top_db"),
        ({"floor_db": -math.inf}, "need floor_db < top_db, finite"),
        ({"top_db": math.nan}, "need floor_db < top_db, finite"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AudioConfig(**change)


# --- STFT ---


def test_stft_of_a_hand_worked_cosine():
    # 8 samples, Hann window (0, .15, .5, .85, 1, ...) of sum 4: cos(2 pi n / 4) is bin 2, |X_2| = sum(window) / 2 = 2,
    # and Hann spreads half of that, with the other sign, to bins 1 and 3. Frame 2 starts at sample 0.
    cfg = AudioConfig(n_fft=8, win_length=8, hop_length=2, n_mels=1)
    spec = stft(torch.cos(math.pi / 2 * torch.arange(16.0)), cfg)
    assert spec.shape == (5, 8)
    torch.testing.assert_close(spec[:, 2], torch.tensor([0, -1, 2, -1, 0], dtype=torch.complex64), atol=1e-6, rtol=0)


@CONFIGS
@pytest.mark.parametrize("n_samples", [8_192, 5_001])
def test_stft_equals_librosas_without_its_last_frame(cfg, n_samples):
    wave = noise(2, n_samples)
    want = librosa.stft(
        wave.numpy(), n_fft=cfg.n_fft, hop_length=cfg.hop_length, win_length=cfg.win_length, pad_mode="constant"
    )
    got = stft(wave, cfg)
    assert got.shape == (2, cfg.n_fft // 2 + 1, n_samples // cfg.hop_length)
    torch.testing.assert_close(got, torch.from_numpy(want)[..., : got.shape[-1]], atol=1e-4, rtol=1e-4)


def test_parseval_holds_in_each_frame():
    wave = noise(4_096, dtype=torch.float64)
    spec = stft(wave, CFG)
    weights = torch.full((161, 1), 2.0, dtype=torch.float64)
    weights[0] = weights[-1] = 1  # bins 0 and N/2 have no mirror image
    got = (spec.abs().square() * weights).sum(0) / CFG.n_fft
    # Frame l is centred on sample 128 l, so that frame 2 starts at 2 * 128 - 160 = 96.
    frames = wave[96 : 96 + 17 * 128 + 320].unfold(0, 320, 128) * torch.hann_window(320, dtype=torch.float64)
    torch.testing.assert_close(got[2:20], frames.square().sum(-1))


@CONFIGS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_istft_undoes_stft(cfg, dtype):
    wave = noise(2, 3, 9 * cfg.hop_length, dtype=dtype)
    back = istft(stft(wave, cfg), cfg, wave.shape[-1])
    assert back.dtype == dtype
    torch.testing.assert_close(back, wave, atol=1e-5 if dtype == torch.float32 else 1e-12, rtol=0)


def test_istft_of_a_wave_that_is_no_whole_number_of_hops():
    wave = noise(5 * 128 + 77)
    back = istft(stft(wave, CFG), CFG, len(wave))
    torch.testing.assert_close(back[: 5 * 128], wave[: 5 * 128], atol=1e-5, rtol=0)
    assert back[4 * 128 + 160 :].abs().max() == 0  # beyond the last window: nothing is known, silence is said


def test_istft_is_the_nearest_wave_so_random_spectrograms_only_come_closer():
    spec = torch.randn(161, 20, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    nearest = stft(istft(spec, CFG, 20 * 128), CFG)
    other = stft(istft(spec, CFG, 20 * 128) + noise(20 * 128, dtype=torch.float64) * 0.1, CFG)
    full = torch.full((161, 1), 2.0, dtype=torch.float64)  # the norm over all n_fft bins, in which istft is nearest
    full[0] = full[-1] = 1

    def distance(a):
        return (full * (a - spec)[:, 3:-3].abs().square()).sum()

    assert distance(nearest) < distance(other) < distance(torch.zeros_like(spec))


@pytest.mark.parametrize("n_samples", [128, 200, 319])
def test_a_clip_shorter_than_the_window_works(n_samples):
    picture = log_mel(noise(n_samples), CFG)
    assert picture.shape == (64, n_samples // 128) and picture.isfinite().all()


def test_what_has_no_spectrogram_is_refused():
    with pytest.raises(ValueError, match="got 127 samples; need at least one hop of 128; pad it"):
        stft(torch.zeros(2, 127), CFG)
    with pytest.raises(ValueError, match="got a wave of torch.int16; need float32 or float64"):
        stft(torch.zeros(500, dtype=torch.int16), CFG)
    with pytest.raises(ValueError, match=r"shape \(2, 257, 9\); need a complex \(..., K=161, L\)"):
        istft(torch.zeros(2, 257, 9, dtype=torch.complex64), CFG, 1_000)
    with pytest.raises(ValueError, match="got torch.float32"):
        istft(torch.zeros(2, 161, 9), CFG, 1_000)


# --- mel ---


@CONFIGS
def test_filterbank_is_librosas_htk_one(cfg):
    want = librosa.filters.mel(
        sr=cfg.sample_rate_hz,
        n_fft=cfg.n_fft,
        n_mels=cfg.n_mels,
        fmin=cfg.f_min_hz,
        fmax=cfg.f_max_hz,
        htk=True,
        norm=None,
    )
    np.testing.assert_allclose(mel_filterbank(cfg).numpy(), want, atol=1e-6)


def test_changing_a_filterbank_does_not_change_the_next_one():
    mel_filterbank(CFG).zero_()
    assert mel_filterbank(CFG).sum() > 1


def test_mel_scale_by_hand_and_by_librosa():
    assert float(hz_to_mel(0)) == 0
    assert float(hz_to_mel(1_000)) == pytest.approx(1_000, abs=0.05)  # how the scale was fixed
    hz = torch.tensor([20.0, 440.0, 1_234.5, 4_000.0], dtype=torch.float64)
    np.testing.assert_allclose(hz_to_mel(hz).numpy(), librosa.hz_to_mel(hz.numpy(), htk=True), rtol=1e-6)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz)), hz)


@CONFIGS
def test_mel_power_equals_librosas(cfg):
    wave = noise(2, 5_001)
    torch.testing.assert_close(mel_power(wave, cfg), librosa_power(wave, cfg), atol=1e-8, rtol=1e-3)


def test_log_mel_equals_librosas_power_to_db():
    wave = noise(3, 4_000)
    want = librosa.power_to_db(librosa_power(wave, CFG).numpy(), ref=1.0, amin=10**-9.0, top_db=None)
    np.testing.assert_allclose(log_mel(wave, CFG).numpy(), want, atol=1e-2)


def test_a_full_scale_sine_reads_about_0_db_in_its_band_and_20_db_less_at_a_tenth():
    centre_hz = float(mel_to_hz(hz_to_mel(4_000.0) * 41 / 65))  # centre of band 40
    sine = torch.sin(2 * math.pi * centre_hz * torch.arange(4_096) / 8_000)
    column = log_mel(sine, CFG)[:, 16]
    assert column.argmax() == 40 and -0.5 < column[40] < 1.8
    torch.testing.assert_close(log_mel(sine / 10, CFG)[40, 16], column[40] - 20, atol=1e-3, rtol=0)


def test_silence_is_the_floor_and_its_gradient_is_no_nan():
    wave = torch.zeros(2, 1_024, requires_grad=True)
    picture = log_mel(wave, CFG)
    assert (picture == CFG.floor_db).all()
    picture.sum().backward()
    assert (wave.grad == 0).all()


def test_log_mel_has_the_right_gradient():
    cfg = AudioConfig(n_fft=16, win_length=12, hop_length=5, n_mels=3)
    wave = noise(2, 24, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: log_mel(w, cfg), wave)


def test_unit_scale_by_hand_and_back():
    db = torch.tensor([-90.0, -45.0, 0.0, 7.0, -200.0])
    assert to_unit(db, CFG).tolist() == [-1, 0, 1, 1, -1]
    inside = -90 * torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(from_unit(to_unit(inside, CFG), CFG), inside)


def test_training_in_bf16_leaves_features_in_full_precision():
    wave = noise(2, 1_024)
    want = log_mel(wave, CFG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, cepstra = log_mel(wave, CFG), mfcc(want)
    assert torch.equal(got, want) and torch.equal(cepstra, mfcc(want))


def test_tables_first_made_in_inference_mode_serve_training_later():
    cfg = AudioConfig(floor_db=-71.0)  # not in the cache yet
    with torch.inference_mode():
        istft(stft(torch.zeros(640), cfg), cfg, 640)
        log_mel(torch.zeros(640), cfg)
    wave = noise(640).requires_grad_()
    log_mel(wave, cfg).sum().backward()
    istft(stft(wave, cfg), cfg, 640).sum().backward()
    assert wave.grad.abs().sum() > 0


# --- MFCC ---


@pytest.mark.parametrize(("n_mfcc", "n_mels"), [(13, 64), (20, 80), (7, 7)])
def test_dct_and_mfcc_equal_scipys_and_librosas(n_mfcc, n_mels):
    picture = noise(2, n_mels, 5) * 100
    want = scipy.fft.dct(picture.numpy(), type=2, axis=1, norm="ortho")[:, :n_mfcc]
    np.testing.assert_allclose(mfcc(picture, n_mfcc).numpy(), want, atol=1e-4)
    np.testing.assert_allclose(librosa.feature.mfcc(S=picture.numpy(), n_mfcc=n_mfcc), want, atol=1e-4)
    rows = dct_matrix(n_mfcc, n_mels)
    torch.testing.assert_close(rows @ rows.T, torch.eye(n_mfcc), atol=1e-6, rtol=0)


def test_more_cepstra_than_mels_are_refused():
    with pytest.raises(ValueError, match="n_mfcc=65 of 64 mels; need 1 to 64"):
        mfcc(torch.zeros(64, 3), 65)


# --- mu-law ---


@pytest.mark.parametrize("n_classes", [256, 64])
def test_mu_law_is_torchaudios(n_classes):
    wave = torch.linspace(-1, 1, 1_001).reshape(7, 143)
    classes = mu_law_encode(wave, n_classes)
    assert classes.dtype == torch.int64 and classes.min() == 0 and classes.max() == n_classes - 1
    assert torch.equal(classes, taf.mu_law_encoding(wave, n_classes))
    torch.testing.assert_close(mu_law_decode(classes, n_classes), taf.mu_law_decoding(classes, n_classes))


def test_mu_law_keeps_each_class_and_is_finest_near_silence():
    every = torch.arange(256)
    assert torch.equal(mu_law_encode(mu_law_decode(every)), every)
    assert mu_law_encode(torch.zeros(1)) == 128
    step = mu_law_decode(every).diff()
    assert step[127] < 1 / 2_000 < 1 / 60 < step[-1]


def test_mu_law_refuses_what_it_cannot_encode():
    with pytest.raises(ValueError, match=r"\|wave\| up to 1.200; need at most 1"):
        mu_law_encode(torch.tensor([0.0, -1.2]))
    with pytest.raises(ValueError, match="NaN"):
        mu_law_encode(torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"classes from -1 to 256; need 0 to 255"):
        mu_law_decode(torch.tensor([-1, 256]))


# --- whole data sets ---


def test_clip_features_are_those_of_each_clip_and_computed_once(clips):
    some = clips.select(torch.arange(0, len(clips), len(clips) // 300))
    pictures = clip_log_mels(some, CFG)
    assert pictures.shape == (len(some), 64, 64) and pictures.abs().max() <= 1 and not pictures.requires_grad
    row = len(some) - 1
    torch.testing.assert_close(pictures[row], to_unit(log_mel(some.waves[row], CFG), CFG), atol=1e-4, rtol=0)
    assert clip_log_mels(some, AudioConfig()) is pictures
    other = clip_log_mels(some, AudioConfig(floor_db=-60.0))
    assert not torch.equal(other, pictures)


def test_clip_features_refuse_another_rate(clips):
    with pytest.raises(ValueError, match="clips at 8000 Hz, but the AudioConfig says 16000 Hz; resample\\(\\)"):
        clip_log_mels(clips, WIDE)


def test_every_table_follows_the_device_of_its_input():
    # The meta device holds shapes only, but refuses to mix with the CPU as a GPU does: a check that needs no GPU.
    wave = torch.zeros(2, 1_024, device="meta")
    picture = to_unit(log_mel(wave, CFG), CFG)
    outputs = [picture, istft(stft(wave, CFG), CFG, 1_024), from_unit(picture, CFG), mfcc(picture)]
    assert all(out.is_meta for out in outputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_what_the_cpu_gives():
    wave = noise(3, 5_001)
    on_cuda = wave.cuda()
    assert log_mel(on_cuda, CFG).is_cuda
    torch.testing.assert_close(stft(on_cuda, CFG).cpu(), stft(wave, CFG), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(log_mel(on_cuda, CFG).cpu(), log_mel(wave, CFG), atol=1e-2, rtol=0)
    back = istft(stft(on_cuda, CFG), CFG, 39 * 128)
    torch.testing.assert_close(back.cpu(), wave[:, : 39 * 128], atol=1e-5, rtol=0)
    classes = mu_law_encode(on_cuda.clamp(-1, 1))
    torch.testing.assert_close(mu_law_decode(classes).cpu(), mu_law_decode(classes.cpu()))
