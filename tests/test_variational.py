"""Losses against hand-worked cases and independent references."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from course_lib.losses.variational import (
    classification_parts,
    elbo,
    elbo_parts,
    gaussian_kl,
    gaussian_nll,
    iwae_bound,
    kl_per_dim,
    kl_to_prior,
    log_importance_weights,
    mixture_log_likelihood,
    optimal_sigma,
    unsure_divergence,
)

LOG_2PI = math.log(2 * math.pi)


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(mu: Tensor, log_var: Tensor) -> Independent:
    return Independent(Normal(mu, (0.5 * log_var).exp()), 1)


def test_cross_entropy_is_the_mean_of_minus_log_chance():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [math.log(4.0), 0.0]])  # chances of class 1: 3/4, 1/2, 1/5
    parts = classification_parts(nn.Identity(), logits, torch.tensor([1, 1, 0]))
    assert list(parts) == ["cross_entropy"]
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(4 / 5)) / 3
    torch.testing.assert_close(parts["cross_entropy"], torch.tensor(expected))


def test_a_judge_that_is_sure_and_right_loses_nothing():
    """With label smoothing this would stay above 0."""
    parts = classification_parts(nn.Identity(), torch.tensor([[90.0, 0.0, 0.0]]), torch.tensor([0]))
    assert float(parts["cross_entropy"]) < 1e-6


def test_unsure_divergence_is_kl_from_uniform():
    torch.manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64)
    uniform = torch.distributions.Categorical(torch.full((6, 4), 0.25, dtype=torch.float64))
    reference = torch.distributions.kl_divergence(uniform, torch.distributions.Categorical(logits=logits)).mean()
    torch.testing.assert_close(unsure_divergence(logits), reference)
    torch.testing.assert_close(unsure_divergence(torch.full((3, 5), 7.0)), torch.tensor(0.0), atol=1e-6, rtol=0)


# ---- reconstruction


def test_gaussian_nll_is_that_of_torch_distributions():
    x, recon = draw(2, 3, 5, seed=0), draw(2, 3, 5, seed=1)
    for sigma in (0.3, 1.0, 2.0):
        reference = -Normal(recon, sigma).log_prob(x).sum(dim=(1, 2))
        torch.testing.assert_close(gaussian_nll(x, recon, sigma), reference)
        torch.testing.assert_close(gaussian_nll(x, recon, torch.tensor(sigma).double()), reference)


def test_gaussian_nll_worked_by_hand():
    x, recon = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    expected = torch.tensor([2.0 + LOG_2PI, LOG_2PI])  # sigma 1: half of 2^2, and twice half of log 2 pi
    torch.testing.assert_close(gaussian_nll(x, recon, 1.0), expected)


def test_at_the_optimal_sigma_the_nll_is_half_n_log_2_pi_e_s2():
    x, recon = draw(4, 3, 5, seed=0), draw(4, 3, 5, seed=1)
    sigma = optimal_sigma(x, recon)
    torch.testing.assert_close(sigma, (x - recon).square().mean().sqrt())
    at_best = gaussian_nll(x, recon, sigma).mean()
    torch.testing.assert_close(at_best, torch.tensor(15 / 2 * (LOG_2PI + 2 * math.log(sigma) + 1)).double())
    for other in (0.5, 0.99, 1.01, 2.0):
        assert gaussian_nll(x, recon, sigma * other).mean() > at_best


def test_the_optimal_sigma_bears_no_gradient_of_its_own():
    """It is where the slope towards sigma is 0, so whether gradients pass through it makes no difference."""
    x, recon = draw(4, 3, 5, seed=0), draw(4, 3, 5, seed=1).requires_grad_()
    grads = [
        torch.autograd.grad(gaussian_nll(x, recon, sigma).mean(), recon)[0]
        for sigma in (optimal_sigma(x, recon), optimal_sigma(x, recon).detach())
    ]
    torch.testing.assert_close(*grads)


def test_a_perfect_reconstruction_stays_finite():
    x = draw(3, 4, seed=0).float().requires_grad_()
    parts = elbo_parts(torch.zeros(3, 4), x - x.detach(), torch.zeros(3, 2), torch.zeros(3, 2))
    parts["recon"].backward()
    assert parts["recon"].isfinite() and x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 1, 5), (3, 4)])
def test_nll_refuses_shapes_that_would_broadcast(shape):
    with pytest.raises(ValueError, match=r"got x \(3, 4, 5\) and recon .*need the same shape"):
        gaussian_nll(torch.zeros(3, 4, 5), torch.zeros(shape), 1.0)
    with pytest.raises(ValueError, match=r"need the same shape, \(B, ...\)"):
        gaussian_nll(torch.zeros(3), torch.zeros(3), 1.0)


@pytest.mark.parametrize("sigma", [0.0, -0.5])
def test_nll_refuses_a_sigma_that_is_not_positive(sigma):
    with pytest.raises(ValueError, match=r"sigma: got .*need > 0"):
        gaussian_nll(torch.zeros(3, 4), torch.zeros(3, 4), sigma)
    with pytest.raises(ValueError, match=r"sigma: got shape \(4,\), need one number"):
        gaussian_nll(torch.zeros(3, 4), torch.zeros(3, 4), torch.ones(4))


# ---- Kullback-Leibler divergence


def test_kl_is_that_of_torch_distributions():
    mu, log_var = draw(4, 3, seed=0), draw(4, 3, seed=1)
    a = gaussian(mu, log_var)
    prior = gaussian(torch.zeros(4, 3).double(), torch.zeros(4, 3).double())
    torch.testing.assert_close(kl_to_prior(mu, log_var), kl_divergence(a, prior))
    one_by_one = kl_divergence(a.base_dist, prior.base_dist)
    torch.testing.assert_close(kl_per_dim(mu, log_var), one_by_one)
    other = draw(4, 3, seed=2), draw(4, 3, seed=3)
    torch.testing.assert_close(gaussian_kl(mu, log_var, *other), kl_divergence(a, gaussian(*other)))
    assert (gaussian_kl(mu, log_var, *other) - gaussian_kl(*other, mu, log_var)).abs().min() > 1e-3


def test_kl_agrees_with_monte_carlo():
    mu, log_var = torch.tensor([[0.5, -1.0, 0.0]]).double(), torch.tensor([[0.0, -1.0, 0.7]]).double()
    other = torch.tensor([[0.0, -0.5, 0.3]]).double(), torch.tensor([[0.4, -0.2, 0.0]]).double()
    torch.manual_seed(0)
    z = gaussian(mu, log_var).sample((100_000,))  # (100000, 1, 3)
    for peer, closed in (
        (gaussian(torch.zeros_like(mu), torch.zeros_like(mu)), kl_to_prior(mu, log_var)),
        (gaussian(*other), gaussian_kl(mu, log_var, *other)),
    ):
        log_ratio = gaussian(mu, log_var).log_prob(z) - peer.log_prob(z)
        assert (log_ratio.mean() - closed).abs() < 4 * log_ratio.std() / 100_000**0.5


def test_kl_worked_by_hand():
    mu, log_var = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)], [0.0, 0.0]])
    expected = torch.tensor([[0.5, 0.5 * (4 - 1 - math.log(4))], [0.0, 0.0]])
    torch.testing.assert_close(kl_per_dim(mu, log_var), expected)
    torch.testing.assert_close(kl_to_prior(mu, log_var), expected.sum(dim=1))


def test_kl_is_zero_where_it_must_be_and_nowhere_negative():
    zeros = torch.zeros(2, 5)
    assert torch.equal(kl_to_prior(zeros, zeros), torch.zeros(2))
    mu, log_var = draw(4, 3, seed=0).float(), draw(4, 3, seed=1).float()
    assert torch.equal(gaussian_kl(mu, log_var, mu, log_var), torch.zeros(4))
    near = torch.linspace(-1e-3, 1e-3, 2001)[:, None]  # in float32, exp(x) - 1 - x is all rounding error here
    assert (kl_per_dim(torch.zeros_like(near), near) >= 0).all()
    exact = kl_per_dim(torch.zeros_like(near).double(), near.double())
    torch.testing.assert_close(kl_per_dim(torch.zeros_like(near), near).double(), exact, atol=1e-10, rtol=0)


def test_kl_pulls_towards_the_prior():
    mu, log_var = draw(4, 3, seed=0).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
    for_mu, for_log_var = torch.autograd.grad(kl_to_prior(mu, log_var).sum(), (mu, log_var))
    torch.testing.assert_close(for_mu, mu.detach())
    torch.testing.assert_close(for_log_var, 0.5 * (log_var.detach().exp() - 1))


def test_kl_refuses_shapes_that_would_broadcast():
    for mu, log_var in ((torch.zeros(4, 3), torch.zeros(4, 1)), (torch.zeros(3), torch.zeros(3))):
        with pytest.raises(ValueError, match=r"need \(B, Z\) for both"):
            kl_to_prior(mu, log_var)
    with pytest.raises(ValueError, match=r"need \(B, Z\) for both"):
        gaussian_kl(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"\(4, 3\) and \(4, 2\)"):
        gaussian_kl(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 2), torch.zeros(4, 2))


# ---- the bound


def test_elbo_parts_worked_by_hand():
    x, recon = torch.zeros(2, 3), torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    mu, log_var = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.zeros(2, 2)  # KL 0.5 and 2 nats
    parts = elbo_parts(x, recon, mu, log_var, sigma=2.0)
    assert list(parts) == ["recon", "kl"]
    nll = (0.5 + 3 * (math.log(2) + LOG_2PI / 2) + 3 * (math.log(2) + LOG_2PI / 2)) / 2
    torch.testing.assert_close(parts, {"recon": torch.tensor(nll), "kl": torch.tensor(1.25)})
    torch.testing.assert_close(elbo_parts(x, recon, mu, log_var, beta=3.0)["kl"], torch.tensor(3.75))
    assert elbo_parts(x, recon, mu, log_var, beta=0.0)["kl"] == 0


def test_the_parts_sum_to_minus_the_elbo():
    x, recon, mu, log_var = draw(4, 3, 5, seed=0), draw(4, 3, 5, seed=1), draw(4, 2, seed=2), draw(4, 2, seed=3)
    whole = elbo(x, recon, mu, log_var, sigma=0.7)
    assert whole.shape == (4,)
    torch.testing.assert_close(sum(elbo_parts(x, recon, mu, log_var, sigma=0.7).values()), -whole.mean())
    best = elbo_parts(x, recon, mu, log_var)["recon"]
    torch.testing.assert_close(best, gaussian_nll(x, recon, optimal_sigma(x, recon)).mean())


def test_free_nats_hold_a_floor_under_each_dimension():
    x = torch.zeros(4, 3)
    mu = torch.tensor([[2.0, 0.1, 0.0], [0.0, 0.1, 0.0], [2.0, 0.1, 0.0], [0.0, 0.1, 0.0]]).requires_grad_()
    log_var = torch.zeros(4, 3).requires_grad_()
    kl = elbo_parts(x, x + 1, mu, log_var, free_nats=0.5)["kl"]
    # Means over the batch first: 1, 0.005 and 0 nats; the last two are lifted to the floor.
    torch.testing.assert_close(kl, torch.tensor(2.0))
    for_mu, for_log_var = torch.autograd.grad(kl, (mu, log_var))
    assert (for_mu[:, 1:] == 0).all() and (for_log_var[:, 1:] == 0).all()  # under the floor nothing pulls
    torch.testing.assert_close(for_mu[:, 0], mu.detach()[:, 0] / 4)  # above it all is as ever
    free = elbo_parts(x, x + 1, mu, log_var, free_nats=0.0)["kl"]
    torch.testing.assert_close(free, kl_to_prior(mu, log_var).mean())
    torch.testing.assert_close(elbo_parts(x, x + 1, mu, log_var, free_nats=0.5, beta=3.0)["kl"], torch.tensor(6.0))


# ---- importance weights, on a model whose posterior is known: x = W z + sigma e, the columns of W perpendicular


class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(W z + shift, sigma^2 I): q(z | x) and p(x) are Gaussians that one can write down."""

    def __init__(self):
        self.w = torch.linalg.qr(draw(7, 3, seed=10)).Q * torch.tensor([2.0, 0.5, 1.0]).double()  # (D, Z)
        self.shift, self.sigma = draw(7, seed=11), 0.6
        self.x = draw(5, 7, seed=12) + self.shift  # (B, D)
        precision = 1 + self.w.square().sum(dim=0) / self.sigma**2  # (Z,)
        self.mu = (self.x - self.shift) @ self.w / self.sigma**2 / precision  # (B, Z)
        self.log_var = -precision.log().expand(5, 3)
        covariance = self.w @ self.w.T + self.sigma**2 * torch.eye(7).double()
        self.log_p = MultivariateNormal(self.shift, covariance).log_prob(self.x)  # (B,)

    def log_weights(self, mu: Tensor, log_var: Tensor, n_draws: int, seed: int) -> Tensor:  # (K, B)
        noise = draw(n_draws, *mu.shape, seed=seed)
        z = mu + (0.5 * log_var).exp() * noise  # (K, B, Z)
        one = [log_importance_weights(self.x, self.decode(z_k), z_k, mu, log_var, self.sigma) for z_k in z]
        return torch.stack(one)

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.w.T + self.shift


def test_with_the_true_posterior_every_weight_is_the_likelihood():
    model = LinearGaussian()
    weights = model.log_weights(model.mu, model.log_var, n_draws=9, seed=0)
    assert weights.shape == (9, 5)
    torch.testing.assert_close(weights, model.log_p.expand(9, 5))
    torch.testing.assert_close(iwae_bound(weights), model.log_p)


def test_weights_are_what_torch_distributions_says():
    model = LinearGaussian()
    mu, log_var, z = model.mu + 0.3, model.log_var + 0.5, draw(5, 3, seed=1)
    reference = Independent(Normal(model.decode(z), model.sigma), 1).log_prob(model.x)
    reference = reference + gaussian(0 * mu, 0 * mu).log_prob(z) - gaussian(mu, log_var).log_prob(z)
    torch.testing.assert_close(log_importance_weights(model.x, model.decode(z), z, mu, log_var, model.sigma), reference)


def test_the_mean_log_weight_is_the_elbo_and_the_gap_is_the_kl_to_the_true_posterior():
    model = LinearGaussian()
    mu, log_var = model.mu + 0.3, model.log_var + 0.5
    z = mu + (0.5 * log_var).exp() * draw(20_000, 5, 3, seed=2)  # (K, B, Z)
    bounds = torch.stack([elbo(model.x, model.decode(z_k), mu, log_var, model.sigma) for z_k in z])
    weights = model.log_weights(mu, log_var, n_draws=20_000, seed=2)
    gap = gaussian_kl(mu, log_var, model.mu, model.log_var)
    for estimate in (bounds, weights):
        error = estimate.mean(dim=0) - (model.log_p - gap)
        assert (error.abs() < 4 * estimate.std(dim=0) / 20_000**0.5).all()


def test_iwae_climbs_from_the_elbo_to_the_likelihood():
    model = LinearGaussian()
    weights = model.log_weights(model.mu + 0.3, model.log_var + 0.5, n_draws=16_384, seed=3)
    means = []
    for n_draws in (1, 2, 8, 64, 512):
        bounds = torch.stack([iwae_bound(some) for some in weights.split(n_draws)])  # (16384 / K, B)
        means.append(bounds.mean(dim=0))
    for lower, higher in zip(means, means[1:], strict=False):  # for each clip, over the same draws in larger groups
        assert (lower < higher).all()
    assert (means[1] > means[0] + 0.05).all() and (means[-1] - model.log_p).abs().max() < 0.02
    torch.testing.assert_close(means[0], weights.mean(dim=0))


def test_iwae_is_never_under_the_mean_of_its_own_weights():
    weights = 10 * draw(6, 50, seed=0)
    assert (iwae_bound(weights) >= weights.mean(dim=0)).all() and (iwae_bound(weights) <= weights.amax(dim=0)).all()


def test_iwae_of_huge_and_tiny_weights():
    """exp of these is 0 or infinite in any precision; the mean of weights 1 and 3 is 2."""
    for offset in (-1e4, 0.0, 1e4):
        weights = offset + torch.tensor([[0.0, 0.0], [math.log(3.0), -90.0]]).double()
        expected = offset + torch.tensor([math.log(2.0), -math.log(2.0)]).double()
        torch.testing.assert_close(iwae_bound(weights), expected)
    assert torch.equal(iwae_bound(torch.tensor([[-1e4, 1e4]])), torch.tensor([-1e4, 1e4]))  # K = 1: as it was
    for wrong in (torch.zeros(4), torch.zeros(0, 4), torch.zeros(2, 3, 4)):
        with pytest.raises(ValueError, match=r"need \(K, B\)"):
            iwae_bound(wrong)


def test_weights_refuse_codes_that_would_broadcast():
    x, mu = torch.zeros(4, 6), torch.zeros(4, 3)
    with pytest.raises(ValueError, match=r"z \(1, 3\)"):
        log_importance_weights(x, x, torch.zeros(1, 3), mu, mu, 1.0)


# ---- mixtures


def mixture(*batch: int, n_mixtures: int = 4, n_principal: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y (..., P), log_weights (..., K), means (..., K, P), sigmas (..., K, P), drawn at random."""
    y, means = draw(*batch, n_principal, seed=0), draw(*batch, n_mixtures, n_principal, seed=1)
    log_weights = draw(*batch, n_mixtures, seed=2).log_softmax(dim=-1)
    return y, log_weights, means, (0.5 * draw(*batch, n_mixtures, n_principal, seed=3)).exp()


def peer(log_weights: Tensor, means: Tensor, sigmas: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=log_weights), Independent(Normal(means, sigmas), 1))


@pytest.mark.parametrize("batch", [(), (2,), (2, 5), (6, 1, 2)])
def test_a_mixtures_likelihood_is_that_of_torch_distributions(batch):
    y, *law = mixture(*batch)
    found = mixture_log_likelihood(y, *law)
    assert found.shape == batch
    torch.testing.assert_close(found, peer(*law).log_prob(y))


def test_one_gaussian_is_a_mixture_of_one_and_of_equals():
    y, _, means, sigmas = mixture(2, 5, n_mixtures=1)
    alone = Independent(Normal(means[..., 0, :], sigmas[..., 0, :]), 1).log_prob(y)
    torch.testing.assert_close(mixture_log_likelihood(y, torch.zeros(2, 5, 1), means, sigmas), alone)
    same = torch.full((2, 5, 7), -math.log(7.0)).double()
    found = mixture_log_likelihood(y, same, means.expand(2, 5, 7, 3), sigmas.expand(2, 5, 7, 3))
    torch.testing.assert_close(found, alone)
    x, recon = draw(4, 3, seed=0), draw(4, 3, seed=1)
    sigma = torch.full((4, 1, 3), 0.3).double()
    torch.testing.assert_close(mixture_log_likelihood(x, torch.zeros(4, 1), recon[:, None], sigma),
                               -gaussian_nll(x, recon, 0.3))  # fmt: skip


def test_a_mixture_worked_by_hand():
    """Half N(0, 1), half N(4, 2^2), at 0: densities 0.398942 and 0.199471 exp(-2)."""
    law = torch.full((1, 2), 0.5).log(), torch.tensor([[[0.0], [4.0]]]), torch.tensor([[[1.0], [2.0]]])
    expected = math.log(0.5 * (1 + 0.5 * math.exp(-2)) / math.sqrt(2 * math.pi))
    assert mixture_log_likelihood(torch.zeros(1, 1), *law).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("far", [1e2, 1e4, 1e8])
def test_far_in_the_tails_neither_likelihood_nor_slope_is_lost(far):
    """exp(-far^2 / 2) is 0 in any precision: the sum of densities would have a logarithm of -inf."""
    y, log_weights, means, sigmas = (value.float() for value in mixture(2, 5))
    y = (y + far).requires_grad_()
    found = mixture_log_likelihood(y, log_weights, means, sigmas)
    found.sum().backward()
    reference = peer(log_weights.double(), means.double(), sigmas.double()).log_prob(y.detach().double())
    torch.testing.assert_close(found.detach().double(), reference, rtol=1e-5, atol=0)
    assert y.grad.isfinite().all() and (y.grad.sum(dim=-1) < 0).all()  # a step towards the means helps


def test_a_mixture_ignores_what_has_no_weight():
    y, log_weights, means, sigmas = mixture(2, 5)
    log_weights = torch.cat([log_weights, torch.full((2, 5, 1), -math.inf)], dim=2)
    wild = torch.cat([means, y[:, :, None]], dim=2), torch.cat([sigmas, torch.full((2, 5, 1, 3), 1e-3)], dim=2)
    expected = peer(log_weights[..., :4], means, sigmas).log_prob(y)
    torch.testing.assert_close(mixture_log_likelihood(y, log_weights, *wild), expected)


def test_a_mixtures_slopes_are_those_of_finite_differences():
    values = [value.requires_grad_() for value in mixture(2, 3, n_mixtures=2, n_principal=2)]
    assert torch.autograd.gradcheck(mixture_log_likelihood, values)


def test_a_mixtures_density_integrates_to_1():
    _, log_weights, means, sigmas = mixture(n_mixtures=3, n_principal=1)
    grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None]  # (N, 1)
    n = len(grid)
    law = log_weights.expand(n, 3), means.expand(n, 3, 1), sigmas.expand(n, 3, 1)
    assert torch.trapezoid(mixture_log_likelihood(grid, *law).exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-9)


def test_a_mixture_refuses_shapes_that_would_broadcast():
    y, log_weights, means, sigmas = mixture(2, 5)
    for wrong in (
        (y[:, :1], log_weights, means, sigmas),
        (y, log_weights[..., :1], means, sigmas),
        (y, log_weights, means[..., :1], sigmas),
        (y, log_weights, means, sigmas[..., :1]),
        (y, log_weights, means.transpose(2, 3), sigmas.transpose(2, 3)),
    ):
        with pytest.raises(ValueError, match=r"need \(..., P\), \(..., K\), \(..., K, P\)"):
            mixture_log_likelihood(*wrong)
