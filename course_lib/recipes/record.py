"""What a recipe hands over, and what every record says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from course_lib.checkpoint import Checkpoints
from course_lib.clips import Clips
from course_lib.features import AudioConfig
from course_lib.metrics import balanced_rows
from course_lib.profiles import current_profile
from course_lib.training import History

LICENCES = {"fsdd": "CC BY-SA 4.0", "bundled": "CC0 1.0"}  # the weights' licence follows from the data's


@dataclass(frozen=True)
class Made:
    """A trained model, how it was made, and what it says.

    Args:
        record: as save_pretrained wants it.
        sample: (T,) sound of the model, to be heard before anybody trains; None for a model that does not speak.
    """

    model: nn.Module
    record: dict
    sample: Tensor | None = None


Recipe = Callable[[Checkpoints], Made]


def record_of(dataset: str, history: History, seed: int, cfg: AudioConfig, metrics: dict[str, float]) -> dict:
    """The record of a model that `fit` trained."""
    return {
        "dataset": dataset,
        "licence": LICENCES[dataset],
        "steps": len(history.steps),
        "train_seconds": round(history.seconds, 1),
        "device": f"{history.device}, {history.precision}",
        "seed": seed,
        "audio_config": asdict(cfg),  # a model can read and paint only pictures made like those it learned from
        "metrics": {name: round(value, 4) for name, value in metrics.items()},
    }


def smaller(clips: Clips) -> Clips:
    """At the smoke profile, enough clips to see that a recipe runs: every digit and speaker, seconds of work."""
    if current_profile().name != "smoke":
        return clips
    rows = [torch.where(clips.is_test == part)[0] for part in (False, True)]
    parts = (clips.train, clips.test)
    chosen = [row[balanced_rows(part, min(n, len(part)))] for row, part, n in zip(rows, parts, (120, 60), strict=True)]
    return clips.select(torch.cat(chosen))
