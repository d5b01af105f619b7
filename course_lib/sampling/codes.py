"""Codes that belong to no clip: from the prior, from Gaussians fitted to posteriors, from between two codes."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.models.layers.conditioning import check_labels
from course_lib.models.layers.latents import LatentGaussians

LEAST_VARIANCE = 1e-6  # of a latent dimension that never moves: keeps its covariance invertible


def draw_prior(n_clips: int, z_dim: int, rng: torch.Generator) -> Tensor:
    """Codes from N(0, I), which training pulls all posteriors towards. -> (B, Z), on the generator's device."""
    return torch.randn(n_clips, z_dim, generator=rng, device=rng.device)


@torch.no_grad()
def fit_latent_gaussians(
    mu: Tensor,
    log_var: Tensor | None,
    digits: Tensor,
    speakers: Tensor,
    n_digits: int,
    n_speakers: int,
    shrinkage: float = 0.1,
    n_least: int | None = None,
) -> LatentGaussians:
    """Fit a Gaussian to the posteriors of each digit and speaker.

    A code of a clip is drawn from its posterior, so the codes of a group vary by the spread of its posterior means plus
    the mean posterior variance. Without log_var, only the former.

    Args:
        mu, log_var: (N, Z) of q(z | x), a row a clip.
        digits, speakers: (N,) int64.
        shrinkage: 0 keeps the covariance, 1 only its diagonal: with few clips, correlations are mostly chance.
        n_least: groups with fewer clips take the covariance pooled over all groups (Z + 1 unless given: with fewer,
            some directions have no spread at all); one without clips takes the mean of its digit.
    Returns: the Gaussians, on mu's device.
    Raises:  ValueError for shapes that do not fit, unknown labels, or a shrinkage outside [0, 1].

    Taught in: notebooks/05_a_vae_that_speaks.ipynb
    """
    _check_fit(mu, log_var, digits, shrinkage)
    check_labels(digits, speakers, n_digits, n_speakers)
    codes, group, n_groups = mu.double(), digits * n_speakers + speakers, n_digits * n_speakers
    variance = torch.zeros_like(codes) if log_var is None else log_var.double().exp()
    means = torch.stack([_mean_of_group(codes, digits, group, g, n_speakers) for g in range(n_groups)])  # (D * S, Z)
    n_least = mu.shape[1] + 1 if n_least is None else n_least
    covariance = _covariances(codes - means[group], variance, group, n_groups, n_least)  # (D * S, Z, Z)
    diagonal = covariance.diagonal(dim1=1, dim2=2).diag_embed()
    covariance = (1 - shrinkage) * covariance + shrinkage * diagonal + LEAST_VARIANCE * torch.eye(mu.shape[1]).to(codes)
    found = LatentGaussians(n_digits, n_speakers, mu.shape[1]).to(mu.device)
    found.mean.copy_(means.view_as(found.mean))
    found.scale_tril.copy_(torch.linalg.cholesky(covariance).view_as(found.scale_tril))
    return found


def _check_fit(mu: Tensor, log_var: Tensor | None, digits: Tensor, shrinkage: float) -> None:
    if mu.ndim != 2 or len(mu) < 2 or len(digits) != len(mu) or (log_var is not None and log_var.shape != mu.shape):
        raise ValueError(
            f"got mu {tuple(mu.shape)}, log_var {None if log_var is None else tuple(log_var.shape)}, {len(digits)} "
            "labels; need (N, Z) for mu and log_var, N labels, and at least 2 clips: what encode says of a training set"
        )
    if not 0 <= shrinkage <= 1:
        raise ValueError(f"shrinkage: got {shrinkage}, need 0 (the covariance as it is) to 1 (only its diagonal)")


def _covariances(centred: Tensor, variance: Tensor, group: Tensor, n_groups: int, n_least: int) -> Tensor:
    """Of the codes of each group: (G, Z, Z), the pooled one where there are too few."""
    n_free = max(len(centred) - len(group.unique()), 1)  # a mean was taken from the codes of each group
    pooled = centred.T @ centred / n_free + variance.mean(dim=0).diag()
    covariance = pooled.repeat(n_groups, 1, 1)
    for g in range(n_groups):
        inside = centred[group == g]
        if len(inside) >= max(n_least, 2):
            covariance[g] = inside.T @ inside / (len(inside) - 1) + variance[group == g].mean(dim=0).diag()
    return covariance


def _mean_of_group(codes: Tensor, digits: Tensor, group: Tensor, g: int, n_speakers: int) -> Tensor:
    for inside in (group == g, digits == g // n_speakers):
        if inside.any():
            return codes[inside].mean(dim=0)
    return codes.mean(dim=0)


def fit_latent_gaussian(mu: Tensor, log_var: Tensor | None = None, shrinkage: float = 0.1) -> LatentGaussians:
    """One Gaussian for all clips, where the model has no labels; sample it with draw_n. (N, Z) -> LatentGaussians."""
    nothing = torch.zeros(len(mu), dtype=torch.long, device=mu.device)
    return fit_latent_gaussians(mu, log_var, nothing, nothing, 1, 1, shrinkage)


def fit_sigma(x: Tensor, recon: Tensor) -> Tensor:
    """Standard deviation, pixel by pixel, of what a decoder leaves over: the root mean square of x - recon.

    Args:    x, recon: (N, M, L), recon decoded from the clips' posterior means.     Returns: (M, L)."""
    if x.shape != recon.shape or x.ndim != 3:
        raise ValueError(f"got x {tuple(x.shape)} and recon {tuple(recon.shape)}; need (N, M, L) for both")
    return (x - recon).square().mean(dim=0).sqrt()


def draw_observation(mean: Tensor, sigma: Tensor, rng: torch.Generator, temperature: float = 0.5) -> Tensor:
    """Draw pictures from p(x | z) = N(mean, sigma^2), which a decoder's output is only the mean of.

    A mean is smoother than anything that was ever recorded: it is nearer to all clips than they are to each other. The
    noise puts back how much pixels vary, though not how neighbours do; at temperature 1 that is heard as roughness.

    Args:    mean: (B, M, L); sigma: (M, L), from fit_sigma; temperature: 0 gives the mean.     Returns: (B, M, L).

    Taught in: notebooks/05_a_vae_that_speaks.ipynb
    """
    if mean.ndim != 3 or sigma.shape != mean.shape[1:] or not temperature >= 0:
        raise ValueError(
            f"got mean {tuple(mean.shape)}, sigma {tuple(sigma.shape)}, temperature={temperature}; need (B, M, L), "
            "(M, L) as fit_sigma measures it, and 0 or more"
        )
    noise = torch.randn(mean.shape, generator=rng, device=rng.device).to(mean)
    return mean + temperature * sigma.to(mean) * noise


def interpolate_straight(z_a: Tensor, z_b: Tensor, n_points: int) -> Tensor:
    """From z_a to z_b along a straight line, both ends included: (Z,) twice -> (P, Z).

    Taught in: notebooks/05_a_vae_that_speaks.ipynb
    """
    weights = _weights(z_a, z_b, n_points)
    return (1 - weights) * z_a + weights * z_b


def interpolate_spherical(z_a: Tensor, z_b: Tensor, n_points: int) -> Tensor:
    """From z_a to z_b along an arc, both ends included: (Z,) twice -> (P, Z). Shoemake 1985; White 2016.

    In many dimensions nearly all of N(0, I) lies near a sphere. A straight line cuts through its empty inside, the arc
    stays on it: between vectors of equal length, all points have that length. Parallel vectors: the straight line.

    Raises: ValueError if a vector is 0, or the two point in opposite directions: no arc is the shortest then.

    Taught in: notebooks/05_a_vae_that_speaks.ipynb
    """
    weights = _weights(z_a, z_b, n_points)
    norm_a, norm_b = z_a.norm(), z_b.norm()
    if norm_a == 0 or norm_b == 0:
        raise ValueError("interpolate_spherical: a vector of length 0 has no direction; use interpolate_straight")
    unit_a, unit_b = z_a / norm_a, z_b / norm_b
    angle = 2 * torch.atan2((unit_a - unit_b).norm(), (unit_a + unit_b).norm())  # exact for small angles, unlike acos
    if angle < 1e-4:
        return interpolate_straight(z_a, z_b, n_points)
    if torch.pi - angle < 1e-4:
        raise ValueError("interpolate_spherical: opposite vectors have no shortest arc; go by way of a third vector")
    return (torch.sin((1 - weights) * angle) * z_a + torch.sin(weights * angle) * z_b) / torch.sin(angle)


def _weights(z_a: Tensor, z_b: Tensor, n_points: int) -> Tensor:  # (P, 1)
    if z_a.ndim != 1 or z_a.shape != z_b.shape or n_points < 2:
        raise ValueError(
            f"got vectors of shapes {tuple(z_a.shape)} and {tuple(z_b.shape)}, n_points={n_points}; need (Z,) twice, "
            "and at least the 2 ends"
        )
    return torch.linspace(0, 1, n_points, dtype=z_a.dtype, device=z_a.device).unsqueeze(1)
