"""Exercise 01.2: mu-law."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.sound.features import mu_law_decode, mu_law_encode


def _draw_wave(rng: torch.Generator, trial: int) -> dict:
    """With the last wave, two slips always differ that on most waves do not: mu = n_classes, and that as a factor."""
    for _ in range(100):
        inputs = _draw_near_edges(rng, trial)
        if trial % 4 < 3 or not torch.equal(_mu_too_large(**inputs), _mapped_too_high(**inputs)):
            break
    return inputs


def _draw_near_edges(rng: torch.Generator, trial: int) -> dict:
    """Samples near the edges of their classes: a slightly wrong curve shows, and no rounding error tips a right one."""
    n_classes = (256, 16, 64, 11)[trial % 4]
    shape = ((40,), (3, 25), (2, 31), (5, 7))[trial % 4]
    mu, is_quiet = n_classes - 1, trial % 4 == 2
    where = torch.rand(shape, generator=rng) * mu
    if is_quiet:  # never at full scale: the curve is fixed, not fitted to each wave's peak
        where = 0.1 * mu + 0.8 * where
    side = torch.randint(2, shape, generator=rng) * 2 - 1
    where = where.round() + side * (0.4 + 0.08 * torch.rand(shape, generator=rng))
    if not is_quiet:
        where.view(-1)[:2] = torch.tensor([0.0, mu])  # full scale, both ways
    return {"wave": mu_law_decode(where.clamp(0, n_classes - 1), n_classes).clamp(-1, 1), "n_classes": n_classes}


def _squash(wave: Tensor, mu: float) -> Tensor:
    return wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)


def _to_classes(squashed: Tensor, mu: float) -> Tensor:
    return ((squashed + 1) / 2 * mu + 0.5).to(torch.int64)


def _mu_too_large(wave: Tensor, n_classes: int) -> Tensor:
    return _to_classes(_squash(wave, n_classes), n_classes)


def _mapped_too_high(wave: Tensor, n_classes: int) -> Tensor:
    return ((_squash(wave, n_classes - 1) + 1) / 2 * n_classes).round().to(torch.int64)


def _curve_over(wave: Tensor, mu: float, divisor: float) -> Tensor:
    return _to_classes(wave.sign() * torch.log1p(mu * wave.abs()) / divisor, mu)


def _fitted_to_peak(wave: Tensor, n_classes: int) -> Tensor:
    squashed = _squash(wave, n_classes - 1)
    low, high = squashed.min(), squashed.max()
    return ((squashed - low) / (high - low) * (n_classes - 1)).round().to(torch.int64)


def _nearest_sample(wave: Tensor, n_classes: int) -> Tensor:
    return (wave[..., None] - mu_law_decode(torch.arange(n_classes), n_classes)).abs().argmin(dim=-1)


def _squashed_in_place(wave: Tensor, n_classes: int) -> Tensor:
    classes = mu_law_encode(wave, n_classes)
    wave.abs_()
    return classes


def _sample_by_sample(wave: Tensor, n_classes: int) -> Tensor:
    mu = n_classes - 1
    squashed = [math.copysign(math.log1p(mu * abs(x)) / math.log1p(mu), x) for x in wave]  # fails where x is a row
    return _to_classes(torch.tensor(squashed), mu)


MU_LAW = Exercise(
    id="01.2",
    title="mu-law",
    points=3,
    function="my_mu_law",
    draw=_draw_wave,
    reference=mu_law_encode,
    difficulty=2,
    minutes=12,
    hint="squash with mu = n_classes - 1, map [-1, 1] to [0, mu], add a half, cut the fraction off with .to(int64).",
    wrong_answers=(
        WrongAnswer(
            "linear",
            lambda wave, n_classes: _to_classes(wave, n_classes - 1),
            "these steps are all of one size: the wave has to go through the curve F before it is rounded.",
        ),
        WrongAnswer(
            "cut off, not rounded",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1)).to(torch.int64),
            "the fraction was cut off, which doubles the largest error: round to the nearest (add 0.5 first).",
        ),
        WrongAnswer(
            "mu = n_classes",
            _mu_too_large,
            "n_classes classes are numbered 0 to n_classes - 1, so mu is n_classes - 1: full scale got one too many.",
        ),
        WrongAnswer(
            "sign lost",
            lambda wave, n_classes: mu_law_encode(wave.abs(), n_classes),
            "negative samples came out positive: the curve bends |x|, and then the sign of x has to come back.",
        ),
        WrongAnswer(
            "logarithm of negative numbers",
            lambda wave, n_classes: _to_classes(
                torch.log1p((n_classes - 1) * wave) / math.log1p(n_classes - 1), n_classes - 1
            ),
            "ln(1 + mu x) has no value for most negative x: |x| goes inside, and the sign of x outside.",
        ),
        WrongAnswer(
            "256 written into the code",
            lambda wave, n_classes: mu_law_encode(wave, 256),
            "right for 256 classes only: take mu from n_classes.",
        ),
        WrongAnswer(
            "left as floats",
            lambda wave, n_classes: mu_law_encode(wave, n_classes).float(),
            "right values, wrong dtype: class numbers are int64, so that they can index a table.",
        ),
        WrongAnswer(
            "not moved to 0..mu",
            lambda wave, n_classes: (_squash(wave, n_classes - 1) * (n_classes - 1)).round().to(torch.int64),
            "some classes are negative: F runs from -1 to 1, so map it to 0..mu by (F + 1) / 2 * mu.",
        ),
        WrongAnswer(
            "mu = n_classes in the curve",
            lambda wave, n_classes: _to_classes(_squash(wave, n_classes), n_classes - 1),
            "nearly: the curve has mu = n_classes in it; mu is n_classes - 1 everywhere.",
        ),
        WrongAnswer(
            "mu = n_classes in the numerator",
            lambda wave, n_classes: _to_classes(
                wave.sign() * torch.log1p(n_classes * wave.abs()) / math.log(n_classes), n_classes - 1
            ),
            "nearly: ln(1 + mu |x|) has mu = n_classes in it, so F(1) is a little over 1; mu is n_classes - 1.",
        ),
        WrongAnswer(
            "divided by ln(mu)",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, math.log(n_classes - 1)),
            "nearly: F is divided by ln(1 + mu), not by ln(mu), so that F(1) = 1.",
        ),
        WrongAnswer(
            "not divided",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, 1.0),
            "your curve exceeds 1: ln(1 + mu |x|) has to be divided by ln(1 + mu).",
        ),
        WrongAnswer(
            "two kinds of logarithm",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, math.log(n_classes) * math.log(10)),
            "log10 above and ln below: any base will do, but the same in both.",
        ),
        WrongAnswer(
            "logarithm of the quotient",
            lambda wave, n_classes: _to_classes(
                wave.sign() * torch.log((1 + (n_classes - 1) * wave.abs()) / n_classes), n_classes - 1
            ),
            "ln(a) / ln(b) is not ln(a / b): take both logarithms first, then divide.",
        ),
        WrongAnswer(
            "mu = 255 in the curve",
            lambda wave, n_classes: _to_classes(_squash(wave, 255), n_classes - 1),
            "your curve has mu = 255 whatever n_classes is: mu = n_classes - 1 belongs into the curve, too.",
        ),
        WrongAnswer(
            "not halved",
            lambda wave, n_classes: _to_classes(2 * _squash(wave, n_classes - 1) + 1, n_classes - 1),
            "your classes run up to 2 mu: F + 1 runs from 0 to 2, so halve it before you multiply by mu.",
        ),
        WrongAnswer(
            "brackets",
            lambda wave, n_classes: (_squash(wave, n_classes - 1) + 1 / 2 * (n_classes - 1)).round().to(torch.int64),
            "F + 1 / 2 * mu divides and multiplies before it adds: (F + 1) / 2 * mu.",
        ),
        WrongAnswer(
            "bins of equal width",
            lambda wave, n_classes: (
                ((_squash(wave, n_classes - 1) + 1) / 2 * n_classes).to(torch.int64).clamp(max=n_classes - 1)
            ),
            "you cut [-1, 1] into n_classes bins; mu-law rounds to the nearest of n_classes *points* from -1 to 1: "
            "multiply by mu, then round.",
        ),
        WrongAnswer(
            "mapped to [0, n_classes]",
            _mapped_too_high,
            "your top class is n_classes, one too many: the curve is right, but multiply by mu, not by n_classes.",
        ),
        WrongAnswer(
            "rounded twice",
            lambda wave, n_classes: (
                ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1) + 0.5).round().to(torch.int64)
            ),
            "you added 0.5 *and* rounded: either .round(), or + 0.5 and then cut off.",
        ),
        WrongAnswer(
            "rounded up",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1)).ceil().to(torch.int64),
            "torch.ceil always goes up: round to the nearest.",
        ),
        WrongAnswer(
            "rounded too early",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2).round().to(torch.int64) * (n_classes - 1),
            "all your classes are 0 or mu: multiply by mu *before* you round.",
        ),
        WrongAnswer(
            "nearest before squashing",
            _nearest_sample,
            "nearly: you took the class whose *sample* is nearest; mu-law rounds after squashing: nearest in F.",
        ),
        WrongAnswer(
            "fitted to the wave's own range",
            _fitted_to_peak,
            "right for waves that reach -1 and 1 only: map [-1, 1] to [0, mu] always, or quiet waves come out loud.",
        ),
        WrongAnswer(
            "int32",
            lambda wave, n_classes: mu_law_encode(wave, n_classes).to(torch.int32),
            "int32 is half as wide as asked for: .to(torch.int64), or .long().",
        ),
        WrongAnswer(
            "math on tensors",
            lambda wave, n_classes: math.log1p((n_classes - 1) * wave.abs()),
            "the functions of math take a single number: torch.log1p takes the whole wave. (math.log1p(mu) is fine.)",
        ),
        WrongAnswer(
            "one row only",
            _sample_by_sample,
            "a loop over wave runs along its first axis only, and wave may have more: torch.log1p takes it whole.",
        ),
        WrongAnswer(
            "Python's round",
            lambda wave, n_classes: round(_squash(wave, n_classes - 1)),
            "Python's round() knows no tensors: torch.round, or + 0.5 and .to(torch.int64).",
        ),
        WrongAnswer(
            "torch.log of a number",
            lambda wave, n_classes: torch.log1p((n_classes - 1) * wave.abs()) / torch.log(n_classes),
            "n_classes is a plain number, and torch.log takes tensors: math.log(1 + mu).",
        ),
        WrongAnswer(
            "torch.log1p of a number",
            lambda wave, n_classes: torch.log1p((n_classes - 1) * wave.abs()) / torch.log1p(n_classes - 1),
            "mu is a plain number, and torch.log1p takes tensors: math.log1p(mu).",
        ),
        WrongAnswer(
            "in place",
            _squashed_in_place,
            "wave.abs_(), and all that ends in _, writes into the wave you were given: wave.abs() makes a new one.",
        ),
    ),
)
