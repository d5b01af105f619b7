"""Exercise 06.1: the Jensen-Shannon divergence of two densities on a grid."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def jensen_shannon(p_real: Tensor, p_fake: Tensor, spacing: float) -> Tensor:
    """Half KL(p || m) plus half KL(q || m), m = (p + q) / 2, in nats: 0 to log 2 (Lin 1991).

    Args:    p_real, p_fake: (N,) densities, >= 0, on a grid with steps of `spacing`; each sums to 1 / spacing.
    Returns: scalar."""
    middle = (p_real + p_fake) / 2
    return 0.5 * (_integrand(p_real, middle) + _integrand(p_fake, middle)).sum() * spacing


def _integrand(p: Tensor, q: Tensor) -> Tensor:
    """p log(p / q), 0 where p is 0, even where q is, too."""
    return torch.xlogy(p, p) - torch.xlogy(p, q)


def _draw_densities(rng: torch.Generator, trial: int) -> dict:
    """Positive; each 0 in places of its own; both 0 at once; nothing in common; nearly equal."""
    n, spacing = ((23, 0.25), (17, 0.5), (40, 0.1), (31, 0.07), (12, 0.4))[trial % 5]
    spacing = spacing * (1 + 0.2 * float(torch.rand(1, generator=rng)))
    p, q = 0.1 + torch.rand(2, n, generator=rng) ** 2
    where = torch.arange(n)
    if trial % 5 == 1:
        p, q = p * (where % 4 != 1), q * (where % 4 != 2)
    if trial % 5 == 2:
        p, q = p * (where % 3 != 1) * (where > 4), q * (where > 6) * (where % 4 != 2)
    if trial % 5 == 3:
        p, q = p * (where < n // 3), q * (where > n // 2)
    if trial % 5 == 4:
        q = p * (1 + 0.2 * torch.randn(n, generator=rng).clamp(-2, 2))
    return {"p_real": p / (p.sum() * spacing), "p_fake": q / (q.sum() * spacing), "spacing": spacing}


def _of_integrands(combine):
    """An answer made of the integral of combine(p, q, m)."""

    def answer(p_real: Tensor, p_fake: Tensor, spacing: float) -> Tensor:
        return combine(p_real, p_fake, (p_real + p_fake) / 2).sum() * spacing

    return answer


def _of_result(change):
    """An answer that spoils the right result at the end."""
    return lambda p_real, p_fake, spacing: change(jensen_shannon(p_real, p_fake, spacing), spacing, len(p_real))


def _by_trapezoids(p_real: Tensor, p_fake: Tensor, spacing: float) -> Tensor:
    middle = (p_real + p_fake) / 2
    return torch.trapezoid(0.5 * (_integrand(p_real, middle) + _integrand(p_fake, middle)), dx=spacing)


def _lost_where_either_is_zero(p: Tensor, q: Tensor, m: Tensor) -> Tensor:
    return 0.5 * (_integrand(p, m) + _integrand(q, m)) * ((p > 0) & (q > 0))


JENSEN_SHANNON = Exercise(
    id="06.1",
    title="the Jensen-Shannon divergence",
    points=3,
    function="jensen_shannon",
    draw=_draw_densities,
    reference=jensen_shannon,
    n_trials=5,
    difficulty=2,
    minutes=10,
    hint="two integrals, each the sum over the grid of p log(p / m), times spacing, with 0 where p is 0; half of each, "
    "and m is the mean of the two densities.",
    wrong_answers=(
        WrongAnswer(
            "nan where a density is 0",
            _of_integrands(lambda p, q, m: 0.5 * (p * (p / m).log() + q * (q / m).log())),
            "0 * log(0) is NaN in floating point, though its limit is 0: torch.xlogy(p, p) knows that, or "
            "torch.where(p > 0, ..., 0.0).",
        ),
        WrongAnswer(
            "nan where both are 0",
            _of_integrands(lambda p, q, m: 0.5 * (torch.xlogy(p, p / m) + torch.xlogy(q, q / m))),
            "right until both densities are 0 at one place: there p / m is 0 / 0, NaN, and no xlogy or kl_div mends "
            "it. Such places count 0.",
        ),
        WrongAnswer(
            "left out where either is 0",
            _of_integrands(_lost_where_either_is_zero),
            "you leave out every place where *either* density is 0: the other one's term stays, p log(p / (p / 2)).",
        ),
        WrongAnswer(
            "clamped",
            lambda p_real, p_fake, spacing: jensen_shannon(p_real.clamp(min=1e-3), p_fake.clamp(min=1e-3), spacing),
            "your floor of 1e-3 under the densities shows in the result: treat 0 as 0 (torch.xlogy), or take a floor "
            "far smaller.",
        ),
        WrongAnswer(
            "KL from real to fake",
            _of_integrands(_integrand),
            "that is KL(p || q), infinite where q is 0: each density is compared with the *mixture* m, which is "
            "nowhere 0 where it is not.",
        ),
        WrongAnswer(
            "KL from fake to real",
            _of_integrands(lambda p, q, m: _integrand(q, p)),
            "that is KL(q || p), infinite where p is 0: compare each density with the mixture m.",
        ),
        WrongAnswer(
            "KL both ways",
            _of_integrands(lambda p, q, m: 0.5 * (_integrand(p, q) + _integrand(q, p))),
            "the mean of KL(p || q) and KL(q || p) is Jeffreys' divergence, infinite where one is 0: the mixture m "
            "stands second in both.",
        ),
        WrongAnswer(
            "KL from the mixture",
            _of_integrands(lambda p, q, m: 0.5 * (_integrand(m, p) + _integrand(m, q))),
            "the wrong way round: KL(p || m), averaged over p, not over the mixture.",
        ),
        WrongAnswer(
            "not halved",
            _of_result(lambda js, spacing, n: 2 * js),
            "twice too large: *half* of each of the two KLs, so that it never exceeds log 2.",
        ),
        WrongAnswer(
            "halved twice",
            _of_result(lambda js, spacing, n: js / 2),
            "half of what it should be: one half before each KL, and none besides.",
        ),
        WrongAnswer(
            "real half only",
            _of_integrands(lambda p, q, m: 0.5 * _integrand(p, m)),
            "you have the real density's half only: add 0.5 KL(q || m).",
        ),
        WrongAnswer(
            "fake half only",
            _of_integrands(lambda p, q, m: 0.5 * _integrand(q, m)),
            "you have the fake density's half only: add 0.5 KL(p || m).",
        ),
        WrongAnswer(
            "KL to the mixture",
            _of_integrands(lambda p, q, m: _integrand(p, m)),
            "that is KL(p || m) alone, and whole: half of it, and half of KL(q || m).",
        ),
        WrongAnswer(
            "sum for the mixture",
            _of_result(lambda js, spacing, n: js - math.log(2)),
            "your mixture is p + q, which integrates to 2, and the result is negative: m = (p + q) / 2.",
        ),
        WrongAnswer(
            "geometric mixture",
            lambda p_real, p_fake, spacing: (
                0.5
                * (_integrand(p_real, (p_real * p_fake).sqrt()) + _integrand(p_fake, (p_real * p_fake).sqrt())).sum()
                * spacing
            ),
            "you mix by sqrt(p q), which is 0 where either is: the arithmetic mean, (p + q) / 2.",
        ),
        WrongAnswer(
            "spacing forgotten",
            _of_result(lambda js, spacing, n: js / spacing),
            "a sum over grid points is no integral yet: times spacing, or a finer grid would give a larger result.",
        ),
        WrongAnswer(
            "mean over the grid",
            _of_result(lambda js, spacing, n: js / spacing / n),
            "you average over the grid points: sum, times spacing.",
        ),
        WrongAnswer(
            "spacing twice",
            _of_result(lambda js, spacing, n: js * spacing),
            "spacing is in it twice: multiply densities by it before, or the sum after, not both.",
        ),
        WrongAnswer(
            "trapezoids",
            _by_trapezoids,
            "the trapezoid rule halves the two end points: here an integral is the plain sum times spacing.",
        ),
        WrongAnswer(
            "bits",
            _of_result(lambda js, spacing, n: js / math.log(2)),
            "those are bits (log2): nats, so the natural logarithm.",
        ),
        WrongAnswer(
            "root",
            _of_result(lambda js, spacing, n: js.clamp(min=0).sqrt()),
            "that is the Jensen-Shannon *distance*, the root, which scipy gives: the divergence is not rooted.",
        ),
        WrongAnswer(
            "the generator's loss",
            _of_result(lambda js, spacing, n: 2 * js - math.log(4)),
            "2 JS - log 4 is the value of the whole game: JS alone is asked for, 0 for equal densities.",
        ),
        WrongAnswer(
            "the discriminator's loss",
            _of_result(lambda js, spacing, n: math.log(4) - 2 * js),
            "log 4 - 2 JS is the best discriminator's loss: JS alone is asked for, 0 for equal densities.",
        ),
        WrongAnswer(
            "negative",
            _of_result(lambda js, spacing, n: -js),
            "the sign: log(p / m), not log(m / p).",
        ),
        WrongAnswer(
            "total variation",
            _of_integrands(lambda p, q, m: 0.5 * (p - q).abs()),
            "half the integral of |p - q| is the total variation: the Jensen-Shannon divergence takes logarithms.",
        ),
        WrongAnswer(
            "not summed",
            lambda p_real, p_fake, spacing: (
                0.5
                * spacing
                * (_integrand(p_real, (p_real + p_fake) / 2) + _integrand(p_fake, (p_real + p_fake) / 2))
            ),
            "that is one number a grid point: sum them up.",
        ),
        WrongAnswer(
            "kl_div averaged",
            _of_result(lambda js, spacing, n: js / n),
            "you multiply by spacing, but divide by the number of grid points as well, as F.kl_div does with "
            "reduction='batchmean' or 'mean': 'sum', times spacing.",
        ),
    ),
)
