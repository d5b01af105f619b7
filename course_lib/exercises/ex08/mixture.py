"""Exercise 08.3: the log-likelihood of a mixture of normal distributions."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.variational import mixture_log_likelihood

_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


def _densities(y: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    return -0.5 * ((y[:, None] - means) / sigmas).square() - sigmas.log() - _HALF_LOG_2_PI  # (B, K, P), nats


def _draw_frames(rng: torch.Generator, trial: int) -> dict:
    """Near; some fifty sigmas away; nearest to a component of tiny weight; narrow sigmas; a single component.

    One coordinate only (P = 1) in the third trial. Components overlap in half of the clips.
    """
    n_clips, n_dims, n_mixtures = ((4, 3, 5), (5, 7, 2), (6, 1, 4), (3, 8, 5), (2, 6, 1))[trial % 5]
    means = 1.5 * torch.randn(n_clips, n_mixtures, n_dims, generator=rng)
    means[::2] = means[::2, :1] + 0.3 * (means[::2] - means[::2, :1])
    sigmas = (0.4 + 1.4 * torch.rand(n_clips, n_mixtures, n_dims, generator=rng)) * (1, 1, 1, 0.01, 1)[trial % 5]
    y = means[:, 0] + sigmas[:, 0] * torch.randn(n_clips, n_dims, generator=rng)
    logits = torch.randn(n_clips, n_mixtures, generator=rng)
    if trial % 5 == 1:
        y[1:] = y[1:] + 70 * torch.randn(n_clips - 1, n_dims, generator=rng).sign()
    if trial % 5 == 2:
        logits[:, 0] -= 150  # exp of it is 0 in float32, and yet this component alone is near
        means[:, 1:] = means[:, 1:] + 60
    if trial % 5 == 4:
        y[1] = means[1, 0] + 9 * sigmas[1, 0]  # exp of it is 0 in float32, not yet in float64
    log_weights = logits.log_softmax(dim=1)
    return {"y": y, "log_weights": log_weights, "means": means, "sigmas": sigmas}


def _by_terms(densities):
    """Densities (B, K, P) of one's own, from the distance (B, K, P) and sigmas."""

    def answer(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
        return (log_weights + densities(y[:, None] - means, sigmas).sum(dim=2)).logsumexp(dim=1)

    return answer


def _by_mixing(mix):
    """A mix of one's own, from log-weights (B, K) and the components' log-densities (B, K)."""
    return lambda y, log_weights, means, sigmas: mix(log_weights, _densities(y, means, sigmas).sum(dim=2))


def _of_result(change):
    return lambda **inputs: change(mixture_log_likelihood(**inputs))


def _constant_once(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    return mixture_log_likelihood(y, log_weights, means, sigmas) + (y.shape[1] - 1) * _HALF_LOG_2_PI


def _each_coordinate(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    return (log_weights[:, :, None] + _densities(y, means, sigmas)).logsumexp(dim=1).sum(dim=1)


def _one_bell(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    mean, sigma = (torch.einsum("bk,bkp->bp", log_weights.exp(), part) for part in (means, sigmas))
    return _densities(y, mean[:, None], sigma[:, None]).sum(dim=(1, 2))


def _over_wrong_axis(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    return (log_weights + _densities(y, means, sigmas).sum(dim=1)).logsumexp(dim=1)


def _mean_of_coordinates(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    return (log_weights + _densities(y, means, sigmas).mean(dim=2)).logsumexp(dim=1)


def _one_shift(weights: Tensor, parts: Tensor) -> Tensor:
    return (weights + parts - (weights + parts).max()).exp().sum(dim=1).log() + (weights + parts).max()


def _not_put_back(weights: Tensor, parts: Tensor) -> Tensor:
    return (weights + parts - (weights + parts).amax(dim=1, keepdim=True)).exp().sum(dim=1).log()


def _in_float64(weights: Tensor, parts: Tensor) -> Tensor:
    return (weights.double().exp() * parts.double().exp()).sum(dim=1).log().float()


MIXTURE_LOG_LIKELIHOOD = Exercise(
    id="08.3",
    title="how likely is a frame",
    points=3,
    function="mixture_log_likelihood",
    draw=_draw_frames,
    reference=mixture_log_likelihood,
    n_trials=5,
    atol=1e-3,
    rtol=1e-5,
    difficulty=2,
    minutes=10,
    hint="log N, written out with no exp, clamp or floor, is (B, K, P) with y[:, None]; summed over P it is (B, K); "
    "plus log_weights, then torch.logsumexp over the K components: (B,).",
    wrong_answers=(
        WrongAnswer(
            "naive",
            _by_mixing(lambda weights, parts: (weights.exp() * parts.exp()).sum(dim=1).log()),
            "the right formula, but far from all components exp gives 0, and log of that is -inf: add the logarithms, "
            "then torch.logsumexp.",
        ),
        WrongAnswer(
            "naive in float64",
            _by_mixing(_in_float64),
            "exp(-5000) is 0, and log of that -inf; float64, or one coordinate at a time, only moves the limit. Write "
            "the logarithm of N out, and no exp before torch.logsumexp.",
        ),
        WrongAnswer(
            "floored",
            _by_mixing(lambda weights, parts: ((weights.exp() * parts.exp()).sum(dim=1) + 1e-12).log()),
            "1e-12 in the logarithm makes all far clips alike, at -27.6: torch.logsumexp needs no floor.",
        ),
        WrongAnswer(
            "weights underflow",
            _by_mixing(lambda weights, parts: (weights.exp().log() + parts).logsumexp(dim=1)),
            "exp(log_weights) is 0 for a very small weight: leave the weights as the logarithms that they are.",
        ),
        WrongAnswer(
            "one maximum for all clips",
            _by_mixing(_one_shift),
            "you take one maximum for the whole batch out: clips far below it underflow. Each clip its own.",
        ),
        WrongAnswer(
            "maximum not put back",
            _by_mixing(_not_put_back),
            "the maximum is taken out before exp, but not added again after log.",
        ),
        WrongAnswer(
            "weights forgotten",
            _by_mixing(lambda weights, parts: parts.logsumexp(dim=1)),
            "the weights of the components are missing: add log_weights before logsumexp.",
        ),
        WrongAnswer(
            "equal weights",
            _by_mixing(lambda weights, parts: parts.logsumexp(dim=1) - math.log(parts.shape[1])),
            "you give all components a weight of 1/K: they have their own, log_weights.",
        ),
        WrongAnswer(
            "weights not as logarithms",
            _by_mixing(lambda weights, parts: (weights.exp() + parts).logsumexp(dim=1)),
            "among logarithms a weight is added as its logarithm: log_weights as it is.",
        ),
        WrongAnswer(
            "log of log-weights",
            _by_mixing(lambda weights, parts: (weights.log() + parts).logsumexp(dim=1)),
            "log_weights are logarithms already: a second one is NaN.",
        ),
        WrongAnswer(
            "weights times logarithms",
            _by_mixing(lambda weights, parts: (weights.exp() * parts).sum(dim=1)),
            "that is the mean of the logarithms: the log of the mean density is asked for, exp first, then the sum.",
        ),
        WrongAnswer(
            "logarithms added",
            _by_mixing(lambda weights, parts: (weights + parts).sum(dim=1)),
            "adding logarithms over components multiplies their densities: the *densities* add up, so logsumexp.",
        ),
        WrongAnswer(
            "best component",
            _by_mixing(lambda weights, parts: (weights + parts).amax(dim=1)),
            "that is the best component only: where two overlap, both count.",
        ),
        WrongAnswer(
            "one bell from means",
            _one_bell,
            "you average the components' means and sigmas to one normal distribution: their *densities* add up.",
        ),
        WrongAnswer(
            "each coordinate a mixture",
            _each_coordinate,
            "you mix each coordinate by itself: a component is drawn once for the whole frame, so first the sum over "
            "P, then logsumexp.",
        ),
        WrongAnswer(
            "wrong axis",
            _over_wrong_axis,
            "you sum over the components (dim=1) where the P coordinates (dim=2) have to be summed.",
        ),
        WrongAnswer(
            "mean of coordinates",
            _mean_of_coordinates,
            "you take the mean over P: a product of densities is the *sum* of their logarithms.",
        ),
        WrongAnswer(
            "axis forgotten",
            lambda y, log_weights, means, sigmas: y - means,
            "y (B, P) does not line up with means (B, K, P): y[:, None].",
        ),
        WrongAnswer(
            "constant forgotten",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - sigmas.log()),
            "- log(2 pi) / 2 is missing, at each of the P coordinates.",
        ),
        WrongAnswer(
            "constant once",
            _constant_once,
            "log(2 pi) / 2 comes off once a frame: once for each of the P coordinates.",
        ),
        WrongAnswer(
            "constant whole",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - sigmas.log() - 2 * _HALF_LOG_2_PI),
            "half of log(2 pi): the density divides by the *root* of 2 pi sigma^2.",
        ),
        WrongAnswer(
            "constant of the wrong sign",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - sigmas.log() + _HALF_LOG_2_PI),
            "the sign of log(2 pi) / 2: it comes off.",
        ),
        WrongAnswer(
            "log sigma forgotten",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - _HALF_LOG_2_PI),
            "log sigma is missing: without it the widest component would always win.",
        ),
        WrongAnswer(
            "log sigma of the wrong sign",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() + sigmas.log() - _HALF_LOG_2_PI),
            "the sign of log sigma: a wider component is lower, so minus.",
        ),
        WrongAnswer(
            "log sigma doubled",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - 2 * sigmas.log() - _HALF_LOG_2_PI),
            "log(sigma^2) is log sigma twice: once.",
        ),
        WrongAnswer(
            "log sigma halved",
            _by_terms(lambda gap, sigmas: -0.5 * (gap / sigmas).square() - 0.5 * sigmas.log() - _HALF_LOG_2_PI),
            "half of log(sigma^2) is log sigma, whole.",
        ),
        WrongAnswer(
            "sigma for the variance",
            lambda sigmas, **inputs: mixture_log_likelihood(sigmas=sigmas.sqrt(), **inputs),
            "you take sigma for the variance, in both places: it is the standard deviation.",
        ),
        WrongAnswer(
            "variance for sigma",
            lambda sigmas, **inputs: mixture_log_likelihood(sigmas=sigmas.square(), **inputs),
            "you take sigma^2 for sigma, in both places: torch.distributions.Normal takes the standard deviation.",
        ),
        WrongAnswer(
            "sigma not squared",
            _by_terms(lambda gap, sigmas: -0.5 * gap.square() / sigmas - sigmas.log() - _HALF_LOG_2_PI),
            "the squared distance is divided by the *variance*, sigma^2.",
        ),
        WrongAnswer(
            "half forgotten",
            _by_terms(lambda gap, sigmas: -(gap / sigmas).square() - sigmas.log() - _HALF_LOG_2_PI),
            "the half before the squared distance is missing.",
        ),
        WrongAnswer("negative", _of_result(lambda nats: -nats), "that is the loss: the log-likelihood has no minus."),
        WrongAnswer(
            "bits",
            _of_result(lambda nats: nats / math.log(2)),
            "those are bits: nats are asked for, the natural logarithm.",
        ),
        WrongAnswer("mean", _of_result(lambda nats: nats.mean()), "one number a clip, (B,): no mean over the batch."),
        WrongAnswer("sum", _of_result(lambda nats: nats.sum()), "one number a clip, (B,): no sum over the batch."),
    ),
)
