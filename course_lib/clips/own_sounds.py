"""Clips from a folder of your own: one subfolder a label, with wav, flac, ogg or mp3 files in it.

    my_sounds/cat/a.wav                 label "cat"
    my_sounds/cat/jim/b.mp3             label "cat", speaker "jim"

Every file is accounted for: what was done to it, or why it was left out. Levels are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from course_lib.clips.archives import DataError
from course_lib.clips.clips import N_SAMPLES, SAMPLE_RATE_HZ, VALIDATION_SHARE, Clips, fit_clip
from course_lib.sound.audio import peak_level_db, read_wave, resample

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
MAX_FILE_S = 60.0  # a longer file is a recording session, not a clip
SILENT_DB = -60.0  # a peak below this is 33 of 16-bit's 32,768 steps
START_BELOW_PEAK_DB = 30.0  # sound starts where it first comes within this of its peak...
START_MARGIN_S = 0.05  # ... less this, for soft consonants
TEST_EVERY = 5  # the 2nd, 7th, 12th... take of each label and speaker is a test clip
LEAST_TO_CHOOSE = 3  # takes of a label and speaker: one to learn from, one to test, and so one to choose on
UNKNOWN_SPEAKER = "unknown"


@dataclass(frozen=True)
class OwnSound:
    """What became of one file; `print(*rows, sep="\\n")` shows them all."""

    file: str  # path within the folder
    label: str
    is_kept: bool
    remark: str  # "" if it was taken as it is

    def __str__(self) -> str:
        return f"{'kept' if self.is_kept else 'LEFT OUT':9}{self.file}{': ' if self.remark else ''}{self.remark}"


class _LeftOut(Exception):
    """Why one file cannot be used."""


def read_own_sounds(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Clips, list[OwnSound]]:
    """Read a folder of sounds, one subfolder a label (deeper ones name speakers), as clips of the usual length.

    Test clips are the 2nd, 7th, 12th... file, in order of name, of each label and speaker: never chosen by chance, so
    that a second run tests on the same ones. A label with a single file is trained on and not tested. Of the files that
    are not, one in ten (at least one where a label and speaker have three files) is a validation clip: drawn, with a
    fixed seed, so that a habit in how files were named or recorded does not decide.

    Returns: the clips, whose `digits` index the labels in `digit_names`; and one row a file, in order of path, which
             says what happened to it: resampled, averaged to mono, cut, turned down, or why it was left out.
    Raises:  DataError if the folder is not there, or no file in it can be used.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; need a folder with one subfolder of sounds a label")
    rows: list[OwnSound] = []
    kept: list[tuple[Path, Tensor, int]] = []
    first_with: dict[str, str] = {}  # digest of a wave -> the file that has it
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            continue  # .DS_Store and its like
        label = name.parts[0] if len(name.parts) > 1 else ""
        try:
            wave, remarks = _read_clip(file, label)
            fitted, n_valid = fit_clip(wave)
            digest = hashlib.sha256(fitted.numpy().tobytes()).hexdigest()
            twin = first_with.setdefault(digest, name.as_posix())
            if twin != name.as_posix():
                raise _LeftOut(f"the same sound as {twin}; twice, it might be trained on and tested on")
        except _LeftOut as reason:
            rows.append(OwnSound(name.as_posix(), label, False, str(reason)))
            continue
        rows.append(OwnSound(name.as_posix(), label, True, ", ".join(remarks)))
        kept.append((name, fitted, n_valid))
    if not kept:
        shown = "".join(f"\n  {row}" for row in rows[:5])
        raise DataError(f"{folder}: no usable sound in it; need label/file.wav (or flac, ogg, mp3){shown}")
    return _as_clips(kept, folder.name).to(device), rows


def _read_clip(file: Path, label: str) -> tuple[Tensor, list[str]]:
    """The sound of one file, (T,) mono at 8 kHz within [-1, 1], from where it starts; and what was done to it."""
    if file.suffix.lower() not in SUFFIXES:
        raise _LeftOut(f"not one of {', '.join(suffix[1:] for suffix in SUFFIXES)}")
    if not label:
        raise _LeftOut("has no label; move it into a subfolder named after its label")
    wave, rate_hz, n_channels = _decode(file)
    remarks = [f"{n_channels} channels averaged"] if n_channels > 1 else []
    if rate_hz != SAMPLE_RATE_HZ:
        wave = resample(wave, rate_hz, SAMPLE_RATE_HZ)
        remarks.append(f"resampled from {rate_hz} to {SAMPLE_RATE_HZ} Hz")
    level_db = float(peak_level_db(wave))
    if level_db < SILENT_DB:
        raise _LeftOut(f"silent (its peak is {level_db:.0f} dB, under {SILENT_DB:.0f})")
    if level_db > 0:
        wave = wave / wave.abs().max()
        remarks.append(f"turned down by {level_db:.1f} dB, which it was over full scale")
    if len(wave) > N_SAMPLES:
        whole_s = len(wave) / SAMPLE_RATE_HZ
        start = _start(wave)
        wave = wave[start:]
        if len(wave) > N_SAMPLES or start > 0:
            stop_s = min(start + N_SAMPLES, start + len(wave)) / SAMPLE_RATE_HZ
            remarks.append(f"too long ({whole_s:.2f} s): cut to {start / SAMPLE_RATE_HZ:.2f} to {stop_s:.2f} s")
    return wave, remarks


def _decode(file: Path) -> tuple[Tensor, int, int]:
    """(wave, rate_hz, n_channels)."""
    try:
        if file.stat().st_size == 0:
            raise _LeftOut("empty: it has no bytes")
        info = soundfile.info(file)
        if info.frames / info.samplerate > MAX_FILE_S:
            minutes = info.frames / info.samplerate / 60
            raise _LeftOut(f"too long ({minutes:.1f} minutes, over {MAX_FILE_S:.0f} s); cut it into clips first")
        if info.frames == 0:
            raise _LeftOut("empty: it has no samples")
        return *read_wave(file), info.channels
    except soundfile.LibsndfileError as error:
        raise _LeftOut(f"unreadable ({error.error_string})") from error
    except (OSError, ValueError) as error:
        raise _LeftOut(f"unreadable ({error})") from error


def _start(wave: Tensor) -> int:
    """The sample from which to keep a clip that is too long: a little before its sound begins."""
    loud = wave.abs() > wave.abs().max() * 10 ** (-START_BELOW_PEAK_DB / 20)
    return max(0, int(loud.nonzero()[0]) - round(START_MARGIN_S * SAMPLE_RATE_HZ))


def _as_clips(kept: list[tuple[Path, Tensor, int]], dataset: str) -> Clips:
    labels = [name.parts[0] for name, _, _ in kept]
    speakers = [name.parts[1] if len(name.parts) > 2 else UNKNOWN_SPEAKER for name, _, _ in kept]
    digit_names, speaker_names = tuple(sorted(set(labels))), tuple(sorted(set(speakers)))
    n_seen: Counter[tuple[str, str]] = Counter()
    takes = []
    for key in zip(labels, speakers, strict=True):
        takes.append(n_seen[key])
        n_seen[key] += 1
    is_test = torch.tensor(takes) % TEST_EVERY == 1
    return Clips(
        waves=torch.stack([wave for _, wave, _ in kept]),
        digits=torch.tensor([digit_names.index(label) for label in labels]),
        speakers=torch.tensor([speaker_names.index(speaker) for speaker in speakers]),
        takes=torch.tensor(takes),
        n_valid=torch.tensor([n_valid for _, _, n_valid in kept]),
        is_test=is_test,
        is_validation=_drawn_for_validation(list(zip(labels, speakers, strict=True)), is_test),
        names=tuple(name.as_posix() for name, _, _ in kept),
        digit_names=digit_names,
        speaker_names=speaker_names,
        dataset=dataset,
    )


def _drawn_for_validation(groups: list[tuple[str, str]], is_test: Tensor) -> Tensor:
    """One in VALIDATION_SHARE of each group's clips, none of them a test clip: (N,) bool. Same files, same draw."""
    drawn, rng = torch.zeros_like(is_test), torch.Generator().manual_seed(0)
    for group in sorted(set(groups)):
        rows = torch.tensor([row for row, other in enumerate(groups) if other == group])
        free = rows[~is_test[rows]]
        n_drawn = max(round(len(rows) / VALIDATION_SHARE), int(len(rows) >= LEAST_TO_CHOOSE))
        drawn[free[torch.randperm(len(free), generator=rng)[:n_drawn]]] = True
    return drawn
