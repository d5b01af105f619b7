"""Make data/bundled_digits.zip: 1,200 synthetic spoken digits, for machines where FSDD cannot be had.

    python data/make_bundled_digits.py          # writes the archive, prints its digest and a table of measurements
    python data/make_bundled_digits.py --check  # makes the clips again and compares them with the archive

The speech is eSpeak NG's; the package `espeakng-loader` (extra `dev`) carries its library. Every draw is seeded. The
phase of eSpeak's voice carries over from word to word, so that clips come out sample for sample the same only if all
are made, in order, by a fresh process. The card is data/bundled_digits.md.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
import soundfile
import torch

from course_lib.clips.archives import read_recordings, recordings_digest
from course_lib.clips.clips import DIGIT_NAMES, N_SAMPLES, SAMPLE_RATE_HZ
from course_lib.clips.loading import clips_from_recordings
from course_lib.sound.audio import resample

ARCHIVE = Path(__file__).with_name("bundled_digits.zip")
N_TAKES = 20
SEED = 20


@dataclass(frozen=True)
class Speaker:
    """One synthetic speaker: an accent and a voice variant of eSpeak NG, and the middle of its pitch range."""

    accent: str
    variant: str
    pitch: int  # eSpeak's scale, 0 to 99; 50 is the variant's own pitch


SPEAKERS = {
    "ada": Speaker("en-US", "f2", 50),
    "bea": Speaker("en-US-nyc", "f5", 58),
    "cleo": Speaker("en-GB-x-gbclan", "f4", 42),
    "dan": Speaker("en-US", "m6", 45),
    "eli": Speaker("en-GB-scotland", "michel", 50),
    "finn": Speaker("en-029", "m2", 60),
}


class ESpeak:
    """eSpeak NG through its C interface (speak_lib.h), returning samples instead of playing them."""

    SYNCHRONOUS, CHARS_UTF8, POS_CHARACTER = 2, 1, 1
    RATE, PITCH, PITCH_RANGE = 1, 3, 4  # espeak_PARAMETER

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
        self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        data_path = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz = self._library.espeak_Initialize(self.SYNCHRONOUS, 0, data_path, 0)
        if self.rate_hz <= 0:
            raise RuntimeError("eSpeak NG did not start; reinstall espeakng-loader")
        self._blocks: list[np.ndarray] = []
        receive_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._receive = receive_type(self._keep_block)  # kept: the library holds no reference of its own
        self._library.espeak_SetSynthCallback(self._receive)

    def _keep_block(self, samples: ctypes.Array, n_samples: int, _events: int) -> int:
        if samples and n_samples > 0:
            self._blocks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    def say(self, text: str, voice: str, *, words_per_minute: int, pitch: int, pitch_range: int) -> np.ndarray:
        """(T,) float32 in [-1, 1] at `rate_hz`."""
        self._blocks.clear()
        self._library.espeak_ng_SetRandSeed(1)
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        settings = {self.RATE: words_per_minute, self.PITCH: pitch, self.PITCH_RANGE: pitch_range}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        spoken = text.encode()
        self._library.espeak_Synth(spoken, len(spoken) + 1, 0, self.POS_CHARACTER, 0, self.CHARS_UTF8, None, None)
        return np.concatenate(self._blocks).astype(np.float32) / 32768


def draw_take(espeak: ESpeak, digit: int, name: str, take: int) -> np.ndarray:
    """One clip, (T <= N_SAMPLES,) int16 at 8 kHz: speed, pitch, intonation and level are drawn for this take alone."""
    speaker = SPEAKERS[name]
    rng = np.random.default_rng([SEED, list(SPEAKERS).index(name), digit, take])
    wave = espeak.say(
        DIGIT_NAMES[digit],
        f"gmw/{speaker.accent}+{speaker.variant}",
        words_per_minute=int(rng.integers(130, 196)),
        pitch=int(speaker.pitch + rng.integers(-10, 11)),
        pitch_range=int(rng.integers(35, 66)),
    )
    level_db = rng.uniform(-26, -5)  # of the peak; people hold microphones at very different distances
    wave = trim(resample(torch.from_numpy(wave), espeak.rate_hz, SAMPLE_RATE_HZ).numpy())
    if len(wave) > N_SAMPLES:
        raise RuntimeError(f"{digit}_{name}_{take}: {len(wave)} samples, need at most {N_SAMPLES}; speak faster")
    return np.round(wave / np.abs(wave).max() * 10 ** (level_db / 20) * 32767).astype(np.int16)


def trim(wave: np.ndarray, below_peak_db: float = 46.0, margin_s: float = 0.02) -> np.ndarray:
    """Cut the quiet start and end off, but for a margin. Like FSDD: its clips were cut at silence, not by hand."""
    loud = np.flatnonzero(np.abs(wave) > np.abs(wave).max() * 10 ** (-below_peak_db / 20))
    n_margin = round(margin_s * SAMPLE_RATE_HZ)
    return wave[max(0, loud[0] - n_margin) : loud[-1] + 1 + n_margin]


def all_takes() -> Iterator[tuple[str, np.ndarray]]:
    """(file name, samples) of every clip."""
    espeak = ESpeak()
    for digit in range(10):
        for name in SPEAKERS:
            for take in range(N_TAKES):
                yield f"{digit}_{name}_{take}.flac", draw_take(espeak, digit, name, take)


def write_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # FLAC does not compress further
        for name, wave in all_takes():
            flac = io.BytesIO()
            soundfile.write(flac, wave, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16", compression_level=1.0)
            archive.writestr(zipfile.ZipInfo(name), flac.getvalue())


def check_archive(path: Path) -> int:
    """The largest difference, in 16-bit steps, between the archive's clips and clips made now."""
    recordings = read_recordings(path)
    largest = 0
    for name, wave in all_takes():
        kept = soundfile.read(io.BytesIO(recordings.pop(name)), dtype="int16")[0]
        if len(kept) != len(wave):
            raise SystemExit(f"{name}: {len(kept)} samples in the archive, {len(wave)} made now")
        largest = max(largest, int(np.abs(kept.astype(int) - wave).max()))
    if recordings:
        raise SystemExit(f"{path.name} holds clips that this script does not make: {sorted(recordings)[:3]}")
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the archive instead of writing it")
    if parser.parse_args().check:
        print(f"{ARCHIVE.name}: the clips made now differ by at most {check_archive(ARCHIVE)} steps of 16 bits")
        return
    write_archive(ARCHIVE)
    recordings = read_recordings(ARCHIVE)
    print(clips_from_recordings(recordings, "bundled"))
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size / 1e6:.2f} MB; BUNDLED_DIGEST = {recordings_digest(recordings)!r}")


if __name__ == "__main__":
    main()
