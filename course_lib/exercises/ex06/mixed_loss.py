"""Exercise 06.3: cross-entropy and least squares, weighed against each other."""

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.ex06.gradients import call_and_differentiate
from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.losses.adversarial import discriminator_parts


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, weight: float) -> Tensor:
    """Cross-entropy plus weight * least squares, each for real and for fake. (B,), (B,) -> scalar."""
    parts = discriminator_parts(real_logits, fake_logits, {"non_saturating": 1.0, "least_squares": weight})
    return torch.stack(list(parts.values())).sum()


def _draw_logits(rng: torch.Generator, trial: int) -> dict:
    """Tame ones, then some of +-30, on the wrong side and on the right one."""
    n_clips, weight = ((5, 0.3), (8, 2.5), (4, 0.7), (7, 0.1))[trial % 4]
    real, fake = 0.5 + 2 * torch.randn(n_clips, generator=rng), -1 + 2 * torch.randn(n_clips, generator=rng)
    if trial % 4 >= 2:
        real[1:3], fake[:2] = torch.tensor([-30.0, 30.0]), torch.tensor([30.0, -30.0])
    weight = weight * (1 + 0.2 * float(torch.rand(1, generator=rng)))
    return {"real_logits": real, "fake_logits": fake, "weight": weight}


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _least_squares(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def _with_least_squares(term):
    def answer(real_logits: Tensor, fake_logits: Tensor, weight: float) -> Tensor:
        return _cross_entropy(real_logits, fake_logits) + weight * term(real_logits, fake_logits)

    return answer


def _with_cross_entropy(term):
    def answer(real_logits: Tensor, fake_logits: Tensor, weight: float) -> Tensor:
        return term(real_logits, fake_logits) + weight * _least_squares(real_logits, fake_logits)

    return answer


def _mixed(combine):
    def answer(real_logits: Tensor, fake_logits: Tensor, weight: float) -> Tensor:
        return combine(_cross_entropy(real_logits, fake_logits), _least_squares(real_logits, fake_logits), weight)

    return answer


def _clamped(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = (torch.sigmoid(logits).clamp(1e-7, 1 - 1e-7) for logits in (real, fake))
    return -real.log().mean() - (1 - fake).log().mean()


def _of_probabilities(real: Tensor, fake: Tensor) -> Tensor:
    real, fake = torch.sigmoid(real), torch.sigmoid(fake)
    return F.binary_cross_entropy(real, torch.ones_like(real)) + F.binary_cross_entropy(fake, torch.zeros_like(fake))


def _floored(real: Tensor, fake: Tensor) -> Tensor:
    return -(torch.sigmoid(real) + 1e-8).log().mean() - (1 - torch.sigmoid(fake) + 1e-8).log().mean()


DISCRIMINATOR_LOSS = Exercise(
    id="06.3",
    title="two losses at once",
    points=2,
    function="discriminator_loss",
    draw=_draw_logits,
    reference=discriminator_loss,
    probe=call_and_differentiate,
    atol=1e-4,
    difficulty=1,
    minutes=6,
    hint="four means: of softplus(-real) and softplus(fake), and of 0.5 (real - 1)^2 and 0.5 fake^2, the last "
    "two times weight; all of logits.",
    wrong_answers=(
        WrongAnswer(
            "logarithm of a sigmoid",
            _with_cross_entropy(lambda r, f: -torch.sigmoid(r).log().mean() - (1 - torch.sigmoid(f)).log().mean()),
            "sigmoid(30) rounds to 1, and log(1 - 1) is infinite: -log(1 - sigmoid(f)) is softplus(f), safe for any f.",
        ),
        WrongAnswer(
            "cross-entropy of probabilities",
            _with_cross_entropy(_of_probabilities),
            "F.binary_cross_entropy takes probabilities, and caps the loss of a logit of 30 at 100, with no gradient: "
            "F.binary_cross_entropy_with_logits, or softplus.",
        ),
        WrongAnswer(
            "probabilities clamped",
            _with_cross_entropy(_clamped),
            "the clamp hides what a logit of +-30 costs (30), and stops its gradient: softplus needs none.",
        ),
        WrongAnswer(
            "sigmoid twice",
            _with_cross_entropy(lambda r, f: _cross_entropy(torch.sigmoid(r), torch.sigmoid(f))),
            "binary_cross_entropy_with_logits and softplus take logits: you gave them a sigmoid, so there are two.",
        ),
        WrongAnswer(
            "logits negated",
            _with_cross_entropy(lambda r, f: _cross_entropy(-r, -f)),
            "your cross-entropy rewards calling fakes real: -log sigmoid(r) is softplus(-r), for real clips.",
        ),
        WrongAnswer(
            "the generator's cross-entropy",
            _with_cross_entropy(lambda r, f: F.softplus(-r).mean() + F.softplus(-f).mean()),
            "for fakes you have -log sigmoid(f), the generator's wish: the discriminator's is -log(1 - sigmoid(f)).",
        ),
        WrongAnswer(
            "targets swapped",
            _with_least_squares(lambda r, f: 0.5 * r.square().mean() + 0.5 * (f - 1).square().mean()),
            "in least squares real clips aim at 1 and fakes at 0: yours are swapped.",
        ),
        WrongAnswer(
            "targets 1 and -1",
            _with_least_squares(lambda r, f: 0.5 * (r - 1).square().mean() + 0.5 * (f + 1).square().mean()),
            "your fakes aim at -1: here the targets are 1 and 0.",
        ),
        WrongAnswer(
            "fakes at 1",
            _with_least_squares(lambda r, f: 0.5 * (r - 1).square().mean() + 0.5 * (f - 1).square().mean()),
            "your fakes aim at 1, as on the generator's turn: the discriminator's target for them is 0.",
        ),
        WrongAnswer(
            "least squares of probabilities",
            _with_least_squares(lambda r, f: _least_squares(torch.sigmoid(r), torch.sigmoid(f))),
            "least squares compares the *logits* with 1 and 0: a sigmoid would flatten it where it should pull most.",
        ),
        WrongAnswer(
            "absolute values",
            _with_least_squares(lambda r, f: 0.5 * (r - 1).abs().mean() + 0.5 * f.abs().mean()),
            "least squares *squares* the distances to 1 and to 0.",
        ),
        WrongAnswer(
            "half forgotten",
            _mixed(lambda bce, ls, weight: bce + weight * 2 * ls),
            "the half in front of each square is missing.",
        ),
        WrongAnswer(
            "weight squared",
            _mixed(lambda bce, ls, weight: bce + weight**2 * ls),
            "weight is in it twice: the sum of both least-squares means is multiplied by it once.",
        ),
        WrongAnswer(
            "weight on the other",
            _mixed(lambda bce, ls, weight: weight * bce + ls),
            "weight belongs to the least squares: you gave it to the cross-entropy.",
        ),
        WrongAnswer(
            "weight on both",
            _mixed(lambda bce, ls, weight: weight * (bce + ls)),
            "weight belongs to the least squares only: mind the brackets.",
        ),
        WrongAnswer(
            "weighted mean",
            _mixed(lambda bce, ls, weight: (1 - weight) * bce + weight * ls),
            "cross-entropy counts whole, whatever the weight: no 1 - weight.",
        ),
        WrongAnswer(
            "weight ignored",
            _mixed(lambda bce, ls, weight: bce + ls),
            "you add least squares with a weight of 1: use the weight that comes in.",
        ),
        WrongAnswer(
            "weight on real only",
            lambda real_logits, fake_logits, weight: (
                _cross_entropy(real_logits, fake_logits)
                + weight * 0.5 * (real_logits - 1).square().mean()
                + 0.5 * fake_logits.square().mean()
            ),
            "weight reaches the real clips' square only: brackets around both.",
        ),
        WrongAnswer(
            "cross-entropy only",
            _mixed(lambda bce, ls, weight: bce),
            "that is the cross-entropy alone: plus weight times least squares.",
        ),
        WrongAnswer(
            "least squares only",
            _mixed(lambda bce, ls, weight: weight * ls),
            "that is the least-squares term alone: plus the cross-entropy.",
        ),
        WrongAnswer(
            "one mean for both",
            _mixed(lambda bce, ls, weight: 0.5 * (bce + weight * ls)),
            "half of what it should be: you average over real and fake together. Each has a mean of its own, and they "
            "add up.",
        ),
        WrongAnswer(
            "summed over clips",
            lambda real_logits, fake_logits, weight: (
                discriminator_loss(real_logits, fake_logits, weight) * len(real_logits)
            ),
            "you add the clips up: their mean, or the learning rate would hang on the batch's size.",
        ),
        WrongAnswer(
            "not averaged",
            lambda real_logits, fake_logits, weight: (
                F.softplus(-real_logits)
                + F.softplus(fake_logits)
                + weight * 0.5 * ((real_logits - 1).square() + fake_logits.square())
            ),
            "that is one number a pair: the means are still to come.",
        ),
        WrongAnswer(
            "negative",
            _mixed(lambda bce, ls, weight: -bce + weight * ls),
            "the sign of the cross-entropy: a loss is the *negative* log-likelihood, never below 0.",
        ),
        WrongAnswer(
            "no gradient",
            _mixed(lambda bce, ls, weight: (bce + weight * ls).detach()),
            "right values, but no gradient comes through (detach, item or no_grad): nothing would be learnt.",
        ),
        WrongAnswer(
            "fake logits detached",
            lambda real_logits, fake_logits, weight: discriminator_loss(real_logits, fake_logits.detach(), weight),
            "right values, but no gradient through the fake logits: detach the generator's *clips* before the "
            "discriminator sees them, never its scores.",
        ),
        WrongAnswer(
            "real and fake swapped",
            lambda real_logits, fake_logits, weight: discriminator_loss(fake_logits, real_logits, weight),
            "real and fake are swapped, in all four terms: real logits are to rise to 1, fake ones to fall to 0.",
        ),
        WrongAnswer(
            "one mean for the cross-entropy",
            _mixed(lambda bce, ls, weight: 0.5 * bce + weight * ls),
            "your cross-entropy is half of what it should be: averaged over real and fake together (torch.cat), or "
            "halved. Each kind has a mean of its own, and they add up.",
        ),
        WrongAnswer(
            "one mean for least squares",
            _mixed(lambda bce, ls, weight: bce + weight * 0.5 * ls),
            "your least squares are half of what they should be: one half before each square, and none besides.",
        ),
        WrongAnswer(
            "floor in the logarithm",
            _with_cross_entropy(_floored),
            "the 1e-8 in the logarithm hides what a logit of 30 on the wrong side costs (30), and stops its gradient: "
            "softplus needs no floor.",
        ),
        WrongAnswer(
            "mean squared",
            _with_least_squares(lambda r, f: 0.5 * (r.mean() - 1).square() + 0.5 * f.mean().square()),
            "in least squares you square the mean logit's distance: square each clip's, then average.",
        ),
        WrongAnswer(
            "least squares detached",
            _with_least_squares(lambda r, f: _least_squares(r, f).detach()),
            "right values, but the least-squares term passes no gradient on: it was detached.",
        ),
    ),
)
