"""Exercise 03.3: sizes through a stack of convolutions."""

import math

import torch

from course_lib.exercises.framework import Exercise, WrongAnswer


def conv_sizes(n_in: int, kernel: int, stride: int, padding: int, n_layers: int) -> list[int]:
    """Sizes along one axis: the input's, then that after each of n_layers convolutions. n_layers + 1 numbers."""
    return _sizes(lambda n: (n + 2 * padding - kernel) // stride + 1, n_in, n_layers)


def _sizes(step, n_in: int, n_layers: int) -> list:
    sizes = [n_in]
    for _ in range(n_layers):
        sizes.append(step(sizes[-1]))
    return sizes


def _draw_stack(rng: torch.Generator, trial: int) -> dict:
    """Odd and even sizes, where down, up and to the nearest all differ; no size falls below 1."""
    kernel, stride, padding, n_layers = ((4, 2, 1, 4), (3, 2, 1, 5), (5, 3, 0, 3), (7, 2, 2, 4))[trial % 4]
    n_in = int(torch.randint(100, 200, (1,), generator=rng))
    rule = {"kernel": kernel, "stride": stride, "padding": padding, "n_layers": n_layers}
    while len({tuple(sizes(n_in, **rule)) for sizes in (conv_sizes, _rounded, _rounded_up)}) < 3:
        n_in += 1
    return {"n_in": n_in, **rule}


def _call_for_sizes(fn, inputs):
    """One call by name. Whole numbers of numpy count as Python's; an array is told what a tensor is."""
    sizes = fn(**inputs)
    if isinstance(sizes, list | tuple):
        some = [size for size, _ in zip(sizes, range(200), strict=False)]  # a list of a learner's own may have no end
        sizes = [int(size) if type(size).__name__.startswith(("int", "uint")) else size for size in some]
    elif hasattr(sizes, "tolist"):
        sizes = torch.as_tensor(sizes)
    return {"output": sizes}


def _rule(step):
    """An answer that goes from layer to layer by step(n, kernel, stride, padding)."""

    def answer(n_in: int, kernel: int, stride: int, padding: int, n_layers: int) -> list:
        return _sizes(lambda n: step(n, kernel, stride, padding), n_in, n_layers)

    return answer


_rounded = _rule(lambda n, kernel, stride, padding: round((n + 2 * padding - kernel) / stride) + 1)
_rounded_up = _rule(lambda n, kernel, stride, padding: math.ceil((n + 2 * padding - kernel) / stride) + 1)

CONV_SIZES = Exercise(
    id="03.3",
    title="sizes through a stack of convolutions",
    points=2,
    function="conv_sizes",
    draw=_draw_stack,
    reference=conv_sizes,
    probe=_call_for_sizes,
    difficulty=1,
    minutes=5,
    hint="count the places of the window on the padded axis: how many whole strides fit into what the kernel "
    "leaves over, and the first place besides; the next layer starts from that size.",
    wrong_answers=(
        WrongAnswer(
            "rounded up",
            _rounded_up,
            "you round up: a window that would stick out past the end is not taken, so floor, //.",
        ),
        WrongAnswer(
            "rounded to nearest",
            _rounded,
            "round() goes up at times; a window that would stick out is never taken: //.",
        ),
        WrongAnswer(
            "plus one forgotten",
            _rule(lambda n, kernel, stride, padding: (n + 2 * padding - kernel) // stride),
            "one window too few a layer: the quotient counts the *steps* between windows, so + 1.",
        ),
        WrongAnswer(
            "plus one inside",
            _rule(lambda n, kernel, stride, padding: (n + 2 * padding - kernel + 1) // stride),
            "the + 1 belongs after the division: first the number of steps, then one window more.",
        ),
        WrongAnswer(
            "padding on one side",
            _rule(lambda n, kernel, stride, padding: (n + padding - kernel) // stride + 1),
            "padding is put at *both* ends: n + 2 padding.",
        ),
        WrongAnswer(
            "padding taken away",
            _rule(lambda n, kernel, stride, padding: max(1, (n - 2 * padding - kernel) // stride + 1)),
            "padding makes the axis longer: + 2 padding.",
        ),
        WrongAnswer(
            "padding forgotten",
            _rule(lambda n, kernel, stride, padding: max(1, (n - kernel) // stride + 1)),
            "you left the padding out: n + 2 padding samples are there for the window to walk over.",
        ),
        WrongAnswer(
            "stride forgotten",
            _rule(lambda n, kernel, stride, padding: n + 2 * padding - kernel + 1),
            "you left the stride out: the window moves by `stride` at a time, so divide by it.",
        ),
        WrongAnswer(
            "halved by the stride",
            _rule(lambda n, kernel, stride, padding: n // stride),
            "n // stride holds for some kernels and paddings only: the window's own length counts, too.",
        ),
        WrongAnswer(
            "halved, rounded up",
            _rule(lambda n, kernel, stride, padding: -(-n // stride)),
            "ceil(n / stride) holds for an odd kernel with padding kernel // 2 only; use the general rule.",
        ),
        WrongAnswer(
            "fractions kept",
            _rule(lambda n, kernel, stride, padding: (n + 2 * padding - kernel) / stride + 1),
            "a size is a whole number: // instead of /.",
        ),
        WrongAnswer(
            "transposed convolution",
            _rule(lambda n, kernel, stride, padding: (n - 1) * stride - 2 * padding + kernel),
            "your sizes grow: that is the rule of the transposed convolution, which a decoder has.",
        ),
        WrongAnswer(
            "input left out",
            lambda **inputs: conv_sizes(**inputs)[1:],
            "n_in is missing: the list starts with it, and holds n_layers + 1 numbers.",
        ),
        WrongAnswer(
            "one layer too few",
            lambda **inputs: conv_sizes(**inputs)[:-1],
            "one layer is missing: n_in, and then a number for *each* of n_layers.",
        ),
        WrongAnswer(
            "one layer too many",
            lambda n_layers, **inputs: conv_sizes(n_layers=n_layers + 1, **inputs),
            "one layer too many: the list holds n_layers + 1 numbers, n_in among them.",
        ),
        WrongAnswer(
            "the last only",
            lambda **inputs: conv_sizes(**inputs)[-1],
            "that is the last size; all of them are asked for, in a list, n_in first.",
        ),
        WrongAnswer(
            "the same size again and again",
            lambda n_in, n_layers, **inputs: [n_in] + conv_sizes(n_in=n_in, n_layers=1, **inputs)[1:] * n_layers,
            "every layer got n_in: the second takes what the first gave.",
        ),
        WrongAnswer(
            "a tensor",
            lambda **inputs: torch.tensor(conv_sizes(**inputs)),
            "right numbers, but in a tensor or an array: return a plain list.",
        ),
        WrongAnswer(
            "floats",
            _rule(lambda n, kernel, stride, padding: float((n + 2 * padding - kernel) // stride + 1)),
            "right sizes, but as floats (numpy's floor gives them): whole numbers, as // makes of whole numbers.",
        ),
    ),
)
