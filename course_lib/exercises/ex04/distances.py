"""Exercise 04.5: how far apart clips with the same label are."""

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
    """Labels out of order, each another number of times, one of them once; at last one pair of identical clips."""
    n_mels, n_frames, labels = (
        (3, 5, [4, 1, 4, 7, 1, 4, 9]),
        (6, 4, [2, 0, 2, 2, 0, 5, 2, 5, 3]),
        (4, 7, [8, 3, 8, 3, 3]),
        (5, 3, [6, 0, 6, 0, 6, 9, 0, 6]),
    )[trial % 4]
    labels = torch.tensor(labels)
    swap = torch.randint(1, len(labels) - 1, (1,), generator=rng)
    labels[[0, int(swap)]] = labels[[int(swap), 0]]
    spread = 0.5 + 1.5 * torch.rand(len(labels), 1, 1, generator=rng)
    mels = spread * torch.randn(len(labels), n_mels, n_frames, generator=rng) + 0.5 * labels[:, None, None]
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


SAME_LABEL_DISTANCE = Exercise(
    id="04.5",
    title="clips with the same label",
    points=3,
    function="same_label_distance",
    draw=_draw_clips,
    reference=same_label_distance,
    difficulty=2,
    minutes=10,
    hint="for each pair i < j with labels[i] == labels[j]: mean of the squared difference over M and L, root of it; "
    "then the mean over these pairs.",
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
    ),
)
