"""The clips as learners get them: FSDD (or what stands in for it) and the bundled digits."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

from course_lib.clips import loading
from course_lib.clips.archives import DataError, read_recordings, recordings_digest
from course_lib.clips.clips import DIGIT_NAMES, N_SAMPLES, Clips
from course_lib.clips.fsdd import read_fsdd
from course_lib.clips.loading import BUNDLED_DIGEST, clips_from_recordings, load_clips
from course_lib.settings.profiles import bundled_dir


@pytest.fixture(scope="module")
def bundled() -> Clips:
    return load_clips("bundled")


@pytest.fixture(scope="module", params=["default", "bundled"])
def any_clips(request, clips, bundled) -> Clips:
    return clips if request.param == "default" else bundled


def test_every_clip_is_audible_and_in_range(any_clips):
    waves, n_valid = any_clips.waves, any_clips.n_valid
    assert waves.shape == (len(any_clips), N_SAMPLES) and waves.dtype == torch.float32
    peak = waves.abs().amax(dim=1)
    assert torch.isfinite(waves).all() and peak.max() <= 1 and peak.min() > 10 ** (-40 / 20)
    after = torch.arange(N_SAMPLES) >= n_valid[:, None]
    assert not waves[after].any() and n_valid.min() > 800 and n_valid.max() <= N_SAMPLES


def test_names_agree_with_labels_and_split(any_clips):
    for row in range(0, len(any_clips), 37):
        digit, speaker, take = any_clips.names[row].split("_")
        assert int(digit) == any_clips.digits[row] and int(take) == any_clips.takes[row]
        assert speaker == any_clips.speaker_names[any_clips.speakers[row]]
        last_validation = 4 + len(any_clips) // 600  # FSDD: takes 5 to 9 of 50; bundled: 5 and 6 of 20
        assert bool(any_clips.is_test[row]) == (int(take) <= 4)
        assert bool(any_clips.is_validation[row]) == (5 <= int(take) <= last_validation)
    assert any_clips.digit_names == DIGIT_NAMES and len(set(any_clips.names)) == len(any_clips)


def test_every_speaker_says_every_digit_equally_often(any_clips):
    cells = Counter(zip(any_clips.digits.tolist(), any_clips.speakers.tolist(), strict=True))
    assert len(cells) == 60 and set(cells.values()) == {len(any_clips) // 60}
    n_validation = len(any_clips) // 10
    assert len(any_clips.test) == 300 and len(any_clips.validation) == n_validation
    assert len(any_clips.train) == len(any_clips) - 300 - n_validation
    cells = Counter(zip(any_clips.validation.digits.tolist(), any_clips.validation.speakers.tolist(), strict=True))
    assert len(cells) == 60 and set(cells.values()) == {n_validation // 60}


def test_no_test_or_validation_clip_is_in_another_set(any_clips):
    parts = (any_clips.train, any_clips.validation, any_clips.test)
    sounds = [{wave.numpy().tobytes() for wave in part.waves} for part in parts]
    assert len(set.union(*sounds)) == sum(map(len, sounds)) == len(any_clips)


def test_fsdd_as_measured_on_its_card():
    if read_fsdd() is None:
        pytest.skip("FSDD is not in the cache")
    clips = load_clips("fsdd")
    assert len(clips) == 3000 and clips.speaker_names == ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    assert int((clips.n_valid == N_SAMPLES).sum()) == 17
    # An independent reading of one recording: the samples themselves, unscaled.
    name = "7_jackson_32"
    samples, rate_hz = soundfile.read(io.BytesIO(read_fsdd()[f"{name}.wav"]), dtype="int16")
    row = clips.names.index(name)
    assert rate_hz == 8000 and int(clips.n_valid[row]) == len(samples)
    assert np.array_equal(clips.waves[row, : len(samples)].numpy() * 32768, samples)


def test_bundled_archive_is_whole():
    path = bundled_dir() / "bundled_digits.zip"
    recordings = read_recordings(path)
    assert recordings_digest(recordings) == BUNDLED_DIGEST
    assert len(recordings) == 1200 and path.stat().st_size <= 6_000_000
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 1200  # and nothing else


def test_bundled_digits_are_clean_recordings(bundled):
    for name, content in list(read_recordings(bundled_dir() / "bundled_digits.zip").items())[::50]:
        info = soundfile.info(io.BytesIO(content))
        assert (info.samplerate, info.channels, info.format) == (8000, 1, "FLAC") and info.frames <= N_SAMPLES, name
    peak_db = 20 * bundled.waves.abs().amax(dim=1).log10()
    assert peak_db.max() < -4.9 and peak_db.min() > -26.1 and peak_db.std() > 4  # never clipped, at varied levels
    assert bundled.n_valid.unique().numel() > 500  # at varied speed


def test_bundled_takes_differ(bundled):
    for speaker in range(6):
        takes = bundled.select((bundled.digits == 5) & (bundled.speakers == speaker))
        assert len({wave.numpy().tobytes() for wave in takes.waves}) == 20


def test_a_damaged_or_changed_bundled_archive_is_refused(tmp_path, monkeypatch):
    path, copy = bundled_dir() / "bundled_digits.zip", tmp_path / "bundled_digits.zip"
    monkeypatch.setattr(loading, "bundled_dir", lambda: tmp_path)
    with pytest.raises(DataError, match="bundled_digits.zip: no such file"):
        load_clips("bundled")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    with pytest.raises(DataError, match="bundled_digits.zip: broken"):
        load_clips("bundled")
    recordings = read_recordings(path)
    recordings["0_ada_0.flac"] = recordings["0_ada_1.flac"]
    with zipfile.ZipFile(copy, "w") as archive:  # whole, and yet another data set
        for name, flac in recordings.items():
            archive.writestr(name, flac)
    with pytest.raises(DataError, match="do not match their digest.*get the course's files again"):
        load_clips("bundled")


def test_the_script_makes_the_bundled_clips_again(bundled):
    pytest.importorskip("espeakng_loader")
    script = (
        f"import sys, itertools; sys.path.insert(0, {str(bundled_dir())!r}); import make_bundled_digits as make\n"
        "for name, wave in itertools.islice(make.all_takes(), 25): print(name, *wave.tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    made = {line.split()[0]: np.array(line.split()[1:], dtype=int) for line in done.stdout.splitlines()}
    assert len(made) == 25 and "0_bea_4.flac" in made
    for name, samples in made.items():
        row = bundled.names.index(name.removesuffix(".flac"))
        kept = bundled.waves[row, : bundled.n_valid[row]].numpy() * 32768
        assert len(samples) == len(kept) and np.abs(samples - kept).max() <= 2, name  # processors round differently


def wav(n_samples: int, rate_hz: int = 8000, n_channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full((n_samples, n_channels), 0.5), rate_hz, format="WAV")
    return file.getvalue()


def test_recordings_are_sorted_by_digit_speaker_and_number():
    names = ["1_b_10.wav", "1_b_9.wav", "1_a_2.wav", "0_b_3.flac"]
    clips = clips_from_recordings({name: wav(100 + i) for i, name in enumerate(names)}, "test")
    assert clips.names == ("0_b_3", "1_a_2", "1_b_9", "1_b_10") and clips.n_valid.tolist() == [103, 102, 101, 100]
    assert clips.speaker_names == ("a", "b") and clips.is_test.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no sound", "3_a_1.wav: .*not readable as sound"),
        (wav(0), "3_a_1.wav: .*no samples"),
        (wav(100, rate_hz=16_000), "3_a_1.wav: got 16000 Hz, need 8000 Hz"),
    ],
)
def test_a_recording_that_does_not_fit_is_named(content, message):
    with pytest.raises(DataError, match=message):
        clips_from_recordings({"3_a_0.wav": wav(100), "3_a_1.wav": content}, "test")
