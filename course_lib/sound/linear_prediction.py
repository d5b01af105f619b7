"""Linear prediction of the next sample, and the bits that its mu-law class costs: the old art that a network must beat.

A sample is a weighted sum of the last 16, give or take a residual. Of mobile telephones' codecs this is the heart
(Atal & Hanauer 1971; Makhoul 1975); here the weights and the residual's scale may follow the clip as it goes on,
from its own past alone, as in ITU-T G.728.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.sound.features import mu_law_encode

HOP = 16  # samples from one set of weights to the next; this, KEPT and PULL were tuned on training clips
KEPT = 0.87  # of what the weights remember, from hop to hop: 0.99 costs 0.1 bits
PULL = 2.0  # samples' worth of the average clip that each set of weights is fitted to besides the clip's own past
WINDOWS = (4, 16, 64, 256)  # samples: how far back to look for the residual's size
LEVEL_WINDOW, LEVEL_FLOOR = 64, 1e-4  # what the weights are fitted to counts in units of this
MOST_CLIPS = 100  # to learn from: 16 weights and 5 numbers need no more
AT_ONCE = 50  # clips: bounds the memory
FARTHEST = 1e3  # stands for an infinite wave: exp(-FARTHEST / scale) is 0 at any scale of speech


class LinearPredictor(NamedTuple):
    """Least squares of the average clip, and the scale of the Laplace residual."""

    products: Tensor  # (P, P) float64: mean products of the last P samples, each in units of the residual's level
    towards: Tensor  # (P,): mean products with the next sample; the average clip's weights are products^-1 towards
    gains: Tensor  # (len(WINDOWS),): the scale is the sum of gain x mean |residual| over each window, ...
    floor: Tensor  # scalar: ... plus this, since it must not come to 0 in silence
    adaptive: bool  # whether weights follow the clip

    def predict(self, waves: Tensor, n_valid: Tensor) -> tuple[Tensor, Tensor]:
        """waves (B, T) -> prediction and scale of each sample, both (B, T) float64, from samples before it alone."""
        waves = (waves * valid_samples(waves, n_valid)).cpu().double()
        predicted = _predicted(self, waves, n_valid.cpu())
        return predicted, _recent_sizes(waves - predicted) @ self.gains + self.floor


def linear_prediction_bits(
    train_waves: Tensor,
    train_valid: Tensor,
    test_waves: Tensor,
    test_valid: Tensor,
    order: int = 16,
    n_classes: int = 256,
    adaptive: bool = True,
) -> float:
    """Bits a sample with linear prediction and a Laplace residual, its constants fitted on the training clips.

    It is told the past waves exactly, and a model of classes only the classes: that is worth 0.04 bits.

    Args:    train_waves (N, T), train_valid (N,), test_waves (B, T'), test_valid (B,).
             adaptive: weights and scale follow the clip; else one set of weights and one scale for all samples.
    Raises:  ValueError for waves over 1, or clips that are all silent."""
    predictor = fit_linear_predictor(train_waves, train_valid, order, n_classes, adaptive)
    bits, valid = sample_bits(predictor, test_waves, test_valid, n_classes), valid_samples(test_waves, test_valid)
    return bits[valid.cpu()].mean().item()


def fit_linear_predictor(
    waves: Tensor, n_valid: Tensor, order: int = 16, n_classes: int = 256, adaptive: bool = True
) -> LinearPredictor:
    """Fit to at most MOST_CLIPS of the clips (N, T), evenly spaced."""
    rows = torch.linspace(0, len(waves) - 1, min(len(waves), MOST_CLIPS)).round().long()
    waves, n_valid = waves.cpu()[rows], n_valid.cpu()[rows]
    valid = valid_samples(waves, n_valid)
    waves = (waves * valid).double()
    products, towards = _normal_equations(waves, valid, torch.ones_like(waves), order)
    start = LinearPredictor(products, towards, torch.zeros(len(WINDOWS)).double(), torch.ones(()).double(), False)
    residual = waves - _predicted(start, waves, n_valid)
    if not adaptive:
        return start._replace(floor=residual[valid].abs().mean())  # of a Laplace law, that is the likeliest scale
    # In units of the level a quiet passage counts as much as a loud one.
    products, towards = _normal_equations(waves, valid, _level(residual), order)
    follows = start._replace(products=products, towards=towards, adaptive=True)
    predicted = _predicted(follows, waves, n_valid)
    sizes = _recent_sizes(waves - predicted)[valid]
    gains, floor = _fit_scale(sizes, predicted[valid], mu_law_encode(waves, n_classes)[valid], n_classes)
    return follows._replace(gains=gains, floor=floor)


def sample_bits(predictor: LinearPredictor, waves: Tensor, n_valid: Tensor, n_classes: int = 256) -> Tensor:
    """Bits that the mu-law class of each sample costs. waves (B, T) -> (B, T); those past n_valid mean nothing."""
    classes = mu_law_encode(waves.cpu(), n_classes)
    return -class_log2(classes, *predictor.predict(waves, n_valid), n_classes)


def class_log2(classes: Tensor, predicted: Tensor, scale: Tensor, n_classes: int = 256) -> Tensor:
    """log2 of the chance that a Laplace law gives to a mu-law class: its integral from edge to edge.

    The first and the last class reach to infinity, so that all chances sum to 1.
    Args:    classes (...,) int64; predicted, scale: (...,) float64.     Returns: (...,)."""
    edges = class_edges(n_classes)
    low, high = (edges[classes] - predicted) / scale, (edges[classes + 1] - predicted) / scale
    # Both edges on one side: exp(-near) (1 - exp(-(far - near))) / 2, of which the logarithm is taken factor by factor.
    beside = -torch.minimum(low.abs(), high.abs()) + (-torch.expm1(low - high)).log() - math.log(2)
    around = (-0.5 * (torch.expm1(low.clamp_max(0)) + torch.expm1(-high.clamp_min(0)))).log()
    return torch.where((low < 0) & (high > 0), around, beside) / math.log(2)


def class_edges(n_classes: int) -> Tensor:
    """The waves at which mu_law_encode goes from one class to the next, and +-FARTHEST. (n_classes + 1,) float64."""
    mu = n_classes - 1
    squashed = (torch.arange(1, n_classes, dtype=torch.float64) - 0.5) / mu * 2 - 1
    edges = squashed.sign() * torch.expm1(squashed.abs() * math.log1p(mu)) / mu
    return F.pad(F.pad(edges, (1, 0), value=-FARTHEST), (0, 1), value=FARTHEST)


def _predicted(predictor: LinearPredictor, waves: Tensor, n_valid: Tensor) -> Tensor:
    """Each sample from those before it. (B, T) float64 -> (B, T), 0 past n_valid (B,)."""
    predicted = torch.zeros_like(waves)
    for rows in n_valid.argsort().split(AT_ONCE):  # clips of like lengths, cut: most of FSDD's are half zeros
        n_samples = max(int(n_valid[rows].max()), 1)
        predicted[rows, :n_samples] = _predicted_at_once(predictor, waves[rows, :n_samples])
    return predicted


def _predicted_at_once(predictor: LinearPredictor, waves: Tensor) -> Tensor:
    order, n_samples = len(predictor.towards), waves.shape[1]
    average = torch.linalg.solve(predictor.products, predictor.towards)
    predicted = _history(waves, order) @ average
    if not predictor.adaptive:
        return predicted
    padded = F.pad(waves, (0, -n_samples % HOP))
    level = _level(F.pad(waves - predicted, (0, -n_samples % HOP)))  # (B, T)
    history = _history(padded, order)  # (B, T, P)
    blocks = (history / level[..., None]).unflatten(1, (-1, HOP))  # (B, n, HOP, P)
    products = blocks.mT @ blocks  # (B, n, P, P): of one hop each
    towards = (blocks * (padded / level).unflatten(1, (-1, HOP))[..., None]).sum(dim=2)  # (B, n, P)
    products, towards = _remembered(products), _remembered(towards)  # of all hops before
    weights = torch.linalg.solve(products + PULL * predictor.products, towards + PULL * predictor.towards)  # (B, n, P)
    return (history.unflatten(1, (-1, HOP)) @ weights[..., None]).flatten(1)[:, :n_samples]


def _remembered(values: Tensor) -> Tensor:
    """sum over i >= 1 of KEPT^(i - 1) values[:, n - i]. (B, n, ...) -> (B, n, ...)."""
    sums = [torch.zeros_like(values[:, 0])]
    for value in values[:, :-1].unbind(dim=1):
        sums.append(KEPT * sums[-1] + value)
    return torch.stack(sums, dim=1)


def _fit_scale(sizes: Tensor, predicted: Tensor, classes: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """The gains and the floor with which the classes cost the fewest bits. sizes (n, W); predicted, classes (n,)."""
    sizes, predicted, classes = (values[:: 1 + len(values) // 200_000] for values in (sizes, predicted, classes))
    start = torch.full((len(WINDOWS) + 1,), 1 / len(WINDOWS), dtype=torch.float64)
    start[-1] = LEVEL_FLOOR
    log_gains = start.log().requires_grad_()  # logarithms, so that none falls below 0
    optimizer = torch.optim.LBFGS([log_gains], max_iter=40, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        gains = log_gains.exp()
        loss = -class_log2(classes, predicted, sizes @ gains[:-1] + gains[-1], n_classes).mean()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    gains = log_gains.detach().exp()
    return gains[:-1], gains[-1]


def _normal_equations(waves: Tensor, valid: Tensor, level: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Mean products of the last `order` samples with one another (P, P) and with the next (P,), in units of level."""
    products, towards = torch.zeros(order, order).double(), torch.zeros(order).double()
    for some, inside, unit in zip(waves.split(AT_ONCE), valid.split(AT_ONCE), level.split(AT_ONCE), strict=True):
        history = _history(some, order)[inside] / unit[inside][:, None]  # (n, P)
        products += history.T @ history
        towards += history.T @ (some / unit)[inside]
    n = valid.sum()
    if not products.trace() > 0:
        raise ValueError("the training clips are all silent: nothing to predict; look at waves and n_valid")
    return products / n + 1e-9 * products.trace() / n * torch.eye(order), towards / n  # never quite singular


def _history(waves: Tensor, order: int) -> Tensor:
    """The `order` samples before each, the last first; zeros before the clip. (B, T) -> (B, T, order)."""
    return F.pad(waves, (order, 0)).unfold(1, order, 1)[:, : waves.shape[1]].flip(2)


def _level(residual: Tensor) -> Tensor:
    return _mean_before(residual.abs(), LEVEL_WINDOW) + LEVEL_FLOOR


def _recent_sizes(residual: Tensor) -> Tensor:
    """Mean |residual| over each of WINDOWS before each sample. (B, T) -> (B, T, len(WINDOWS))."""
    return torch.stack([_mean_before(residual.abs(), window) for window in WINDOWS], dim=-1)


def _mean_before(values: Tensor, window: int) -> Tensor:
    """Mean of the `window` values before each, zeros before the clip. (B, T) -> (B, T)."""
    sums = F.pad(values, (window + 1, 0)).cumsum(dim=1)
    return ((sums[:, window:-1] - sums[:, : -window - 1]) / window).clamp_min(0)  # not -1e-17, after rounding


def valid_samples(values: Tensor, n_valid: Tensor) -> Tensor:
    """Which samples of values (B, T) come from the recording: the first n_valid (B,) of each clip. (B, T) bool."""
    if values.ndim != 2 or n_valid.shape != values.shape[:1]:
        raise ValueError(f"got samples {tuple(values.shape)}, n_valid {tuple(n_valid.shape)}; need (B, T) and (B,)")
    if not (n_valid > 0).any() or int(n_valid.max()) > values.shape[1]:
        raise ValueError(f"n_valid: up to {int(n_valid.max())} of {values.shape[1]} samples; need 1 to all of them")
    return torch.arange(values.shape[1], device=values.device) < n_valid.to(values.device)[:, None]
