"""Exercise 03.4: speech in noise at a given signal-to-noise ratio."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.sound.effects import mix_at_snr


def _power(wave: Tensor) -> Tensor:
    return wave.square().mean(dim=1, keepdim=True)


def _gain(speech_power: Tensor, noise_power: Tensor, snr_db: float) -> Tensor:
    return (speech_power / noise_power / 10 ** (snr_db / 10)).sqrt()


def _draw_clips(rng: torch.Generator, trial: int) -> dict:
    """Clips of very different levels, loud enough to clip when mixed, and noise that has a mean."""
    n_clips, n_samples = ((3, 41), (5, 28), (2, 67), (4, 36))[trial % 4]
    levels = 0.05 * 20 ** torch.rand(2, n_clips, 1, generator=rng)
    speech = levels[0] * torch.randn(n_clips, n_samples, generator=rng)
    noise = levels[1] * (torch.randn(n_clips, n_samples, generator=rng) + 0.8)
    snr_db = (5.0, -3.0, 12.0, -10.0)[trial % 4] + float(torch.rand(1, generator=rng))
    return {"speech": speech, "noise": noise, "snr_db": snr_db}


def _mixed(speech_size, noise_size, by_power: bool = True):
    """An answer with other measures of size, in powers or in amplitudes."""

    def answer(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
        if by_power:
            return speech + noise * _gain(speech_size(speech), noise_size(noise), snr_db)
        return speech + noise * speech_size(speech) / noise_size(noise) / 10 ** (snr_db / 20)

    return answer


def _peak(wave: Tensor) -> Tensor:
    return wave.abs().amax(dim=1, keepdim=True)


def _added(gain):
    """An answer that adds noise * gain(power of the speech, power of the noise, snr_db)."""
    return lambda speech, noise, snr_db: speech + noise * gain(_power(speech), _power(noise), snr_db)


def _noise_only(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    return mix_at_snr(speech, noise, snr_db) - speech


def _in_place(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    speech += _noise_only(speech, noise, snr_db)
    return speech


def _noise_in_place(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    noise *= _gain(_power(speech), _power(noise), snr_db)
    return speech + noise


def _centred_noise(speech: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    return mix_at_snr(speech, noise - noise.mean(dim=1, keepdim=True), snr_db)


MIX_AT_SNR = Exercise(
    id="03.4",
    title="speech in noise at a given SNR",
    points=3,
    function="mix_at_snr",
    draw=_draw_clips,
    reference=mix_at_snr,
    atol=1e-4,
    rtol=1e-4,
    difficulty=2,
    minutes=8,
    hint="mean power of each clip (dim=1, keepdim=True); the noise's has to become the speech's / 10 ** (snr_db / 10); "
    "an amplitude changes by the square root of that.",
    wrong_answers=(
        WrongAnswer(
            "root forgotten",
            _added(lambda speech, noise, snr_db: speech / noise / 10 ** (snr_db / 10)),
            "you multiply the wave by a ratio of *powers*; amplitudes change by its square root.",
        ),
        WrongAnswer(
            "20 for 10 with powers",
            _added(lambda speech, noise, snr_db: (speech / noise / 10 ** (snr_db / 20)).sqrt()),
            "half the decibels: for powers it is 10 log10, so 10 ** (snr_db / 10); 20 belongs to amplitudes.",
        ),
        WrongAnswer(
            "10 for 20 with amplitudes",
            _added(lambda speech, noise, snr_db: (speech / noise).sqrt() / 10 ** (snr_db / 10)),
            "twice the decibels: you divide amplitudes, and for those it is 10 ** (snr_db / 20).",
        ),
        WrongAnswer(
            "sign of the SNR",
            lambda speech, noise, snr_db: mix_at_snr(speech, noise, -snr_db),
            "the other way round: a high SNR means *little* noise.",
        ),
        WrongAnswer(
            "upside down",
            _added(lambda speech, noise, snr_db: (noise / speech / 10 ** (snr_db / 10)).sqrt()),
            "your ratio is upside down: noise that is too loud has to be divided by its own size.",
        ),
        WrongAnswer(
            "over the batch",
            _mixed(lambda wave: wave.square().mean(), lambda wave: wave.square().mean()),
            "right on average over the batch, for no clip by itself: mean over dim=1, keepdim=True.",
        ),
        WrongAnswer(
            "speech power over the batch",
            _mixed(lambda wave: wave.square().mean(), _power),
            "the speech's power is that of the whole batch: quiet clips drown. Each has its own, dim=1.",
        ),
        WrongAnswer(
            "noise power over the batch",
            _mixed(_power, lambda wave: wave.square().mean()),
            "the noise's power is that of the whole batch; each clip's noise has its own, dim=1.",
        ),
        WrongAnswer(
            "wrong axis",
            _mixed(lambda wave: wave.square().mean(dim=0), lambda wave: wave.square().mean(dim=0)),
            "you averaged over the clips, sample by sample (dim=0); each clip's power is a mean over its samples.",
        ),
        WrongAnswer(
            "axis lost",
            _mixed(lambda wave: wave.square().mean(dim=1), lambda wave: wave.square().mean(dim=1)),
            "(B,) does not fit (B, T), whose last axis is T: keepdim=True makes it (B, 1).",
        ),
        WrongAnswer(
            "by the peaks",
            _mixed(_peak, _peak, by_power=False),
            "you compare peaks; the SNR compares mean powers.",
        ),
        WrongAnswer(
            "noise scaled by its peak",
            _mixed(lambda wave: _power(wave).sqrt(), _peak, by_power=False),
            "you divide the noise by its *peak*: by its root mean square, then its power is 1.",
        ),
        WrongAnswer(
            "mean absolute values",
            _mixed(*[lambda wave: wave.abs().mean(dim=1, keepdim=True)] * 2, by_power=False),
            "mean |x| is no power: square, mean, and the root of that.",
        ),
        WrongAnswer(
            "variance",
            _mixed(*[lambda wave: wave.var(dim=1, keepdim=True, unbiased=False)] * 2),
            "var and std take the mean away first, so noise with a mean seems quieter than it is: mean of x ** 2.",
        ),
        WrongAnswer(
            "speech as reference of one",
            _added(lambda speech, noise, snr_db: (1 / noise / 10 ** (snr_db / 10)).sqrt()),
            "your noise has the same power whatever the speech's: it has to follow the speech, clip by clip.",
        ),
        WrongAnswer(
            "noise taken as power one",
            _added(lambda speech, noise, snr_db: (speech / 10 ** (snr_db / 10)).sqrt()),
            "right for noise of power 1 only: divide by the power it has.",
        ),
        WrongAnswer(
            "powers ignored",
            lambda speech, noise, snr_db: speech + noise * 10 ** (-snr_db / 20),
            "right for speech and noise of one power only: each has its own.",
        ),
        WrongAnswer(
            "noise centred",
            _centred_noise,
            "you take the noise's mean away first: it stays, and counts in the noise's power.",
        ),
        WrongAnswer(
            "SNR ignored",
            _added(lambda speech, noise, snr_db: (speech / noise).sqrt()),
            "your mixture is at 0 dB, always: snr_db is missing.",
        ),
        WrongAnswer(
            "decibels as a ratio",
            _added(lambda speech, noise, snr_db: (speech / noise / abs(snr_db)).sqrt()),
            "decibels are no ratio: 10 ** (snr_db / 10) is the ratio of powers.",
        ),
        WrongAnswer(
            "e for 10",
            _added(lambda speech, noise, snr_db: (speech / noise / math.exp(snr_db / 10)).sqrt()),
            "decibels count powers of 10, not of e: 10 ** (snr_db / 10).",
        ),
        WrongAnswer(
            "speech scaled",
            lambda speech, noise, snr_db: noise + speech / _gain(_power(speech), _power(noise), snr_db),
            "the ratio is right, but you scaled the speech: it stays as it is, the noise follows.",
        ),
        WrongAnswer(
            "clipped",
            lambda speech, noise, snr_db: mix_at_snr(speech, noise, snr_db).clamp(-1, 1),
            "right until you clipped it: clipping distorts the speech, and changes the SNR.",
        ),
        WrongAnswer(
            "normalised",
            lambda speech, noise, snr_db: mix_at_snr(speech, noise, snr_db) / _peak(mix_at_snr(speech, noise, snr_db)),
            "you scaled the mixture at the end; the speech in it should stay as loud as it was.",
        ),
        WrongAnswer("noise only", _noise_only, "that is the scaled noise alone: add the speech."),
        WrongAnswer(
            "in place",
            _in_place,
            "speech += ... writes into the tensor you were given: speech + ... makes a new one.",
        ),
        WrongAnswer(
            "noise in place",
            _noise_in_place,
            "noise *= ... writes into the tensor you were given: noise * ... makes a new one.",
        ),
    ),
)
