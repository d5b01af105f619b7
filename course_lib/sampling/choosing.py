"""Choosing a class from scores, given random numbers that are drawn apart: the same numbers, the same choice.

torch.multinomial(p, 1) draws a standard exponential e for each class and takes argmax(p / e). As p / e is largest where
log p - log e is, and -log e is a Gumbel variable, this is the Gumbel-max trick (Maddison et al. 2014). Keeping the
draws apart from the choice lets two programs be compared sample by sample.

Letters: B clips, T samples, C classes.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_UNIFORM = 2.0**-25  # half of what torch.rand's values are apart: stands for 0, whose logarithm is infinite
PART = 2**16  # numbers


def draw_noise(n_steps: int, n_clips: int, n_classes: int, rng: torch.Generator) -> Tensor:
    """Standard exponentials, one for each class that might be chosen: (T, B, C) > 0, on the generator's device.

    Tensor.exponential_ draws from the same distribution, in double precision and several times slower; these are
    multiples of 6e-8 near 0, so that a class of probability 1e-8 is never drawn.

    Raises: ValueError for sizes below 1."""
    if min(n_steps, n_clips, n_classes) < 1:
        raise ValueError(f"got {n_steps} steps, {n_clips} clips, {n_classes} classes; need at least 1 of each")
    uniform = torch.rand(n_steps, n_clips, n_classes, generator=rng, device=rng.device)  # 0 to 1 - 2**-24
    for part in uniform.split(max(1, PART // (n_clips * n_classes))):  # a part stays in the cache meanwhile
        part.clamp_(min=LEAST_UNIFORM).log_().neg_()
    return uniform


def check_drawing(temperature: float, top_p: float) -> None:
    """Refuse settings that mean nothing.

    Raises: ValueError for a temperature under 0 or infinite, or a top_p outside (0, 1]."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: got {temperature}, need 0 (always the likeliest) or more; 1 is as trained")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: got {top_p}, need above 0 (only the likeliest class is left) to 1 (all are)")


def check_sizes(
    n_clips: int, n_classes: int, noise: Tensor, temperature: float, top_p: float, prime: Tensor | None
) -> None:
    """Refuse what a sampler cannot draw with: noise (T, B, C) and prime (B, T0) or None, of n_clips clips.

    Raises: ValueError for sizes that do not fit, noise that is not above 0, classes that there are not, or settings
            that mean nothing."""
    check_drawing(temperature, top_p)
    if noise.ndim != 3 or len(noise) < 1 or noise.shape[1:] != (n_clips, n_classes):
        raise ValueError(
            f"noise: got {tuple(noise.shape)}, need (T, B, C) = (samples to draw, {n_clips}, {n_classes}), which "
            f"draw_noise(n_steps, {n_clips}, {n_classes}, rng) makes"
        )
    if not bool(noise.min() > 0):
        raise ValueError(f"noise: got numbers down to {float(noise.min())}; need all above 0, as draw_noise makes them")
    if prime is not None and (prime.dtype != torch.int64 or len(prime) != n_clips or prime.shape[1] > len(noise)):
        raise ValueError(
            f"prime: got {prime.dtype} {tuple(prime.shape)}; need int64 classes (B, T0) of {n_clips} clips, not longer "
            f"than the {len(noise)} samples of the noise; mu_law_encode makes them of waves"
        )
    if prime is not None and bool(((prime < 0) | (prime >= n_classes)).any()):
        raise ValueError(f"prime: got classes {int(prime.min())} to {int(prime.max())}, need 0 to {n_classes - 1}")


def top_p_filter(logits: Tensor, top_p: float) -> Tensor:
    """Leave the smallest set of classes whose probabilities reach top_p (nucleus sampling, Holtzman et al. 2020).

    A class stays if those above it do not reach top_p without it; of equals, the lower class counts as above.

    Args:    logits: (..., C), already divided by the temperature; top_p: above 0, to 1.
    Returns: (..., C): the logits, -inf for classes outside the set.
    Raises:  ValueError for another top_p."""
    check_drawing(1.0, top_p)
    if top_p == 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    p = ordered.softmax(dim=-1)
    outside = p.cumsum(dim=-1) - p >= top_p  # what is above a class reaches top_p already
    outside[..., 0] = False
    return logits.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -math.inf)


def choose(logits: Tensor, exponentials: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Draw a class for each row: argmax(logits / temperature - log e), e standard exponentials.

    Args:
        logits, exponentials: (B, C) each.
        temperature: 0 takes the likeliest class, 1 draws as trained; above, unlikely ones come more often.
        top_p: draw only among the smallest set of classes that reaches this probability, after the temperature.
    Returns: (B,) int64.
    Raises:  ValueError for shapes that differ, or settings that mean nothing."""
    check_drawing(temperature, top_p)
    if logits.shape != exponentials.shape:
        raise ValueError(
            f"got logits {tuple(logits.shape)} and exponentials {tuple(exponentials.shape)}; need the same shape: "
            "one number for each class, as draw_noise(...)[t] holds them"
        )
    if temperature == 0:
        return logits.argmax(dim=-1)
    return (top_p_filter(logits / temperature, top_p) - exponentials.log()).argmax(dim=-1)
