"""Exercise 01.1: the alias of a tone."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def alias_frequency(frequency_hz: Tensor, rate_hz: float) -> Tensor:
    """The frequency, in [0, rate_hz / 2], that is heard after sampling tones of frequency_hz (any shape) at rate_hz."""
    return (frequency_hz - rate_hz * torch.round(frequency_hz / rate_hz)).abs()


def _draw_tones(rng: torch.Generator, trial: int) -> dict:
    rate_hz = (8000.0, 16000.0, 11025.0, 44100.0)[trial % 4]
    shape = ((9,), (3, 5), (2, 3, 4), (17,))[trial % 4]
    n_folds = 6 * (trial + 1)  # up to twelve times the rate, so that trying a few multiples is not enough
    folds = torch.randint(n_folds, shape, generator=rng)
    # Not right at a fold, where a right answer by arccos in float32 is off by some hertz.
    folds = folds + 0.02 + 0.96 * torch.rand(shape, generator=rng)
    return {"frequency_hz": folds * rate_hz / 2, "rate_hz": rate_hz}


def _one_tone_only(frequency_hz: Tensor, rate_hz: float) -> Tensor:
    frequency_hz = frequency_hz % rate_hz
    if frequency_hz > rate_hz / 2:  # a RuntimeError for more than one tone, which is the slip
        frequency_hz = rate_hz - frequency_hz
    return frequency_hz


def _one_row_only(frequency_hz: Tensor, rate_hz: float) -> Tensor:
    return torch.stack([_one_tone_only(tone, rate_hz) for tone in frequency_hz])


def _folded_in_place(frequency_hz: Tensor, rate_hz: float) -> Tensor:
    frequency_hz %= rate_hz
    return torch.minimum(frequency_hz, rate_hz - frequency_hz)


ALIAS = Exercise(
    id="01.1",
    title="the alias of a tone",
    points=2,
    function="alias_frequency",
    draw=_draw_tones,
    reference=alias_frequency,
    atol=0.3,  # Hz: float32 holds 500 kHz to 0.03, and its phase of twelve turns less well
    rtol=0.0,
    difficulty=1,
    minutes=8,
    hint="take away the nearest whole number of sampling rates (torch.round), then drop the sign.",
    wrong_answers=(
        WrongAnswer(
            "wrapped, not folded",
            lambda frequency_hz, rate_hz: frequency_hz % rate_hz,
            "what is left after taking away whole rates can still lie in the upper half, which folds back: take away "
            "the *nearest* multiple, not the one below, and drop the sign.",
        ),
        WrongAnswer(
            "sawtooth",
            lambda frequency_hz, rate_hz: frequency_hz % (rate_hz / 2),
            "the alias does not jump back to 0 at half the rate: it turns round there and comes down again, so the "
            "multiples to take away are those of the whole rate.",
        ),
        WrongAnswer(
            "one fold only",
            lambda frequency_hz, rate_hz: torch.minimum(frequency_hz, (rate_hz - frequency_hz).abs()),
            "right up to one sampling rate, wrong beyond, where the tone folds again: take away a whole *number* of "
            "rates, not just one.",
        ),
        WrongAnswer(
            "stuck at half the rate",
            lambda frequency_hz, rate_hz: frequency_hz.clamp(max=rate_hz / 2),
            "a tone that is too high does not stop at half the rate; it comes back down from there.",
        ),
        WrongAnswer(
            "sign kept",
            lambda frequency_hz, rate_hz: frequency_hz - rate_hz * torch.round(frequency_hz / rate_hz),
            "some of your frequencies are negative: cos(-x) = cos(x), so the ear gets their absolute value.",
        ),
        WrongAnswer(
            "folded at the rate",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz, 2 * rate_hz),
            "you fold at the sampling rate; a tone needs two samples a period, so the fold is at half the rate.",
        ),
        WrongAnswer(
            "one tone only",
            _one_tone_only,
            "`if`, `while` and min() decide once, but frequency_hz holds many tones: torch.round and .abs() treat each "
            "by itself.",
        ),
        WrongAnswer(
            "one row only",
            _one_row_only,
            "a loop over frequency_hz runs along its first axis only, and it may have more: work on the whole tensor, "
            "torch.round(frequency_hz / rate_hz).",
        ),
        WrongAnswer(
            "flattened",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz, rate_hz).flatten(),
            "right values in one long row: give them the shape of frequency_hz back, .reshape(frequency_hz.shape).",
        ),
        WrongAnswer(
            "Python's round",
            lambda frequency_hz, rate_hz: (frequency_hz - rate_hz * round(frequency_hz / rate_hz)).abs(),
            "the right idea, but Python's round() knows no tensors: torch.round(frequency_hz / rate_hz).",
        ),
        WrongAnswer(
            "a number made of the tensor",
            lambda frequency_hz, rate_hz: frequency_hz - rate_hz * math.floor(frequency_hz / rate_hz + 0.5),
            "float() and the functions of math take a single number; torch has the same ones for whole tensors.",
        ),
        WrongAnswer(
            "multiples of half the rate",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz, rate_hz / 2),
            "your tones turn round at a quarter of the rate: take away multiples of rate_hz itself, not of half of it.",
        ),
        WrongAnswer(
            "one fold, sign kept",
            lambda frequency_hz, rate_hz: torch.where(frequency_hz > rate_hz / 2, rate_hz - frequency_hz, frequency_hz),
            "rate_hz - f is right for one fold only, and negative beyond rate_hz: take away the nearest multiple of "
            "the rate, whichever that is, then drop the sign.",
        ),
        WrongAnswer(
            "always mirrored",
            lambda frequency_hz, rate_hz: rate_hz - frequency_hz % rate_hz,
            "you measure every tone from the multiple of the rate *above* it, as torch.ceil does too; take the nearest "
            "one, above or below.",
        ),
        WrongAnswer(
            "distance from half the rate",
            lambda frequency_hz, rate_hz: (frequency_hz % rate_hz - rate_hz / 2).abs(),
            "upside down: that is how far the alias lies from half the rate; its frequency is rate_hz / 2 less that.",
        ),
        WrongAnswer(
            "number of rates, not hertz",
            lambda frequency_hz, rate_hz: (frequency_hz - torch.round(frequency_hz / rate_hz)).abs(),
            "torch.round(f / rate_hz) says how *many* rates to take away: times rate_hz, that is hertz.",
        ),
        WrongAnswer(
            "in rates, not hertz",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz / rate_hz, 1.0),
            "your result is in sampling rates, 0 to 0.5: multiply by rate_hz to get hertz.",
        ),
        WrongAnswer(
            "8000 Hz written into the code",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz, 8000.0),
            "right at 8000 Hz only: use rate_hz.",
        ),
        WrongAnswer(
            "in place",
            _folded_in_place,
            "%=, += and the like, and f[...] = ..., write into the tensor you were given: frequency_hz = frequency_hz "
            "% rate_hz makes a new one.",
        ),
        WrongAnswer(
            "float64",
            lambda frequency_hz, rate_hz: alias_frequency(frequency_hz.double(), rate_hz),
            "float64, as numpy makes it too, where float32 came in: end with .to(frequency_hz.dtype).",
        ),
    ),
)
