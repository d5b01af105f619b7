"""Sound files, levels and players: against scipy's reader, hand-worked levels, and what the browser would be sent."""

import base64
import io
import math
import re

import pytest
import soundfile
import torch
from scipy.io import wavfile

from course_lib.sound import audio
from course_lib.sound.audio import (
    fit_length,
    normalise_peak,
    peak_level_db,
    play,
    read_wave,
    resample,
    rms_level_db,
    write_wave,
)


def sine(hz, rate_hz, n_samples, level=1.0):
    return level * torch.sin(2 * math.pi * hz * torch.arange(n_samples, dtype=torch.float64) / rate_hz).float()


# --- files ---


def test_a_file_comes_back_bit_for_bit_and_scipy_reads_the_same(tmp_path):
    steps = torch.randint(-32768, 32768, (1234,), generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    write_wave(tmp_path / "deep" / "a.wav", steps.float() / 32768, 11_025)
    wave, rate_hz = read_wave(tmp_path / "deep" / "a.wav")
    assert wave.dtype == torch.float32 and wave.shape == (1234,) and rate_hz == 11_025
    assert torch.equal(wave, steps.float() / 32768)
    scipy_rate_hz, scipy_steps = wavfile.read(tmp_path / "deep" / "a.wav")
    assert scipy_rate_hz == 11_025 and torch.equal(torch.from_numpy(scipy_steps), steps)


def test_rounding_is_at_most_half_a_step_and_full_scale_does_not_wrap(tmp_path):
    wave = torch.tensor([1.0, -1.0, 0.3, -0.7, 1e-6])
    write_wave(tmp_path / "a.wav", wave, 8_000)
    got, _ = read_wave(tmp_path / "a.wav")
    assert got[0] == 32767 / 32768 and got[1] == -1.0
    assert (got[2:] - wave[2:]).abs().max() <= 0.5 / 32768


def test_flac_and_open_files_are_read_and_channels_averaged(tmp_path):
    stereo = torch.tensor([[0.5, 0.0], [0.25, -0.25], [-0.5, -1.0]])  # (T, n_channels)
    soundfile.write(tmp_path / "a.flac", stereo.numpy(), 16_000)
    wave, rate_hz = read_wave(str(tmp_path / "a.flac"))
    torch.testing.assert_close(wave, torch.tensor([0.25, 0.0, -0.75]), atol=1e-4, rtol=0)
    again, _ = read_wave(io.BytesIO((tmp_path / "a.flac").read_bytes()))
    assert rate_hz == 16_000 and torch.equal(again, wave)


def test_bad_files_are_named_and_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no sound file at .*gone\.wav; check the path"):
        read_wave(tmp_path / "gone.wav")
    (tmp_path / "text.wav").write_text("not sound at all")
    with pytest.raises(ValueError, match=r"text\.wav: not readable as sound .*need wav, flac, ogg or mp3"):
        read_wave(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", torch.zeros(0).numpy(), 8_000)
    with pytest.raises(ValueError, match=r"empty\.wav: holds no samples"):
        read_wave(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", torch.tensor([0.0, math.nan]).numpy(), 8_000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"nan\.wav: holds NaN or infinite"):
        read_wave(tmp_path / "nan.wav")


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.tensor([0.0, math.nan]), "NaN or infinity"),
        (torch.tensor([0.0, -1.5]), r"peak 1\.500 is over 1.*normalise_peak"),
        (torch.zeros(2, 3), r"shape \(2, 3\); need one clip"),
        (torch.zeros(0), r"shape \(0,\); need one clip"),
        (torch.zeros(5, dtype=torch.int16), "torch.int16 samples; need floats"),
    ],
)
def test_writing_refuses_what_is_not_one_sound_clip(tmp_path, wave, message):
    with pytest.raises(ValueError, match=rf"a\.wav: .*{message}"):
        write_wave(tmp_path / "a.wav", wave, 8_000)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    write_wave(tmp_path / "a.wav", torch.full((9,), 0.5), 8_000)

    def stop(*_):
        raise OSError("disk full")

    monkeypatch.setattr(audio.os, "fsync", stop)
    with pytest.raises(OSError, match="disk full"):
        write_wave(tmp_path / "a.wav", torch.zeros(9), 8_000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert torch.equal(read_wave(tmp_path / "a.wav")[0], torch.full((9,), 0.5))


# --- rates and levels ---


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 16_000), (16_000, 8_000), (44_100, 8_000), (8_000, 11_025)])
def test_a_resampled_sine_is_the_sine_sampled_at_the_other_rate(from_hz, to_hz):
    wave = torch.stack([sine(440, from_hz, 9_001), sine(1_000, from_hz, 9_001)])
    got = resample(wave, from_hz, to_hz)
    n_samples = math.ceil(9_001 * to_hz / from_hz)
    assert got.shape == (2, n_samples)
    want = torch.stack([sine(440, to_hz, n_samples), sine(1_000, to_hz, n_samples)])
    middle = slice(200, n_samples - 200)
    torch.testing.assert_close(got[:, middle], want[:, middle], atol=2e-3, rtol=0)


def test_resampling_removes_what_would_alias_and_keeps_the_rest():
    too_high = resample(sine(5_500, 16_000, 16_000), 16_000, 8_000)[500:-500]
    just_fits = resample(sine(3_500, 16_000, 16_000), 16_000, 8_000)[500:-500]
    assert rms_level_db(too_high) < -60  # by slicing [::2] it would be a 2,500 Hz tone at -3 dB
    assert rms_level_db(just_fits) == pytest.approx(-3.01, abs=0.2)


def test_resampling_refuses_rates_that_are_none_and_returns_the_same_wave_for_the_same_rate():
    wave = torch.randn(7)
    assert resample(wave, 8_000, 8_000) is wave
    for bad in (0, -8_000, 8_000.5):
        with pytest.raises(ValueError, match="need positive whole numbers"):
            resample(wave, 8_000, bad)


def test_levels_by_hand():
    waves = torch.stack([sine(1_000, 8_000, 800), torch.full((800,), -0.5), torch.zeros(800)])
    torch.testing.assert_close(peak_level_db(waves), torch.tensor([0.0, -6.0206, -math.inf]))
    torch.testing.assert_close(rms_level_db(waves), torch.tensor([-3.0103, -6.0206, -math.inf]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalising_sets_each_clips_own_peak_and_leaves_silence(dtype):
    waves = torch.tensor([[0.1, -0.2, 0.0], [0.0, 0.0, 0.0], [3.0, 1.0, -1.0]], dtype=dtype)
    got = normalise_peak(waves, level_db=-20.0)
    assert got.dtype == dtype
    torch.testing.assert_close(got.abs().amax(1), torch.tensor([0.1, 0.0, 0.1], dtype=dtype))
    torch.testing.assert_close(got[0], waves[0] / 2)


def test_fit_length_cuts_or_pads_the_end():
    wave = torch.arange(6.0).reshape(2, 3)
    assert fit_length(wave, 2).tolist() == [[0, 1], [3, 4]]
    assert fit_length(wave, 5).tolist() == [[0, 1, 2, 0, 0], [3, 4, 5, 0, 0]]
    with pytest.raises(ValueError, match="n_samples=0; need at least 1"):
        fit_length(wave, 0)


# --- the player ---


@pytest.fixture
def shown(monkeypatch):
    things = []
    monkeypatch.setattr("IPython.display.display", lambda *args: things.extend(args))
    return things


def sound_sent(player):
    """What the browser gets: the samples of the player's embedded wav file."""
    encoded = re.search(r'base64,([^"]+)"', player._repr_html_()).group(1)
    return wavfile.read(io.BytesIO(base64.b64decode(encoded)))


def test_play_sends_levels_as_they_are(shown):
    play(sine(440, 8_000, 400, level=0.1), 8_000, "quiet <b>")
    title, player = shown
    rate_hz, steps = sound_sent(player)
    assert rate_hz == 8_000 and len(steps) == 400
    assert abs(steps).max() == pytest.approx(0.1 * 32767, rel=0.01)
    assert "quiet &lt;b&gt;" in title.data and "(" not in title.data


def test_play_says_when_a_clip_is_clipped_or_silent(shown):
    play(torch.tensor([[0.0, 2.0, -0.5]]), 8_000, "loud")
    play(torch.zeros(5, requires_grad=True), 8_000)
    assert "clipped: its peak is 2.00" in shown[0].data and "silent" in shown[2].data
    assert sound_sent(shown[1])[1].tolist() == [0, 32767, -16383]
    assert sound_sent(shown[3])[1].tolist() == [0] * 5


def test_play_refuses_nan_and_batches(shown):
    with pytest.raises(ValueError, match="vae: the wave holds NaN"):
        play(torch.tensor([0.0, math.nan]), 8_000, "vae")
    with pytest.raises(ValueError, match=r"shape \(3, 4\); need one clip"):
        play(torch.zeros(3, 4), 8_000)
    assert shown == []
