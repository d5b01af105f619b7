"""Exercises of notebook 00, Start here."""

import math

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

    return {
        "frequency_hz": uniform(200, 900),
        "clip_s": uniform(0.1, 0.4) + 0.1 * trial,
        "rate_hz": (8000, 11025, 16000, 22050)[trial % 4],
        "level_db": uniform(-24, -6),
    }


def _seconds(clip_s: float, rate_hz: int) -> Tensor:
    return torch.arange(round(clip_s * rate_hz)) / rate_hz


def _power_decibels(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return 10 ** (level_db / 10) * torch.sin(2 * math.pi * frequency_hz * _seconds(clip_s, rate_hz))


def _no_two_pi(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return 10 ** (level_db / 20) * torch.sin(frequency_hz * _seconds(clip_s, rate_hz))


def _ends_counted(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    seconds = torch.linspace(0, clip_s, round(clip_s * rate_hz))
    return 10 ** (level_db / 20) * torch.sin(2 * math.pi * frequency_hz * seconds)


def _fixed_rate(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return make_tone(frequency_hz, clip_s, 8000, level_db)


def _cosine(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return 10 ** (level_db / 20) * torch.cos(2 * math.pi * frequency_hz * _seconds(clip_s, rate_hz))


def _level_ignored(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return make_tone(frequency_hz, clip_s, rate_hz, 0.0)


def _level_as_factor(frequency_hz: float, clip_s: float, rate_hz: int, level_db: float) -> Tensor:
    return level_db * make_tone(frequency_hz, clip_s, rate_hz, 0.0)


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
                _power_decibels,
                "the level is wrong: samples are amplitudes, and the level of an amplitude is 20 log10, not 10 log10.",
            ),
            WrongAnswer(
                "2 pi forgotten",
                _no_two_pi,
                "your tone is 6.28 times too low: torch.sin takes radians, and one turn is 2 pi of them.",
            ),
            WrongAnswer(
                "linspace counts both ends",
                _ends_counted,
                "torch.linspace(0, clip_s, T) includes the end, so its steps are a little longer than 1 / rate_hz "
                "and the tone is flat; use torch.arange(T) / rate_hz.",
            ),
            WrongAnswer(
                "8000 Hz written into the code",
                _fixed_rate,
                "it is right at 8000 Hz only: use rate_hz for the number of samples and for their times.",
            ),
            WrongAnswer("cosine", _cosine, "your tone starts at its peak, with a click: a sine starts at zero."),
            WrongAnswer(
                "level ignored", _level_ignored, "your tone is always at full scale: multiply by 10 ** (level_db / 20)."
            ),
            WrongAnswer(
                "decibels used as a factor",
                _level_as_factor,
                "you multiplied by the decibels themselves; the factor that they stand for is 10 ** (level_db / 20).",
            ),
        ),
    ),
)
