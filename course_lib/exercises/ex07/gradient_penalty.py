"""Exercise 07.3: the gradient penalty of WGAN-GP."""

import torch
from torch import Tensor

from course_lib.exercises.ex07.critics import as_by_backward, call_with_critic, draw_critic
from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.adversarial import squared_slopes


def gradient_penalty(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Mean of (|slope| - 1)^2 at real + w (fake - real), a w for each clip (Gulrajani et al. 2017).

    Args:    critic: (B, T) -> (B,); real, fake: (B, T); weights: (B,) in [0, 1].
    Returns: scalar, with a gradient to the critic's weights."""
    return (_slopes(critic, _between(real, fake, weights)) - 1).square().mean()


def _between(real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    return real + weights[:, None] * (fake - real)


def _slopes(critic: torch.nn.Module, x: Tensor) -> Tensor:
    return (squared_slopes(critic, x) + 1e-12).sqrt()  # (B,)


def _draw_clips(rng: torch.Generator, trial: int) -> dict:
    """Slopes on either side of 1; in the last two trials a silent pair, where the critic is flat."""
    n_clips, n_samples, n_units = ((4, 11, 6), (5, 7, 10), (3, 9, 5), (6, 5, 8))[trial % 4]
    real, fake = torch.randn(2, n_clips, n_samples, generator=rng)
    real += 0.5
    if trial % 4 >= 2:
        real[1], fake[1] = 0.0, 0.0
    weights = 0.1 + 0.8 * torch.rand(n_clips, generator=rng)
    weights = torch.where((weights - 0.5).abs() < 0.1, weights + 0.2, weights)  # never half-way
    table = draw_critic(n_units, _between(real, fake, weights), rng)
    return {"critic": table, "real": real, "fake": fake, "weights": weights}


def _at(place):
    """The penalty at place(real, fake, weights)."""

    def answer(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
        return (_slopes(critic, place(real, fake, weights)) - 1).square().mean()

    return answer


def _of_slopes(figure):
    """A figure of the slopes (B,) between the clips."""
    return lambda critic, real, fake, weights: figure(_slopes(critic, _between(real, fake, weights)))


def _of_gradient(figure, create_graph: bool = True):
    """A figure of the scores' gradient (B, T) between the clips."""

    def answer(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
        x = _between(real, fake, weights).requires_grad_()
        return figure(torch.autograd.grad(critic(x).sum(), x, create_graph=create_graph)[0])

    return answer


def _by_backward(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    as_by_backward(critic, _between(real, fake, weights))
    return gradient_penalty(critic, real, fake, weights)


def _mean_score(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    x = _between(real, fake, weights).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).mean(), x, create_graph=True)
    return ((gradient.square().sum(dim=1) + 1e-12).sqrt() - 1).square().mean()


def _of_weights(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    scores = critic(_between(real, fake, weights))
    parts = torch.autograd.grad(scores.sum(), list(critic.parameters()), create_graph=True)
    return (torch.cat([part.flatten() for part in parts]).norm() - 1).square()


def _without_leaf(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    x = _between(real, fake, weights)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()


def _by_secant(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    return ((critic(fake) - critic(real)).abs() / ((fake - real).norm(dim=1) + 1e-12) - 1).square().mean()


def _of_many_scores(critic: torch.nn.Module, real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    x = _between(real, fake, weights).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x), x, create_graph=True)
    return (gradient.norm(dim=1) - 1).square().mean()


GRADIENT_PENALTY = Exercise(
    id="07.3",
    title="the gradient penalty",
    points=4,
    function="gradient_penalty",
    draw=_draw_clips,
    reference=gradient_penalty,
    probe=call_with_critic,
    atol=1e-4,
    rtol=1e-4,
    difficulty=3,
    minutes=15,
    hint="torch.autograd.grad(critic(x).sum(), x, create_graph=True) at x between the clips is (B, T): the length of "
    "each row, minus 1, squared, averaged over clips.",
    wrong_answers=(
        WrongAnswer(
            "no create_graph",
            lambda critic, real, fake, weights: gradient_penalty(critic, real, fake, weights).detach(),
            "the right value, but no gradient reaches the critic: the slope is itself differentiated later, so "
            "autograd.grad needs create_graph=True (retain_graph is not enough), and nothing may be detached.",
        ),
        WrongAnswer(
            "backward",
            _by_backward,
            "the right value, but backward() also adds to the .grad of the critic's weights, which the next step would "
            "use: torch.autograd.grad returns the gradient and leaves nothing behind.",
        ),
        WrongAnswer(
            "backward without graph",
            lambda critic, real, fake, weights: _by_backward(critic, real, fake, weights).detach(),
            "the right value, but backward() adds to the .grad of the critic's weights, and x.grad has no graph: "
            "torch.autograd.grad(..., create_graph=True) gives the gradient with one.",
        ),
        WrongAnswer(
            "root of 0",
            _of_gradient(lambda g: (g.square().sum(dim=1).sqrt() - 1).square().mean()),
            "where the critic is flat, the root of 0 has an infinite derivative, and the critic's gradient is NaN: add "
            "1e-12 under the root (or take .norm(dim=1)).",
        ),
        WrongAnswer(
            "over the whole batch",
            _of_gradient(lambda g: (g.norm() - 1).square()),
            "that is one length for the whole batch: each clip has a slope of its own, the length over dim=1.",
        ),
        WrongAnswer(
            "mean slope",
            _of_slopes(lambda slopes: (slopes.mean() - 1).square()),
            "you average the slopes first: then one clip's 2 and another's 0 would cost nothing. Square each, then the "
            "mean.",
        ),
        WrongAnswer(
            "over clips",
            _of_gradient(lambda g: ((g.square().sum(dim=0) + 1e-12).sqrt() - 1).square().mean()),
            "you take the length over the clips (dim=0): over the samples of each, dim=1.",
        ),
        WrongAnswer(
            "RMS",
            _of_gradient(lambda g: ((g.square().mean(dim=1) + 1e-12).sqrt() - 1).square().mean()),
            "the length of a gradient *sums* the squares over T: a mean would let slopes be sqrt(T) times too steep.",
        ),
        WrongAnswer(
            "sum of absolute values",
            _of_gradient(lambda g: (g.abs().sum(dim=1) - 1).square().mean()),
            "you add absolute values: the length is the root of the sum of squares.",
        ),
        WrongAnswer(
            "sum of the gradient",
            _of_gradient(lambda g: (g.sum(dim=1) - 1).square().mean()),
            "you add the gradient's numbers, and either sign cancels: the length is the root of the sum of squares.",
        ),
        WrongAnswer(
            "no root",
            _of_gradient(lambda g: (g.square().sum(dim=1) - 1).square().mean()),
            "the root is missing: the slope is a length, not its square.",
        ),
        WrongAnswer(
            "target 0",
            _of_slopes(lambda slopes: slopes.square().mean()),
            "you pull the slope to 0: to 1, so subtract 1 before you square.",
        ),
        WrongAnswer(
            "one-sided",
            _of_slopes(lambda slopes: (slopes - 1).clamp(min=0).square().mean()),
            "only slopes above 1 cost something with you: here smaller ones do, too.",
        ),
        WrongAnswer(
            "not squared",
            _of_slopes(lambda slopes: (slopes - 1).abs().mean()),
            "the distance from 1 is to be squared.",
        ),
        WrongAnswer(
            "sum over clips",
            _of_slopes(lambda slopes: (slopes - 1).square().sum()),
            "you add the clips up: their mean.",
        ),
        WrongAnswer(
            "a number a clip",
            _of_slopes(lambda slopes: (slopes - 1).square()),
            "that is one number a clip: their mean is asked for.",
        ),
        WrongAnswer(
            "times 10",
            _of_slopes(lambda slopes: 10 * (slopes - 1).square().mean()),
            "the usual weight of 10 is not part of it here.",
        ),
        WrongAnswer(
            "halved",
            _of_slopes(lambda slopes: 0.5 * (slopes - 1).square().mean()),
            "no half here: that belongs to R1.",
        ),
        WrongAnswer(
            "mean score",
            _mean_score,
            "your slopes are B times too small: the gradient of the *sum* of scores holds each clip's own, that of "
            "their mean a B-th of it.",
        ),
        WrongAnswer(
            "weights the other way",
            _at(lambda real, fake, weights: _between(fake, real, weights)),
            "the wrong way round: weight 0 is real, weight 1 is fake.",
        ),
        WrongAnswer(
            "half-way",
            _at(lambda real, fake, weights: (real + fake) / 2),
            "you look half-way between only: at the weights that come in.",
        ),
        WrongAnswer(
            "one weight for all",
            _at(lambda real, fake, weights: _between(real, fake, weights[:1])),
            "you use the first weight for all clips: one each, weights[:, None].",
        ),
        WrongAnswer("at real clips", _at(lambda real, fake, weights: real), "you look at real clips: between the two."),
        WrongAnswer("at fake clips", _at(lambda real, fake, weights: fake), "you look at fake clips: between the two."),
        WrongAnswer(
            "weights not a column",
            _at(lambda real, fake, weights: real + weights * (fake - real)),
            "weights (B,) meet the samples, the last axis: make them a column, weights[:, None].",
        ),
        WrongAnswer(
            "slope of the weights",
            _of_weights,
            "you differentiate by the critic's weights: by the clips between.",
        ),
        WrongAnswer(
            "no requires_grad",
            _without_leaf,
            "nobody keeps track of the place: call .requires_grad_() on it before the critic sees it.",
        ),
        WrongAnswer(
            "many scores at once",
            _of_many_scores,
            "autograd.grad wants one number (or grad_outputs): take critic(x).sum().",
        ),
        WrongAnswer(
            "mean weight for all",
            _at(lambda real, fake, weights: _between(real, fake, weights.mean()[None])),
            "you use the mean weight for all clips: one each, weights[:, None].",
        ),
        WrongAnswer(
            "weights of one's own",
            _at(lambda real, fake, weights: _between(real, fake, torch.rand(len(real)))),
            "you draw weights of your own: take those that come in.",
        ),
        WrongAnswer(
            "secant",
            _by_secant,
            "the difference of two scores over their distance is the mean slope of the way, in its direction: take the "
            "length of the gradient at the place between.",
        ),
    ),
)
