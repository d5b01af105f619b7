"""Exercise 04.1: the reparameterised draw."""

import torch
from torch import Tensor

from course_lib.exercises.ex04.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer


def reparameterise(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal noise into a draw from N(mu, exp(log_var)); all of one shape. Differentiable in both."""
    return mu + (0.5 * log_var).exp() * noise


def _draw_codes(rng: torch.Generator, trial: int) -> dict:
    """Two values of log_var lie so far out that a clamp or an epsilon shows."""
    shape = ((3, 7), (11,), (5, 2), (2, 4, 6))[trial % 4]
    mu, log_var, noise = (torch.randn(shape, generator=rng) for _ in range(3))
    log_var = 2 * log_var - 0.5
    log_var.view(-1)[:2] = torch.tensor([24.0, -12.0])
    noise.view(-1)[:2] += noise.view(-1)[:2].sign()
    return {"mu": mu, "log_var": log_var, "noise": noise}


def _without_gradient(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    with torch.no_grad():
        return reparameterise(mu, log_var, noise)


def _scaled_by(std):
    return lambda mu, log_var, noise: mu + std(log_var) * noise


def _in_place(mu: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    noise *= (0.5 * log_var).exp()
    return mu + noise


REPARAMETERISE = Exercise(
    id="04.1",
    title="the reparameterised draw",
    points=2,
    function="reparameterise",
    draw=_draw_codes,
    reference=reparameterise,
    probe=call_and_differentiate,
    difficulty=1,
    minutes=5,
    hint="stretch the noise given by the standard deviation, then shift it; log_var is the log of the variance.",
    wrong_answers=(
        WrongAnswer(
            "variance for standard deviation",
            _scaled_by(torch.exp),
            "exp(log_var) is the *variance*; noise is stretched by its square root, the standard deviation.",
        ),
        WrongAnswer(
            "log_var not exponentiated",
            _scaled_by(lambda log_var: log_var),
            "log_var is a logarithm, negative at times: exponentiate it first.",
        ),
        WrongAnswer(
            "half log_var not exponentiated",
            _scaled_by(lambda log_var: log_var / 2),
            "log_var / 2 is the *logarithm* of the standard deviation: exp of it.",
        ),
        WrongAnswer(
            "root of log_var",
            _scaled_by(torch.sqrt),
            "you took the root of a logarithm, NaN where it is negative: first exp, then the root.",
        ),
        WrongAnswer(
            "halved outside",
            _scaled_by(lambda log_var: 0.5 * log_var.exp()),
            "half of the variance is not its root: the half belongs inside the exp.",
        ),
        WrongAnswer(
            "doubled",
            _scaled_by(lambda log_var: (2 * log_var).exp()),
            "exp(2 log_var) is the variance squared: the root halves the exponent.",
        ),
        WrongAnswer(
            "precision",
            _scaled_by(lambda log_var: (-0.5 * log_var).exp()),
            "one minus too many: a large log_var has to spread the draws, not to squeeze them.",
        ),
        WrongAnswer(
            "softplus",
            _scaled_by(lambda log_var: torch.nn.functional.softplus(log_var)),
            "softplus makes a positive number, too, but log_var is the *logarithm* of the variance: exp undoes it.",
        ),
        WrongAnswer(
            "mean times noise",
            lambda mu, log_var, noise: mu * noise + (0.5 * log_var).exp(),
            "swapped: the noise is stretched by the standard deviation and then shifted by mu.",
        ),
        WrongAnswer(
            "shifted before stretching",
            lambda mu, log_var, noise: (mu + noise) * (0.5 * log_var).exp(),
            "you stretch mu as well: first stretch the noise, then shift by mu.",
        ),
        WrongAnswer(
            "noise subtracted",
            lambda mu, log_var, noise: mu - (0.5 * log_var).exp() * noise,
            "the same distribution, but another draw: add the noise you are given.",
        ),
        WrongAnswer("the mean", lambda mu, log_var, noise: mu + 0 * log_var, "that is mu: the noise is missing."),
        WrongAnswer(
            "noise forgotten",
            lambda mu, log_var, noise: mu + (0.5 * log_var).exp(),
            "you add the standard deviation itself: times the noise.",
        ),
        WrongAnswer(
            "noise drawn inside",
            lambda mu, log_var, noise: mu + (0.5 * log_var).exp() * torch.randn_like(mu),
            "you draw noise of your own (rsample() does, too): use the noise that comes in; the caller decides.",
        ),
        WrongAnswer(
            "sample",
            lambda mu, log_var, noise: torch.distributions.Normal(mu, (0.5 * log_var).exp()).sample(),
            "sample() draws noise of its own and cuts the gradient: use the noise that comes in, and mu and log_var.",
        ),
        WrongAnswer(
            "no gradient",
            _without_gradient,
            "right values, but no gradient reaches mu and log_var (no_grad, detach or .data): the encoder would never "
            "learn.",
        ),
        WrongAnswer(
            "mu detached",
            lambda mu, log_var, noise: reparameterise(mu.detach(), log_var, noise),
            "right values, but no gradient reaches mu.",
        ),
        WrongAnswer(
            "log_var detached",
            lambda mu, log_var, noise: reparameterise(mu, log_var.detach(), noise),
            "right values, but no gradient reaches log_var: the encoder could not learn how sure to be.",
        ),
        WrongAnswer(
            "numpy",
            lambda mu, log_var, noise: mu.numpy() + log_var.numpy() * noise.numpy(),
            "numpy keeps no track of gradients, which have to reach mu and log_var: stay in torch.",
        ),
        WrongAnswer(
            "clamped at 10",
            _scaled_by(lambda log_var: (0.5 * log_var.clamp(-10, 10)).exp()),
            "right in the middle only: you clamp log_var, which may be any number.",
        ),
        WrongAnswer(
            "clamped at 20",
            _scaled_by(lambda log_var: (0.5 * log_var.clamp(-30, 20)).exp()),
            "published encoders clamp log_var (to 20, say); here it may be any number, so no clamp.",
        ),
        WrongAnswer(
            "epsilon under the root",
            _scaled_by(lambda log_var: (log_var.exp() + 1e-6).sqrt()),
            "exp is above 0 by itself: an epsilon only makes small variances wrong.",
        ),
        WrongAnswer(
            "in place",
            _in_place,
            "*= and += write into the tensors you were given: noise = noise * ... makes a new one.",
        ),
    ),
)
