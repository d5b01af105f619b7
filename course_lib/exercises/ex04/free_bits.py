"""Exercise 04.5: free bits."""

import torch
from torch import Tensor

from course_lib.exercises.ex04.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer


def free_bits_kl(kl: Tensor, free_nats: float) -> Tensor:
    """The batch's mean KL of each latent dimension, at least free_nats, summed (Kingma et al. 2016). (B, Z) -> scalar.

    Below the floor a dimension gets no gradient: up to free_nats its information costs nothing.
    """
    return kl.mean(dim=0).clamp(min=free_nats).sum()


def _draw_kl(rng: torch.Generator, trial: int) -> dict:
    """Dimensions on either side of the floor, and clips on either side in each; at last a batch that has collapsed."""
    n_clips, z_dim = ((4, 6), (3, 9), (7, 5), (6, 8))[trial % 4]
    free_nats = (0.5, 0.2, 1.0, 0.3)[trial % 4] * (1 + 0.2 * float(torch.rand(1, generator=rng)))
    is_low = torch.arange(z_dim) % 2 == 0
    level = free_nats * torch.where(is_low, 0.2, 1.4)
    kl = level * (0.4 + 1.2 * torch.rand(n_clips, z_dim, generator=rng))
    mean = kl.mean(dim=0)
    kl = kl * torch.where((mean / free_nats - 1).abs() < 0.05, 1.15, 1.0)  # never right at the floor
    if trial % 4 == 3:  # where even the sum is below one dimension's floor, one clip's is not
        kl = kl * torch.where(torch.arange(n_clips) == 0, 0.4, 0.02)[:, None]
    return {"kl": kl, "free_nats": free_nats}


FREE_BITS = Exercise(
    id="04.5",
    title="free bits",
    points=2,
    function="free_bits_kl",
    draw=_draw_kl,
    reference=free_bits_kl,
    probe=call_and_differentiate,
    difficulty=2,
    minutes=8,
    hint="in this order: mean over the clips (dim=0), at least free_nats in each dimension, sum.",
    wrong_answers=(
        WrongAnswer(
            "floor before the mean",
            lambda kl, free_nats: kl.clamp(min=free_nats).mean(dim=0).sum(),
            "you floor each clip, then average: the floor is for the *mean* of a dimension, so that clips can share.",
        ),
        WrongAnswer(
            "floor on the sum",
            lambda kl, free_nats: kl.mean(dim=0).sum().clamp(min=free_nats),
            "you floor the sum: each dimension has its own floor, or one dimension could use up what is free.",
        ),
        WrongAnswer(
            "floor on the sum, times Z",
            lambda kl, free_nats: kl.mean(dim=0).sum().clamp(min=free_nats * kl.shape[1]),
            "you put one floor of Z times free_nats under the sum: each dimension has its own.",
        ),
        WrongAnswer(
            "floor on each clip's sum",
            lambda kl, free_nats: kl.sum(dim=1).clamp(min=free_nats).mean(),
            "you floor the clips' sums: the floor is for each *dimension*, averaged over the clips.",
        ),
        WrongAnswer(
            "mean over dimensions",
            lambda kl, free_nats: kl.mean(dim=0).clamp(min=free_nats).mean(),
            "averaged at the end: the dimensions add up.",
        ),
        WrongAnswer(
            "summed over clips",
            lambda kl, free_nats: kl.sum(dim=0).clamp(min=free_nats).sum(),
            "you add the clips up before the floor: their mean.",
        ),
        WrongAnswer(
            "axes swapped",
            lambda kl, free_nats: kl.mean(dim=1).clamp(min=free_nats).sum(),
            "you average over the dimensions, clip by clip (dim=1): the clips are the first axis.",
        ),
        WrongAnswer(
            "no floor",
            lambda kl, free_nats: kl.mean(dim=0).sum(),
            "that is the plain KL: the floor is missing.",
        ),
        WrongAnswer(
            "ceiling",
            lambda kl, free_nats: kl.mean(dim=0).clamp(max=free_nats).sum(),
            "that is a ceiling: at *least* free_nats, so the larger of the two.",
        ),
        WrongAnswer(
            "floor taken away",
            lambda kl, free_nats: (kl.mean(dim=0) - free_nats).clamp(min=0).sum(),
            "the same gradient, but free_nats too little in each dimension: above the floor it is paid whole.",
        ),
        WrongAnswer(
            "floor added",
            lambda kl, free_nats: (kl.mean(dim=0) + free_nats).sum(),
            "you add free_nats to each dimension: it is a floor, the larger of the two.",
        ),
        WrongAnswer(
            "small ones left out",
            lambda kl, free_nats: torch.where(kl.mean(dim=0) > free_nats, kl.mean(dim=0), 0.0).sum(),
            "dimensions below the floor count as 0 with you: they count as free_nats.",
        ),
        WrongAnswer(
            "gradient through the floor",
            lambda kl, free_nats: (kl.mean(dim=0) + (free_nats - kl.mean(dim=0)).clamp(min=0).detach()).sum(),
            "the right value, but dimensions below the floor still get a gradient, which pushes them to 0: there must "
            "be none.",
        ),
        WrongAnswer(
            "smooth floor",
            lambda kl, free_nats: torch.nn.functional.softplus(kl.mean(dim=0) - free_nats).add(free_nats).sum(),
            "softplus rounds the corner off: a sharp maximum is asked for.",
        ),
        WrongAnswer(
            "nothing through at all",
            lambda kl, free_nats: free_bits_kl(kl.detach(), free_nats),
            "the right value, but no gradient comes through: above the floor the KL still has to be trained.",
        ),
        WrongAnswer(
            "not summed",
            lambda kl, free_nats: kl.mean(dim=0).clamp(min=free_nats),
            "that is a number a dimension: the sum is still to come.",
        ),
        WrongAnswer(
            "Python's max",
            lambda kl, free_nats: max(kl.mean(dim=0), free_nats).sum(),
            "Python's max() knows no tensors: torch.clamp(..., min=free_nats), element by element.",
        ),
        WrongAnswer(
            "torch.maximum of a number",
            lambda kl, free_nats: torch.maximum(kl.mean(dim=0), free_nats).sum(),
            "torch.maximum takes two tensors; for a number there is clamp(min=...).",
        ),
        WrongAnswer(
            "torch.max of a number",
            lambda kl, free_nats: torch.max(kl.mean(dim=0), free_nats).sum(),
            "torch.max takes a tensor or two, and an axis, but no number: clamp(min=...) does.",
        ),
    ),
)
