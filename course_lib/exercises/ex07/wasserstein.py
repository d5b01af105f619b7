"""Exercise 07.2: the Wasserstein distance on a line."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """W1 of two sets of N points on a line, each point 1/N: the k-th smallest goes to the k-th smallest. -> scalar."""
    return (a.sort().values - b.sort().values).abs().mean()


def _nearest_free(a: Tensor, b: Tensor) -> Tensor:
    """Each point of a, in turn, to the nearest of b that is still free."""
    free, moves = b.clone(), []
    for point in a:
        gaps = (free - point).abs()
        moves.append(gaps.min())
        free = free[torch.arange(len(free)) != gaps.argmin()]
    return torch.stack(moves).mean()


def _draw_points(rng: torch.Generator, trial: int) -> dict:
    """Across each other; the same points in another order; all moved to the left; one far away."""
    n = (7, 12, 5, 9)[trial % 4]
    a, b = 2 * torch.randn(2, n, generator=rng)
    a, b = torch.cat([a[:-2], torch.tensor([-4.0, 3.0])]), 0.4 * b  # wide and narrow
    if trial % 4 == 1:
        b = a[torch.arange(n).roll(1 + n // 2)]
    if trial % 4 == 2:
        b = a.flip(0) - 1.5
        while min(_nearest_free(a, b), _nearest_free(b, a)) < 1.6:  # else greed would do, now and then
            a = torch.cat([2 * torch.randn(n - 2, generator=rng), torch.tensor([-4.0, 3.0])])
            b = a.flip(0) - 1.5
    if trial % 4 == 3:
        b[0] = 20 + b[0]
    return {"a": a, "b": b}


def _of_moves(figure):
    """A figure of how far each point moves, (N,), by the cheapest plan."""
    return lambda a, b: figure(a.sort().values - b.sort().values)


def _by_size(a: Tensor, b: Tensor) -> Tensor:
    return (a[a.abs().argsort()] - b[b.abs().argsort()]).abs().mean()


def _gaps(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b[None, :]).abs()  # (N, N)


WASSERSTEIN_1D = Exercise(
    id="07.2",
    title="earth moved along a line",
    points=2,
    function="wasserstein_1d",
    draw=_draw_points,
    reference=wasserstein_1d,
    difficulty=1,
    minutes=6,
    hint="nobody overtakes: the k-th smallest of a goes to the k-th smallest of b; the mean of these distances.",
    wrong_answers=(
        WrongAnswer(
            "unsorted",
            lambda a, b: (a - b).abs().mean(),
            "you move each point to the one that happens to stand at its place: sort both, each by its own values.",
        ),
        WrongAnswer(
            "only a sorted",
            lambda a, b: (a.sort().values - b).abs().mean(),
            "you sort a only: b as well.",
        ),
        WrongAnswer(
            "only b sorted",
            lambda a, b: (a - b.sort().values).abs().mean(),
            "you sort b only: a as well.",
        ),
        WrongAnswer(
            "against each other",
            lambda a, b: (a.sort().values - b.sort(descending=True).values).abs().mean(),
            "one goes up, the other down: that is the *dearest* plan. Both the same way.",
        ),
        WrongAnswer(
            "sorted by absolute value",
            _by_size,
            "you sort by distance from 0: by the values themselves, negative ones first.",
        ),
        WrongAnswer(
            "sort of a pair",
            lambda a, b: (a.sort() - b.sort()).abs().mean(),
            "sort() gives values *and* places: take .values.",
        ),
        WrongAnswer(
            "argsort",
            lambda a, b: (a.argsort() - b.argsort()).abs().float().mean(),
            "argsort gives places, not points: sort().values.",
        ),
        WrongAnswer(
            "distance of means",
            lambda a, b: (a.mean() - b.mean()).abs(),
            "the distance of the means lets a move to the left cancel one to the right: every move costs.",
        ),
        WrongAnswer(
            "signed",
            _of_moves(lambda moves: moves.mean()),
            "moves to the left cancel moves to the right: take absolute values before the mean.",
        ),
        WrongAnswer(
            "sum",
            _of_moves(lambda moves: moves.abs().sum()),
            "you add the moves up: each point is worth 1/N, so their mean.",
        ),
        WrongAnswer(
            "squares",
            _of_moves(lambda moves: moves.square().mean()),
            "you square the moves: W1 takes the distance itself.",
        ),
        WrongAnswer(
            "W2",
            _of_moves(lambda moves: moves.square().mean().sqrt()),
            "that is W2, the root of the mean square: W1 is the mean distance.",
        ),
        WrongAnswer(
            "largest",
            _of_moves(lambda moves: moves.abs().max()),
            "that is the longest move: the mean of all.",
        ),
        WrongAnswer(
            "median",
            _of_moves(lambda moves: moves.abs().quantile(0.5)),
            "that is the median move: the mean.",
        ),
        WrongAnswer(
            "all pairs",
            lambda a, b: _gaps(a, b).mean(),
            "that is the mean distance of *all* pairs, above 0 even for equal sets: each point goes to one place.",
        ),
        WrongAnswer(
            "nearest of b",
            lambda a, b: _gaps(a, b).min(dim=1).values.mean(),
            "you send each point to the nearest of b, and many may meet there: every place takes one point only.",
        ),
        WrongAnswer(
            "nearest, both ways",
            lambda a, b: (_gaps(a, b).min(dim=1).values.mean() + _gaps(a, b).min(dim=0).values.mean()) / 2,
            "that is the Chamfer distance, where points may share a nearest one: every place takes one point only.",
        ),
        WrongAnswer(
            "move by move",
            _of_moves(lambda moves: moves.abs()),
            "that is one number a point: their mean.",
        ),
        WrongAnswer(
            "nearest that is free",
            _nearest_free,
            "you send each point, in turn, to the nearest that is still free: what is cheapest for the first leaves "
            "long ways to the last. Sorted points cost least together.",
        ),
        WrongAnswer(
            "length",
            _of_moves(lambda moves: moves.norm()),
            "norm() is the root of the sum of squares: the mean of absolute values.",
        ),
    ),
)
