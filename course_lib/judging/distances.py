"""How far apart sets of clips are: the mathematics of the figures in `metrics`, on tensors alone.

Taught in: notebooks 03 (mel-cepstral distance) and 10 (what each figure misses)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.sound.features import dct_matrix

QUIET_DB = -60.0  # frames that stay under this in both sounds say nothing about either


def inception_score(logits: Tensor) -> float:
    """exp of the mean over clips of KL(p(y|x) || p(y)): high where each clip is clear and all classes occur.

    From 1 (the judge says the same of every clip) to C (sure of each clip, classes equally frequent). It is blind to
    variety within a class, and to which class was asked for. Salimans et al. 2016; KL in nats.

    Args:    logits: (B, C), as judge_logits gives them.     Raises: ValueError for NaN or another shape."""
    _check_rows("logits", logits, n_least=1)
    log_p = logits.double().log_softmax(dim=1)  # (B, C): log p(y|x)
    log_marginal = log_p.logsumexp(dim=0) - math.log(len(log_p))  # (C,): log p(y), the mean over clips
    kl = torch.where(log_p.isinf(), 0, log_p.exp() * (log_p - log_marginal)).sum(dim=1)  # (B,); 0 log 0 = 0
    return kl.mean().exp().item()


def frechet_distance(emb_a: Tensor, emb_b: Tensor) -> float:
    """Squared 2-Wasserstein distance between Gaussians fitted to two sets of embeddings, (B, E) each.

    |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a^1/2 cov_b cov_a^1/2)^1/2), Dowson & Landau 1982; Heusel et al.
    2017. The fewer the clips, the larger it comes out, of the same distribution even: hence equal numbers only, and
    no comparison between figures of different B. Fewer clips than dimensions are allowed (the covariance is singular).

    Raises: ValueError for unequal numbers of clips or dimensions, fewer than two clips, or NaN."""
    _check_rows("emb_a", emb_a, n_least=2)
    _check_rows("emb_b", emb_b, n_least=2)
    if emb_a.shape[1] != emb_b.shape[1]:
        raise ValueError(f"got {emb_a.shape[1]} and {emb_b.shape[1]} dimensions; embed both sets with the same judge")
    if len(emb_a) != len(emb_b):
        raise ValueError(
            f"got {len(emb_a)} and {len(emb_b)} clips, need equal numbers: the distance depends on how many there are; "
            "cut the larger set, e.g. to clips.select(balanced_rows(clips, n))"
        )
    a, b = emb_a.detach().cpu().double(), emb_b.detach().cpu().double()  # float64: small differences of large traces
    cov_a, cov_b = a.T.cov(), b.T.cov()  # (E, E)
    root_a = _square_root(cov_a)
    cross = _square_root(root_a @ cov_b @ root_a)  # symmetric, unlike cov_a @ cov_b, with the same trace of its root
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross.trace()
    return max(distance.item(), 0.0)  # rounding may leave -1e-12


def _square_root(matrix: Tensor) -> Tensor:
    """The symmetric R with R @ R = matrix, for a symmetric matrix without negative eigenvalues. (E, E)."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def nearest_distances(points: Tensor, others: Tensor | None = None) -> Tensor:
    """Root-mean-square distance of each point to its nearest neighbour, in the points' own unit.

    Among samples (others=None; a point is not its own neighbour): near 0 means that the model repeats itself. To the
    training set: near 0 means that it repeats what it was shown.

    Args:    points: (B, ...), e.g. log-mels (B, M, L) in dB, or embeddings (B, E); others: (N, ...).
    Returns: (B,): per value (pixel), so that it does not depend on how many there are."""
    if points.ndim < 2 or (others is not None and others.shape[1:] != points.shape[1:]):
        raise ValueError(f"got {tuple(points.shape)} and {'itself' if others is None else tuple(others.shape)}; "
                         "need (B, ...) and (N, ...) with equal sizes after the first")  # fmt: skip
    if len(points) < (2 if others is None else 1) or (others is not None and len(others) == 0):
        raise ValueError(f"got {len(points)} points: no neighbour to compare with; give at least two, or others")
    points = points.flatten(1) if points.dtype == torch.float64 else points.flatten(1).float()  # (B, D)
    others_flat = points if others is None else others.flatten(1).to(points)  # (N, D)
    centre = others_flat.mean(dim=0)  # small numbers, since the fast product form rounds
    distance = torch.cdist(points - centre, others_flat - centre)  # (B, N)
    if others is None:
        distance.fill_diagonal_(math.inf)
    nearest = others_flat[distance.argmin(dim=1)]
    return (points - nearest).square().mean(dim=1).sqrt()  # again, exactly: a copy is at 0


def mel_cepstral_distance(mel_a_db: Tensor, mel_b_db: Tensor, n_coefficients: int = 12) -> Tensor:
    """Mel-cepstral distance in dB between sounds that are aligned in time (Kubichek 1993).

    10 / ln 10 * sqrt(2 * sum over q = 1 .. 12 of (c_q - c'_q)^2), the mean over frames. The cepstrum c is that of the
    natural log of the power in M mel bands, c_q = 1/M * sum_m ln P_m cos(pi q (m + 1/2) / M), so that the figure is
    the root-mean-square difference in dB of the two smoothed spectra. c_0, the level, does not count. Frames quieter
    than -60 dB in both are left out; only figures computed with the same mels can be compared.

    Args:    mel_a_db, mel_b_db: (B, M, L) or (M, L) log-mel power in dB.
    Returns: (B,), or a scalar for (M, L); 0 if all is quiet."""
    if mel_a_db.shape != mel_b_db.shape or mel_a_db.ndim not in (2, 3):
        raise ValueError(f"got {tuple(mel_a_db.shape)} and {tuple(mel_b_db.shape)}; need two (B, M, L) of equal shape")
    n_mels = mel_a_db.shape[-2]
    if not 1 <= n_coefficients < n_mels:
        raise ValueError(f"got n_coefficients={n_coefficients}; need 1 to {n_mels - 1} for {n_mels} mels")
    loud = torch.maximum(mel_a_db, mel_b_db).amax(dim=-2) > QUIET_DB  # (B, L)
    ln_power = (mel_a_db - mel_b_db) * (math.log(10) / 10)  # (B, M, L)
    cosines = dct_matrix(n_coefficients + 1, n_mels).to(ln_power)[1:]  # sqrt(2 / M) cos(...)
    cepstrum = cosines @ ln_power / math.sqrt(2 * n_mels)  # (B, 12, L): c - c'
    frames_db = 10 / math.log(10) * (2 * cepstrum.square().sum(dim=-2)).sqrt()  # (B, L)
    return (frames_db * loud).sum(dim=-1) / loud.sum(dim=-1).clamp_min(1)


def _check_rows(name: str, rows: Tensor, n_least: int) -> None:
    if rows.ndim != 2 or len(rows) < n_least:
        raise ValueError(f"{name}: got shape {tuple(rows.shape)}, need (B, values) with B at least {n_least}")
    if rows.isnan().any():
        raise ValueError(f"{name} holds NaN: the model that made these clips has diverged; look at its loss")
