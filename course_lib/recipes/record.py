"""What a recipe hands over, and what every record says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from torch import Tensor, nn

from course_lib.sound.features import AudioConfig
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.history import History

LICENCES = {"fsdd": "CC BY-SA 4.0", "bundled": "CC0 1.0"}  # the weights' licence follows from the data's
LAST_STEP = "the last step; their number was fixed beforehand"


@dataclass(frozen=True)
class Made:
    """A trained model, how it was made, and what it says.

    Args:
        record: as save_pretrained wants it.
        sample: (T,) sound of the model, to be heard before anybody trains; None for a model that does not speak.
        others: models trained beside it, as the last step left them, to go on training from: saved as NAME_KEY.
    """

    model: nn.Module
    record: dict
    sample: Tensor | None = None
    others: dict[str, nn.Module] = field(default_factory=dict)


Recipe = Callable[[Checkpoints], Made]


def record_of(
    dataset: str, history: History, seed: int, cfg: AudioConfig, metrics: dict[str, float], chosen: str = LAST_STEP
) -> dict:
    """The record of a model that `fit` trained.

    Args:    metrics: on the test set.     chosen: which moment and settings, and what decided: never the test set."""
    return {
        "dataset": dataset,
        "licence": LICENCES[dataset],
        "steps": len(history.steps),
        "train_seconds": round(history.seconds, 1),
        "device": f"{history.device}, {history.precision}",
        "seed": seed,
        "chosen": chosen,
        "audio_config": asdict(cfg),  # a model can read and paint only pictures made like those it learned from
        "metrics": {name: round(value, 4) for name, value in metrics.items()},
    }
