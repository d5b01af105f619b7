"""Exercise 09.1: bits a sample."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.framework import Exercise, WrongAnswer

_LN_2 = math.log(2)


def bits_per_sample(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    """Mean of -log2 p(class) over the first n_valid samples of each clip, all samples weighing the same.

    Args:    logits: (B, T, C), those at t computed from classes before t; classes: (B, T); n_valid: (B,).
    Returns: scalar, bits."""
    return _nats(logits, classes)[_counted(classes, n_valid)].mean() / _LN_2


def _nats(logits: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(logits.transpose(1, 2), classes, reduction="none")  # (B, T)


def _counted(classes: Tensor, n_valid: Tensor) -> Tensor:
    return torch.arange(classes.shape[1]) < n_valid[:, None]  # (B, T)


def _draw_clips(rng: torch.Generator, trial: int) -> dict:
    """Clips of 2 to T samples, silence (the middle class) after them; logits of +-300 in half of the trials.

    In the second trial no clip is as long as T, and what follows all of them is a surprise to the model.
    """
    n_clips, n_samples, n_classes = ((3, 6, 5), (5, 4, 7), (2, 7, 4), (4, 9, 6))[trial % 4]
    n_valid = torch.randint(2, n_samples - 1, (n_clips,), generator=rng)
    n_valid[0], n_valid[-1] = (2, n_samples - (trial % 4 == 1)) if trial % 2 else (n_samples, 2)
    classes = torch.randint(0, n_classes, (n_clips, n_samples), generator=rng)
    classes = torch.where(torch.arange(n_samples) < n_valid[:, None], classes, n_classes // 2)
    logits = 1.2 * torch.randn(n_clips, n_samples, n_classes, generator=rng)
    logits += 1.5 * F.one_hot(classes, n_classes)  # a model that has learnt something
    if trial % 4 == 1:
        logits[:, -1] -= 4 * F.one_hot(classes[:, -1], n_classes)
    if trial % 4 >= 2:
        logits[0, 1] = torch.where(torch.arange(n_classes) == classes[0, 1], -300.0, logits[0, 1])
        logits[-1, 0] = logits[-1, 0] + 300.0
        logits[-1, 1] = torch.where(torch.arange(n_classes) == classes[-1, 1], 300.0, logits[-1, 1])
    return {"logits": logits, "classes": classes, "n_valid": n_valid}


def _of_nats(figure):
    """A figure of the nats (B, T), which of them count (B, T), and n_valid (B,)."""

    def answer(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
        return figure(_nats(logits, classes), _counted(classes, n_valid), n_valid)

    return answer


def _with_logits(change):
    return lambda logits, classes, n_valid: bits_per_sample(change(logits), classes, n_valid)


def _with_valid(change):
    return lambda logits, classes, n_valid: bits_per_sample(logits, classes, change(n_valid))


def _by_probability(nats):
    """-log p by nats(p (B, T)), p being picked from a softmax."""

    def answer(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
        picked = logits.softmax(dim=2).gather(2, classes[:, :, None])[:, :, 0]
        return nats(picked)[_counted(classes, n_valid)].mean() / _LN_2

    return answer


def _shifted(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    return _nats(logits[:, :-1], classes[:, 1:])[_counted(classes, n_valid)[:, 1:]].mean() / _LN_2


def _shifted_back(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    return _nats(logits[:, 1:], classes[:, :-1])[_counted(classes, n_valid)[:, :-1]].mean() / _LN_2


def _entropy(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    logs = logits.log_softmax(dim=2)
    return -(logs.exp() * logs).sum(dim=2)[_counted(classes, n_valid)].mean() / _LN_2


def _by_logit(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    return -logits.gather(2, classes[:, :, None])[:, :, 0][_counted(classes, n_valid)].mean() / _LN_2


def _naive(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    chances = logits.exp() / logits.exp().sum(dim=2, keepdim=True)
    return -chances.gather(2, classes[:, :, None])[:, :, 0].log2()[_counted(classes, n_valid)].mean()


def _over_axis(axis: int):
    def answer(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
        picked = -logits.log_softmax(dim=axis).gather(2, classes[:, :, None])[:, :, 0]
        return picked[_counted(classes, n_valid)].mean() / _LN_2

    return answer


def _reshaped(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    nats = F.cross_entropy(logits.reshape(logits.shape[0], logits.shape[2], -1), classes, reduction="none")
    return nats[_counted(classes, n_valid)].mean() / _LN_2


def _spoils_classes(logits: Tensor, classes: Tensor, n_valid: Tensor) -> Tensor:
    classes[~_counted(classes, n_valid)] = -100
    return F.cross_entropy(logits.flatten(0, 1), classes.flatten()) / _LN_2


BITS_PER_SAMPLE = Exercise(
    id="09.1",
    title="bits a sample",
    points=3,
    function="bits_per_sample",
    draw=_draw_clips,
    reference=bits_per_sample,
    atol=1e-4,
    rtol=1e-5,
    difficulty=2,
    minutes=10,
    hint="log_softmax over the classes (dim=2), with no floor and no clamp; gather from logits[:, t] the class that "
    "came, classes[:, t]; the mean over all places with t < n_valid, of all clips together; divided by log 2.",
    wrong_answers=(
        WrongAnswer(
            "nats",
            _of_nats(lambda nats, counted, n: nats[counted].mean()),
            "those are nats: divide by log 2 for bits.",
        ),
        WrongAnswer(
            "times log 2",
            _of_nats(lambda nats, counted, n: nats[counted].mean() * _LN_2),
            "times log 2 is the wrong way: a bit is 0.69 nats, so nats are *divided* by it.",
        ),
        WrongAnswer(
            "base 10",
            _of_nats(lambda nats, counted, n: nats[counted].mean() / math.log(10)),
            "that is the logarithm to base 10: bits have base 2.",
        ),
        WrongAnswer(
            "padding counted",
            _of_nats(lambda nats, counted, n: nats.mean() / _LN_2),
            "the silence after each clip counts as well: only the first n_valid samples of each.",
        ),
        WrongAnswer(
            "padding as free samples",
            _of_nats(lambda nats, counted, n: (nats * counted).mean() / _LN_2),
            "the padding is 0 bits, but still counted in the mean: divide by n_valid.sum(), not by B T.",
        ),
        WrongAnswer(
            "mean of the clips' means",
            _of_nats(lambda nats, counted, n: ((nats * counted).sum(dim=1) / n).mean() / _LN_2),
            "that is the mean of each clip's mean, where a sample of a short clip weighs more: all samples alike.",
        ),
        WrongAnswer(
            "clip by clip",
            _of_nats(lambda nats, counted, n: (nats * counted).sum(dim=1) / n / _LN_2),
            "that is one number a clip: one for all samples together.",
        ),
        WrongAnswer(
            "sum",
            _of_nats(lambda nats, counted, n: nats[counted].sum() / _LN_2),
            "that is the sum, the bits of the whole file: the mean over samples.",
        ),
        WrongAnswer(
            "bits a clip",
            _of_nats(lambda nats, counted, n: nats[counted].sum() / len(n) / _LN_2),
            "those are bits a clip: divide by the number of samples, n_valid.sum().",
        ),
        WrongAnswer(
            "one sample too many",
            _with_valid(lambda n: n + 1),
            "one sample too many of each clip: t < n_valid, not <=.",
        ),
        WrongAnswer(
            "one sample too few",
            _with_valid(lambda n: n - 1),
            "one sample too few of each clip: the first n_valid are t = 0 to n_valid - 1.",
        ),
        WrongAnswer(
            "longest clip",
            _with_valid(lambda n: n.max().expand_as(n)),
            "all clips are cut at the longest one's length: each at its own.",
        ),
        WrongAnswer(
            "first clip's length",
            _with_valid(lambda n: n[:1].expand_as(n)),
            "all clips are cut at the first one's length: each at its own.",
        ),
        WrongAnswer(
            "shifted by one",
            _shifted,
            "logits[:, t] are compared with classes[:, t + 1]: they were computed from the classes before t already, "
            "and foretell classes[:, t].",
        ),
        WrongAnswer(
            "shifted the other way",
            _shifted_back,
            "logits[:, t + 1] are compared with classes[:, t], which they have seen: that is looking at the answer.",
        ),
        WrongAnswer("softmax over time", _over_axis(1), "your softmax runs over time: over the classes, dim=2."),
        WrongAnswer("softmax over clips", _over_axis(0), "your softmax runs over the batch: over the classes, dim=2."),
        WrongAnswer(
            "softmax twice",
            _with_logits(lambda logits: logits.softmax(dim=2)),
            "softmax is taken twice: cross_entropy and log_softmax take logits as they are.",
        ),
        WrongAnswer("no softmax", _by_logit, "you take logits for log-probabilities: log_softmax first."),
        WrongAnswer(
            "log of softmax",
            _by_probability(lambda chance: -chance.log()),
            "infinite at logits of +-300: there exp overflows, or softmax rounds to 0; log_softmax does neither.",
        ),
        WrongAnswer(
            "naive exponentials",
            _naive,
            "exp(300) is infinite in float32, and infinity over infinity is NaN: log_softmax.",
        ),
        WrongAnswer(
            "floored",
            _by_probability(lambda chance: -(chance + 1e-12).log()),
            "a floor or clamp of 1e-12 makes the worst guesses too cheap, 40 bits at most: log_softmax needs none.",
        ),
        WrongAnswer(
            "log of the mean",
            _of_nats(lambda nats, counted, n: -nats[counted].neg().exp().mean().log2()),
            "that is the log of the mean probability: the mean of the logarithms.",
        ),
        WrongAnswer(
            "perplexity",
            _of_nats(lambda nats, counted, n: nats[counted].mean().exp()),
            "that is the perplexity, 2 to the power of the bits: the bits themselves.",
        ),
        WrongAnswer(
            "sign",
            lambda **inputs: -bits_per_sample(**inputs),
            "the sign: log2 of a probability is negative, the bits that it costs are not.",
        ),
        WrongAnswer(
            "entropy of the guess",
            _entropy,
            "that is how unsure the model *is* (the entropy of its guess), whatever came: take the class that came.",
        ),
        WrongAnswer(
            "axes of cross_entropy",
            lambda logits, classes, n_valid: F.cross_entropy(logits, classes, reduction="none"),
            "cross_entropy wants the classes on axis 1: logits.transpose(1, 2), or flatten clips and time.",
        ),
        WrongAnswer(
            "reshaped for cross_entropy",
            _reshaped,
            "reshape mixes time and classes up: transpose(1, 2) brings the classes to axis 1.",
        ),
        WrongAnswer(
            "class 0 left out",
            lambda logits, classes, n_valid: (
                _nats(logits, classes)[_counted(classes, n_valid) & (classes > 0)].mean() / _LN_2
            ),
            "class 0 is a sample like any other: mark padding by t >= n_valid (-100 is no class, 0 is one).",
        ),
        WrongAnswer(
            "classes overwritten",
            _spoils_classes,
            "the right value, but you write -100 into the caller's classes: work on a clone.",
        ),
    ),
)
