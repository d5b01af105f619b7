"""Exercise 06.5: how far apart clips with the same label are."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def same_label_distance(mels: Tensor, labels: Tensor) -> Tensor:
    """RMS difference of two clips, averaged over all pairs with equal labels. (B, M, L), (B,) -> scalar."""
    return _over_pairs(lambda difference: difference.square().mean(dim=(1, 2)).sqrt().mean())(mels, labels)


def _pairs(labels: Tensor, offset: int = 1) -> tuple[Tensor, Tensor]:
    """Both members, i < j, of each pair with equal labels: (n_pairs,) int64 each."""
    i, j = torch.triu_indices(len(labels), len(labels), offset=offset)
    same = labels[i] == labels[j]
    return i[same], j[same]


def _over_pairs(figure):
    """An answer that makes a figure of the differences (n_pairs, M, L)."""

    def answer(mels: Tensor, labels: Tensor) -> Tensor:
        i, j = _pairs(labels)
        return figure(mels[i] - mels[j])

    return answer


def _over(choose):
    """An answer that averages the RMS difference over the pairs that choose(i, j, labels) marks."""

    def answer(mels: Tensor, labels: Tensor) -> Tensor:
        index = torch.arange(len(labels))
        i, j = torch.cartesian_prod(index, index).T
        chosen = choose(i, j, labels)
        return (mels[i[chosen]] - mels[j[chosen]]).square().mean(dim=(1, 2)).sqrt().mean()

    return answer


def _draw_clips(rng: torch.Generator, trial: int) -> dict:
    """Labels out of order, some below 0 and above 9, each another number of times, one of them once.

    In the last two trials clips are of the size of decibels, in the very last two of them are identical: only
    differences keep their digits.
    """
    n_mels, n_frames, labels = (
        (3, 5, [4, 1, 4, 7, 1, 4, 9]),
        (6, 4, [2, -1, 2, 2, -1, 5, 2, 5, 3]),
        (4, 7, [41, 3, 41, 3, 3]),
        (5, 3, [6, 0, 6, 0, 6, 9, 0, 6]),
    )[trial % 4]
    labels = torch.tensor(labels)
    swap = torch.randint(1, len(labels) - 1, (1,), generator=rng)
    labels[[0, int(swap)]] = labels[[int(swap), 0]]
    spread = 0.5 + 1.5 * torch.rand(len(labels), 1, 1, generator=rng)
    mels = spread * torch.randn(len(labels), n_mels, n_frames, generator=rng) + 0.5 * labels[:, None, None]
    if trial % 4 >= 2:
        mels = 0.05 * mels - 60
    if trial % 4 == 3:
        i, j = _pairs(labels)
        mels[j[0]] = mels[i[0]]
    return {"mels": mels, "labels": labels}


def _per_label(mels: Tensor, labels: Tensor) -> Tensor:
    parts = [same_label_distance(mels[labels == k], labels[labels == k]) for k in labels.unique()]
    return torch.stack(parts).nanmean()


def _to_mean(mels: Tensor, labels: Tensor) -> Tensor:
    means = torch.stack([mels[labels == k].mean(dim=0) for k in labels])
    return (mels - means).square().mean(dim=(1, 2)).sqrt().mean()


def _summed(mels: Tensor, labels: Tensor) -> Tensor:
    return same_label_distance(mels, labels) * len(_pairs(labels)[0])


def _by_products(mels: Tensor, labels: Tensor) -> Tensor:
    flat, (i, j) = mels.flatten(1), _pairs(labels)
    lengths = flat.square().sum(dim=1)
    squares = lengths[i] + lengths[j] - 2 * (flat @ flat.T)[i, j]
    return (squares.clamp(min=0) / flat.shape[1]).sqrt().mean()


def _within(known):
    """An answer that looks for the labels known(labels) only."""
    return lambda mels, labels: _over(
        lambda i, j, all_labels: (
            (all_labels[i] == all_labels[j]) & (i < j) & torch.isin(all_labels[i], known(all_labels))
        )
    )(mels, labels)


def _next_of_label(mels: Tensor, labels: Tensor) -> Tensor:
    parts = [mels[labels == k].diff(dim=0).square().mean(dim=(1, 2)).sqrt() for k in labels.unique()]
    return torch.cat(parts).mean()


SAME_LABEL_DISTANCE = Exercise(
    id="06.5",
    title="clips with the same label",
    points=3,
    function="same_label_distance",
    draw=_draw_clips,
    reference=same_label_distance,
    difficulty=2,
    minutes=10,
    hint="for each pair i < j with labels[i] == labels[j]: mean of the squared difference over M and L, root of it; "
    "then the mean over these pairs. Subtract before you square: |a|^2 + |b|^2 - 2 ab loses its digits.",
    wrong_answers=(
        WrongAnswer(
            "clips with themselves",
            _over(lambda i, j, labels: labels[i] == labels[j]),
            "you count each clip with itself, at a distance of 0: pairs i < j only (torch.triu with diagonal=1).",
        ),
        WrongAnswer(
            "clips with themselves once",
            _over(lambda i, j, labels: (labels[i] == labels[j]) & (i <= j)),
            "i <= j takes each clip with itself, at a distance of 0: i < j.",
        ),
        WrongAnswer(
            "zeros thrown away",
            lambda mels, labels: _over_pairs(
                lambda d: d.square().mean(dim=(1, 2)).sqrt()[d.flatten(1).any(dim=1)].mean()
            )(mels, labels),
            "you throw away distances of 0 to be rid of each clip with itself, and identical clips with it: those are "
            "the collapse you look for. Choose pairs by i < j.",
        ),
        WrongAnswer(
            "all pairs",
            _over(lambda i, j, labels: i < j),
            "you average over all pairs: only over those whose labels are equal.",
        ),
        WrongAnswer(
            "unequal labels",
            _over(lambda i, j, labels: labels[i] != labels[j]),
            "those are the pairs with *different* labels.",
        ),
        WrongAnswer(
            "divided by all pairs",
            lambda mels, labels: _summed(mels, labels) / (len(labels) * (len(labels) - 1) / 2),
            "you divide by the number of all pairs: by the number of those with equal labels.",
        ),
        WrongAnswer(
            "neighbours",
            _over(lambda i, j, labels: (labels[i] == labels[j]) & (j == i + 1)),
            "you compare neighbours in the batch only: every pair with equal labels, wherever they stand.",
        ),
        WrongAnswer(
            "with the first",
            lambda mels, labels: _over(
                lambda i, j, known: (i == (known == known[j, None]).int().argmax(dim=1)) & (i < j)
            )(mels, labels),
            "you compare each clip with the first of its label only: all pairs i < j.",
        ),
        WrongAnswer(
            "label by label",
            _per_label,
            "you average each label's pairs first, then the labels: all pairs weigh the same here.",
        ),
        WrongAnswer(
            "distance to the mean",
            _to_mean,
            "that is the distance to the mean clip of each label: clips are compared two by two.",
        ),
        WrongAnswer(
            "no root",
            _over_pairs(lambda d: d.square().mean(dim=(1, 2)).mean()),
            "the root is missing: root of the mean square, pair by pair.",
        ),
        WrongAnswer(
            "root at the end",
            _over_pairs(lambda d: d.square().mean().sqrt()),
            "you take one root at the end: of each pair's mean square, before you average over pairs.",
        ),
        WrongAnswer(
            "root at once",
            _over_pairs(lambda d: d.square().sqrt().mean()),
            "the root of a square, value by value, is the absolute difference: mean over M and L first, then the root.",
        ),
        WrongAnswer(
            "frame by frame",
            _over_pairs(lambda d: d.square().mean(dim=1).sqrt().mean()),
            "you take the root frame by frame: the mean square goes over M *and* L.",
        ),
        WrongAnswer(
            "band by band",
            _over_pairs(lambda d: d.square().mean(dim=2).sqrt().mean()),
            "you take the root band by band: the mean square goes over M *and* L.",
        ),
        WrongAnswer(
            "length",
            _over_pairs(lambda d: d.flatten(1).norm(dim=1).mean()),
            "norm() and cdist sum the squares: RMS takes their mean, so divide by the root of M L.",
        ),
        WrongAnswer(
            "signed",
            _over_pairs(lambda d: d.mean()),
            "differences of either sign cancel: square them first.",
        ),
        WrongAnswer(
            "standard deviation",
            _over_pairs(lambda d: d.flatten(1).std(dim=1).mean()),
            "std() takes each difference's own mean off first: a clip that is louder everywhere differs, too.",
        ),
        WrongAnswer(
            "sum over pairs",
            _summed,
            "you add the pairs up: their mean.",
        ),
        WrongAnswer(
            "pair by pair",
            _over_pairs(lambda d: d.square().mean(dim=(1, 2)).sqrt()),
            "that is one number a pair: average them.",
        ),
        WrongAnswer(
            "median",
            _over_pairs(lambda d: d.square().mean(dim=(1, 2)).sqrt().quantile(0.5)),
            "that is the median over the pairs: the mean.",
        ),
        WrongAnswer(
            "nearest",
            _over_pairs(lambda d: d.square().mean(dim=(1, 2)).sqrt().min()),
            "that is the nearest pair: the mean over all pairs with equal labels.",
        ),
        WrongAnswer(
            "ten digits",
            _within(lambda labels: torch.arange(10)),
            "you look for the labels 0 to 9 only: labels are any whole numbers, so compare them with each other (or "
            "take labels.unique()).",
        ),
        WrongAnswer(
            "labels from 0 on",
            _within(lambda labels: torch.arange(int(labels.max()) + 1)),
            "you look for labels from 0 on: they may be negative, so compare them with each other (or take "
            "labels.unique()).",
        ),
        WrongAnswer(
            "the next one",
            _next_of_label,
            "you compare each clip with the next one of its label only: all pairs i < j.",
        ),
        WrongAnswer(
            "length by the root of M",
            lambda mels, labels: same_label_distance(mels, labels) * mels.shape[2] ** 0.5,
            "you average over M only: the mean goes over all M L values.",
        ),
        WrongAnswer(
            "length by the root of L",
            lambda mels, labels: same_label_distance(mels, labels) * mels.shape[1] ** 0.5,
            "you average over L only: the mean goes over all M L values.",
        ),
        WrongAnswer(
            "halved",
            lambda mels, labels: same_label_distance(mels, labels) / 2,
            "half of what it should be: if the sum has each pair once, so has the number you divide by.",
        ),
        WrongAnswer(
            "mean over a masked square",
            lambda mels, labels: _summed(mels, labels) / len(labels) ** 2,
            "you set other pairs to 0 and average over all B x B: choose the pairs (distance[mask]), then average.",
        ),
        WrongAnswer(
            "difference by products",
            _by_products,
            "|a|^2 + |b|^2 - 2 ab takes large numbers from each other and keeps few digits, none at all where clips "
            "are identical: subtract first, then square.",
        ),
    ),
)
