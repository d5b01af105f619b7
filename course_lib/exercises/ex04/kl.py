"""Exercise 04.2: the KL divergence from the prior in closed form."""

import torch
from torch import Tensor

from course_lib.exercises.ex04.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.variational import kl_to_prior


def _per_dim(mu: Tensor, log_var: Tensor) -> Tensor:
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def _draw_posteriors(rng: torch.Generator, trial: int) -> dict:
    n_clips, z_dim = ((5, 3), (4, 9), (2, 16), (7, 4))[trial % 4]
    mu = 1.5 * torch.randn(n_clips, z_dim, generator=rng)
    log_var = 2 * torch.randn(n_clips, z_dim, generator=rng) - 1
    mu[-1], log_var[-1] = 0.0, 0.0  # one clip that is the prior itself: KL 0
    log_var[0, 1] = -34.0  # so sure that a clamp or an epsilon shows
    return {"mu": mu, "log_var": log_var}


def _summed(per_dim):
    return lambda mu, log_var: per_dim(mu, log_var).sum(dim=1)


KL_TO_PRIOR = Exercise(
    id="04.2",
    title="the KL divergence in closed form",
    points=3,
    function="kl_to_prior",
    draw=_draw_posteriors,
    reference=kl_to_prior,
    probe=call_and_differentiate,
    atol=1e-4,
    rtol=1e-4,
    difficulty=2,
    minutes=10,
    hint="a latent dimension has four terms: mu squared, the variance, its logarithm and a 1. Their signs make it 0 at "
    "mu = 0 and log_var = 0, and never negative; then half of it, and the sum over dim=1.",
    wrong_answers=(
        WrongAnswer(
            "mean over the latent",
            lambda mu, log_var: _per_dim(mu, log_var).mean(dim=1),
            "you average over the Z dimensions: the KLs of independent dimensions add up.",
        ),
        WrongAnswer(
            "half forgotten",
            _summed(lambda mu, log_var: 2 * _per_dim(mu, log_var)),
            "twice too much: the half in front is missing.",
        ),
        WrongAnswer(
            "sign",
            _summed(lambda mu, log_var: -_per_dim(mu, log_var)),
            "a KL divergence is never negative: your sign is turned round.",
        ),
        WrongAnswer(
            "one forgotten",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - log_var)),
            "your KL of the prior to itself is Z / 2; it has to be 0: the -1 is missing.",
        ),
        WrongAnswer(
            "one of the wrong sign",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() + 1 - log_var)),
            "your KL of the prior to itself is Z; it has to be 0: it is -1, not +1.",
        ),
        WrongAnswer(
            "sign of log_var",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1 + log_var)),
            "the sign of log_var: its KL grows without bound as the variance goes to 0, so minus.",
        ),
        WrongAnswer(
            "sign of mu",
            _summed(lambda mu, log_var: 0.5 * (log_var.exp() - mu.square() - 1 - log_var)),
            "the sign of mu squared: farther from the prior's mean must cost more.",
        ),
        WrongAnswer(
            "log_var forgotten",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1)),
            "log_var itself is missing: without it nothing holds the variance up, and the smallest would be best.",
        ),
        WrongAnswer(
            "variance forgotten",
            _summed(lambda mu, log_var: 0.5 * (mu.square() - 1 - log_var)),
            "the variance, exp(log_var), is missing: nothing holds it down.",
        ),
        WrongAnswer(
            "mean forgotten",
            _summed(lambda mu, log_var: 0.5 * (log_var.exp() - 1 - log_var)),
            "mu is missing: a posterior far from the prior costs nothing.",
        ),
        WrongAnswer(
            "mu not squared",
            _summed(lambda mu, log_var: 0.5 * (mu + log_var.exp() - 1 - log_var)),
            "mu goes in squared: to the left costs as much as to the right.",
        ),
        WrongAnswer(
            "absolute mean",
            _summed(lambda mu, log_var: 0.5 * (mu.abs() + log_var.exp() - 1 - log_var)),
            "the distance goes in squared, not as |mu|.",
        ),
        WrongAnswer(
            "standard deviation for variance",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + (0.5 * log_var).exp() - 1 - log_var)),
            "exp(log_var / 2) is the standard deviation: here the variance goes in, exp(log_var).",
        ),
        WrongAnswer(
            "log_var taken for log sigma",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + (2 * log_var).exp() - 1 - 2 * log_var)),
            "you took log_var for the log of the standard deviation: it is that of the variance, no factor 2.",
        ),
        WrongAnswer(
            "log_var halved",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1 - 0.5 * log_var)),
            "log_var has been halved twice: once, by the half in front.",
        ),
        WrongAnswer(
            "log_var doubled",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1) - log_var),
            "your log_var counts twice what it should: the half is for it, too.",
        ),
        WrongAnswer(
            "one taken away once",
            lambda mu, log_var: 0.5 * ((mu.square() + log_var.exp() - log_var).sum(dim=1) - 1),
            "you take 1 away once a clip: once for *each* dimension, so inside the sum.",
        ),
        WrongAnswer(
            "clamped",
            _summed(lambda mu, log_var: _per_dim(mu, log_var.clamp(-10, 10))),
            "right until you clamp log_var: the formula holds for any number.",
        ),
        WrongAnswer(
            "epsilon inside the log",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp() - 1 - (log_var.exp() + 1e-8).log())),
            "log(exp(log_var) + epsilon) is log_var with an error: log_var is the logarithm already.",
        ),
        WrongAnswer(
            "half on the last term only",
            _summed(lambda mu, log_var: 0.5 * mu.square() + log_var.exp() - 1 - log_var),
            "the half belongs to all four terms: brackets.",
        ),
        WrongAnswer(
            "variance squared",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var.exp().square() - 1 - log_var)),
            "exp(log_var) is the variance already: do not square it.",
        ),
        WrongAnswer(
            "log_var for the variance",
            _summed(lambda mu, log_var: 0.5 * (mu.square() + log_var - 1 - log_var.abs().clamp(min=1e-8).log())),
            "you took log_var for the variance, and its logarithm for log_var: it is a logarithm already.",
        ),
        WrongAnswer(
            "other direction",
            _summed(lambda mu, log_var: 0.5 * ((mu.square() + 1) * (-log_var).exp() - 1 + log_var)),
            "that is KL(prior || posterior), the other direction: another number, since KL is not symmetric.",
        ),
        WrongAnswer(
            "bits",
            _summed(lambda mu, log_var: _per_dim(mu, log_var) / 0.6931471805599453),
            "those are bits: nats are asked for, without dividing by ln 2.",
        ),
        WrongAnswer(
            "summed over the clips",
            lambda mu, log_var: _per_dim(mu, log_var).sum(dim=0),
            "you added up over the clips (dim=0): one number a *clip* is asked for, so over dim=1.",
        ),
        WrongAnswer(
            "one number",
            lambda mu, log_var: _per_dim(mu, log_var).sum(),
            "that is one number for the batch: one a clip is asked for, so the sum over dim=1 only.",
        ),
        WrongAnswer(
            "mean over the clips",
            lambda mu, log_var: kl_to_prior(mu, log_var).mean(),
            "you averaged over the clips, too: one number a clip is asked for.",
        ),
        WrongAnswer(
            "not summed", _per_dim, "that is a number a dimension, (B, Z): the sum over dim=1 is still to come."
        ),
        WrongAnswer(
            "no gradient",
            lambda mu, log_var: kl_to_prior(mu, log_var).detach(),
            "right values, but no gradient reaches mu and log_var: stay in torch, without detach or no_grad.",
        ),
        WrongAnswer(
            "variance detached",
            lambda mu, log_var: (0.5 * (mu.square() + log_var.exp().detach() - 1 - log_var)).sum(dim=1),
            "right values, but a part of the gradient in log_var is cut off: no detach.",
        ),
    ),
)
