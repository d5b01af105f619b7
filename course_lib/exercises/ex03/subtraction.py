"""Exercise 03.5: spectral subtraction."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.sound.enhancement import subtract_noise


def _draw_powers(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_bins, n_frames = ((2, 5, 9), (3, 8, 4), (4, 3, 7), (1, 6, 10))[trial % 4]
    noise_power = 0.3 + torch.rand(n_clips, n_bins, generator=rng)
    noisy_power = 9 * noise_power[..., None] * torch.rand(n_clips, n_bins, n_frames, generator=rng)
    noisy_power[:, :, -1] = 0.0  # digital silence at the end
    over_subtraction = 1.2 + 1.5 * float(torch.rand(1, generator=rng))
    floor_gain = 0.15 + 0.3 * float(torch.rand(1, generator=rng))
    # In one bin what is left is above 0, and half the floor.
    noisy_power[:, 0, 0] = noise_power[:, 0] * over_subtraction / (1 - floor_gain**2 / 2)
    return {
        "noisy_power": noisy_power,
        "noise_power": noise_power,
        "over_subtraction": over_subtraction,
        "floor_gain": floor_gain,
    }


def _gained(gain):
    """An answer that multiplies the noisy power by gain(P / N, a, g)."""

    def answer(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
        return noisy_power * gain(noisy_power / noise_power[..., None], over_subtraction, floor_gain)

    return answer


def _floored(floor, below=torch.maximum):
    """An answer with a floor of its own, floor(P, N, a, g)."""

    def answer(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
        noise = noise_power[..., None].expand_as(noisy_power)
        left = noisy_power - over_subtraction * noise
        return below(left, floor(noisy_power, noise, over_subtraction, floor_gain))

    return answer


def _other_noise(change):
    """An answer that subtracts change(N)."""

    def answer(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
        return torch.maximum(noisy_power - over_subtraction * change(noise_power), floor_gain**2 * noisy_power)

    return answer


def _amplitudes(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
    magnitude = subtract_noise(noisy_power.sqrt(), noise_power.sqrt(), over_subtraction, floor_gain**0.5)
    return magnitude.square()


def _in_place(noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float) -> Tensor:
    floor = floor_gain**2 * noisy_power
    noisy_power -= over_subtraction * noise_power[..., None]
    return torch.maximum(noisy_power, floor)


def _floor_after_in_place(
    noisy_power: Tensor, noise_power: Tensor, over_subtraction: float, floor_gain: float
) -> Tensor:
    noisy_power -= over_subtraction * noise_power[..., None]
    return torch.maximum(noisy_power, floor_gain**2 * noisy_power)


SUBTRACT_NOISE = Exercise(
    id="03.5",
    title="spectral subtraction",
    points=3,
    function="subtract_noise",
    draw=_draw_powers,
    reference=subtract_noise,
    difficulty=2,
    minutes=10,
    hint="give the noise a last axis, subtract, then keep the larger of that and the floor; a gain of amplitudes "
    "becomes its square for powers.",
    wrong_answers=(
        WrongAnswer(
            "no floor",
            lambda noisy_power, noise_power, over_subtraction, floor_gain: (
                noisy_power - over_subtraction * noise_power[..., None]
            ),
            "some of your powers are negative: where the noise estimate exceeds what is there, the floor takes over.",
        ),
        WrongAnswer(
            "floor at zero",
            _floored(lambda p, n, a, g: torch.zeros_like(p)),
            "your floor is 0, which leaves islands of sound in dead silence (musical noise): g ** 2 times noisy_power.",
        ),
        WrongAnswer(
            "gain not squared",
            _floored(lambda p, n, a, g: g * p),
            "floor_gain is a gain of *amplitudes*; powers are multiplied by its square.",
        ),
        WrongAnswer(
            "floor of the noise",
            _floored(lambda p, n, a, g: g**2 * n),
            "your floor is a fraction of the noise; here it is one of the noisy power of that very bin and frame.",
        ),
        WrongAnswer(
            "floor of the noise, not squared",
            _floored(lambda p, n, a, g: g * n),
            "two slips in your floor: a fraction of noisy_power, not of the noise, and the gain squared.",
        ),
        WrongAnswer(
            "floor of the over-subtracted noise",
            _floored(lambda p, n, a, g: g**2 * a * n),
            "your floor is a fraction of what you take away; it is a fraction of noisy_power.",
        ),
        WrongAnswer(
            "constant floor",
            _floored(lambda p, n, a, g: torch.full_like(p, g**2)),
            "your floor is floor_gain ** 2 everywhere; it is that many times noisy_power.",
        ),
        WrongAnswer(
            "constant floor, not squared",
            _floored(lambda p, n, a, g: torch.full_like(p, g)),
            "clamp(min=floor_gain) puts one constant under all bins; the floor is noisy_power times a gain squared.",
        ),
        WrongAnswer(
            "floor of what is left",
            _floored(lambda p, n, a, g: g**2 * (p - a * n)),
            "your floor is a fraction of the *difference*, which is negative where a floor is needed: of noisy_power.",
        ),
        WrongAnswer(
            "floor of the absolute difference",
            _floored(lambda p, n, a, g: g**2 * (p - a * n).abs()),
            "your floor is a fraction of the difference's size; it is a fraction of noisy_power.",
        ),
        WrongAnswer(
            "smaller of the two",
            _floored(lambda p, n, a, g: g**2 * p, torch.minimum),
            "a floor is a *lower* bound, so the larger of the two: torch.maximum.",
        ),
        WrongAnswer(
            "floor added",
            _floored(lambda p, n, a, g: g**2 * p, lambda left, floor: left.clamp(min=0) + floor),
            "you add the floor everywhere; it only takes over where the rest falls below it.",
        ),
        WrongAnswer(
            "floor where negative",
            _floored(lambda p, n, a, g: g**2 * p, lambda left, floor: torch.where(left < 0, floor, left)),
            "you put the floor in only where the rest is negative: also where it is above 0 but below the floor.",
        ),
        WrongAnswer(
            "absolute value",
            _floored(lambda p, n, a, g: g**2 * p, lambda left, floor: torch.maximum(left.abs(), floor)),
            "the absolute value makes much noise of too much subtraction: negative powers go to the floor.",
        ),
        WrongAnswer(
            "over-subtraction forgotten",
            lambda noisy_power, noise_power, over_subtraction, floor_gain: subtract_noise(
                noisy_power, noise_power, 1.0, floor_gain
            ),
            "you take the noise away once: over_subtraction times.",
        ),
        WrongAnswer(
            "over-subtraction squared",
            lambda noisy_power, noise_power, over_subtraction, floor_gain: subtract_noise(
                noisy_power, noise_power, over_subtraction**2, floor_gain
            ),
            "over_subtraction multiplies a power already: it is not squared (floor_gain is).",
        ),
        WrongAnswer(
            "whole noisy power over-subtracted",
            lambda noisy_power, noise_power, over_subtraction, floor_gain: torch.maximum(
                over_subtraction * (noisy_power - noise_power[..., None]), floor_gain**2 * noisy_power
            ),
            "brackets: over_subtraction multiplies the noise only, not the difference.",
        ),
        WrongAnswer(
            "noise added",
            lambda noisy_power, noise_power, over_subtraction, floor_gain: (
                noisy_power + over_subtraction * noise_power[..., None]
            ),
            "you add the noise once more: minus.",
        ),
        WrongAnswer(
            "amplitudes subtracted",
            _amplitudes,
            "you subtract amplitudes (square roots); here powers are subtracted, as they come.",
        ),
        WrongAnswer(
            "gain of amplitudes",
            _gained(lambda ratio, a, g: (1 - a / ratio).clamp(min=g**2).sqrt()),
            "that root makes an amplitude gain, and you multiply powers by it: the gain of the power is its square.",
        ),
        WrongAnswer(
            "axis missing",
            _other_noise(lambda noise: noise),
            "the noise is (B, K), and the frames are the *last* axis of (B, K, L): give it a last axis of 1.",
        ),
        WrongAnswer(
            "noise averaged over clips",
            _other_noise(lambda noise: noise.mean(dim=0)[:, None]),
            "each clip has its own noise: do not average over the clips.",
        ),
        WrongAnswer(
            "noise averaged over bins",
            _other_noise(lambda noise: noise.mean(dim=1)[:, None, None]),
            "you averaged the noise over the bins: each bin has its own.",
        ),
        WrongAnswer(
            "noise of the first clip",
            _other_noise(lambda noise: noise[0][:, None]),
            "you took the first clip's noise for all clips.",
        ),
        WrongAnswer(
            "amplitude returned",
            lambda **inputs: subtract_noise(**inputs).sqrt(),
            "that is the amplitude: the power is asked for, without the root.",
        ),
        WrongAnswer(
            "in place",
            _in_place,
            "-= writes into the tensor you were given: noisy_power - ... makes a new one.",
        ),
        WrongAnswer(
            "in place, then the floor",
            _floor_after_in_place,
            "-= changes noisy_power itself, and your floor is then taken of what is left: noisy_power - ... makes a "
            "new tensor.",
        ),
    ),
)
