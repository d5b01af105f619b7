"""Exercise 04.4: the importance-weighted bound."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.variational import iwae_bound


def _draw_weights(rng: torch.Generator, trial: int) -> dict:
    """As large, and as far apart, as those of whole clips: exp of them is 0 or infinite, even in float64.

    The last clip's draws lie far apart, too: whoever takes less than the largest out overflows.
    """
    n_draws, n_clips = ((5, 3), (8, 2), (3, 7), (12, 4))[trial % 4]
    centre = torch.tensor([-3000.0, 2000.0, 0.0, -900.0])[trial % 4] + 1500 * torch.randn(n_clips, generator=rng)
    centre = centre.clamp(-4900, 4900)
    log_weights = centre + 1.5 * torch.randn(n_draws, n_clips, generator=rng)
    log_weights[:, 0] = (1200.0, -1500.0, 900.0, -2500.0)[trial % 4] + torch.randn(n_draws, generator=rng)
    log_weights[:, -1] = torch.linspace(-2000, 2000, n_draws) + torch.randn(n_draws, generator=rng)
    return {"log_weights": log_weights}


def _shifted_by(peak, back=lambda peak: peak):
    def answer(log_weights: Tensor) -> Tensor:
        shift = peak(log_weights)
        return (log_weights - shift).exp().mean(dim=0).log() + back(shift)

    return answer


IWAE_BOUND = Exercise(
    id="04.4",
    title="the importance-weighted bound",
    points=3,
    function="iwae_bound",
    draw=_draw_weights,
    reference=iwae_bound,
    atol=2e-3,  # nats: float32 holds 3000 to 0.0002
    rtol=1e-6,
    difficulty=2,
    minutes=10,
    hint="the log of the mean of exp(log_weights) over dim=0, without ever taking exp of a large number: take each "
    "clip's largest out first and put it back after the log, or see what torch.logsumexp does, and lacks of a mean.",
    wrong_answers=(
        WrongAnswer(
            "naive",
            lambda log_weights: log_weights.exp().mean(dim=0).log(),
            "the right formula, but exp(-3000) is 0 and exp(1200) infinite in floating point: take the largest out "
            "first, or let torch.logsumexp do it.",
        ),
        WrongAnswer(
            "mean of the logarithms",
            lambda log_weights: log_weights.mean(dim=0),
            "that is the mean of the logs, the plain ELBO of K draws; the bound is the log of the mean.",
        ),
        WrongAnswer(
            "log K forgotten",
            lambda log_weights: log_weights.logsumexp(dim=0),
            "that is the log of the *sum*: with more draws it would grow for nothing. The mean divides by K.",
        ),
        WrongAnswer(
            "log K added",
            lambda log_weights: log_weights.logsumexp(dim=0) + math.log(len(log_weights)),
            "dividing by K *subtracts* log K from a logarithm.",
        ),
        WrongAnswer(
            "divided outside",
            lambda log_weights: log_weights.logsumexp(dim=0) / len(log_weights),
            "you divide the logarithm by K; the sum is divided by K *inside*, which takes log K away.",
        ),
        WrongAnswer(
            "K subtracted",
            lambda log_weights: log_weights.logsumexp(dim=0) - len(log_weights),
            "K itself is taken away: its logarithm.",
        ),
        WrongAnswer(
            "axes swapped",
            lambda log_weights: log_weights.logsumexp(dim=1) - math.log(log_weights.shape[1]),
            "you average over the clips: the K draws are the first axis, dim=0.",
        ),
        WrongAnswer(
            "log of the number of clips",
            lambda log_weights: log_weights.logsumexp(dim=0) - math.log(log_weights.shape[1]),
            "you subtract the log of the number of *clips*: K draws are averaged, the first axis.",
        ),
        WrongAnswer(
            "log of all values",
            lambda log_weights: log_weights.logsumexp(dim=0) - math.log(log_weights.numel()),
            "numel() counts draws times clips: K is the size of the first axis.",
        ),
        WrongAnswer(
            "one number",
            lambda log_weights: log_weights.flatten().logsumexp(dim=0) - math.log(log_weights.numel()),
            "you averaged over draws and clips: a number a clip is asked for.",
        ),
        WrongAnswer(
            "mean over the clips",
            lambda log_weights: iwae_bound(log_weights).mean(),
            "right until you averaged over the clips: a number a clip is asked for.",
        ),
        WrongAnswer(
            "log10",
            lambda log_weights: log_weights.logsumexp(dim=0) - math.log10(len(log_weights)),
            "log10 of K from natural logarithms: math.log.",
        ),
        WrongAnswer(
            "log2",
            lambda log_weights: log_weights.logsumexp(dim=0) - math.log2(len(log_weights)),
            "log2 of K from natural logarithms: math.log.",
        ),
        WrongAnswer(
            "in bits",
            lambda log_weights: iwae_bound(log_weights) / math.log(2),
            "those are bits: nats are asked for.",
        ),
        WrongAnswer(
            "the largest",
            lambda log_weights: log_weights.amax(dim=0),
            "that is the largest weight alone: the others count, too.",
        ),
        WrongAnswer(
            "largest less log K",
            lambda log_weights: log_weights.amax(dim=0) - math.log(len(log_weights)),
            "you kept the largest weight of the sum only: after taking it out, the sum of the rest is still to come.",
        ),
        WrongAnswer(
            "largest not put back",
            _shifted_by(lambda log_weights: log_weights.amax(dim=0), lambda peak: 0),
            "you took the largest out so that nothing overflows, but it has to be added to the logarithm again.",
        ),
        WrongAnswer(
            "largest subtracted twice",
            _shifted_by(lambda log_weights: log_weights.amax(dim=0), lambda peak: -peak),
            "the largest, taken out inside the exp, is *added* back outside.",
        ),
        WrongAnswer(
            "mean taken out",
            _shifted_by(lambda log_weights: log_weights.mean(dim=0)),
            "a draw far above what you take out (the mean?) still overflows: take each clip's *largest* out.",
        ),
        WrongAnswer(
            "one shift for all",
            _shifted_by(lambda log_weights: log_weights.max()),
            "you take the largest of *all* clips out: the others still underflow. Each clip's own, amax(dim=0).",
        ),
        WrongAnswer(
            "clamped",
            lambda log_weights: log_weights.clamp(-80, 80).exp().mean(dim=0).log(),
            "clamping does keep exp from overflowing, but changes the answer: take the largest out of the sum instead.",
        ),
        WrongAnswer(
            "epsilon inside the log",
            lambda log_weights: (log_weights.exp().mean(dim=0) + 1e-8).log(),
            "an epsilon hides an exp that has underflowed to 0: take the largest out of the sum instead.",
        ),
        WrongAnswer(
            "weights normalised",
            lambda log_weights: (log_weights.softmax(dim=0) * log_weights).sum(dim=0),
            "that is a weighted mean of the *logs*: the bound is the log of the plain mean of the weights.",
        ),
        WrongAnswer(
            "torch.log of a number",
            lambda log_weights: log_weights.logsumexp(dim=0) - torch.log(len(log_weights)),
            "K is a plain number, and torch.log takes tensors: math.log.",
        ),
        WrongAnswer(
            "float64",
            lambda log_weights: iwae_bound(log_weights.double()),
            "float64, as numpy makes it too, where float32 came in: end with .to(log_weights.dtype).",
        ),
    ),
)
