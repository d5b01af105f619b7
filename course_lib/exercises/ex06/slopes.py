"""Exercise 06.2: how each loss pushes the generator, by hand."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.adversarial import TERMS

LOSSES = ("saturating", "non_saturating", "least_squares", "hinge")


def generator_slopes(fake_logits: Tensor, loss: str) -> Tensor:
    """d (what one fake clip costs the generator) / d (its logit), for the generator's terms of adversarial.TERMS.

    Args:    fake_logits: (B,); loss: one of LOSSES.
    Returns: (B,), finite for any logit, no mean."""
    if loss == "saturating":
        return -torch.sigmoid(fake_logits)
    if loss == "non_saturating":
        return -torch.sigmoid(-fake_logits)
    if loss == "least_squares":
        return fake_logits - 1
    return -torch.ones_like(fake_logits)


def _draw_logits(rng: torch.Generator, trial: int) -> dict:
    """Each loss twice, the second time with logits of +-30 and +-100."""
    n_clips = (5, 4, 7, 6, 9, 11, 8, 10)[trial % 8]
    logits = 2.5 * torch.randn(n_clips, generator=rng)
    logits[0], logits[1] = -0.2 - logits[0].abs(), 1.5 + logits[1].abs()  # on either side of 0, and beyond 1
    if trial % 8 >= 4:
        logits[-4:] = torch.tensor([30.0, -100.0, 100.0, -30.0])
    return {"fake_logits": logits, "loss": LOSSES[trial % 4]}


def _except(name: str, slope):
    """Right for every loss but one."""
    return lambda fake_logits, loss: slope(fake_logits) if loss == name else generator_slopes(fake_logits, loss)


def _by_autograd(term):
    """Slopes of the sum of term(fake_logits, loss)."""

    def answer(fake_logits: Tensor, loss: str) -> Tensor:
        leaf = fake_logits.clone().requires_grad_()
        return torch.autograd.grad(term(leaf, loss).sum(), leaf)[0]

    return answer


def _naive_terms(f: Tensor, loss: str) -> Tensor:
    if loss == "saturating":
        return (1 - torch.sigmoid(f)).log()
    return -torch.sigmoid(f).log() if loss == "non_saturating" else TERMS[loss][2](f)


def _floored_terms(f: Tensor, loss: str) -> Tensor:
    chance = torch.sigmoid(f)
    if loss == "saturating":
        return (1 - chance + 1e-8).log()
    return -(chance + 1e-8).log() if loss == "non_saturating" else TERMS[loss][2](f)


def _exp_ratio(f: Tensor) -> Tensor:
    return f.exp() / (1 + f.exp())


def _by_ratio(fake_logits: Tensor, loss: str) -> Tensor:
    if loss not in ("saturating", "non_saturating"):
        return generator_slopes(fake_logits, loss)
    return -_exp_ratio(fake_logits) if loss == "saturating" else _exp_ratio(fake_logits) - 1


def _of_probability(fake_logits: Tensor, loss: str) -> Tensor:
    chance = torch.sigmoid(fake_logits)
    known = {"saturating": -1 / (1 - chance), "non_saturating": -1 / chance}
    return known.get(loss, generator_slopes(fake_logits, loss))


def _swapped(fake_logits: Tensor, loss: str) -> Tensor:
    other = {"saturating": "non_saturating", "non_saturating": "saturating"}
    return generator_slopes(fake_logits, other.get(loss, loss))


GENERATOR_SLOPES = Exercise(
    id="06.2",
    title="the generator's slopes",
    points=3,
    function="generator_slopes",
    draw=_draw_logits,
    reference=generator_slopes,
    n_trials=8,
    difficulty=2,
    minutes=10,
    hint="differentiate each term by f on paper, with d softplus(f) / df = sigmoid(f), and log sigmoid(f) = "
    "-softplus(-f); one number a clip, in terms of torch.sigmoid, which stays finite.",
    wrong_answers=(
        WrongAnswer(
            "sign",
            lambda fake_logits, loss: -generator_slopes(fake_logits, loss),
            "all signs are turned round: a *larger* logit costs the generator less, so slopes are negative where it "
            "loses.",
        ),
        WrongAnswer(
            "the discriminator's",
            _by_autograd(lambda f, loss: TERMS[loss][1](f)),
            "those are the slopes of what a fake clip costs the *discriminator*: the generator's turn is asked for.",
        ),
        WrongAnswer(
            "of real clips",
            _by_autograd(lambda f, loss: TERMS[loss][0](f)),
            "those are slopes of the discriminator's terms for *real* clips: on the generator's turn hinge is -f, with "
            "no margin, and the saturating loss is log(1 - sigmoid(f)).",
        ),
        WrongAnswer(
            "mean",
            lambda fake_logits, loss: generator_slopes(fake_logits, loss) / len(fake_logits),
            "you divide by B, as the mean of a batch would: each clip's own loss is asked for.",
        ),
        WrongAnswer(
            "one number",
            lambda fake_logits, loss: generator_slopes(fake_logits, loss).mean(),
            "that is the mean slope: one number a clip, (B,).",
        ),
        WrongAnswer(
            "swapped",
            _swapped,
            "saturating and non-saturating are swapped: log(1 - sigmoid(f)) is the one that is *flat* where the logit "
            "is very negative.",
        ),
        WrongAnswer(
            "saturating as sigmoid of minus f",
            _except("saturating", lambda f: -torch.sigmoid(-f)),
            "the saturating slope is -sigmoid(f): almost 0 for a fake that has been seen through.",
        ),
        WrongAnswer(
            "non-saturating as sigmoid of f",
            _except("non_saturating", lambda f: -torch.sigmoid(f)),
            "the non-saturating slope is -(1 - sigmoid(f)): -1 for a fake that has been seen through.",
        ),
        WrongAnswer(
            "saturating sign",
            _except("saturating", torch.sigmoid),
            "the sign of the saturating slope: log(1 - sigmoid(f)) *falls* as f rises.",
        ),
        WrongAnswer(
            "non-saturating sign",
            _except("non_saturating", lambda f: torch.sigmoid(-f)),
            "the sign of the non-saturating slope: -log sigmoid(f) *falls* as f rises.",
        ),
        WrongAnswer(
            "by the probability",
            _of_probability,
            "you differentiate by the *probability* D = sigmoid(f): times dD / df = D (1 - D), the chain rule's other "
            "half.",
        ),
        WrongAnswer(
            "losses themselves",
            lambda fake_logits, loss: TERMS[loss][2](fake_logits),
            "those are the losses: their derivatives are asked for.",
        ),
        WrongAnswer(
            "ratio of exponentials",
            _by_ratio,
            "exp(100) is infinite in float32, and infinity over infinity is NaN: torch.sigmoid, or 1 / (1 + exp(-f)).",
        ),
        WrongAnswer(
            "autograd through logs of probabilities",
            _by_autograd(_naive_terms),
            "NaN or infinite at large logits: once sigmoid(f) rounds to 0 or 1, its logarithm has lost everything. Put "
            "the derivative that you find on paper, a sigmoid.",
        ),
        WrongAnswer(
            "half forgotten",
            _except("least_squares", lambda f: 2 * (f - 1)),
            "least squares has a half in front, which the 2 of the square cancels: f - 1.",
        ),
        WrongAnswer(
            "half left",
            _except("least_squares", lambda f: 0.5 * (f - 1)),
            "the half in front of least squares is cancelled by the 2 that the square brings: f - 1.",
        ),
        WrongAnswer(
            "towards 0",
            _except("least_squares", lambda f: f),
            "0 is the discriminator's target for fakes: on its own turn the generator wants 1, so f - 1.",
        ),
        WrongAnswer(
            "least squares of a probability",
            _except("least_squares", lambda f: torch.sigmoid(f) - 1),
            "least squares compares the logit itself with 1: no sigmoid.",
        ),
        WrongAnswer(
            "margin",
            _except("hinge", lambda f: -(f < 1).float()),
            "the hinge's margin holds on the discriminator's turn only: the generator's loss is -f, its slope -1 "
            "everywhere.",
        ),
        WrongAnswer(
            "hinge of one number",
            _except("hinge", lambda f: torch.tensor(-1.0)),
            "the hinge's slope is one number for all, but (B,) is asked for: -torch.ones_like(fake_logits).",
        ),
        WrongAnswer(
            "hinge as minus f",
            _except("hinge", lambda f: -f),
            "-f is the hinge loss itself on the generator's turn: its derivative is -1.",
        ),
        WrongAnswer(
            "ratio of exponentials, saturating",
            _except("saturating", lambda f: -_exp_ratio(f)),
            "the saturating slope is NaN at a logit of 100, as exp(100) is infinite: torch.sigmoid(f) stays finite.",
        ),
        WrongAnswer(
            "autograd through floored logs",
            _by_autograd(_floored_terms),
            "the 1e-8 in the logarithm keeps the *loss* finite, but its slope at a logit of -100 (or 100) becomes 0 "
            "where it is -1. Find the derivative on paper: it is a sigmoid, and needs no floor.",
        ),
        WrongAnswer(
            "least squares through a sigmoid",
            _except("least_squares", lambda f: (torch.sigmoid(f) - 1) * torch.sigmoid(f) * torch.sigmoid(-f)),
            "you send least squares through a sigmoid, chain rule and all: by the table it takes the logit itself.",
        ),
        WrongAnswer(
            "hinge sign",
            _except("hinge", torch.ones_like),
            "the sign of the hinge's slope: the generator's loss is -f, which *falls* as f rises.",
        ),
        WrongAnswer(
            "hinge of the discriminator",
            _except("hinge", lambda f: (f > -1).float()),
            "your hinge is the discriminator's term for fakes, max(0, 1 + f): the generator's is -f.",
        ),
    ),
)
