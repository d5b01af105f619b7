"""The clips that a recipe learns from, and those it is heard on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.clips.clips import Clips
from course_lib.judging.metrics import balanced_rows
from course_lib.settings.profiles import current_profile
from course_lib.sound.audio import fit_length
from course_lib.sound.effects import change_speed


def smaller(clips: Clips) -> Clips:
    """At the smoke profile, enough clips to see that a recipe runs: every digit and speaker, seconds of work."""
    if current_profile().name != "smoke":
        return clips
    chosen = []
    for mask, n in ((~clips.is_test & ~clips.is_validation, 120), (clips.is_validation, 60), (clips.is_test, 60)):
        rows = mask.nonzero()[:, 0]
        chosen.append(rows[balanced_rows(clips.select(rows), min(n, len(rows)))])
    return clips.select(torch.cat(chosen))


def waves_at_speeds(clips: Clips, speeds: Sequence[float]) -> list[Tensor]:
    """All clips at each tape speed (above 1 shorter and higher), cut or filled up to their length: (N, T) each."""
    n_samples = clips.waves.shape[1]
    return [fit_length(change_speed(clips.waves, speed), n_samples) for speed in speeds]


def one_of_each_digit(clips: Clips) -> Tensor:
    """Rows of a clip of each digit, in the order of the digits: what is played to show a model."""
    rows = balanced_rows(clips, min(len(clips), len(clips.digit_names)))
    return rows[clips.digits[rows].argsort()]
