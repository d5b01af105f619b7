"""Mel frames, the diet of the dense models of notebooks 03 and 04: 80 bands, one moment at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.judging.metrics import judged_accuracy, load_judge
from course_lib.recipes.speech import one_of_each_digit
from course_lib.sound.features import AudioConfig, log_mel, to_unit
from course_lib.sound.vocoder import vocode

FRAME_CONFIG = AudioConfig(n_mels=80)


def frames_of(clips: Clips) -> Tensor:
    """Every moment of every clip, silence after the word included: (N * L, 80)."""
    return clip_log_mels(clips, FRAME_CONFIG).transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def resynthesise_frames(recode: Callable[[Tensor], Tensor], clips: Clips) -> tuple[float, Tensor]:
    """Send the test clips frame by frame through a model, and to sound.

    Args:    recode: (N, 80) -> (N, 80).
    Returns: the share of clips that the judge then reads rightly, and a clip of each digit in a row: (T,)."""
    test = clips.test
    frames = frames_of(test)
    recoded = recode(frames).unflatten(0, (len(test), -1)).transpose(1, 2)  # (B, 80, L)
    waves = vocode(recoded.clamp(-1, 1), FRAME_CONFIG)
    cfg = AudioConfig()  # the judge's
    judge = load_judge(clips.dataset, clips.device, cfg)
    judged = judged_accuracy(judge, to_unit(log_mel(waves, cfg), cfg), test.digits)
    return judged, waves[one_of_each_digit(test)].flatten()
