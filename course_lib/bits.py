"""How many bits a sample of held-out speech costs each predictor: the fewer, the better it foresees the next sample.

Samples are mu-law classes; each is predicted from those before it, and before the first there is silence. Only the
first n_valid samples of a clip count: the zeros that fill it up cost next to nothing, and would flatter everybody.
Taught in: notebooks/06_rnn.ipynb
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def model_bits(logits: Tensor, classes: Tensor, n_valid: Tensor) -> float:
    """Mean of -log2 p(class) over the valid samples, p = softmax(logits).

    Args:    logits: (B, T, C), logits[:, t] made from classes before t.     classes: (B, T).     n_valid: (B,)."""
    valid = _valid(classes, n_valid)
    return F.cross_entropy(logits[valid], classes[valid]).item() / math.log(2)


def table_bits(
    train_classes: Tensor, train_valid: Tensor, test_classes: Tensor, test_valid: Tensor,
    order: int, n_classes: int = 256, add: float = 1.0,
) -> float:  # fmt: skip
    """Thin version."""
    context_train = torch.zeros_like(train_classes)
    context_test = torch.zeros_like(test_classes)
    chance = torch.full(test_classes.shape, 1 / n_classes, dtype=torch.float64)
    for lag in range(order + 1):
        if lag:
            context_train = context_train * n_classes + _before(train_classes, lag, n_classes)
            context_test = context_test * n_classes + _before(test_classes, lag, n_classes)
        n_contexts = n_classes**lag
        pairs = (context_train * n_classes + train_classes)[_valid(train_classes, train_valid)]
        counts = torch.bincount(pairs, minlength=n_contexts * n_classes).view(n_contexts, n_classes)
        seen, kinds = counts.sum(dim=1), (counts > 0).sum(dim=1).clamp_min(1)
        chance = (counts[context_test, test_classes] + add * kinds[context_test] * chance) / (
            seen[context_test] + add * kinds[context_test]
        )
    return -chance[_valid(test_classes, test_valid)].log2().mean().item()


def linear_prediction_bits(
    train_waves: Tensor, train_valid: Tensor, test_waves: Tensor, test_valid: Tensor,
    order: int = 16, n_classes: int = 256, adaptive: bool = True,
) -> float:  # fmt: skip
    """Thin version: comes in the next commit."""
    raise NotImplementedError


def _before(classes: Tensor, lag: int, n_classes: int) -> Tensor:
    return F.pad(classes, (lag, 0), value=n_classes // 2)[:, : classes.shape[1]]


def _valid(classes: Tensor, n_valid: Tensor) -> Tensor:
    return torch.arange(classes.shape[1], device=classes.device) < n_valid[:, None]
