"""Where the course's clips come from: FSDD, the bundled digits, or a folder of your own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from course_lib.clips.archives import DataError, read_recordings, recordings_digest
from course_lib.clips.clips import (
    N_SAMPLES,
    N_TEST_TAKES,
    SAMPLE_RATE_HZ,
    VALIDATION_SHARE,
    Clips,
    fit_clip,
)
from course_lib.clips.fsdd import download_fsdd, read_fsdd
from course_lib.settings.profiles import bundled_dir
from course_lib.sound.audio import read_wave

DATASETS = ("auto", "fsdd", "bundled")
BUNDLED_DIGEST = "cdc54077ad9ce60e07c9f5043aae9c6f1ab1b6165067ea7f27aecb19a08d188c"  # of data/bundled_digits.zip
IMPORT_HINT = "`course data import PATH` takes its archive or folder"


def load_clips(dataset: str = "auto", device: str | torch.device = "cpu") -> Clips:
    """Load a data set on to a device.

    Args:   dataset: "fsdd" (from the cache, else downloaded), "bundled" (synthetic digits that come with the course),
                or "auto": what COURSE_DATASET says, else FSDD where it can be had and the bundled digits where not.
    Raises: ValueError for another name; DataError if FSDD was asked for and cannot be had.
    """
    if dataset == "auto":
        dataset = os.environ.get("COURSE_DATASET", "").strip() or "auto"
    if dataset not in DATASETS:
        raise ValueError(f"data set: got {dataset!r}, need one of {', '.join(DATASETS)} (argument or COURSE_DATASET)")
    if dataset == "bundled":
        return _load_bundled().to(device)
    try:
        return _load_fsdd().to(device)
    except DataError as error:
        if dataset == "fsdd":
            raise DataError(
                f"FSDD cannot be had: {error}. {IMPORT_HINT}, from any machine that can download it; "
                'or use load_clips("bundled")'
            ) from error
        print(
            f"*** NOT REAL SPEECH: running on the bundled synthetic digits, so figures will differ from the course's. "
            f"FSDD cannot be had ({error}); {IMPORT_HINT}. ***",
            file=sys.stderr,
            flush=True,
        )
        return _load_bundled().to(device)


def _load_fsdd() -> Clips:
    recordings = read_fsdd()
    if recordings is None:
        recordings = read_recordings(download_fsdd())
    return clips_from_recordings(recordings, "fsdd")


def _load_bundled() -> Clips:
    path = bundled_dir() / "bundled_digits.zip"
    recordings = read_recordings(path)
    if recordings_digest(recordings) != BUNDLED_DIGEST:
        raise DataError(f"{path}: damaged (its contents do not match their digest); get the course's files again")
    return clips_from_recordings(recordings, "bundled")


def clips_from_recordings(recordings: Mapping[str, bytes], dataset: str) -> Clips:
    """Decode files named {digit}_{speaker}_{take}.wav or .flac, sorted by digit, speaker and take.

    Raises: DataError if one cannot be decoded or is not at 8 kHz.
    """
    labels = {name: Path(name).stem.split("_") for name in recordings}
    order = sorted(recordings, key=lambda name: (labels[name][0], labels[name][1], int(labels[name][2])))
    speaker_names = tuple(sorted({speaker for _, speaker, _ in labels.values()}))
    waves = torch.zeros(len(order), N_SAMPLES)
    n_valid = torch.zeros(len(order), dtype=torch.int64)
    for row, name in enumerate(order):
        waves[row], n_valid[row] = fit_clip(_decode(name, recordings[name]))
    takes = torch.tensor([int(labels[name][2]) for name in order])
    n_takes = len(takes.unique())
    return Clips(
        waves=waves,
        digits=torch.tensor([int(labels[name][0]) for name in order]),
        speakers=torch.tensor([speaker_names.index(labels[name][1]) for name in order]),
        takes=takes,
        n_valid=n_valid,
        is_test=takes < N_TEST_TAKES,
        is_validation=(takes >= N_TEST_TAKES) & (takes < N_TEST_TAKES + n_takes // VALIDATION_SHARE),
        names=tuple(Path(name).stem for name in order),
        speaker_names=speaker_names,
        dataset=dataset,
    )


def _decode(name: str, content: bytes) -> torch.Tensor:
    try:
        wave, rate_hz = read_wave(io.BytesIO(content))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error
    if rate_hz != SAMPLE_RATE_HZ:
        raise DataError(f"{name}: got {rate_hz} Hz, need {SAMPLE_RATE_HZ} Hz")
    return wave
