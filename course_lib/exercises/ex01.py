"""Exercises of notebook 01, Sound as data: for each, the right answer, how inputs are drawn, and the usual slips."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.features import dct_matrix, mfcc, mu_law_decode, mu_law_encode

# -- 01.1: the alias of a tone ---------------------------------------------------------------------------------------


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

# -- 01.2: mu-law ----------------------------------------------------------------------------------------------------


def _draw_wave(rng: torch.Generator, trial: int) -> dict:
    """Samples near the edges of their classes: a slightly wrong curve shows, and no rounding error tips a right one."""
    n_classes = (256, 16, 64, 11)[trial % 4]
    shape = ((40,), (3, 25), (2, 31), (5, 7))[trial % 4]
    mu, is_quiet = n_classes - 1, trial % 4 == 2
    where = torch.rand(shape, generator=rng) * mu
    if is_quiet:  # never at full scale: the curve is fixed, not fitted to each wave's peak
        where = 0.1 * mu + 0.8 * where
    side = torch.randint(2, shape, generator=rng) * 2 - 1
    where = where.round() + side * (0.4 + 0.08 * torch.rand(shape, generator=rng))
    if not is_quiet:
        where.view(-1)[:2] = torch.tensor([0.0, mu])  # full scale, both ways
    return {"wave": mu_law_decode(where.clamp(0, n_classes - 1), n_classes).clamp(-1, 1), "n_classes": n_classes}


def _squash(wave: Tensor, mu: float) -> Tensor:
    return wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)


def _to_classes(squashed: Tensor, mu: float) -> Tensor:
    return ((squashed + 1) / 2 * mu + 0.5).to(torch.int64)


def _curve_over(wave: Tensor, mu: float, divisor: float) -> Tensor:
    return _to_classes(wave.sign() * torch.log1p(mu * wave.abs()) / divisor, mu)


def _fitted_to_peak(wave: Tensor, n_classes: int) -> Tensor:
    squashed = _squash(wave, n_classes - 1)
    low, high = squashed.min(), squashed.max()
    return ((squashed - low) / (high - low) * (n_classes - 1)).round().to(torch.int64)


def _nearest_sample(wave: Tensor, n_classes: int) -> Tensor:
    return (wave[..., None] - mu_law_decode(torch.arange(n_classes), n_classes)).abs().argmin(dim=-1)


def _squashed_in_place(wave: Tensor, n_classes: int) -> Tensor:
    classes = mu_law_encode(wave, n_classes)
    wave.abs_()
    return classes


def _sample_by_sample(wave: Tensor, n_classes: int) -> Tensor:
    mu = n_classes - 1
    squashed = [math.copysign(math.log1p(mu * abs(x)) / math.log1p(mu), x) for x in wave]  # fails where x is a row
    return _to_classes(torch.tensor(squashed), mu)


MU_LAW = Exercise(
    id="01.2",
    title="mu-law",
    points=3,
    function="my_mu_law",
    draw=_draw_wave,
    reference=mu_law_encode,
    difficulty=2,
    minutes=12,
    hint="squash with mu = n_classes - 1, map [-1, 1] to [0, mu], add a half, cut the fraction off with .to(int64).",
    wrong_answers=(
        WrongAnswer(
            "linear",
            lambda wave, n_classes: _to_classes(wave, n_classes - 1),
            "these steps are all of one size: the wave has to go through the curve F before it is rounded.",
        ),
        WrongAnswer(
            "cut off, not rounded",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1)).to(torch.int64),
            "the fraction was cut off, which doubles the largest error: round to the nearest (add 0.5 first).",
        ),
        WrongAnswer(
            "mu = n_classes",
            lambda wave, n_classes: _to_classes(_squash(wave, n_classes), n_classes),
            "n_classes classes are numbered 0 to n_classes - 1, so mu is n_classes - 1: full scale got one too many.",
        ),
        WrongAnswer(
            "sign lost",
            lambda wave, n_classes: mu_law_encode(wave.abs(), n_classes),
            "negative samples came out positive: the curve bends |x|, and then the sign of x has to come back.",
        ),
        WrongAnswer(
            "logarithm of negative numbers",
            lambda wave, n_classes: _to_classes(
                torch.log1p((n_classes - 1) * wave) / math.log1p(n_classes - 1), n_classes - 1
            ),
            "ln(1 + mu x) has no value for most negative x: |x| goes inside, and the sign of x outside.",
        ),
        WrongAnswer(
            "256 written into the code",
            lambda wave, n_classes: mu_law_encode(wave, 256),
            "right for 256 classes only: take mu from n_classes.",
        ),
        WrongAnswer(
            "left as floats",
            lambda wave, n_classes: mu_law_encode(wave, n_classes).float(),
            "right values, wrong dtype: class numbers are int64, so that they can index a table.",
        ),
        WrongAnswer(
            "not moved to 0..mu",
            lambda wave, n_classes: (_squash(wave, n_classes - 1) * (n_classes - 1)).round().to(torch.int64),
            "some classes are negative: F runs from -1 to 1, so map it to 0..mu by (F + 1) / 2 * mu.",
        ),
        WrongAnswer(
            "mu = n_classes in the curve",
            lambda wave, n_classes: _to_classes(_squash(wave, n_classes), n_classes - 1),
            "nearly: the curve has mu = n_classes in it; mu is n_classes - 1 everywhere.",
        ),
        WrongAnswer(
            "mu = n_classes in the numerator",
            lambda wave, n_classes: _to_classes(
                wave.sign() * torch.log1p(n_classes * wave.abs()) / math.log(n_classes), n_classes - 1
            ),
            "nearly: ln(1 + mu |x|) has mu = n_classes in it, so F(1) is a little over 1; mu is n_classes - 1.",
        ),
        WrongAnswer(
            "divided by ln(mu)",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, math.log(n_classes - 1)),
            "nearly: F is divided by ln(1 + mu), not by ln(mu), so that F(1) = 1.",
        ),
        WrongAnswer(
            "not divided",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, 1.0),
            "your curve exceeds 1: ln(1 + mu |x|) has to be divided by ln(1 + mu).",
        ),
        WrongAnswer(
            "two kinds of logarithm",
            lambda wave, n_classes: _curve_over(wave, n_classes - 1, math.log(n_classes) * math.log(10)),
            "log10 above and ln below: any base will do, but the same in both.",
        ),
        WrongAnswer(
            "logarithm of the quotient",
            lambda wave, n_classes: _to_classes(
                wave.sign() * torch.log((1 + (n_classes - 1) * wave.abs()) / n_classes), n_classes - 1
            ),
            "ln(a) / ln(b) is not ln(a / b): take both logarithms first, then divide.",
        ),
        WrongAnswer(
            "mu = 255 in the curve",
            lambda wave, n_classes: _to_classes(_squash(wave, 255), n_classes - 1),
            "your curve has mu = 255 whatever n_classes is: mu = n_classes - 1 belongs into the curve, too.",
        ),
        WrongAnswer(
            "not halved",
            lambda wave, n_classes: _to_classes(2 * _squash(wave, n_classes - 1) + 1, n_classes - 1),
            "your classes run up to 2 mu: F + 1 runs from 0 to 2, so halve it before you multiply by mu.",
        ),
        WrongAnswer(
            "brackets",
            lambda wave, n_classes: (_squash(wave, n_classes - 1) + 1 / 2 * (n_classes - 1)).round().to(torch.int64),
            "F + 1 / 2 * mu divides and multiplies before it adds: (F + 1) / 2 * mu.",
        ),
        WrongAnswer(
            "bins of equal width",
            lambda wave, n_classes: (
                ((_squash(wave, n_classes - 1) + 1) / 2 * n_classes).to(torch.int64).clamp(max=n_classes - 1)
            ),
            "you cut [-1, 1] into n_classes bins; mu-law rounds to the nearest of n_classes *points* from -1 to 1: "
            "multiply by mu, then round.",
        ),
        WrongAnswer(
            "mapped to [0, n_classes]",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2 * n_classes).round().to(torch.int64),
            "your top class is n_classes, one too many: the curve is right, but multiply by mu, not by n_classes.",
        ),
        WrongAnswer(
            "rounded twice",
            lambda wave, n_classes: (
                ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1) + 0.5).round().to(torch.int64)
            ),
            "you added 0.5 *and* rounded: either .round(), or + 0.5 and then cut off.",
        ),
        WrongAnswer(
            "rounded up",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2 * (n_classes - 1)).ceil().to(torch.int64),
            "torch.ceil always goes up: round to the nearest.",
        ),
        WrongAnswer(
            "rounded too early",
            lambda wave, n_classes: ((_squash(wave, n_classes - 1) + 1) / 2).round().to(torch.int64) * (n_classes - 1),
            "all your classes are 0 or mu: multiply by mu *before* you round.",
        ),
        WrongAnswer(
            "nearest before squashing",
            _nearest_sample,
            "nearly: you took the class whose *sample* is nearest; mu-law rounds after squashing: nearest in F.",
        ),
        WrongAnswer(
            "fitted to the wave's own range",
            _fitted_to_peak,
            "right for waves that reach -1 and 1 only: map [-1, 1] to [0, mu] always, or quiet waves come out loud.",
        ),
        WrongAnswer(
            "int32",
            lambda wave, n_classes: mu_law_encode(wave, n_classes).to(torch.int32),
            "int32 is half as wide as asked for: .to(torch.int64), or .long().",
        ),
        WrongAnswer(
            "math on tensors",
            lambda wave, n_classes: math.log1p((n_classes - 1) * wave.abs()),
            "the functions of math take a single number: torch.log1p takes the whole wave. (math.log1p(mu) is fine.)",
        ),
        WrongAnswer(
            "one row only",
            _sample_by_sample,
            "a loop over wave runs along its first axis only, and wave may have more: torch.log1p takes it whole.",
        ),
        WrongAnswer(
            "Python's round",
            lambda wave, n_classes: round(_squash(wave, n_classes - 1)),
            "Python's round() knows no tensors: torch.round, or + 0.5 and .to(torch.int64).",
        ),
        WrongAnswer(
            "torch.log of a number",
            lambda wave, n_classes: torch.log1p((n_classes - 1) * wave.abs()) / torch.log(n_classes),
            "n_classes is a plain number, and torch.log takes tensors: math.log(1 + mu).",
        ),
        WrongAnswer(
            "torch.log1p of a number",
            lambda wave, n_classes: torch.log1p((n_classes - 1) * wave.abs()) / torch.log1p(n_classes - 1),
            "mu is a plain number, and torch.log1p takes tensors: math.log1p(mu).",
        ),
        WrongAnswer(
            "in place",
            _squashed_in_place,
            "wave.abs_(), and all that ends in _, writes into the wave you were given: wave.abs() makes a new one.",
        ),
    ),
)

# -- 01.3: MFCC ------------------------------------------------------------------------------------------------------


def _draw_log_mel(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_mels, n_frames, n_mfcc = ((2, 24, 7, 5), (3, 64, 4, 13), (1, 40, 9, 20), (4, 10, 11, 3))[trial % 4]
    return {"log_mel_db": -40 + 12 * torch.randn(n_clips, n_mels, n_frames, generator=rng), "n_mfcc": n_mfcc}


def _cosines(n_mfcc: int, n_mels: int, shift: float = 0.5) -> Tensor:
    return torch.cos(math.pi / n_mels * torch.arange(n_mfcc)[:, None] * (torch.arange(n_mels) + shift))  # (n_mfcc, M)


def _scaled(row_0: Callable, rows: Callable, angle: Callable | None = None) -> Callable:
    """my_mfcc with scales of one's own, and cosines of angle(q, m, M) where that is given; q is (n_mfcc, 1), m (M,)."""

    def answer(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
        n_mels = log_mel_db.shape[1]
        q, m = torch.arange(n_mfcc)[:, None], torch.arange(n_mels)
        matrix = torch.cos(angle(q, m, n_mels)) if angle else _cosines(n_mfcc, n_mels)
        return torch.where(q == 0, row_0(n_mels), rows(n_mels)) * matrix @ log_mel_db

    return answer


def _row_0(n_mels: int) -> float:
    return math.sqrt(1 / n_mels)


def _rows(n_mels: int) -> float:
    return math.sqrt(2 / n_mels)


def _first_column_scaled(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_mels = log_mel_db.shape[1]
    basis = _rows(n_mels) * _cosines(n_mfcc, n_mels)
    basis[:, 0] /= math.sqrt(2)
    return basis @ log_mel_db


def _n_mfcc_for_mels(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    q, m = torch.arange(n_mfcc)[:, None], torch.arange(log_mel_db.shape[1])
    scale = torch.where(q == 0, _row_0(log_mel_db.shape[1]), _rows(log_mel_db.shape[1]))
    return scale * torch.cos(math.pi / n_mfcc * q * (m + 0.5)) @ log_mel_db


def _mfcc_no_half(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_mels = log_mel_db.shape[1]
    basis = math.sqrt(2 / n_mels) * _cosines(n_mfcc, n_mels, shift=0.0)
    basis[0] /= math.sqrt(2)
    return basis @ log_mel_db


def _mfcc_over_time(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_frames = log_mel_db.shape[2]
    return (log_mel_db @ dct_matrix(n_frames, n_frames).T)[:, :n_mfcc]


MFCC = Exercise(
    id="01.3",
    title="MFCC",
    points=3,
    function="my_mfcc",
    draw=_draw_log_mel,
    reference=mfcc,
    atol=2e-3,  # dB; coefficients reach hundreds
    rtol=1e-4,
    difficulty=2,
    minutes=15,
    hint="build the (n_mfcc, M) matrix of cosines over m + 1/2, scale its rows, then matrix @ log_mel_db.",
    wrong_answers=(
        WrongAnswer(
            "over time",
            _mfcc_over_time,
            "your cosines run along the frames; they belong along the mels, axis 1 of (B, M, L).",
        ),
        WrongAnswer(
            "row 0 not scaled",
            lambda log_mel_db, n_mfcc: (
                math.sqrt(2 / log_mel_db.shape[1]) * _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db
            ),
            "coefficient 0 is sqrt(2) too large: row 0 is constant, so it takes sqrt(1 / M) to give it length 1.",
        ),
        WrongAnswer(
            "no scaling",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db,
            "the cosines are right, their length is not: multiply by sqrt(2 / M), and row 0 by sqrt(1 / M).",
        ),
        WrongAnswer(
            "no half",
            _mfcc_no_half,
            "the half is missing: the cosines are read at m + 1/2, or they are not at right angles to each other.",
        ),
        WrongAnswer(
            "transposed",
            lambda log_mel_db, n_mfcc: mfcc_inverse(log_mel_db)[:, :n_mfcc],
            "that is the inverse transform (DCT-III): the row number q goes without the half, the column m with it.",
        ),
        WrongAnswer(
            "coefficient 0 dropped",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, n_mfcc + 1)[:, 1:],
            "you start at q = 1; the list here starts at q = 0, the level.",
        ),
        WrongAnswer(
            "logarithm twice",
            lambda log_mel_db, n_mfcc: mfcc(10 * torch.log10(log_mel_db.abs()), n_mfcc),
            "the input is in dB already: one logarithm is enough.",
        ),
        WrongAnswer(
            "row 0 scaled twice",
            _scaled(lambda n_mels: _row_0(n_mels) * _rows(n_mels), _rows),
            "row 0 was scaled twice: sqrt(1 / M) takes the *place* of sqrt(2 / M) there (or divide it by sqrt(2)).",
        ),
        WrongAnswer(
            "row 0 not scaled at all",
            _scaled(lambda n_mels: 1.0, _rows),
            "row 0 was left at 1: all its M numbers are equal, so length 1 needs sqrt(1 / M).",
        ),
        WrongAnswer(
            "column 0 scaled",
            _first_column_scaled,
            "s_0 belongs to *row* 0, matrix[0], that is, q = 0; you changed column 0, matrix[:, 0], that is, m = 0.",
        ),
        WrongAnswer(
            "all rows like row 0",
            _scaled(_row_0, _row_0),
            "coefficient 0 is right, the others are sqrt(2) too small: rows q > 0 take sqrt(2 / M).",
        ),
        WrongAnswer(
            "scales swapped",
            _scaled(_rows, _row_0),
            "the two scales are swapped: sqrt(1 / M) is for row 0, sqrt(2 / M) for all others.",
        ),
        WrongAnswer(
            "roots forgotten",
            _scaled(lambda n_mels: 1 / n_mels, lambda n_mels: 2 / n_mels),
            "the scales are square roots: sqrt(1 / M) and sqrt(2 / M).",
        ),
        WrongAnswer(
            "as scipy without norm",
            lambda log_mel_db, n_mfcc: 2 * _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db,
            'you have twice the plain sums, which scipy\'s dct gives by default: it needs norm="ortho".',
        ),
        WrongAnswer(
            "pi / (2 M)",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / (2 * n_mels) * q * (m + 0.5)),
            "your cosines are half as fast as they should be: pi / M, not pi / (2 M), with m + 1/2.",
        ),
        WrongAnswer(
            "2 pi / M",
            _scaled(_row_0, _rows, lambda q, m, n_mels: 2 * math.pi / n_mels * q * (m + 0.5)),
            "your cosines are twice as fast as they should be: row q makes q *half* turns over the mels, pi / M.",
        ),
        WrongAnswer(
            "brackets",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / n_mels * (q * m + 0.5)),
            "q * m + 0.5 lacks brackets: the half belongs to m, q * (m + 0.5).",
        ),
        WrongAnswer(
            "mels numbered from 1",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / n_mels * q * (m + 1.5)),
            "the mels are numbered from 0: m = 0 to M - 1, torch.arange(M).",
        ),
        WrongAnswer(
            "n_mfcc for M",
            _n_mfcc_for_mels,
            "pi is divided by n_mfcc in your cosines; M is the number of *mels*, log_mel_db.shape[1], however many "
            "rows you keep.",
        ),
        WrongAnswer(
            "all rows kept",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, log_mel_db.shape[1]),
            "you kept all M coefficients: q runs from 0 to n_mfcc - 1.",
        ),
        WrongAnswer(
            "axes swapped",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, n_mfcc).transpose(1, 2),
            "right values, axes in another order: (B, n_mfcc, L) comes from matrix @ log_mel_db, without transposing.",
        ),
        WrongAnswer(
            "matrix on the wrong side",
            lambda log_mel_db, n_mfcc: log_mel_db @ dct_matrix(n_mfcc, log_mel_db.shape[1]).T,
            "@ adds up over the *last* axis of what stands on its left, and yours are the frames: put the matrix on "
            "the left, matrix @ log_mel_db.",
        ),
        WrongAnswer(
            "frames taken for mels",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[2]) @ log_mel_db,
            "your matrix has a column for each frame; it needs one for each mel, M = log_mel_db.shape[1].",
        ),
        WrongAnswer(
            "clips taken for mels",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[0]) @ log_mel_db,
            "your matrix has a column for each clip; it needs one for each mel, M = log_mel_db.shape[1].",
        ),
        WrongAnswer(
            "matrix transposed",
            lambda log_mel_db, n_mfcc: dct_matrix(n_mfcc, log_mel_db.shape[1]).T @ log_mel_db,
            "your matrix is (M, n_mfcc): it needs a *row* for each q and a column for each m, q[:, None] * (m + 0.5).",
        ),
        WrongAnswer(
            "no table",
            lambda log_mel_db, n_mfcc: torch.arange(n_mfcc) * (torch.arange(log_mel_db.shape[1]) + 0.5),
            "all q meet all m only if q is a column: torch.arange(n_mfcc)[:, None] * (torch.arange(M) + 0.5).",
        ),
        WrongAnswer(
            "math.cos of a tensor",
            lambda log_mel_db, n_mfcc: math.cos(torch.arange(log_mel_db.shape[1])),
            "the functions of math take a single number: torch.cos takes the whole table.",
        ),
        WrongAnswer(
            "matrix in float64",
            lambda log_mel_db, n_mfcc: dct_matrix(n_mfcc, log_mel_db.shape[1]).double() @ log_mel_db,
            "your matrix is float64 (numpy's usual), the input float32, and @ mixes no dtypes: matrix.float().",
        ),
        WrongAnswer(
            "float64",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db.double(), n_mfcc),
            "float64 where float32 came in: end with .to(log_mel_db.dtype).",
        ),
    ),
)


def mfcc_inverse(cepstrum: Tensor) -> Tensor:
    """From all M coefficients back to M mels: the matrix is orthonormal, so its inverse is its transpose. (B, M, L)."""
    return dct_matrix(cepstrum.shape[1], cepstrum.shape[1]).T @ cepstrum


# -- 01.4: one round of Griffin-Lim ----------------------------------------------------------------------------------


def griffin_lim_step(spec: Tensor, magnitude: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Project on to the spectrograms of real waves, then on to the spectrograms of the wanted magnitude.

    Args:    spec: (B, K, L) complex; magnitude: (B, K, L) >= 0; the window is a Hann window of n_fft samples.
    Returns: (B, K, L) complex.
    """
    return torch.polar(magnitude, _through_a_wave(spec, n_fft, hop_length, torch.hann_window(n_fft)).angle())


def _through_a_wave(spec: Tensor, n_fft: int, hop_length: int, window: Tensor) -> Tensor:
    wave = torch.istft(spec, n_fft, hop_length, window=window)  # (B, T)
    return torch.stft(wave, n_fft, hop_length, window=window, return_complex=True)  # (B, K, L)


def _rebuilt(spec: Tensor, n_fft: int, hop_length: int) -> Tensor:
    return _through_a_wave(spec, n_fft, hop_length, torch.hann_window(n_fft))


def _draw_spec(rng: torch.Generator, trial: int) -> dict:
    sizes = ((2, 64, 16, 9), (3, 32, 16, 12), (1, 48, 6, 11), (4, 40, 10, 7))  # hops of 1/4, 1/2 and 1/8 of n_fft
    n_clips, n_fft, hop_length, n_frames = sizes[trial % 4]
    shape = (n_clips, n_fft // 2 + 1, n_frames)
    magnitude = torch.rand(shape, generator=rng) + 0.1
    while True:  # until no bin is nearly 0, where rounding, or a small epsilon in the fraction, decides the angle
        # A magnitude of its own, so that it shows where an answer takes one for the other.
        spec = torch.polar(torch.rand(shape, generator=rng) + 0.1, torch.rand(shape, generator=rng) * 2 * math.pi)
        if _rebuilt(spec, n_fft, hop_length).abs().min() > 1e-3:
            break
    if n_clips > 1:  # one silent clip in the batch, where 0 / 0 lies in wait
        magnitude[-1], spec[-1] = 0.0, 0.0
    return {"spec": spec, "magnitude": magnitude, "n_fft": n_fft, "hop_length": hop_length}


def _two_windows(into_wave: Callable, back: Callable, **options: Any) -> Callable:
    """griffin_lim_step with a window of one's own in either transform, and options for torch.stft."""

    def answer(spec: Tensor, magnitude: Tensor, n_fft: int, hop_length: int) -> Tensor:
        wave = torch.istft(spec, n_fft, hop_length, window=into_wave(n_fft))
        options_ = {"return_complex": True} | options
        return torch.polar(magnitude, torch.stft(wave, n_fft, hop_length, window=back(n_fft), **options_).angle())

    return answer


def _usual_hop(spec: Tensor, magnitude: Tensor, n_fft: int, hop_length: int) -> Tensor:
    return griffin_lim_step(spec, magnitude, n_fft, n_fft // 4)


def _arctan(spec: Tensor, magnitude: Tensor, n_fft: int, hop_length: int) -> Tensor:
    again = _rebuilt(spec, n_fft, hop_length)
    return torch.polar(magnitude, torch.atan(again.imag / again.real))


def _divided(spec: Tensor, magnitude: Tensor, n_fft: int, hop_length: int) -> Tensor:
    again = _rebuilt(spec, n_fft, hop_length)
    return magnitude * again / again.abs()


GRIFFIN_LIM = Exercise(
    id="01.4",
    title="one round of Griffin-Lim",
    points=4,
    function="griffin_lim_step",
    draw=_draw_spec,
    reference=griffin_lim_step,
    atol=0.02,  # an epsilon of 1e-6 or 1e-5 under the fraction is a right answer, too
    rtol=0.0,
    difficulty=3,
    minutes=15,
    hint="torch.istft, then torch.stft with the same window, then torch.polar(magnitude, the new angle).",
    wrong_answers=(
        WrongAnswer(
            "never became a wave",
            lambda spec, magnitude, n_fft, hop_length: torch.polar(magnitude, spec.angle()),
            "you set the magnitude, but never went through a wave: without istft and stft the phases of neighbouring "
            "frames never learn of each other.",
        ),
        WrongAnswer(
            "magnitude not put back",
            lambda spec, magnitude, n_fft, hop_length: _rebuilt(spec, n_fft, hop_length),
            "that is the first projection alone, and its magnitude has drifted: keep its angle, put `magnitude` back.",
        ),
        WrongAnswer(
            "phase and magnitude swapped",
            lambda spec, magnitude, n_fft, hop_length: torch.polar(
                _rebuilt(spec, n_fft, hop_length).abs(), spec.angle()
            ),
            "the wrong halves: take the *phase* of the rebuilt spectrogram, and the magnitude that is wanted.",
        ),
        WrongAnswer(
            "not divided",
            lambda spec, magnitude, n_fft, hop_length: magnitude * _rebuilt(spec, n_fft, hop_length),
            "the rebuilt spectrogram brought its own magnitude along: divide it away, or use its angle only.",
        ),
        WrongAnswer(
            "0 / 0",
            _divided,
            "a silent clip came out as NaN: z / |z| is 0 / 0 there. torch.polar(magnitude, z.angle()) has no division.",
        ),
        WrongAnswer(
            "no window",
            lambda spec, magnitude, n_fft, hop_length: torch.polar(
                magnitude, _through_a_wave(spec, n_fft, hop_length, torch.ones(n_fft)).angle()
            ),
            "both transforms need window=torch.hann_window(n_fft); yours is a rectangle.",
        ),
        WrongAnswer(
            "real part only",
            lambda spec, magnitude, n_fft, hop_length: magnitude * _rebuilt(spec, n_fft, hop_length).angle().cos(),
            "cos(angle) is only the real part: build the complex number, torch.polar(magnitude, angle).",
        ),
        WrongAnswer(
            "magnitude of spec",
            lambda spec, magnitude, n_fft, hop_length: torch.polar(
                spec.abs(), _rebuilt(spec, n_fft, hop_length).angle()
            ),
            "the angle is right, but you put the magnitude of `spec` back; the wanted one is `magnitude`.",
        ),
        WrongAnswer(
            "magnitude put in first, too",
            lambda spec, magnitude, n_fft, hop_length: griffin_lim_step(
                torch.polar(magnitude, spec.angle()), magnitude, n_fft, hop_length
            ),
            "one projection too many: `spec` goes into torch.istft as it comes, and `magnitude` is put in once, at the "
            "end.",
        ),
        WrongAnswer(
            "other order",
            lambda spec, magnitude, n_fft, hop_length: _rebuilt(
                torch.polar(magnitude, spec.angle()), n_fft, hop_length
            ),
            "the other way round: P_A P_C means through a wave *first*, and then the wanted magnitude.",
        ),
        WrongAnswer(
            "phase thrown away",
            lambda spec, magnitude, n_fft, hop_length: griffin_lim_step(
                magnitude.to(spec.dtype), magnitude, n_fft, hop_length
            ),
            "you made the wave from `magnitude`, whose phases are all 0: torch.istft takes `spec`.",
        ),
        WrongAnswer(
            "istft of real numbers",
            lambda spec, magnitude, n_fft, hop_length: _rebuilt(magnitude, n_fft, hop_length),
            "`magnitude` is real, and torch.istft needs complex numbers: it takes `spec`.",
        ),
        WrongAnswer(
            "hop of a quarter",
            _usual_hop,
            "right where the hop is a quarter of n_fft, torch's default: give hop_length to both transforms.",
        ),
        WrongAnswer(
            "no window in istft",
            _two_windows(torch.ones, torch.hann_window),
            "torch.stft has its window, torch.istft lacks it: it would undo another transform than yours.",
        ),
        WrongAnswer(
            "no window in stft",
            _two_windows(torch.hann_window, torch.ones),
            "torch.istft has its window, torch.stft lacks it: give both the same.",
        ),
        WrongAnswer(
            "another padding",
            _two_windows(torch.hann_window, torch.hann_window, pad_mode="constant"),
            "right but for the first and last frames: the check leaves torch.stft's pad_mode as it is, 'reflect'.",
        ),
        WrongAnswer(
            "return_complex forgotten",
            _two_windows(torch.hann_window, torch.hann_window, return_complex=None),
            "torch.stft wants to be told: return_complex=True.",
        ),
        WrongAnswer(
            "window in the place of its length",
            lambda spec, magnitude, n_fft, hop_length: torch.istft(spec, n_fft, hop_length, torch.hann_window(n_fft)),
            "the fourth argument is win_length: write window=window.",
        ),
        WrongAnswer(
            "stopped at the wave",
            lambda spec, magnitude, n_fft, hop_length: torch.istft(
                spec, n_fft, hop_length, window=torch.hann_window(n_fft)
            ),
            "that is a wave: back to a spectrogram by torch.stft, then put `magnitude` in.",
        ),
        WrongAnswer(
            "two rounds",
            lambda spec, magnitude, n_fft, hop_length: griffin_lim_step(
                griffin_lim_step(spec, magnitude, n_fft, hop_length), magnitude, n_fft, hop_length
            ),
            "those are two rounds; one is asked for.",
        ),
        WrongAnswer(
            "arctan",
            _arctan,
            "arctan(imag / real) knows no difference between z and -z: z.angle(), or torch.atan2(z.imag, z.real).",
        ),
        WrongAnswer(
            "sign of the angle",
            lambda spec, magnitude, n_fft, hop_length: griffin_lim_step(spec, magnitude, n_fft, hop_length).conj(),
            "your imaginary parts have the wrong sign: exp(+i angle).",
        ),
        WrongAnswer(
            "exp without i",
            lambda spec, magnitude, n_fft, hop_length: magnitude * _rebuilt(spec, n_fft, hop_length).angle().exp(),
            "exp(angle) is real: exp(1j * angle), or torch.polar(magnitude, angle).",
        ),
        WrongAnswer(
            "angle returned",
            lambda spec, magnitude, n_fft, hop_length: _rebuilt(spec, n_fft, hop_length).angle(),
            "that is the angle alone: torch.polar(magnitude, angle) makes a complex number of the two.",
        ),
        WrongAnswer(
            "polar the other way round",
            lambda spec, magnitude, n_fft, hop_length: torch.polar(
                _rebuilt(spec, n_fft, hop_length).angle(), magnitude
            ),
            "torch.polar takes the magnitude first, then the angle.",
        ),
        WrongAnswer(
            "polar taken for complex",
            lambda spec, magnitude, n_fft, hop_length: torch.complex(
                magnitude, _rebuilt(spec, n_fft, hop_length).angle()
            ),
            "torch.complex takes real and imaginary parts; for magnitude and angle it is torch.polar.",
        ),
    ),
)

EXERCISES = (ALIAS, MU_LAW, MFCC, GRIFFIN_LIM)
