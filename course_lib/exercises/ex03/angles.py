"""Exercise 03.2: principal angles between two subspaces."""

import math

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.models.layers.subspaces import principal_angles_deg


def _cosines(basis_a: Tensor, basis_b: Tensor) -> Tensor:
    """Cosines of the angles, descending; a shared direction can give 1.0000001."""
    return torch.linalg.svdvals(torch.linalg.qr(basis_a).Q.T @ torch.linalg.qr(basis_b).Q)


def _draw_bases(rng: torch.Generator, trial: int) -> dict:
    n_features, z_dim = ((9, 3), (12, 4), (7, 2), (16, 5))[trial % 4]
    n_shared = 1 if trial % 2 else 0
    for _ in range(200):  # a shared direction whose cosine rounds to more than 1, so that an answer has to clamp
        basis_a = 0.3 * (torch.randn(n_features, z_dim, generator=rng) + 0.5)
        basis_b = 0.3 * (torch.randn(n_features, z_dim, generator=rng) - 0.5)
        if not n_shared:
            break
        basis_b[:, 0] = basis_a @ torch.randn(z_dim, generator=rng)
        if _cosines(basis_a, basis_b).max() > 1:
            break
    return {"basis_a": basis_a, "basis_b": basis_b}


def _degrees(cosines: Tensor) -> Tensor:
    return cosines.clamp(-1.0, 1.0).acos().rad2deg()


def _unit_columns(basis: Tensor) -> Tensor:
    return basis / basis.norm(dim=0)


def _column_by_column(basis_a: Tensor, basis_b: Tensor) -> Tensor:
    pairs = (_unit_columns(basis_a) * _unit_columns(basis_b)).sum(dim=0)
    return _degrees(pairs).sort().values


PRINCIPAL_ANGLES = Exercise(
    id="03.2",
    title="principal angles between subspaces",
    points=3,
    function="principal_angles_deg",
    draw=_draw_bases,
    reference=principal_angles_deg,
    atol=0.15,  # degrees: near cosine 1 float32 holds an angle to 0.03, and a clamp at 1 - 1e-6 is 0.08
    rtol=0.0,
    difficulty=2,
    minutes=10,
    hint="first orthonormal bases of both (torch.linalg.qr); the cosines are then singular values, which rounding may "
    "lift above 1; and the angles in degrees.",
    wrong_answers=(
        WrongAnswer(
            "bases taken as orthonormal",
            lambda basis_a, basis_b: _degrees(torch.linalg.svdvals(basis_a.T @ basis_b)),
            "right for orthonormal columns only: these have any length and lean on each other; torch.linalg.qr first.",
        ),
        WrongAnswer(
            "columns of length one",
            lambda basis_a, basis_b: _degrees(torch.linalg.svdvals(_unit_columns(basis_a).T @ _unit_columns(basis_b))),
            "length one is not enough: the columns of a basis also have to stand at right angles to each other (QR).",
        ),
        WrongAnswer(
            "one basis orthonormal",
            lambda basis_a, basis_b: _degrees(torch.linalg.svdvals(torch.linalg.qr(basis_a).Q.T @ basis_b)),
            "you orthonormalised the first basis only; the second needs it, too.",
        ),
        WrongAnswer(
            "not clamped",
            lambda basis_a, basis_b: _cosines(basis_a, basis_b).acos().rad2deg(),
            "a shared direction came out as NaN: its cosine was rounded to 1.0000001, and acos has no value there. "
            "Clamp the cosines first.",
        ),
        WrongAnswer(
            "radians",
            lambda basis_a, basis_b: _cosines(basis_a, basis_b).clamp(max=1).acos(),
            "those are radians: 180 / pi times as many degrees.",
        ),
        WrongAnswer(
            "descending",
            lambda basis_a, basis_b: principal_angles_deg(basis_a, basis_b).flip(0),
            "right angles, wrong order: the smallest first.",
        ),
        WrongAnswer(
            "cosines",
            lambda basis_a, basis_b: _cosines(basis_a, basis_b).clamp(max=1),
            "those are the cosines of the angles: acos, then degrees.",
        ),
        WrongAnswer(
            "sines",
            lambda basis_a, basis_b: _cosines(basis_a, basis_b).clamp(max=1).asin().rad2deg().flip(0),
            "a singular value of Qa.T @ Qb is a *cosine*; you took it for a sine, and got 90 degrees less the angle.",
        ),
        WrongAnswer(
            "sines, unsorted",
            lambda basis_a, basis_b: _cosines(basis_a, basis_b).clamp(max=1).asin().rad2deg(),
            "a singular value is the *cosine* of an angle: acos, not asin.",
        ),
        WrongAnswer(
            "column by column",
            _column_by_column,
            "you compare the first column with the first, the second with the second: angles of *columns*, which "
            "change with the basis. Those of the subspaces are in the singular values of Qa.T @ Qb.",
        ),
        WrongAnswer(
            "entries, not singular values",
            lambda basis_a, basis_b: _degrees(
                (torch.linalg.qr(basis_a).Q.T @ torch.linalg.qr(basis_b).Q)
                .diagonal()
                .abs()
                .sort(descending=True)
                .values
            ),
            "the diagonal of Qa.T @ Qb depends on how each basis is turned; its singular values do not.",
        ),
        WrongAnswer(
            "squared cosines",
            lambda basis_a, basis_b: _degrees(_cosines(basis_a, basis_b).square()),
            "your cosines are squared (eigenvalues of M.T @ M are): take the square root before acos.",
        ),
        WrongAnswer(
            "the largest only",
            lambda basis_a, basis_b: principal_angles_deg(basis_a, basis_b)[-1],
            "that is one angle, and there are Z of them.",
        ),
        WrongAnswer(
            "rows taken for directions",
            lambda basis_a, basis_b: _degrees(
                torch.linalg.svdvals(torch.linalg.qr(basis_a.T).Q.T @ torch.linalg.qr(basis_b.T).Q)
            ),
            "all your angles are near 0: is a basis transposed before the QR (its Z *columns* are directions), is the "
            'QR "complete", or do you turn degrees into radians where radians should become degrees?',
        ),
        WrongAnswer(
            "math.acos",
            lambda basis_a, basis_b: math.acos(_cosines(basis_a, basis_b)),
            "the functions of math take a single number: torch.acos and torch.rad2deg take all angles at once.",
        ),
        WrongAnswer(
            "float64",
            lambda basis_a, basis_b: principal_angles_deg(basis_a.double(), basis_b.double()),
            "float64, as numpy and scipy make it too, where float32 came in: end with .to(basis_a.dtype).",
        ),
    ),
)
