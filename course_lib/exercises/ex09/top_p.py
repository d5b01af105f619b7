"""Exercise 09.2: temperature and top-p."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def top_p_probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Softmax at a temperature, cut to the smallest set of most probable classes that reaches top_p, renormalised
    (Holtzman et al. 2020).

    Args:    logits: (B, C); temperature: > 0; top_p: in (0, 1].
    Returns: (B, C), rows sum to 1, classes in their own order."""
    chances = torch.softmax(logits / temperature, dim=1)
    return _unit(torch.where(_kept(chances, top_p), chances, 0.0))


def _kept(chances: Tensor, top_p: float, is_in=lambda ranked, top_p: ranked.cumsum(dim=1) - ranked < top_p) -> Tensor:
    """Which classes stay, (B, C) bool, by a rule on probabilities that fall from left to right."""
    ranked, places = chances.sort(dim=1, descending=True)
    return torch.zeros_like(chances, dtype=torch.bool).scatter(1, places, is_in(ranked, top_p))


def _unit(chances: Tensor) -> Tensor:
    return chances / chances.sum(dim=1, keepdim=True)


def _is_plain(logits: Tensor, temperature: float, top_p: float) -> bool:
    """No sum comes near top_p, by which rounding would decide."""
    sums = torch.softmax(logits.double() / temperature, dim=1).sort(dim=1, descending=True).values.cumsum(dim=1)
    return top_p == 1 or bool(((sums - top_p).abs() > 0.01).all())


def _draw_logits(rng: torch.Generator, trial: int) -> dict:
    """Cold and hot, top_p from 1 down to next to nothing; logits of +-300 in two trials.

    With top_p = 1 each row has a class of 0.0005, which stays, and one of 0.000005, below the tolerance: whether
    rounding takes the last sum for 1 does not matter.
    """
    n_clips, n_classes = ((4, 7), (3, 9), (5, 6), (6, 8), (2, 10), (7, 5))[trial % 6]
    temperature = (0.7, 1.6, 1.3, 0.9, 2.0, 1.0)[trial % 6]
    top_p = (0.85, 0.6, 1.0, 0.03, 0.9, 0.75)[trial % 6]
    while True:
        logits = 1.3 * torch.randn(n_clips, n_classes, generator=rng)
        if trial % 6 == 2:
            for place, chance in ((0, 5e-4), (-1, 5e-6)):
                logits[:, place] = temperature * ((logits[:, 1:-1] / temperature).logsumexp(dim=1) + math.log(chance))
        if trial % 6 in (3, 4):
            logits[0] = logits[0] + (300 if trial % 6 == 3 else -300)
            logits[1, 2:4] = torch.tensor([-300.0, 300.0])
        if _is_plain(logits, temperature, top_p):
            return {"logits": logits, "temperature": temperature, "top_p": top_p}


def _by_rule(is_in):
    """Right, but for the rule by which classes stay."""

    def answer(logits: Tensor, temperature: float, top_p: float) -> Tensor:
        chances = torch.softmax(logits / temperature, dim=1)
        return _unit(torch.where(_kept(chances, top_p, is_in), chances, 0.0))

    return answer


def _by_chances(finish):
    """Something else made of the probabilities (B, C) and top_p."""
    return lambda logits, temperature, top_p: finish(torch.softmax(logits / temperature, dim=1), top_p)


def _with(**changed):
    def answer(**inputs) -> Tensor:
        return top_p_probabilities(**{k: changed.get(k, lambda value: value)(value) for k, value in inputs.items()})

    return answer


def _filter_first(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    kept = _kept(torch.softmax(logits, dim=1), top_p)
    return torch.softmax(logits.masked_fill(~kept, -torch.inf) / temperature, dim=1)


def _not_unsorted(chances: Tensor, top_p: float) -> Tensor:
    ranked = chances.sort(dim=1, descending=True).values
    return _unit(torch.where(ranked.cumsum(dim=1) - ranked < top_p, ranked, 0.0))


def _gathered(chances: Tensor, top_p: float) -> Tensor:
    ranked, places = chances.sort(dim=1, descending=True)
    return _unit(torch.where(ranked.cumsum(dim=1) - ranked < top_p, ranked, 0.0)).gather(1, places)


def _mask_not_unsorted(chances: Tensor, top_p: float) -> Tensor:
    ranked = chances.sort(dim=1, descending=True).values
    return _unit(torch.where(ranked.cumsum(dim=1) - ranked < top_p, chances, 0.0))


def _unsorted(chances: Tensor, top_p: float) -> Tensor:
    return _unit(torch.where(chances.cumsum(dim=1) - chances < top_p, chances, 0.0))


def _least_first(chances: Tensor, top_p: float) -> Tensor:
    ranked, places = chances.sort(dim=1)
    kept = torch.zeros_like(chances, dtype=torch.bool).scatter(1, places, ranked.cumsum(dim=1) - ranked < top_p)
    return _unit(torch.where(kept, chances, 0.0))


def _down_the_batch(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    return top_p_probabilities(logits.T, temperature, top_p).T


def _first_rows_count(ranked: Tensor, top_p: float) -> Tensor:
    return (ranked.cumsum(dim=1) - ranked < top_p)[:1].expand_as(ranked)


def _zero_logits(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    kept = _kept(torch.softmax(logits / temperature, dim=1), top_p)
    return torch.softmax(torch.where(kept, logits / temperature, 0.0), dim=1)


def _naive(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    chances = _unit((logits / temperature).exp())
    return _unit(torch.where(_kept(chances, top_p), chances, 0.0))


def _cold_again(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    kept = _kept(torch.softmax(logits / temperature, dim=1), top_p)
    return torch.softmax(logits.masked_fill(~kept, -torch.inf), dim=1)


def _in_place(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    logits /= temperature
    return top_p_probabilities(logits, 1.0, top_p)


TOP_P_PROBABILITIES = Exercise(
    id="09.2",
    title="leave out the tail",
    points=3,
    function="top_p_probabilities",
    draw=_draw_logits,
    reference=top_p_probabilities,
    n_trials=6,
    difficulty=2,
    minutes=12,
    hint="softmax(logits / temperature, dim=1); sort each row downwards; a class stays while the sum of those *before* "
    "it is below top_p; back to the classes' own order (scatter with the sort's indices); divide by each row's sum.",
    wrong_answers=(
        WrongAnswer(
            "crossing class dropped",
            _by_rule(lambda ranked, top_p: ranked.cumsum(dim=1) <= top_p),
            "the class that crosses top_p belongs to the set, and you drop it (where the first crosses, nothing is "
            "left, NaN): compare the sum of the classes *before* it.",
        ),
        WrongAnswer(
            "crossing class dropped but for the first",
            _by_rule(lambda ranked, top_p: (ranked.cumsum(dim=1) <= top_p) | (ranked == ranked[:, :1])),
            "the class that crosses top_p belongs to the set, and you drop it unless it is the first: compare the sum "
            "of the classes *before* it.",
        ),
        WrongAnswer(
            "one class too many",
            _by_rule(lambda ranked, top_p: ranked.cumsum(dim=1) - ranked - ranked.roll(1, 1) < top_p),
            "one class too many: the set ends with the one whose sum reaches top_p.",
        ),
        WrongAnswer(
            "filter before temperature",
            _filter_first,
            "you choose the set before the temperature: the temperature changes the probabilities, so first it, then "
            "the set.",
        ),
        WrongAnswer(
            "temperature forgotten at the end",
            _cold_again,
            "the set is right, but the probabilities of its classes are those of a temperature of 1.",
        ),
        WrongAnswer("no temperature", _with(temperature=lambda value: 1.0), "the temperature is not used."),
        WrongAnswer(
            "temperature multiplied",
            _with(temperature=lambda value: 1 / value),
            "you multiply by the temperature: divide, so that a high one flattens.",
        ),
        WrongAnswer(
            "not renormalised",
            _by_chances(lambda chances, top_p: torch.where(_kept(chances, top_p), chances, 0.0)),
            "rows do not sum to 1: divide by what is left.",
        ),
        WrongAnswer(
            "divided by top_p",
            _by_chances(lambda chances, top_p: torch.where(_kept(chances, top_p), chances, 0.0) / top_p),
            "what is left sums to a little more than top_p: divide by its own sum.",
        ),
        WrongAnswer(
            "divided by all rows' sum",
            _by_chances(
                lambda chances, top_p: (
                    torch.where(_kept(chances, top_p), chances, 0.0) / chances[_kept(chances, top_p)].sum()
                )
            ),
            "you divide by the sum of all rows together: each row by its own, sum(dim=1, keepdim=True).",
        ),
        WrongAnswer(
            "keepdim forgotten",
            _by_chances(lambda chances, top_p: chances / chances.sum(dim=1)),
            "sum(dim=1) is (B,) and does not line up with (B, C): keepdim=True leaves it (B, 1).",
        ),
        WrongAnswer(
            "softmax of probabilities and zeros",
            _by_chances(lambda chances, top_p: torch.where(_kept(chances, top_p), chances, 0.0).softmax(dim=1)),
            "softmax makes something of the zeros again, and flattens the rest: divide by the row's sum.",
        ),
        WrongAnswer(
            "tail kept",
            _by_rule(lambda ranked, top_p: ranked.cumsum(dim=1) - ranked >= top_p),
            "you keep the tail, and put 0 for the most probable: the mask is turned round.",
        ),
        WrongAnswer(
            "softmax of probabilities",
            _by_chances(lambda chances, top_p: chances.masked_fill(~_kept(chances, top_p), -torch.inf).softmax(dim=1)),
            "softmax of probabilities flattens them: divide by the row's sum, or mask the logits.",
        ),
        WrongAnswer(
            "nothing left out",
            _by_chances(lambda chances, top_p: chances),
            "nothing is left out: top_p is not used.",
        ),
        WrongAnswer(
            "not put back",
            _by_chances(_not_unsorted),
            "probabilities are left in falling order: put each back to its class (scatter with the sort's indices).",
        ),
        WrongAnswer(
            "gather for scatter",
            _by_chances(_gathered),
            "gather with the sort's indices sorts a second time: scatter puts back (or gather with their argsort).",
        ),
        WrongAnswer(
            "mask not put back",
            _by_chances(_mask_not_unsorted),
            "your mask is in falling order, the probabilities in the classes' own: put the mask back first (scatter).",
        ),
        WrongAnswer(
            "not sorted",
            _by_chances(_unsorted),
            "you add classes up in their own order: from the most probable on, so sort first.",
        ),
        WrongAnswer(
            "least probable first",
            _by_chances(_least_first),
            "you keep the *least* probable classes: sort(descending=True).",
        ),
        WrongAnswer(
            "in proportion to the most probable",
            _by_chances(
                lambda chances, top_p: _unit(
                    torch.where(chances >= top_p * chances.amax(1, keepdim=True), chances, 0.0)
                )
            ),
            "that is min-p, a share of the most probable class: top-p goes by the sum of probabilities.",
        ),
        WrongAnswer(
            "share of the classes",
            _by_rule(lambda ranked, top_p: torch.arange(ranked.shape[1]).expand_as(ranked) < top_p * ranked.shape[1]),
            "you keep a share top_p of the *number* of classes (top-k): the sum of their probabilities counts.",
        ),
        WrongAnswer(
            "first row's count",
            _by_rule(_first_rows_count),
            "each row keeps as many classes as the first: each as many as it takes.",
        ),
        WrongAnswer(
            "down the batch",
            _down_the_batch,
            "you work down the batch: softmax, sort and sums run along the classes, dim=1.",
        ),
        WrongAnswer(
            "logits set to 0",
            _zero_logits,
            "a logit of 0 is no probability of 0: -inf, or set the probability itself to 0.",
        ),
        WrongAnswer(
            "naive exponentials",
            _naive,
            "exp(300) is infinite in float32, and infinity over infinity is NaN: torch.softmax takes the largest out.",
        ),
        WrongAnswer(
            "logits changed",
            _in_place,
            "the right values, but the caller's logits are divided in place (/=): make new ones.",
        ),
    ),
)
