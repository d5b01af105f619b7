"""Exercise 07.1: how often a transposed convolution paints each output sample."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def painted_counts(n_in: int, kernel: int, stride: int) -> Tensor:
    """Copies of the kernel that reach each output sample of a transposed convolution without padding.

    Args:    n_in, kernel, stride: at least 1.
    Returns: (T,) int64, T = (n_in - 1) * stride + kernel (Odena et al. 2016 show what uneven counts do)."""
    starts = torch.arange(n_in)[:, None] * stride  # (n_in, 1)
    where = torch.arange((n_in - 1) * stride + kernel)  # (T,)
    return ((where >= starts) & (where < starts + kernel)).sum(dim=0)


def _draw_layer(rng: torch.Generator, trial: int) -> dict:
    """Uneven, even, with gaps, stride 1, and a kernel longer than all the rest."""
    kernel, stride = ((5, 2), (6, 3), (2, 5), (4, 1), (25, 4))[trial % 5]
    n_in = int(torch.randint(6, 40, (1,), generator=rng)) if trial % 5 < 4 else 3
    return {"n_in": n_in, "kernel": kernel, "stride": stride}


def _spoilt(change):
    """An answer that spoils the right counts at the end."""
    return lambda n_in, kernel, stride: change(painted_counts(n_in, kernel, stride), n_in, kernel, stride)


def _by_layer(**options):
    """Counts by a transposed convolution of ones with other settings."""

    def answer(n_in: int, kernel: int, stride: int) -> Tensor:
        settings = {"kernel": kernel, "stride": stride, "padding": 0} | {
            name: of(kernel, stride) for name, of in options.items()
        }
        ones = torch.ones(1, 1, n_in), torch.ones(1, 1, settings.pop("kernel"))
        return torch.nn.functional.conv_transpose1d(*ones, **settings)[0, 0].long()

    return answer


def _touching(n_in: int, kernel: int, stride: int) -> Tensor:
    """Copies laid side by side, as if the stride were the kernel's length."""
    return torch.ones(n_in * kernel, dtype=torch.int64)


def _by_phase(n_in: int, kernel: int, stride: int) -> Tensor:
    """The counts of the middle everywhere."""
    where = torch.arange((n_in - 1) * stride + kernel)
    return kernel // stride + (where % stride < kernel % stride).long()


def _written_once(n_in: int, kernel: int, stride: int) -> Tensor:
    counts = torch.zeros((n_in - 1) * stride + kernel, dtype=torch.int64)
    for i in range(n_in):
        counts[i * stride : i * stride + kernel] = 1
    return counts


def _first_only(n_in: int, kernel: int, stride: int) -> Tensor:
    counts = torch.zeros((n_in - 1) * stride + kernel, dtype=torch.int64)
    counts[: n_in * stride : stride] += 1
    return counts


PAINTED_COUNTS = Exercise(
    id="07.1",
    title="who paints how often",
    points=2,
    function="painted_counts",
    draw=_draw_layer,
    reference=painted_counts,
    n_trials=5,
    difficulty=1,
    minutes=8,
    hint="start with zeros of length (n_in - 1) * stride + kernel, whole numbers; for each input sample i add 1 to the "
    "kernel samples from i * stride on.",
    wrong_answers=(
        WrongAnswer(
            "float",
            _spoilt(lambda counts, n_in, kernel, stride: counts.float()),
            "right counts, but as floats: whole numbers, torch.int64 (.long()).",
        ),
        WrongAnswer(
            "int32",
            _spoilt(lambda counts, n_in, kernel, stride: counts.int()),
            "right counts, but of 32 bits: torch.int64 (.long()).",
        ),
        WrongAnswer(
            "a list",
            _spoilt(lambda counts, n_in, kernel, stride: counts[:100].tolist()),
            "right counts, but as a list: a tensor, torch.tensor(counts).",
        ),
        WrongAnswer(
            "written once",
            _written_once,
            "you *set* the samples a copy reaches to 1: add 1, for they overlap.",
        ),
        WrongAnswer(
            "first sample only",
            _first_only,
            "you count the first sample of each copy only: all `kernel` of them.",
        ),
        WrongAnswer(
            "one sample short",
            _by_layer(kernel=lambda kernel, stride: kernel - 1),
            "each of your copies is one sample short: a slice excludes its end, so i * stride + kernel.",
        ),
        WrongAnswer(
            "one sample long",
            _by_layer(kernel=lambda kernel, stride: kernel + 1),
            "each of your copies is one sample too long: `kernel` samples from i * stride on.",
        ),
        WrongAnswer(
            "kernel and stride swapped",
            lambda n_in, kernel, stride: painted_counts(n_in, stride, kernel),
            "kernel and stride are swapped: copies are `kernel` long and `stride` apart.",
        ),
        WrongAnswer(
            "stride ignored",
            _by_layer(stride=lambda kernel, stride: 1),
            "your copies are one sample apart: `stride`.",
        ),
        WrongAnswer(
            "side by side",
            _touching,
            "you lay the copies side by side: they start `stride` apart, and overlap where the kernel is longer.",
        ),
        WrongAnswer(
            "n_in times stride",
            _spoilt(lambda counts, n_in, kernel, stride: _to_length(counts, n_in * stride)),
            "your output has n_in * stride samples, as a padded layer's would: nothing is cut off here, so the last "
            "copy ends at (n_in - 1) * stride + kernel.",
        ),
        WrongAnswer(
            "one copy too many",
            lambda n_in, kernel, stride: painted_counts(n_in + 1, kernel, stride),
            "one copy too many: n_in copies start at 0, stride, ..., (n_in - 1) * stride.",
        ),
        WrongAnswer(
            "one copy too few",
            lambda n_in, kernel, stride: painted_counts(n_in - 1, kernel, stride),
            "one copy too few: n_in copies, the first at 0.",
        ),
        WrongAnswer(
            "last copy forgotten",
            _spoilt(lambda counts, n_in, kernel, stride: _without_copy(counts, (n_in - 1) * stride, kernel)),
            "the right length, but the last copy is missing: range(n_in), and no - 1.",
        ),
        WrongAnswer(
            "first copy forgotten",
            _spoilt(lambda counts, n_in, kernel, stride: _without_copy(counts, 0, kernel)),
            "the right length, but the first copy is missing: it starts at 0.",
        ),
        WrongAnswer(
            "ends as the middle",
            _by_phase,
            "right in the middle only: fewer copies reach the samples near both ends.",
        ),
        WrongAnswer(
            "kernel over stride",
            _spoilt(lambda counts, n_in, kernel, stride: torch.full_like(counts, kernel // stride)),
            "kernel // stride is what all samples get where it goes in without remainder, and only in the middle.",
        ),
        WrongAnswer(
            "kernel over stride, rounded up",
            _spoilt(lambda counts, n_in, kernel, stride: torch.full_like(counts, -(-kernel // stride))),
            "-(-kernel // stride) is the *most* that any sample gets: count each by itself.",
        ),
        WrongAnswer(
            "same padding",
            _by_layer(padding=lambda kernel, stride: max(kernel - stride, 0) // 2),
            "you cut the ends off, as padding does in a transposed convolution: none here.",
        ),
        WrongAnswer(
            "axes",
            _spoilt(lambda counts, n_in, kernel, stride: counts[None, None]),
            "right counts, but in the shape of a layer's output, (1, 1, T): one axis, [0, 0].",
        ),
        WrongAnswer(
            "minus one",
            _spoilt(lambda counts, n_in, kernel, stride: counts - 1),
            "you count one copy less everywhere: a sample that one copy reaches counts 1, in a gap 0.",
        ),
        WrongAnswer(
            "one sample long, cut",
            _spoilt(lambda counts, n_in, kernel, stride: painted_counts(n_in, kernel + 1, stride)[: len(counts)]),
            "the right length, but each copy reaches one sample too far: copy i ends *before* i * stride + kernel.",
        ),
        WrongAnswer(
            "copies beyond the last",
            _spoilt(lambda counts, n_in, kernel, stride: painted_counts(n_in + kernel, kernel, stride)[: len(counts)]),
            "right up to the last copy; but beyond its start you count copies of input samples that don't exist: at "
            "most n_in.",
        ),
    ),
)


def _to_length(counts: Tensor, n: int) -> Tensor:
    return torch.nn.functional.pad(counts, (0, n - len(counts)))


def _without_copy(counts: Tensor, start: int, kernel: int) -> Tensor:
    counts[start : start + kernel] -= 1
    return counts
