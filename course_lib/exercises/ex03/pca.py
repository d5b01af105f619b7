"""Exercise 03.1: reconstruction by principal components."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.models.layers.subspaces import pca


def pca_reconstruct(x: Tensor, z_dim: int) -> Tensor:
    """Each row projected on to the z_dim directions of largest variance, and back.

    Args:    x: (N, D); z_dim: 1 to min(N - 1, D).
    Returns: (N, D).
    """
    mean, basis = pca(x, z_dim)
    return mean + _project(x - mean, basis)


def _directions(x: Tensor) -> Tensor:
    """Right singular vectors of x as columns (D, min(N, D)), largest singular value first."""
    return torch.linalg.svd(x, full_matrices=False).Vh.T


def _project(x: Tensor, basis: Tensor) -> Tensor:
    return x @ basis @ basis.T


def _draw_rows(rng: torch.Generator, trial: int) -> dict:
    """Rows around a mean far from zero, whose spectrum drops by ten after z_dim: no method has to guess the cut."""
    n_rows, n_features, z_dim = ((40, 7, 2), (25, 12, 4), (9, 16, 3), (31, 10, 1))[trial % 4]
    rank = min(n_rows, n_features)
    left = torch.linalg.qr(torch.randn(n_rows, rank, generator=rng)).Q
    right = torch.linalg.qr(torch.randn(n_features, rank, generator=rng)).Q
    sizes = torch.rand(rank, generator=rng).sort(descending=True).values
    sizes[:z_dim] = 20 - 2 * torch.arange(z_dim) + sizes[:z_dim]
    sizes[z_dim:] = 0.3 + sizes[z_dim:]
    mean = 1 + 2 * torch.rand(n_features, generator=rng)
    return {"x": (left * sizes) @ right.T + mean, "z_dim": z_dim}


def _smallest(x: Tensor, z_dim: int) -> Tensor:
    centred = x - x.mean(dim=0)
    return x.mean(dim=0) + _project(centred, torch.linalg.eigh(centred.T @ centred).eigenvectors[:, :z_dim])


def _standardised(x: Tensor, z_dim: int) -> Tensor:
    scaled = (x - x.mean(dim=0)) / x.std(dim=0)
    return x.mean(dim=0) + x.std(dim=0) * _project(scaled, _directions(scaled)[:, :z_dim])


def _columns_of_vh(x: Tensor, z_dim: int) -> Tensor:
    centred = x - x.mean(dim=0)
    columns = torch.linalg.svd(centred, full_matrices=True).Vh[:, :z_dim]
    return x.mean(dim=0) + _project(centred, columns)


def _codes_stretched(x: Tensor, z_dim: int) -> Tensor:
    _, sizes, rows = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    return x.mean(dim=0) + (x - x.mean(dim=0)) @ rows[:z_dim].T * sizes[:z_dim] @ rows[:z_dim]


def _centred_on(mean: Tensor, x: Tensor, z_dim: int) -> Tensor:
    return mean + _project(x - mean, _directions(x - mean)[:, :z_dim])


PCA_RECONSTRUCT = Exercise(
    id="03.1",
    title="reconstruction by principal components",
    points=3,
    function="pca_reconstruct",
    draw=_draw_rows,
    reference=pca_reconstruct,
    atol=2e-3,  # the values are about 5, and a Gram matrix in float32 keeps half of the digits
    rtol=0.0,
    difficulty=2,
    minutes=10,
    hint="take the mean row away, keep the first z_dim directions of torch.linalg.svd (rows of Vh), project, and put "
    "the mean back.",
    wrong_answers=(
        WrongAnswer(
            "not centred",
            lambda x, z_dim: _project(x, _directions(x)[:, :z_dim]),
            "your first direction points from zero to the cloud instead of along it: take the mean row away before "
            "the SVD, and put it back at the end.",
        ),
        WrongAnswer(
            "mean not put back",
            lambda x, z_dim: pca_reconstruct(x, z_dim) - x.mean(dim=0),
            "your cloud lies around zero: the mean that you took away belongs to the reconstruction.",
        ),
        WrongAnswer(
            "basis of uncentred rows",
            lambda x, z_dim: x.mean(dim=0) + _project(x - x.mean(dim=0), _directions(x)[:, :z_dim]),
            "you project centred rows on directions of the rows as they came: the SVD, too, needs the centred ones.",
        ),
        WrongAnswer(
            "uncentred rows projected",
            lambda x, z_dim: x.mean(dim=0) + _project(x, _directions(x - x.mean(dim=0))[:, :z_dim]),
            "the directions are right, but you project x, mean and all, and then add the mean once more.",
        ),
        WrongAnswer(
            "mean of each row",
            lambda x, z_dim: _centred_on(x.mean(dim=1, keepdim=True), x, z_dim),
            "you took each row's own mean away; the centre of the cloud is the mean over the rows, dim=0.",
        ),
        WrongAnswer(
            "one mean for all",
            lambda x, z_dim: _centred_on(x.mean(), x, z_dim),
            "x.mean() is one number; the centre of the cloud has D of them, one a feature: dim=0.",
        ),
        WrongAnswer(
            "smallest eigenvalues",
            _smallest,
            "you kept the directions of *least* variance: svd puts the largest first (the first rows of Vh), eigh "
            "last.",
        ),
        WrongAnswer(
            "columns of Vh",
            _columns_of_vh,
            "the directions are the *rows* of Vh (h: already transposed); you took columns.",
        ),
        WrongAnswer(
            "scaled to variance one",
            _standardised,
            "you divided each feature by its standard deviation; PCA of the rows as they are needs centring only.",
        ),
        WrongAnswer(
            "codes stretched",
            _codes_stretched,
            "the codes are scaled by the singular values once more: the projections hold them already.",
        ),
        WrongAnswer(
            "one too many",
            lambda x, z_dim: pca_reconstruct(x, z_dim + 1),
            "you kept one direction too many: [:z_dim] holds z_dim of them.",
        ),
        WrongAnswer(
            "one too few",
            lambda x, z_dim: _centred_on(x.mean(dim=0), x, z_dim - 1),
            "you kept one direction too few: [:z_dim] holds z_dim of them, the first is number 0.",
        ),
        WrongAnswer(
            "nothing dropped",
            lambda x, z_dim: x.clone(),
            "that is x itself: with all directions kept nothing is lost; keep the first z_dim.",
        ),
        WrongAnswer(
            "codes",
            lambda x, z_dim: (x - x.mean(dim=0)) @ _directions(x - x.mean(dim=0))[:, :z_dim],
            "those are the codes, z_dim numbers a row: multiply by the transposed basis and add the mean to decode.",
        ),
        WrongAnswer(
            "float64",
            lambda x, z_dim: pca_reconstruct(x.double(), z_dim),
            "float64, as numpy makes it too, where float32 came in: end with .to(x.dtype).",
        ),
    ),
)
