"""A folder of your own sounds: every file is accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from course_lib.clips.archives import DataError
from course_lib.clips.clips import N_SAMPLES
from course_lib.clips.own_sounds import MAX_FILE_S, OwnSound, read_own_sounds


def tone(n_samples: int, rate_hz: int, peak: float = 0.5, frequency_hz: float = 440.0) -> np.ndarray:
    return peak * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / rate_hz)


def put(folder: Path, name: str, samples: np.ndarray, rate_hz: int = 8000, **options: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / name, samples, rate_hz, **options)


def only_row(folder: Path) -> OwnSound:
    """The one row of a folder that has, beside the file in question, a good one."""
    put(folder, "zz/good.wav", tone(4000, 8000, frequency_hz=1234))
    _, rows = read_own_sounds(folder)
    assert str(rows[-1]) == "kept     zz/good.wav" and len(rows) == 2
    return rows[0]


def test_labels_speakers_takes_and_levels(tmp_path):
    put(tmp_path, "dog/a.wav", tone(3000, 8000, peak=0.01))
    put(tmp_path, "cat/jim/b.flac", tone(N_SAMPLES, 8000, peak=0.9))
    put(tmp_path, "cat/ann/c.wav", tone(100, 8000, peak=0.25))
    put(tmp_path, "cat/jim/a.wav", tone(200, 8000))
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    clips, rows = read_own_sounds(tmp_path)
    assert [str(row) for row in rows] == [
        "kept     cat/ann/c.wav",
        "kept     cat/jim/a.wav",
        "kept     cat/jim/b.flac",
        "kept     dog/a.wav",
    ]
    assert clips.names == tuple(row.file for row in rows) and clips.dataset == tmp_path.name
    assert clips.digit_names == ("cat", "dog") and clips.digits.tolist() == [0, 0, 0, 1]
    assert [clips.speaker_names[i] for i in clips.speakers] == ["ann", "jim", "jim", "unknown"]
    assert clips.takes.tolist() == [0, 0, 1, 0] and clips.is_test.tolist() == [False, False, True, False]
    assert clips.n_valid.tolist() == [100, 200, N_SAMPLES, 3000] and clips.waves.shape == (4, N_SAMPLES)
    torch.testing.assert_close(clips.waves.amax(1), torch.tensor([0.25, 0.5, 0.9, 0.01]), atol=2e-3, rtol=0)


def test_the_test_set_is_the_second_of_each_five_by_name(tmp_path):
    for i_file in range(12):
        put(tmp_path, f"cat/{i_file:02}.wav", tone(400, 8000, frequency_hz=300 + i_file))
    clips, _ = read_own_sounds(tmp_path)
    assert [Path(name).stem for name in clips.test.names] == ["01", "06", "11"]
    assert set(clips.test.names).isdisjoint(clips.train.names)
    assert read_own_sounds(tmp_path)[0].test.names == clips.test.names


def test_one_file_in_ten_is_for_choosing_drawn_by_a_seed_and_never_a_test_clip(tmp_path):
    for i_file in range(31):
        put(tmp_path, f"cat/{i_file:02}.wav", tone(400, 8000, frequency_hz=300 + 7 * i_file))
    for i_file in range(3):
        put(tmp_path, f"dog/{i_file:02}.wav", tone(400, 8000, frequency_hz=900 + 7 * i_file))
    for i_file in range(2):
        put(tmp_path, f"owl/{i_file:02}.wav", tone(400, 8000, frequency_hz=1900 + 7 * i_file))
    clips, _ = read_own_sounds(tmp_path)
    counts = torch.bincount(clips.validation.digits, minlength=3).tolist()
    assert counts == [3, 1, 0]  # of two owls one is learnt from, one is tested
    parts = [set(part.names) for part in (clips.train, clips.validation, clips.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 36
    assert (torch.bincount(clips.train.digits, minlength=3) > 0).all()
    assert read_own_sounds(tmp_path)[0].validation.names == clips.validation.names


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "WAV"])
def test_every_format_keeps_the_sound(tmp_path, suffix):
    put(tmp_path, f"cat/a.{suffix}", tone(16_000, 16_000, frequency_hz=500), 16_000)
    row = only_row(tmp_path)
    assert str(row) == f"kept     cat/a.{suffix}: resampled from 16000 to 8000 Hz"
    clips, _ = read_own_sounds(tmp_path)
    n_valid = int(clips.n_valid[0])
    spectrum = torch.fft.rfft(clips.waves[0, 1000:7000]).abs()
    assert 7900 <= n_valid <= N_SAMPLES and int(spectrum.argmax()) * 8000 / 6000 == pytest.approx(500, abs=2)
    assert float(clips.waves[0, 1000:7000].abs().max()) == pytest.approx(0.5, abs=0.05)  # mp3 loses most


def test_a_rate_above_ours_does_not_alias(tmp_path):
    samples = tone(44_100, 44_100, frequency_hz=6000) * np.hanning(44_100)  # would come back as 2,000 Hz
    put(tmp_path, "cat/a.wav", samples, 44_100)
    assert str(only_row(tmp_path)).startswith("LEFT OUT cat/a.wav: silent (its peak is -")


@pytest.mark.parametrize(
    ("name", "content", "remark"),
    [
        ("cat/a.wav", b"", "empty: it has no bytes"),
        ("cat/a.mp3", b"no sound at all" * 50, "unreadable ("),
        ("cat/a.wav", b"RIFF\x00\x00\x00\x00WAVE", "unreadable ("),
        ("cat/a.m4a", b"x" * 50, "not one of wav, flac, ogg, mp3"),
        ("cat/notes.txt", b"meow", "not one of wav, flac, ogg, mp3"),
    ],
)
def test_files_that_are_no_sound_are_named(tmp_path, name, content, remark):
    (tmp_path / "cat").mkdir()
    (tmp_path / name).write_bytes(content)
    row = only_row(tmp_path)
    assert not row.is_kept and row.remark.startswith(remark) and str(row).startswith(f"LEFT OUT {name}: {remark}")


@pytest.mark.parametrize(
    ("samples", "remark"),
    [
        (np.zeros(0), "empty: it has no samples"),
        (np.zeros(4000), "silent (its peak is -inf dB, under -60)"),
        (tone(4000, 8000, peak=0.0005), "silent (its peak is -66 dB, under -60)"),
        (np.stack([tone(4000, 8000), -tone(4000, 8000)], axis=1), "silent (its peak is -inf dB, under -60)"),
        (np.where(np.arange(4000) == 9, np.nan, 0.1), "unreadable (a.wav: holds NaN"),
        (tone(round(8000 * MAX_FILE_S) + 800, 8000), "too long (1.0 minutes, over 60 s); cut it into clips first"),
    ],
    ids=["no samples", "zeros", "nearly silent", "opposite channels", "NaN", "minutes"],
)
def test_sounds_that_cannot_be_used_are_left_out(tmp_path, samples, remark):
    put(tmp_path, "cat/a.wav", samples, subtype="FLOAT")
    row = only_row(tmp_path)
    assert not row.is_kept and row.label == "cat" and row.remark.startswith(remark)


def test_a_file_without_a_label_is_left_out(tmp_path):
    put(tmp_path, "a.wav", tone(4000, 8000))
    assert only_row(tmp_path).remark == "has no label; move it into a subfolder named after its label"


def test_the_same_sound_twice_is_kept_once(tmp_path):
    samples = (tone(4000, 8000) * 32768).astype(np.int16)
    put(tmp_path, "cat/a.wav", samples)
    put(tmp_path, "dog/b.flac", samples)
    clips, rows = read_own_sounds(tmp_path)
    assert len(clips) == 1 and clips.digit_names == ("cat",)
    assert str(rows[1]).startswith("LEFT OUT dog/b.flac: the same sound as cat/a.wav; ")


def test_a_long_file_is_cut_from_where_its_sound_starts(tmp_path):
    lead_s, rate_hz = 1.5, 22_050
    samples = np.concatenate([np.zeros(round(lead_s * rate_hz)), tone(2 * rate_hz, rate_hz)])
    put(tmp_path, "cat/a.wav", np.stack([samples, samples], axis=1), rate_hz)
    row = only_row(tmp_path)
    assert row.is_kept and row.remark == (
        "2 channels averaged, resampled from 22050 to 8000 Hz, too long (3.50 s): cut to 1.45 to 2.47 s"
    )
    clips, _ = read_own_sounds(tmp_path)
    wave = clips.waves[0]
    assert clips.n_valid[0] == N_SAMPLES and wave[:380].abs().max() < 0.01 and wave[420:1000].abs().max() > 0.4
    assert wave[-1] == 0  # faded


def test_a_long_file_whose_sound_fits_is_not_faded(tmp_path):
    samples = np.concatenate([np.zeros(8000), tone(4000, 8000), np.zeros(100)])
    put(tmp_path, "cat/a.wav", samples)
    assert only_row(tmp_path).remark == "too long (1.51 s): cut to 0.95 to 1.51 s"
    clips, _ = read_own_sounds(tmp_path)
    start = 8001 - 400  # the tone's first sample is zero
    expected = torch.tensor(samples[start:]).float()
    torch.testing.assert_close(clips.waves[0, : len(expected)], expected, atol=1e-4, rtol=0)


def test_a_sound_over_full_scale_is_turned_down_and_says_so(tmp_path):
    put(tmp_path, "cat/a.wav", tone(4000, 8000, peak=2.0), subtype="FLOAT")
    assert only_row(tmp_path).remark == "turned down by 6.0 dB, which it was over full scale"
    assert float(read_own_sounds(tmp_path)[0].waves.abs().max()) <= 1


def test_folders_that_cannot_be_used_say_what_is_needed(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder; need a folder with one subfolder"):
        read_own_sounds(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no usable sound in it; need label/file.wav"):
        read_own_sounds(tmp_path)
    put(tmp_path, "cat/a.wav", np.zeros(100))
    with pytest.raises(DataError, match=r"(?s)no usable sound.*LEFT OUT cat/a.wav: silent"):
        read_own_sounds(tmp_path)
