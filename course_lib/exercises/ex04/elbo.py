"""Exercise 04.3: the evidence lower bound of a clip."""

import math

import torch
from torch import Tensor

from course_lib.exercises.ex04.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.variational import elbo


def _log_likelihood(x: Tensor, recon: Tensor, sigma: float) -> Tensor:
    return -0.5 * ((x - recon) / sigma).square() - math.log(sigma) - 0.5 * math.log(2 * math.pi)


def _kl(mu: Tensor, log_var: Tensor) -> Tensor:
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var)


def _draw_batch(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_mels, n_frames, z_dim = ((3, 5, 7, 4), (2, 6, 4, 9), (5, 3, 8, 2), (4, 7, 2, 6))[trial % 4]
    x = 2 * torch.rand(n_clips, n_mels, n_frames, generator=rng) - 1
    recon = x + 0.4 * torch.randn(x.shape, generator=rng)
    mu, log_var = torch.randn(2, n_clips, z_dim, generator=rng)
    sigma = (0.25, 0.6, 1.7, 0.1)[trial % 4] * (1 + 0.2 * float(torch.rand(1, generator=rng)))
    return {"x": x, "recon": recon, "mu": mu, "log_var": log_var - 1, "sigma": sigma}


def _with_likelihood(per_pixel):
    def answer(x: Tensor, recon: Tensor, mu: Tensor, log_var: Tensor, sigma: float) -> Tensor:
        return per_pixel((x - recon).square(), sigma).sum(dim=(1, 2)) - _kl(mu, log_var).sum(dim=1)

    return answer


def _with_kl(kl):
    def answer(x: Tensor, recon: Tensor, mu: Tensor, log_var: Tensor, sigma: float) -> Tensor:
        return _log_likelihood(x, recon, sigma).sum(dim=(1, 2)) - kl(mu, log_var)

    return answer


ELBO = Exercise(
    id="04.3",
    title="the evidence lower bound",
    points=3,
    function="elbo",
    draw=_draw_batch,
    reference=elbo,
    probe=call_and_differentiate,
    atol=2e-3,
    rtol=1e-4,
    difficulty=2,
    minutes=12,
    hint="log-density of a normal distribution at every pixel, constants included, summed over M and L; minus the KL, "
    "summed over Z; a number a clip.",
    wrong_answers=(
        WrongAnswer(
            "mean over the picture",
            lambda x, recon, mu, log_var, sigma: (
                _log_likelihood(x, recon, sigma).mean(dim=(1, 2)) - _kl(mu, log_var).sum(dim=1)
            ),
            "you average over the pixels: log-densities of independent pixels add up. The mean would weigh the KL M L "
            "times too much.",
        ),
        WrongAnswer(
            "means",
            lambda x, recon, mu, log_var, sigma: (
                _log_likelihood(x, recon, sigma).mean(dim=(1, 2)) - _kl(mu, log_var).mean(dim=1)
            ),
            "you average twice, over the pixels and over Z: both add up.",
        ),
        WrongAnswer(
            "mean KL",
            _with_kl(lambda mu, log_var: _kl(mu, log_var).mean(dim=1)),
            "you average the KL over Z: it adds up.",
        ),
        WrongAnswer(
            "KL added",
            _with_kl(lambda mu, log_var: -_kl(mu, log_var).sum(dim=1)),
            "the KL is a price: minus, or the bound would not be a lower one.",
        ),
        WrongAnswer("KL forgotten", _with_kl(lambda mu, log_var: 0), "that is the likelihood alone: minus the KL."),
        WrongAnswer(
            "KL doubled",
            _with_kl(lambda mu, log_var: 2 * _kl(mu, log_var).sum(dim=1)),
            "your KL is twice too large: the half in front is missing.",
        ),
        WrongAnswer(
            "KL of the batch",
            _with_kl(lambda mu, log_var: _kl(mu, log_var).sum()),
            "you take the KL of the whole batch from every clip: each its own, the sum over dim=1.",
        ),
        WrongAnswer(
            "mean KL of the batch",
            _with_kl(lambda mu, log_var: _kl(mu, log_var).sum(dim=1).mean()),
            "you take the batch's mean KL from every clip: each has its own.",
        ),
        WrongAnswer(
            "standard deviation in the KL",
            _with_kl(lambda mu, log_var: 0.5 * (mu.square() + (log_var / 2).exp() - 1 - log_var).sum(dim=1)),
            "in your KL stands exp(log_var / 2), the standard deviation: it is the variance.",
        ),
        WrongAnswer(
            "KL the other way round",
            _with_kl(lambda mu, log_var: 0.5 * ((mu.square() + 1) / log_var.exp() - 1 + log_var).sum(dim=1)),
            "your KL runs from the prior to the posterior: KL(q || p), q the posterior.",
        ),
        WrongAnswer(
            "negative",
            lambda **inputs: -elbo(**inputs),
            "that is the negative ELBO, the loss: the bound itself is asked for.",
        ),
        WrongAnswer(
            "all constants forgotten",
            _with_likelihood(lambda error, sigma: -0.5 * error / sigma**2),
            "the constants are missing, - log sigma and - log(2 pi) / 2 at each pixel: without them no log-density, "
            "and not comparable with another sigma.",
        ),
        WrongAnswer(
            "2 pi forgotten",
            _with_likelihood(lambda error, sigma: -0.5 * error / sigma**2 - math.log(sigma)),
            "log(2 pi) / 2 is missing at each pixel.",
        ),
        WrongAnswer(
            "log sigma forgotten",
            _with_likelihood(lambda error, sigma: -0.5 * error / sigma**2 - 0.5 * math.log(2 * math.pi)),
            "log sigma is missing at each pixel: without it the largest sigma would be best.",
        ),
        WrongAnswer(
            "log sigma halved",
            _with_likelihood(
                lambda error, sigma: -0.5 * error / sigma**2 - 0.5 * math.log(sigma) - 0.5 * math.log(2 * math.pi)
            ),
            "log sigma stands there whole: half of log(sigma ** 2) is log sigma.",
        ),
        WrongAnswer(
            "log sigma doubled",
            _with_likelihood(lambda e, sigma: -0.5 * e / sigma**2 - math.log(sigma**2) - 0.5 * math.log(2 * math.pi)),
            "log(sigma ** 2) is log sigma twice: once.",
        ),
        WrongAnswer(
            "log sigma of the wrong sign",
            _with_likelihood(
                lambda error, sigma: -0.5 * error / sigma**2 + math.log(sigma) - 0.5 * math.log(2 * math.pi)
            ),
            "the sign of log sigma: a wider distribution is lower, so minus.",
        ),
        WrongAnswer(
            "log(2 pi) whole",
            _with_likelihood(lambda error, sigma: -0.5 * error / sigma**2 - math.log(sigma) - math.log(2 * math.pi)),
            "half of log(2 pi): the density divides by the *root* of 2 pi sigma ** 2.",
        ),
        WrongAnswer(
            "constants once",
            lambda x, recon, mu, log_var, sigma: (
                -0.5 * ((x - recon) / sigma).square().sum(dim=(1, 2))
                - math.log(sigma)
                - 0.5 * math.log(2 * math.pi)
                - _kl(mu, log_var).sum(dim=1)
            ),
            "you take the constants once a clip: they belong to each of the M L pixels.",
        ),
        WrongAnswer(
            "constants of the whole batch",
            lambda x, recon, mu, log_var, sigma: (
                -0.5 * ((x - recon) / sigma).square().sum(dim=(1, 2))
                - x.numel() * (math.log(sigma) + 0.5 * math.log(2 * math.pi))
                - _kl(mu, log_var).sum(dim=1)
            ),
            "x.numel() counts the pixels of all clips: a clip has M L.",
        ),
        WrongAnswer(
            "sigma not squared",
            _with_likelihood(lambda error, sigma: -0.5 * error / sigma - math.log(sigma) - 0.5 * math.log(2 * math.pi)),
            "the squared error is divided by the *variance*, sigma ** 2.",
        ),
        WrongAnswer(
            "sigma for the variance",
            lambda sigma, **inputs: elbo(sigma=sigma**0.5, **inputs),
            "you took sigma for the variance, in both places: it is the standard deviation.",
        ),
        WrongAnswer(
            "variance for sigma",
            lambda sigma, **inputs: elbo(sigma=sigma**2, **inputs),
            "you took sigma ** 2 for sigma, in both places: torch.distributions.Normal takes the standard deviation.",
        ),
        WrongAnswer(
            "half forgotten",
            _with_likelihood(lambda error, sigma: -error / sigma**2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)),
            "the half before the squared error is missing.",
        ),
        WrongAnswer(
            "error not squared",
            lambda x, recon, mu, log_var, sigma: (
                (-0.5 * (x - recon).abs() / sigma**2 - math.log(sigma) - 0.5 * math.log(2 * math.pi)).sum(dim=(1, 2))
                - _kl(mu, log_var).sum(dim=1)
            ),
            "a normal distribution has the *squared* error in its exponent.",
        ),
        WrongAnswer(
            "mean squared error",
            lambda x, recon, mu, log_var, sigma: -(x - recon).square().sum(dim=(1, 2)) - _kl(mu, log_var).sum(dim=1),
            "a squared error is no log-likelihood: sigma has to set its scale, with the constants.",
        ),
        WrongAnswer(
            "sigma one",
            lambda sigma, **inputs: elbo(sigma=1.0, **inputs),
            "right for sigma = 1 only: use the sigma that comes in.",
        ),
        WrongAnswer(
            "summed over one axis",
            lambda x, recon, mu, log_var, sigma: (
                _log_likelihood(x, recon, sigma).sum(dim=-1) - _kl(mu, log_var).sum(-1)
            ),
            "a clip has two axes of pixels, M and L: sum over both.",
        ),
        WrongAnswer(
            "one number",
            lambda **inputs: elbo(**inputs).sum(),
            "that is the sum over the batch: one number a clip is asked for.",
        ),
        WrongAnswer(
            "mean over the batch",
            lambda **inputs: elbo(**inputs).mean(),
            "that is the batch's mean: one number a clip is asked for.",
        ),
        WrongAnswer(
            "torch.log of a number",
            lambda x, recon, mu, log_var, sigma: -torch.log(sigma),
            "sigma is a plain number, and torch.log takes tensors: math.log.",
        ),
        WrongAnswer(
            "no gradient",
            lambda **inputs: elbo(**inputs).detach(),
            "right values, but no gradient comes through: nothing could be trained on it.",
        ),
        WrongAnswer(
            "reconstruction detached",
            lambda recon, **inputs: elbo(recon=recon.detach(), **inputs),
            "right values, but no gradient reaches the decoder through recon.",
        ),
    ),
)
