"""Exercises of notebook 00, Start here."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def make_tone(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    """A sine that starts at zero.

    Args:    level_db: peak level in dB re full scale (0 dB: the peaks reach 1).
    Returns: (T,) float32 with T = round(clip_s * rate_hz).
    """
    seconds = torch.arange(round(clip_s * rate_hz)) / rate_hz
    return 10 ** (level_db / 20) * torch.sin(2 * math.pi * frequency_hz * seconds)


def _draw_tone(rng: torch.Generator, trial: int) -> dict:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=rng).item()

    frequency_hz, clip_s = uniform(200, 900), uniform(0.1, 0.4) + 0.1 * trial
    rate_hz = (8000, 11025, 16000, 22050)[trial % 4]
    if trial > 0:  # 0.3 or 0.7 of a sample over: cutting off and rounding up must both show, for every seed
        clip_s = (int(clip_s * rate_hz) + (0.3 if trial % 2 else 0.7)) / rate_hz
    return {"frequency_hz": frequency_hz, "clip_s": clip_s, "rate_hz": rate_hz, "level_db": uniform(-24, -6)}


def _samples(clip_s: float, rate_hz: int) -> Tensor:
    return torch.arange(round(clip_s * rate_hz))


def _seconds(clip_s: float, rate_hz: int) -> Tensor:
    return _samples(clip_s, rate_hz) / rate_hz


def _slip(
    factor: Callable = lambda level_db: 10 ** (level_db / 20),
    seconds: Callable = _seconds,
    radians: Callable = lambda turns: 2 * math.pi * turns,
    wave: Callable = torch.sin,
) -> Callable:
    """make_tone with one of its four steps replaced."""

    def answer(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
        return factor(level_db) * wave(radians(frequency_hz * seconds(clip_s, rate_hz)))

    return answer


def _fixed_rate(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return make_tone(frequency_hz, clip_s, 8000, level_db)


EXERCISES = (
    Exercise(
        id="00.1",
        title="a tone",
        points=2,
        function="make_tone",
        draw=_draw_tone,
        reference=make_tone,
        # float32 phases of a second-long tone are good to about 1e-3 of a radian
        atol=2e-3,
        rtol=0.0,
        difficulty=1,
        minutes=5,
        hint="sample n is at n / rate_hz seconds; the sine turns frequency_hz times a second, 2 pi radians a turn.",
        wrong_answers=(
            WrongAnswer(
                "dB taken as power",
                _slip(factor=lambda level_db: 10 ** (level_db / 10)),
                "the level is wrong: samples are amplitudes, and the level of an amplitude is 20 log10, not 10 log10.",
            ),
            WrongAnswer(
                "2 pi forgotten",
                _slip(radians=lambda turns: turns),
                "your tone is 6.28 times too low: torch.sin takes radians, and one turn is 2 pi of them.",
            ),
            WrongAnswer(
                "linspace counts both ends",
                _slip(seconds=lambda clip_s, rate_hz: torch.linspace(0, clip_s, round(clip_s * rate_hz))),
                "torch.linspace(0, clip_s, T) includes the end, so its steps are a little longer than 1 / rate_hz "
                "and the tone is flat; use torch.arange(T) / rate_hz.",
            ),
            WrongAnswer(
                "8000 Hz written into the code",
                _fixed_rate,
                "it is right at 8000 Hz only: use rate_hz for the number of samples and for their times.",
            ),
            WrongAnswer(
                "cosine", _slip(wave=torch.cos), "your tone starts at its peak, with a click: a sine starts at zero."
            ),
            WrongAnswer(
                "level ignored",
                _slip(factor=lambda level_db: 1),
                "your tone is always at full scale: multiply by 10 ** (level_db / 20).",
            ),
            WrongAnswer(
                "decibels used as a factor",
                _slip(factor=lambda level_db: level_db),
                "you multiplied by the decibels themselves; the factor that they stand for is 10 ** (level_db / 20).",
            ),
            WrongAnswer(
                "e instead of 10",
                _slip(factor=lambda level_db: math.exp(level_db / 20)),
                "math.exp is a power of e; decibels are defined by powers of 10: 10 ** (level_db / 20).",
            ),
            WrongAnswer(
                "sign of the level",
                _slip(factor=lambda level_db: 10 ** (-level_db / 20)),
                "your tone exceeds full scale: level_db is negative already, so it goes into the exponent as it is.",
            ),
            WrongAnswer(
                "half a turn",
                _slip(radians=lambda turns: math.pi * turns),
                "your tone is an octave too low: a whole turn is 2 pi radians, not pi.",
            ),
            WrongAnswer(
                "3.14",
                _slip(radians=lambda turns: 2 * 3.14 * turns),
                "3.14 is too coarse: after hundreds of turns the tone has run out of step. Take math.pi.",
            ),
            WrongAnswer(
                "numbered from 1",
                _slip(seconds=lambda clip_s, rate_hz: (_samples(clip_s, rate_hz) + 1) / rate_hz),
                "samples are numbered from 0: sample 0 is sin(0) = 0, and your first one is what the second should be.",
            ),
            WrongAnswer(
                "length cut off",
                _slip(seconds=lambda clip_s, rate_hz: torch.arange(int(clip_s * rate_hz)) / rate_hz),
                "a sample is missing in places: int() cuts off; the task asks for round(clip_s * rate_hz) samples.",
            ),
            WrongAnswer(
                "length rounded up",
                _slip(seconds=lambda clip_s, rate_hz: torch.arange(math.ceil(clip_s * rate_hz)) / rate_hz),
                "a sample too many in places: torch.arange(0, clip_s, 1 / rate_hz) and math.ceil round up; take "
                "torch.arange(round(clip_s * rate_hz)) / rate_hz.",
            ),
            WrongAnswer(
                "one sample too many",
                _slip(seconds=lambda clip_s, rate_hz: torch.arange(round(clip_s * rate_hz) + 1) / rate_hz),
                "always one sample too many: T samples are numbered 0 to T - 1, which is torch.arange(T).",
            ),
            WrongAnswer(
                "clip_s divided into T steps",
                _slip(seconds=lambda clip_s, rate_hz: torch.linspace(0, clip_s, round(clip_s * rate_hz) + 1)[:-1]),
                "nearly: clip_s is seldom a whole number of samples, so clip_s / T is not quite 1 / rate_hz; use "
                "torch.arange(T) / rate_hz.",
            ),
            WrongAnswer(
                "float64",
                _slip(seconds=lambda clip_s, rate_hz: _samples(clip_s, rate_hz).double() / rate_hz),
                "float64, as numpy makes it too: end with .float() (or torch.tensor(..., dtype=torch.float32)).",
            ),
            WrongAnswer(
                "complex",
                _slip(radians=lambda turns: 2j * math.pi * turns, wave=torch.exp),
                "exp(i x) is cos x + i sin x, a complex number; only its imaginary part is asked for: torch.sin(x).",
            ),
            WrongAnswer(
                "math.sin of a tensor",
                _slip(wave=lambda radians: math.sin(radians)),
                "math.sin takes a single number; torch.sin takes all samples at once.",
            ),
        ),
    ),
)
