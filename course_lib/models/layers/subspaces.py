"""Flat subspaces: the best one for some data (PCA), and the angles between two."""

import numpy as np
import torch
from torch import Tensor

MANY = 500  # rows of a matrix from which on it pays to compute only the eigenvectors that are wanted


def pca(x: Tensor, z_dim: int) -> tuple[Tensor, Tensor]:
    """The z_dim directions along which x varies most (Pearson 1901).

    In float64, by the eigenvectors of whichever is smaller, the covariance (D, D) or the products of all pairs of rows
    (N, N).

    Args:    x: (N, D), a row an observation.
    Returns: mean (D,), and basis (D, Z): orthonormal columns, most variance first, each one's largest entry positive.
    Raises:  ValueError if z_dim is not in 1 ... min(N - 1, D).

    Taught in: notebooks/03_autoencoders.ipynb
    """
    if x.ndim != 2 or not 1 <= z_dim <= min(x.shape[0] - 1, x.shape[1]):
        raise ValueError(
            f"pca: got x of shape {tuple(x.shape)} and z_dim={z_dim}; need x (N, D) and z_dim from 1 to "
            "min(N - 1, D); flatten pictures with x.flatten(1)"
        )
    mean = x.double().mean(dim=0)  # (D,)
    centred = x.double() - mean
    n_rows, n_features = x.shape
    products = centred.T @ centred if n_features <= n_rows else centred @ centred.T
    basis = _top_eigenvectors(products, z_dim)
    if n_features > n_rows:
        basis = torch.linalg.qr(centred.T @ basis).Q  # (D, Z), from directions in the space of rows
    largest = basis.gather(0, basis.abs().argmax(dim=0, keepdim=True))  # (1, Z)
    basis = basis * largest.sign()  # +v and -v serve equally: this makes the choice the same everywhere
    return mean.to(x.dtype), basis.to(x.dtype)


def _top_eigenvectors(matrix: Tensor, n: int) -> Tensor:
    """Of a symmetric matrix (N, N), those of the n largest eigenvalues: (N, n), largest first."""
    if len(matrix) < MANY or 4 * n > len(matrix):
        return torch.linalg.eigh(matrix).eigenvectors[:, -n:].flip(1)  # eigh sorts upwards
    from scipy.sparse.linalg import eigsh  # here: only PCA of whole clips needs it

    # Lanczos: 32 of 2,700 in 0.6 s, where all of them take 9 s. From a fixed start, so that it repeats; not from ones,
    # which are perpendicular to all that is centred.
    start = np.random.default_rng(0).standard_normal(len(matrix))
    vectors = eigsh(matrix.cpu().numpy(), n, which="LA", v0=start)[1]
    return torch.from_numpy(vectors.copy()).to(matrix.device).flip(1)


def principal_angles_deg(basis_a: Tensor, basis_b: Tensor) -> Tensor:
    """Angles between two subspaces (Bjoerck & Golub 1973): all 0 if they are the same, 90 if they are perpendicular.

    Args:    basis_a, basis_b: (D, Z) each; columns need be neither orthogonal nor of length 1.
    Returns: (Z,) in degrees, in [0, 90], ascending.
    Raises:  ValueError if the shapes differ, or columns depend on each other.

    Taught in: notebooks/03_autoencoders.ipynb
    """
    if basis_a.ndim != 2 or basis_a.shape != basis_b.shape or basis_a.shape[0] < basis_a.shape[1]:
        raise ValueError(
            f"got bases of shapes {tuple(basis_a.shape)} and {tuple(basis_b.shape)}; need (D, Z) twice, Z <= D: "
            "a column for each direction (the weight of nn.Linear(D, Z) has them as rows: transpose it)"
        )
    q_a, q_b = (_orthonormal(basis.double(), name) for basis, name in ((basis_a, "basis_a"), (basis_b, "basis_b")))
    shared = q_a.T @ q_b  # (Z, Z)
    cosines = torch.linalg.svdvals(shared)  # descending
    sines = torch.linalg.svdvals(q_b - q_a @ shared).flip(0)  # ascending: belongs to the cosines, one by one
    # A cosine alone can't tell small angles from 0: cos(1e-8) is 1 in float64.
    return torch.rad2deg(torch.atan2(sines, cosines)).to(basis_a.dtype)


def _orthonormal(basis: Tensor, name: str) -> Tensor:
    q, r = torch.linalg.qr(basis)
    on_diagonal = r.diagonal().abs()
    if on_diagonal.min() <= 1e-10 * on_diagonal.max():
        raise ValueError(f"{name}: some of its {basis.shape[1]} columns depend on each other; need as many directions")
    return q
