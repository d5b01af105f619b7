"""Exercise 07.5: phase shuffle with the shifts given."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.ex06.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer


def phase_shuffle(x: Tensor, shifts: Tensor) -> Tensor:
    """Move clip b to the right by shifts[b], to the left if negative; edges reflected (Donahue et al. 2019).

    Args:    x: (B, C, T); shifts: (B,) int64, |shift| < T.
    Returns: (B, C, T)."""
    last = x.shape[2] - 1
    return _taken(x, shifts, lambda source: last - (last - source.abs()).abs())


def _taken(x: Tensor, shifts: Tensor, fold) -> Tensor:
    """What stands at fold(t - shift), within 0 to T - 1."""
    source = fold(torch.arange(x.shape[2]) - shifts[:, None])  # (B, T)
    return x.gather(2, source[:, None].expand_as(x))


def _draw_activations(rng: torch.Generator, trial: int) -> dict:
    """Every kind of shift in each batch: right, left, none, and the farthest in the last two.

    In the second, farther to the left than to the right: padding by shifts.max() is too little.
    """
    n_clips, n_channels, n_samples = ((5, 3, 9), (4, 2, 7), (6, 5, 8), (3, 4, 6))[trial % 4]
    x = torch.randn(n_clips, n_channels, n_samples, generator=rng)
    x[:, 0] += 2
    shifts = torch.randint(1, n_samples // 2, (n_clips,), generator=rng)
    shifts[1] *= -1
    shifts[2] = 0
    if n_clips > 4:
        shifts[3:] *= 2 * torch.randint(0, 2, (n_clips - 3,), generator=rng) - 1
    if trial % 4 == 1:
        shifts[1] = 3 - n_samples
    if trial % 4 == 2:
        shifts[0], shifts[1] = n_samples - 1, 1 - n_samples
    if trial % 4 == 3:
        shifts[0], shifts[1], shifts[2] = -2, n_samples - 1, -1
    return {"x": x, "shifts": shifts}


def _by_fold(fold):
    """An answer that finds its source by fold(place, T)."""
    return lambda x, shifts: _taken(x, shifts, lambda source: fold(source, x.shape[2]))


def _with_shifts(change):
    return lambda x, shifts: phase_shuffle(x, change(shifts))


def _into_zeros(x: Tensor, shifts: Tensor) -> Tensor:
    source = torch.arange(x.shape[2]) - shifts[:, None]
    inside = (source >= 0) & (source < x.shape[2])
    return _by_fold(lambda source, n: source.clamp(0, n - 1))(x, shifts) * inside[:, None]


def _repeated(source: Tensor, n: int) -> Tensor:
    """Reflected with the edge repeated: c b a | a b c | c b a."""
    source = torch.where(source < 0, -1 - source, source)
    return torch.where(source >= n, 2 * n - 1 - source, source)


def _channels(x: Tensor, shifts: Tensor) -> Tensor:
    return torch.stack([clip.roll(int(shift), dims=0) for clip, shift in zip(x, shifts, strict=True)])


def _clips(x: Tensor, shifts: Tensor) -> Tensor:
    return phase_shuffle(x.roll(1, dims=0), shifts)


def _in_place(x: Tensor, shifts: Tensor) -> Tensor:
    for b, moved in enumerate(phase_shuffle(x, shifts)):
        x[b] = moved
    return x


def _padded(x: Tensor, shifts: Tensor) -> Tensor:
    """The farthest shift's padding on both sides, and never cut back."""
    n = int(shifts.abs().max())
    return F.pad(x, (n, n), mode="reflect")


def _flipped(x: Tensor, shifts: Tensor) -> Tensor:
    """The missing end filled with the reflection of the *other* end."""
    return torch.where(_missing(x, shifts), phase_shuffle(x.flip(2), -shifts), phase_shuffle(x, shifts))


def _missing(x: Tensor, shifts: Tensor) -> Tensor:
    source = torch.arange(x.shape[2]) - shifts[:, None]
    return ((source < 0) | (source >= x.shape[2]))[:, None]  # (B, 1, T)


def _copied(x: Tensor, shifts: Tensor) -> Tensor:
    """The missing end filled with its neighbours as they stand, not turned round."""
    last, rows = x.shape[2] - 1, []
    for clip, n in zip(x, shifts.tolist(), strict=True):
        if n > 0:
            rows.append(torch.cat([clip[:, 1 : n + 1], clip[:, : last + 1 - n]], dim=1))
        else:
            rows.append(torch.cat([clip[:, -n:], clip[:, last + n : last]], dim=1))
    return torch.stack(rows)


def _padded_too_little(x: Tensor, shifts: Tensor) -> Tensor:
    n, n_samples = int(shifts.max()), x.shape[2]
    wide = F.pad(x, (n, n), mode="reflect")
    return torch.stack([wide[b, :, n - s : n - s + n_samples] for b, s in enumerate(shifts.tolist())])


PHASE_SHUFFLE = Exercise(
    id="07.5",
    title="phase shuffle",
    points=4,
    function="phase_shuffle",
    draw=_draw_activations,
    reference=phase_shuffle,
    probe=call_and_differentiate,
    difficulty=3,
    minutes=15,
    hint="output sample t of clip b comes from t - shifts[b]; where that is below 0 take its absolute value, where "
    "it is above T - 1 take 2 (T - 1) minus it; gather along dim=2, or pad clip by clip, mode='reflect'.",
    wrong_answers=(
        WrongAnswer(
            "circular",
            _by_fold(lambda source, n: source % n),
            "what leaves at one end comes in at the other (roll): the missing end is reflected.",
        ),
        WrongAnswer(
            "zeros",
            _into_zeros,
            "you fill the missing end with zeros, an edge the discriminator would see: reflect.",
        ),
        WrongAnswer(
            "edge held",
            _by_fold(lambda source, n: source.clamp(0, n - 1)),
            "you hold the last value (mode='replicate', clamp): the missing end is a mirror image.",
        ),
        WrongAnswer(
            "edge repeated",
            _by_fold(_repeated),
            "your mirror image repeats the edge, `b a a b c` for a shift of 2: the edge itself once, `c b a b c`.",
        ),
        WrongAnswer(
            "reflected at the start only",
            _by_fold(lambda source, n: source.abs()),
            "reflected at the start only: where a clip moves to the left, fold places beyond T - 1 back, too.",
        ),
        WrongAnswer(
            "reflected at the end only",
            _by_fold(lambda source, n: (n - 1 - (n - 1 - source).abs()) % n),
            "reflected at the end only: negative places count from the end in Python. Fold them with abs().",
        ),
        WrongAnswer(
            "left for right",
            _with_shifts(lambda shifts: -shifts),
            "the wrong way round: a positive shift moves to the *right*, so sample t comes from t - shift.",
        ),
        WrongAnswer(
            "never runs",
            lambda x, shifts: x + 0,
            "nothing moves: after padding on one side, cut at the *other*. (A published implementation never moved "
            "anything, unnoticed: a layer that does nothing raises no error.)",
        ),
        WrongAnswer(
            "negative shifts ignored",
            _with_shifts(lambda shifts: shifts.clamp(min=0)),
            "clips with a negative shift stay where they are: they move to the left.",
        ),
        WrongAnswer(
            "positive shifts ignored",
            _with_shifts(lambda shifts: shifts.clamp(max=0)),
            "clips with a positive shift stay where they are: they move to the right.",
        ),
        WrongAnswer(
            "always right",
            _with_shifts(lambda shifts: shifts.abs()),
            "you move all clips to the right: to the left where the shift is negative.",
        ),
        WrongAnswer(
            "one shift for all",
            _with_shifts(lambda shifts: shifts[:1].expand_as(shifts)),
            "you move the whole batch by the first shift: every clip by its own.",
        ),
        WrongAnswer(
            "last shift for all",
            _with_shifts(lambda shifts: shifts[-1:].expand_as(shifts)),
            "you move the whole batch by the last shift: does a loop overwrite what the one before has made?",
        ),
        WrongAnswer(
            "mean shift",
            _with_shifts(lambda shifts: shifts.float().mean().round().long().expand_as(shifts)),
            "you move the whole batch by the mean shift: every clip by its own.",
        ),
        WrongAnswer(
            "shifts reversed",
            _with_shifts(lambda shifts: shifts.flip(0)),
            "the shifts reach the clips in reversed order: clip b gets shifts[b].",
        ),
        WrongAnswer(
            "one sample farther",
            _by_fold(lambda source, n: (n - 1) - ((n - 1) - (source - 1).abs()).abs()),
            "one sample too far to the right: a shift of 0 leaves a clip as it is.",
        ),
        WrongAnswer(
            "one sample less",
            _with_shifts(lambda shifts: shifts - shifts.sign()),
            "one sample too little: a shift of 1 moves by one.",
        ),
        WrongAnswer(
            "other end",
            _flipped,
            "you fill the missing end with a mirror image of the *other* end: of the samples next to it.",
        ),
        WrongAnswer(
            "channels",
            _channels,
            "you shift along the channels: time is the last axis.",
        ),
        WrongAnswer(
            "neighbour's clip",
            _clips,
            "clips are swapped: output clip b is made of x[b].",
        ),
        WrongAnswer(
            "not cut",
            _padded,
            "the output is longer than x: after padding, cut T samples out, at a place that depends on the shift.",
        ),
        WrongAnswer(
            "in place",
            _in_place,
            "you write into x itself, which gradients pass through: make a new tensor (stack, gather, empty_like).",
        ),
        WrongAnswer(
            "no gradient",
            lambda x, shifts: phase_shuffle(x, shifts).detach(),
            "the right values, but no gradient comes through (detach, .data or no_grad): the generator would learn "
            "nothing.",
        ),
        WrongAnswer(
            "numpy",
            lambda x, shifts: torch.as_tensor(x.numpy()),
            "numpy keeps no track of gradients, which have to reach x: stay in torch.",
        ),
        WrongAnswer(
            "end held",
            _by_fold(lambda source, n: source.abs().clamp(max=n - 1)),
            "reflected at the start, but held at the end: fold places beyond T - 1 back, to 2 (T - 1) minus them.",
        ),
        WrongAnswer(
            "edge repeated at the end",
            _by_fold(lambda source, n: torch.where(source.abs() >= n, 2 * n - 1 - source.abs(), source.abs())),
            "at the end your mirror image repeats the edge: 2 (T - 1) minus the place, not 2 T - 1 minus it.",
        ),
        WrongAnswer(
            "not turned round",
            _copied,
            "you fill the missing end with its neighbours in their own order: a mirror image runs backwards, flip(-1).",
        ),
        WrongAnswer(
            "index of one channel",
            lambda x, shifts: phase_shuffle(x[:, :1], shifts),
            "one channel is left: gather gives as many as its index has, so expand that to the shape of x.",
        ),
        WrongAnswer(
            "padded by the largest",
            _padded_too_little,
            "shifts.max() knows nothing of the way to the left: pad by shifts.abs().max().",
        ),
    ),
)
