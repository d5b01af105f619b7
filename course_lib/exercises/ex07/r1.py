"""Exercise 07.4: the R1 penalty."""

import torch
from torch import Tensor

from course_lib.exercises.ex07.critics import as_by_backward, call_with_critic, draw_critic
from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.adversarial import r1_penalty


def _draw_clips(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_samples, n_units = ((4, 11, 6), (7, 5, 9), (3, 8, 4), (5, 9, 7))[trial % 4]
    real = torch.randn(n_clips, n_samples, generator=rng) + 0.4
    if trial % 4 == 3:
        real[1] = 0.0  # silence, where the critic is flat
    return {"critic": draw_critic(n_units, real, rng), "real": real}


def _of_gradient(figure):
    """A figure of the scores' gradient (B, T) at the real clips."""

    def answer(critic: torch.nn.Module, real: Tensor) -> Tensor:
        x = real.clone().requires_grad_()
        return figure(torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0])

    return answer


def _of_score(score):
    """The penalty on the slope of score(critic, x)."""

    def answer(critic: torch.nn.Module, real: Tensor) -> Tensor:
        x = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(critic, x), x, create_graph=True)
        return 0.5 * gradient.square().sum(dim=1).mean()

    return answer


def _by_backward(critic: torch.nn.Module, real: Tensor) -> Tensor:
    as_by_backward(critic, real)
    return r1_penalty(critic, real)


def _of_weights(critic: torch.nn.Module, real: Tensor) -> Tensor:
    parts = torch.autograd.grad(critic(real).sum(), list(critic.parameters()), create_graph=True)
    return 0.5 * sum(part.square().sum() for part in parts)


def _without_leaf(critic: torch.nn.Module, real: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=1).mean()


R1_PENALTY = Exercise(
    id="07.4",
    title="the R1 penalty",
    points=2,
    function="r1_penalty",
    draw=_draw_clips,
    reference=lambda critic, real: r1_penalty(critic, real),
    probe=call_with_critic,
    atol=1e-4,
    rtol=1e-4,
    difficulty=2,
    minutes=8,
    hint="torch.autograd.grad(critic(x).sum(), x, create_graph=True) at the real clips is (B, T): squared, summed over "
    "T, averaged over clips, halved.",
    wrong_answers=(
        WrongAnswer(
            "no create_graph",
            lambda critic, real: r1_penalty(critic, real).detach(),
            "the right value, but no gradient reaches the critic: autograd.grad needs create_graph=True (retain_graph "
            "is not enough), and nothing may be detached.",
        ),
        WrongAnswer(
            "backward",
            _by_backward,
            "the right value, but backward() also adds to the .grad of the critic's weights, which the next step would "
            "use: torch.autograd.grad returns the gradient and leaves nothing behind.",
        ),
        WrongAnswer(
            "backward without graph",
            lambda critic, real: _by_backward(critic, real).detach(),
            "the right value, but backward() adds to the .grad of the critic's weights, and x.grad has no graph: "
            "torch.autograd.grad(..., create_graph=True) gives the gradient with one.",
        ),
        WrongAnswer(
            "no half",
            _of_gradient(lambda g: g.square().sum(dim=1).mean()),
            "twice too large: half of the mean.",
        ),
        WrongAnswer(
            "mean over samples",
            _of_gradient(lambda g: 0.5 * g.square().mean()),
            "you average over T, too: the squared length *sums* over T, and only the clips are averaged.",
        ),
        WrongAnswer(
            "sum over clips",
            _of_gradient(lambda g: 0.5 * g.square().sum()),
            "you add the clips up: their mean.",
        ),
        WrongAnswer(
            "length not squared",
            _of_gradient(lambda g: 0.5 * (g.square().sum(dim=1) + 1e-12).sqrt().mean()),
            "that is the length: R1 takes its square, which needs no root at all.",
        ),
        WrongAnswer(
            "target 1",
            _of_gradient(lambda g: 0.5 * ((g.square().sum(dim=1) + 1e-12).sqrt() - 1).square().mean()),
            "R1 has no target of 1: real clips are to lie where the critic is *flat*. Just the squared length.",
        ),
        WrongAnswer(
            "mean gradient",
            _of_gradient(lambda g: 0.5 * g.mean(dim=0).square().sum()),
            "you average the clips' gradients first, and they cancel: square each clip's, then average.",
        ),
        WrongAnswer(
            "mean length squared",
            _of_gradient(lambda g: 0.5 * (g.square().sum(dim=1) + 1e-12).sqrt().mean().square()),
            "you average the lengths and square that: square each, then average.",
        ),
        WrongAnswer(
            "absolute values",
            _of_gradient(lambda g: 0.5 * g.abs().sum(dim=1).mean()),
            "you add absolute values: squares.",
        ),
        WrongAnswer(
            "square of the sum",
            _of_gradient(lambda g: 0.5 * g.sum(dim=1).square().mean()),
            "you add over T before you square, and either sign cancels: square first.",
        ),
        WrongAnswer(
            "squared twice",
            _of_gradient(lambda g: 0.5 * g.square().sum(dim=1).square().mean()),
            "you square the squared length again: once.",
        ),
        WrongAnswer(
            "a number a clip",
            _of_gradient(lambda g: 0.5 * g.square().sum(dim=1)),
            "that is one number a clip: their mean is asked for.",
        ),
        WrongAnswer(
            "negative",
            lambda critic, real: -r1_penalty(critic, real),
            "the sign: steep slopes are to *cost* something.",
        ),
        WrongAnswer(
            "mean score",
            _of_score(lambda critic, x: critic(x).mean()),
            "B * B times too small: the gradient of the *sum* of scores holds each clip's own, that of their mean a "
            "B-th of it, squared afterwards.",
        ),
        WrongAnswer(
            "of a probability",
            _of_score(lambda critic, x: torch.sigmoid(critic(x)).sum()),
            "you put a sigmoid after the critic: the score itself, or the slope vanishes where the critic is sure.",
        ),
        WrongAnswer(
            "of a loss",
            _of_score(lambda critic, x: torch.nn.functional.softplus(-critic(x)).sum()),
            "that is the slope of the *loss*: of the score itself.",
        ),
        WrongAnswer(
            "at silence",
            lambda critic, real: r1_penalty(critic, torch.zeros_like(real)),
            "you look at clips of zeros: at the real ones.",
        ),
        WrongAnswer(
            "by the weights",
            _of_weights,
            "you differentiate by the critic's weights: by the clips.",
        ),
        WrongAnswer(
            "no requires_grad",
            _without_leaf,
            "nobody keeps track of the clips: work on real.clone().requires_grad_().",
        ),
        WrongAnswer(
            "many scores at once",
            _of_score(lambda critic, x: critic(x)),
            "autograd.grad wants one number (or grad_outputs): take critic(x).sum().",
        ),
        WrongAnswer(
            "halved before the square",
            _of_gradient(lambda g: (0.5 * g).square().sum(dim=1).mean()),
            "you square the half as well, which makes a quarter: the half stands outside.",
        ),
        WrongAnswer(
            "sum over clips, mean over samples",
            _of_gradient(lambda g: 0.5 * g.square().sum(dim=0).mean()),
            "the axes are swapped: sum over T (dim=1), mean over clips.",
        ),
        WrongAnswer(
            "gamma",
            _of_gradient(lambda g: 5 * g.square().sum(dim=1).mean()),
            "the usual weight of 10 is not part of it here: half the mean.",
        ),
        WrongAnswer(
            "root and square",
            _of_gradient(lambda g: 0.5 * g.square().sum(dim=1).sqrt().square().mean()),
            "the right value, but you take a root to square it again, and where the critic is flat its derivative is "
            "infinite and the gradient NaN: leave both out.",
        ),
        WrongAnswer(
            "squared score",
            _of_score(lambda critic, x: critic(x).square().sum()),
            "you square the scores before you differentiate: square the gradient.",
        ),
    ),
)
