"""Exercise 01.3: one round of Griffin-Lim."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


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
    id="01.3",
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
