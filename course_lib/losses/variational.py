"""Losses as named parts: `{"cross_entropy": scalar}`. What is minimised is their sum, and each gets its own curve."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def classification_parts(model: nn.Module, unit_mel: Tensor, digits: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the model's class scores, in nats per clip.

    No label smoothing: it would keep the judge from ever being sure, and so cap the inception score.

    Args:
        model: maps (B, M, L) to logits (B, n_classes).
        unit_mel: (B, M, L) log-mel scaled to [-1, 1].
        digits: (B,) int64, the class of each clip.

    Taught in: notebooks/02_a_machine_that_listens.ipynb
    """
    return {"cross_entropy": F.cross_entropy(model(unit_mel), digits)}


def unsure_divergence(logits: Tensor) -> Tensor:
    """How far class scores are from "I can't tell", in nats per clip: KL(uniform || softmax(logits)).

    Trained on noise, it teaches a judge to be unsure of what is no speech (Hendrycks et al. 2019, outlier exposure).

    Args:    logits: (B, n_classes).
    Returns: scalar >= 0; 0 where all classes score alike.
    """
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])


def gaussian_nll(x: Tensor, recon: Tensor, sigma: Tensor | float) -> Tensor:
    """-log N(x; recon, sigma^2 I), its constants included: without them, values of two sigmas can't be compared.

    Args:
        x, recon: (B, ...).
        sigma: standard deviation of each value, > 0; a number or a scalar tensor.
    Returns: (B,) nats a clip, summed over all axes but the first.
    Raises:  ValueError for different shapes, or a number sigma <= 0.

    Taught in: notebooks/04_vaes.ipynb
    """
    if x.shape != recon.shape or x.ndim < 2:
        raise ValueError(f"got x {tuple(x.shape)} and recon {tuple(recon.shape)}; need the same shape, (B, ...)")
    if not isinstance(sigma, Tensor) and not sigma > 0:
        raise ValueError(f"sigma: got {sigma}, need > 0: a standard deviation, e.g. optimal_sigma(x, recon)")
    sigma = torch.as_tensor(sigma, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
    if sigma.ndim > 0:
        raise ValueError(f"sigma: got shape {tuple(sigma.shape)}, need one number for all values of x")
    squares = (x - recon).to(sigma.dtype).square().flatten(1)  # (B, N)
    n_values = squares.shape[1]
    return 0.5 * squares.sum(dim=1) / sigma.square() + n_values * (sigma.log() + 0.5 * LOG_2PI)


def optimal_sigma(x: Tensor, recon: Tensor) -> Tensor:
    """The sigma at which gaussian_nll is smallest: the root mean squared error (Rybkin et al. 2021).

    Returns: scalar, at least 1e-6."""
    return (x - recon).to(torch.promote_types(x.dtype, torch.float32)).square().mean().clamp_min(1e-12).sqrt()


def kl_per_dim(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, exp(log_var)) || N(0, 1)) of each latent dimension. (B, Z) twice -> (B, Z) nats, >= 0."""
    _check_same(mu, log_var)
    # expm1: near the prior, exp(log_var) - 1 - log_var is the small difference of large numbers.
    return 0.5 * (mu.square() + torch.expm1(log_var) - log_var)


def kl_to_prior(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(q(z | x) || N(0, I)). (B, Z) twice -> (B,) nats a clip.

    Taught in: notebooks/04_vaes.ipynb
    """
    return kl_per_dim(mu, log_var).sum(dim=1)


def gaussian_kl(mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor) -> Tensor:
    """KL(a || b) of two Gaussians with independent dimensions. (B, Z) each -> (B,) nats; not symmetric."""
    _check_same(mu_a, log_var_a)
    _check_same(mu_b, log_var_b)
    if mu_a.shape != mu_b.shape:
        raise ValueError(f"got Gaussians of shapes {tuple(mu_a.shape)} and {tuple(mu_b.shape)}; need the same")
    log_ratio = log_var_a - log_var_b
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + (mu_a - mu_b).square() * torch.exp(-log_var_b)).sum(dim=1)


def elbo_parts(
    x: Tensor,
    recon: Tensor,
    mu: Tensor,
    log_var: Tensor,
    *,
    beta: float = 1.0,
    sigma: Tensor | float | None = None,
    free_nats: float = 0.0,
) -> dict[str, Tensor]:
    """The negative ELBO as two parts, in nats a clip (means over the batch).

    Args:
        x, recon: (B, ...), recon from one draw of z.
        mu, log_var: (B, Z) of q(z | x).
        beta: weight of the KL (Higgins et al. 2017); 1 is the ELBO.
        sigma: of each value of x; None: the optimal one of this batch, which balances the parts without a weight to
            search for (Rybkin et al. 2021).
        free_nats: KL that each latent dimension may cost without being pressed further down (Kingma et al. 2016).
    Returns: {"recon": -log p(x | z), "kl": beta * KL}; both scalars.

    Taught in: notebooks/04_vaes.ipynb
    """
    sigma = optimal_sigma(x, recon) if sigma is None else sigma
    kl = kl_per_dim(mu, log_var).mean(dim=0)  # (Z,): the mean first, so that the floor holds for the batch
    return {"recon": gaussian_nll(x, recon, sigma).mean(), "kl": beta * kl.clamp_min(free_nats).sum()}


def elbo(x: Tensor, recon: Tensor, mu: Tensor, log_var: Tensor, sigma: Tensor | float) -> Tensor:
    """log p(x | z) - KL(q(z | x) || p(z)), with one draw of z: at most log p(x) in expectation. (B,) nats a clip.

    Taught in: notebooks/04_vaes.ipynb
    """
    return -gaussian_nll(x, recon, sigma) - kl_to_prior(mu, log_var)


def log_importance_weights(
    x: Tensor, recon: Tensor, z: Tensor, mu: Tensor, log_var: Tensor, sigma: Tensor | float
) -> Tensor:
    """log p(x | z) + log p(z) - log q(z | x) for one draw z of q. (B,); their exp is p(x) in expectation.

    Args:
        recon: (B, ...), decoded from z (B, Z).
        mu, log_var: (B, Z) of q(z | x)."""
    _check_same(mu, log_var)
    if z.shape != mu.shape:
        raise ValueError(f"got z {tuple(z.shape)} and mu {tuple(mu.shape)}; need (B, Z) for both: one draw a clip")
    log_prior = -gaussian_nll(z, torch.zeros_like(z), 1.0)  # (B,)
    log_posterior = -0.5 * ((z - mu).square() * torch.exp(-log_var) + log_var + LOG_2PI).sum(dim=1)
    return -gaussian_nll(x, recon, sigma) + log_prior - log_posterior


def iwae_bound(log_weights: Tensor) -> Tensor:
    """log of the mean importance weight over K draws: between the ELBO (K = 1) and log p(x) (Burda et al. 2016).

    Args:    log_weights: (K, B), each row from log_importance_weights with another draw.
    Returns: (B,) nats a clip.

    Taught in: notebooks/04_vaes.ipynb
    """
    if log_weights.ndim != 2 or len(log_weights) < 1:
        raise ValueError(f"log_weights: got shape {tuple(log_weights.shape)}, need (K, B); stack K draws with dim=0")
    return log_weights.logsumexp(dim=0) - math.log(len(log_weights))


def mixture_log_likelihood(y: Tensor, log_weights: Tensor, means: Tensor, sigmas: Tensor) -> Tensor:
    """log sum_k w_k N(y; means_k, diag(sigmas_k^2)): what a mixture density network is trained on (Bishop 1994).

    A Gaussian far from y has a density of 0 in any precision; summed by logsumexp, its logarithm is kept.

    Args:
        y: (..., P).
        log_weights: (..., K), normalised: their exp sums to 1 over K, as log_softmax makes it.
        means, sigmas: (..., K, P), sigmas > 0.
    Returns: (...,) nats.
    Raises:  ValueError for shapes that do not belong together.

    Taught in: notebooks/08_a_network_that_remembers.ipynb
    """
    if means.shape != (*y.shape[:-1], log_weights.shape[-1], y.shape[-1]) or sigmas.shape != means.shape:
        raise ValueError(
            f"got y {tuple(y.shape)}, log_weights {tuple(log_weights.shape)}, means {tuple(means.shape)}, sigmas "
            f"{tuple(sigmas.shape)}; need (..., P), (..., K), (..., K, P) and (..., K, P)"
        )
    z = (y[..., None, :] - means) / sigmas  # (..., K, P)
    log_densities = -0.5 * z.square().sum(dim=-1) - sigmas.log().sum(dim=-1) - 0.5 * LOG_2PI * y.shape[-1]  # (..., K)
    return (log_weights + log_densities).logsumexp(dim=-1)


def _check_same(mu: Tensor, log_var: Tensor) -> None:
    if mu.shape != log_var.shape or mu.ndim != 2:
        raise ValueError(f"got mu {tuple(mu.shape)} and log_var {tuple(log_var.shape)}; need (B, Z) for both")
