"""Exercises of notebook 01, Sound as data: for each, the right answer, how inputs are drawn, and the usual slips."""

import math

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
    return {"frequency_hz": torch.rand(shape, generator=rng) * 3 * rate_hz, "rate_hz": rate_hz}  # up to six folds


def _one_tone_only(frequency_hz: Tensor, rate_hz: float) -> Tensor:
    frequency_hz = frequency_hz % rate_hz
    if frequency_hz > rate_hz / 2:  # a RuntimeError for more than one tone, which is the slip
        frequency_hz = rate_hz - frequency_hz
    return frequency_hz


ALIAS = Exercise(
    id="01.1",
    title="the alias of a tone",
    points=2,
    function="alias_frequency",
    draw=_draw_tones,
    reference=alias_frequency,
    atol=0.05,  # Hz: float32 holds 132 kHz to 0.01
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
            "`if` decides once, but frequency_hz holds many tones: torch.round and .abs() treat each by itself.",
        ),
    ),
)

# -- 01.2: mu-law ----------------------------------------------------------------------------------------------------


def _draw_wave(rng: torch.Generator, trial: int) -> dict:
    """Samples well inside their class, so that no right answer is tipped over an edge by a rounding error."""
    n_classes = (256, 16, 64, 11)[trial % 4]
    shape = ((40,), (3, 25), (2, 31), (5, 7))[trial % 4]
    where = (torch.rand(shape, generator=rng) * (n_classes - 1)).round()
    where += (torch.rand(shape, generator=rng) - 0.5) * 0.7
    where.view(-1)[:2] = torch.tensor([0.0, n_classes - 1.0])  # full scale, both ways
    return {"wave": mu_law_decode(where.clamp(0, n_classes - 1), n_classes).clamp(-1, 1), "n_classes": n_classes}


def _squash(wave: Tensor, mu: float) -> Tensor:
    return wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)


def _to_classes(squashed: Tensor, mu: float) -> Tensor:
    return ((squashed + 1) / 2 * mu + 0.5).to(torch.int64)


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
    ),
)

# -- 01.3: MFCC ------------------------------------------------------------------------------------------------------


def _draw_log_mel(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_mels, n_frames, n_mfcc = ((2, 24, 7, 5), (3, 64, 4, 13), (1, 40, 9, 20), (4, 10, 11, 3))[trial % 4]
    return {"log_mel_db": -40 + 12 * torch.randn(n_clips, n_mels, n_frames, generator=rng), "n_mfcc": n_mfcc}


def _cosines(n_mfcc: int, n_mels: int, shift: float = 0.5) -> Tensor:
    return torch.cos(math.pi / n_mels * torch.arange(n_mfcc)[:, None] * (torch.arange(n_mels) + shift))  # (n_mfcc, M)


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
    sizes = ((2, 64, 16, 9), (3, 128, 32, 12), (1, 32, 8, 11), (4, 256, 64, 7))
    n_clips, n_fft, hop_length, n_frames = sizes[trial % 4]
    shape = (n_clips, n_fft // 2 + 1, n_frames)
    magnitude = torch.rand(shape, generator=rng) + 0.1
    spec = torch.polar(magnitude, torch.rand(shape, generator=rng) * 2 * math.pi)
    if n_clips > 1:  # one silent clip in the batch, where 0 / 0 lies in wait
        magnitude[-1], spec[-1] = 0.0, 0.0
    return {"spec": spec, "magnitude": magnitude, "n_fft": n_fft, "hop_length": hop_length}


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
    atol=2e-3,
    rtol=1e-3,
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
    ),
)

EXERCISES = (ALIAS, MU_LAW, MFCC, GRIFFIN_LIM)
