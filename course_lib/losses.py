"""Losses as named parts: `{"cross_entropy": scalar}`. What is minimised is their sum, and each gets its own curve."""

import math

from torch import Tensor, nn
from torch.nn import functional as F


def classification_parts(model: nn.Module, unit_mel: Tensor, digits: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the model's class scores, in nats per clip.

    No label smoothing: it would keep the judge from ever being sure, and so cap the inception score.

    Args:
        model: maps (B, M, L) to logits (B, n_classes).
        unit_mel: (B, M, L) log-mel scaled to [-1, 1].
        digits: (B,) int64, the class of each clip.

    Taught in: notebooks/01_sound_as_data.ipynb
    """
    return {"cross_entropy": F.cross_entropy(model(unit_mel), digits)}


def unsure_divergence(logits: Tensor) -> Tensor:
    """How far class scores are from "I can't tell", in nats per clip: KL(uniform || softmax(logits)).

    Trained on noise, it teaches a judge to be unsure of what is no speech (Hendrycks et al. 2019, outlier exposure).

    Args:    logits: (B, n_classes).
    Returns: scalar >= 0; 0 where all classes score alike.
    """
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])
