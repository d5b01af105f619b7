"""Notebook 04: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 04.1 reparameterise(mu, log_var, noise)


@right("04.1")
def root_of_the_variance(mu, log_var, noise):
    return torch.exp(log_var).sqrt() * noise + mu


@right("04.1")
def by_addcmul(mu, log_var, noise):
    return torch.addcmul(mu, torch.exp(log_var / 2), noise.detach())


# --- 04.2 kl_to_prior(mu, log_var)


@right("04.2")
def kl_of_distributions(mu, log_var):
    prior = Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return kl_divergence(Normal(mu, (log_var / 2).exp()), prior).sum(-1)


@right("04.2")
def as_in_the_paper(mu, log_var):
    return -0.5 * torch.sum(1 + log_var - mu**2 - log_var.exp(), dim=-1)


@right("04.2")
def kl_clip_by_clip(mu, log_var):
    sigma = (0.5 * log_var).exp()
    return torch.stack([(m @ m / 2 + (s**2 / 2 - s.log() - 0.5).sum()) for m, s in zip(mu, sigma, strict=True)])


# --- 04.3 elbo(x, recon, mu, log_var, sigma)


@right("04.3")
def elbo_of_distributions(x, recon, mu, log_var, sigma):
    likelihood = Independent(Normal(recon, sigma), 2).log_prob(x)
    posterior = Independent(Normal(mu, log_var.exp().sqrt()), 1)
    return likelihood - kl_divergence(posterior, Independent(Normal(torch.zeros_like(mu), 1.0), 1))


@right("04.3")
def constants_counted(x, recon, mu, log_var, sigma):
    n_pixels = x[0].numel()
    squares = F.mse_loss(recon, x, reduction="none").flatten(1).sum(1)
    constant = 0.5 * n_pixels * math.log(2 * math.pi * sigma**2)
    return -squares / (2 * sigma**2) - constant + 0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(1)


@right("04.3")
def torchs_gaussian_loss(x, recon, mu, log_var, sigma):
    nll = F.gaussian_nll_loss(recon, x, torch.full_like(recon, sigma**2), full=True, reduction="none")
    return -nll.sum((1, 2)) - 0.5 * (mu**2 + log_var.exp() - log_var).sum(1) + mu.shape[1] / 2


@right("04.3")
def elbo_clip_by_clip(x, recon, mu, log_var, sigma):
    bounds = []
    for b in range(len(x)):
        log_p = Normal(recon[b], sigma).log_prob(x[b]).sum()
        bounds.append(log_p - (mu[b] ** 2 + log_var[b].exp() - 1 - log_var[b]).sum() / 2)
    return torch.stack(bounds)


# --- 04.4 iwae_bound(log_weights)


@right("04.4")
def scipys_logsumexp(log_weights):
    bound = logsumexp(log_weights.numpy(), axis=0) - np.log(len(log_weights))
    return torch.as_tensor(bound, dtype=log_weights.dtype)


@right("04.4")
def one_by_one(log_weights):
    total = log_weights[0]
    for row in log_weights[1:]:
        total = torch.logaddexp(total, row)
    return total - torch.log(torch.tensor(float(log_weights.shape[0])))


@right("04.4")
def log_of_a_mean_of_ratios(log_weights):
    largest, _ = log_weights.max(dim=0, keepdim=True)
    return (torch.exp(log_weights - largest).sum(0) / log_weights.size(0)).log() + largest.squeeze(0)


# --- 04.5 free_bits_kl(kl, free_nats)


@right("04.5")
def what_is_above_and_the_floor(kl, free_nats):
    return F.relu(kl.mean(0) - free_nats).sum() + free_nats * kl.shape[1]


@right("04.5")
def dimension_by_dimension(kl, free_nats):
    total = torch.zeros(())
    for column in kl.T:
        mean = column.sum() / len(column)
        total = total + (mean if mean > free_nats else free_nats)
    return total


@right("04.5")
def chosen_by_where(kl, free_nats):
    mean = torch.einsum("bz->z", kl) / len(kl)
    return torch.where(mean > free_nats, mean, torch.full_like(mean, free_nats)).sum()


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


@pytest.mark.parametrize("seed", range(8))
def test_naive_weights_overflow_even_in_float64(seed):
    for inputs in draw_trials(get_exercise("04.4"), seed):
        assert not inputs["log_weights"].double().exp().mean(0).log().isfinite().all()


@pytest.mark.parametrize("seed", range(8))
def test_a_floor_lies_between_dimensions_and_at_last_above_them_all(seed):
    trials = draw_trials(get_exercise("04.5"), seed)
    for inputs in trials[:3]:
        above = inputs["kl"].mean(0) > inputs["free_nats"]
        assert above.any() and not above.all()
    assert trials[3]["kl"].mean(0).sum() < trials[3]["free_nats"] < trials[3]["kl"].sum(1).max()


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("04.1", lambda mu, log_var, noise: mu + (log_var.clamp(-20, 20) / 2).exp() * noise),
        ("04.2", lambda mu, log_var: kl_of_distributions(mu, log_var.clamp(-30, 20))),
        ("04.4", lambda log_weights: ratios_to(log_weights.mean(0), log_weights.double())),
    ],
)
@pytest.mark.parametrize("seed", range(12))
def test_an_answer_that_holds_for_tame_inputs_only_is_refused(exercise_id, answer, seed):
    assert mark(get_exercise(exercise_id), answer, seed).status == FAILED


def ratios_to(shift, log_weights):
    return ((log_weights - shift).exp().mean(0).log() + shift).float()


@pytest.mark.parametrize("exercise_id", ["04.1", "04.2", "04.3", "04.5"])
def test_an_answer_without_its_gradient_is_told_so(exercise_id):
    exercise = get_exercise(exercise_id)
    outcome = mark(exercise, lambda **inputs: exercise.reference(**inputs).detach())
    assert "gradient in " in outcome.message and "no gradient" in outcome.hint


@pytest.mark.parametrize("exercise_id", ["04.1", "04.2", "04.3", "04.5"])
def test_a_boundless_answer_that_can_be_differentiated_is_refused_at_once(exercise_id):
    def boundless(**inputs):
        leaf = next(value for value in inputs.values() if torch.is_tensor(value) and value.requires_grad)
        return leaf.flatten()[:1, None].expand(10**6, 10**9)

    outcome = mark(get_exercise(exercise_id), boundless)
    assert outcome.status == FAILED and "far larger" in outcome.message
