"""Exercise 02.1: MFCC."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer
from course_lib.sound.features import dct_matrix, mfcc


def _draw_log_mel(rng: torch.Generator, trial: int) -> dict:
    n_clips, n_mels, n_frames, n_mfcc = ((2, 24, 7, 5), (3, 64, 4, 13), (1, 40, 9, 20), (4, 10, 11, 3))[trial % 4]
    return {"log_mel_db": -40 + 12 * torch.randn(n_clips, n_mels, n_frames, generator=rng), "n_mfcc": n_mfcc}


def _cosines(n_mfcc: int, n_mels: int, shift: float = 0.5) -> Tensor:
    return torch.cos(math.pi / n_mels * torch.arange(n_mfcc)[:, None] * (torch.arange(n_mels) + shift))  # (n_mfcc, M)


def _scaled(row_0: Callable, rows: Callable, angle: Callable | None = None) -> Callable:
    """my_mfcc with scales of one's own, and cosines of angle(q, m, M) where that is given; q is (n_mfcc, 1), m (M,)."""

    def answer(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
        n_mels = log_mel_db.shape[1]
        q, m = torch.arange(n_mfcc)[:, None], torch.arange(n_mels)
        matrix = torch.cos(angle(q, m, n_mels)) if angle else _cosines(n_mfcc, n_mels)
        return torch.where(q == 0, row_0(n_mels), rows(n_mels)) * matrix @ log_mel_db

    return answer


def _row_0(n_mels: int) -> float:
    return math.sqrt(1 / n_mels)


def _rows(n_mels: int) -> float:
    return math.sqrt(2 / n_mels)


def _first_column_scaled(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_mels = log_mel_db.shape[1]
    basis = _rows(n_mels) * _cosines(n_mfcc, n_mels)
    basis[:, 0] /= math.sqrt(2)
    return basis @ log_mel_db


def _n_mfcc_for_mels(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    q, m = torch.arange(n_mfcc)[:, None], torch.arange(log_mel_db.shape[1])
    scale = torch.where(q == 0, _row_0(log_mel_db.shape[1]), _rows(log_mel_db.shape[1]))
    return scale * torch.cos(math.pi / n_mfcc * q * (m + 0.5)) @ log_mel_db


def _mfcc_no_half(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_mels = log_mel_db.shape[1]
    basis = math.sqrt(2 / n_mels) * _cosines(n_mfcc, n_mels, shift=0.0)
    basis[0] /= math.sqrt(2)
    return basis @ log_mel_db


def _mfcc_over_time(log_mel_db: Tensor, n_mfcc: int) -> Tensor:
    n_frames = log_mel_db.shape[2]
    return (log_mel_db @ dct_matrix(n_frames, n_frames).T)[:, :n_mfcc]


MFCC = Exercise(
    id="02.1",
    title="MFCC",
    points=3,
    function="my_mfcc",
    draw=_draw_log_mel,
    reference=mfcc,
    atol=2e-3,  # dB; coefficients reach hundreds
    rtol=1e-4,
    difficulty=2,
    minutes=15,
    hint="build the (n_mfcc, M) matrix of cosines over m + 1/2, scale its rows, then matrix @ log_mel_db.",
    wrong_answers=(
        WrongAnswer(
            "over time",
            _mfcc_over_time,
            "your cosines run along the frames; they belong along the mels, axis 1 of (B, M, L).",
        ),
        WrongAnswer(
            "row 0 not scaled",
            lambda log_mel_db, n_mfcc: (
                math.sqrt(2 / log_mel_db.shape[1]) * _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db
            ),
            "coefficient 0 is sqrt(2) too large: row 0 is constant, so it takes sqrt(1 / M) to give it length 1.",
        ),
        WrongAnswer(
            "no scaling",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db,
            "the cosines are right, their length is not: multiply by sqrt(2 / M), and row 0 by sqrt(1 / M).",
        ),
        WrongAnswer(
            "no half",
            _mfcc_no_half,
            "the half is missing: the cosines are read at m + 1/2, or they are not at right angles to each other.",
        ),
        WrongAnswer(
            "transposed",
            lambda log_mel_db, n_mfcc: mfcc_inverse(log_mel_db)[:, :n_mfcc],
            "that is the inverse transform (DCT-III): the row number q goes without the half, the column m with it.",
        ),
        WrongAnswer(
            "coefficient 0 dropped",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, n_mfcc + 1)[:, 1:],
            "you start at q = 1; the list here starts at q = 0, the level.",
        ),
        WrongAnswer(
            "logarithm twice",
            lambda log_mel_db, n_mfcc: mfcc(10 * torch.log10(log_mel_db.abs()), n_mfcc),
            "the input is in dB already: one logarithm is enough.",
        ),
        WrongAnswer(
            "row 0 scaled twice",
            _scaled(lambda n_mels: _row_0(n_mels) * _rows(n_mels), _rows),
            "row 0 was scaled twice: sqrt(1 / M) takes the *place* of sqrt(2 / M) there (or divide it by sqrt(2)).",
        ),
        WrongAnswer(
            "row 0 not scaled at all",
            _scaled(lambda n_mels: 1.0, _rows),
            "row 0 was left at 1: all its M numbers are equal, so length 1 needs sqrt(1 / M).",
        ),
        WrongAnswer(
            "column 0 scaled",
            _first_column_scaled,
            "s_0 belongs to *row* 0, matrix[0], that is, q = 0; you changed column 0, matrix[:, 0], that is, m = 0.",
        ),
        WrongAnswer(
            "all rows like row 0",
            _scaled(_row_0, _row_0),
            "coefficient 0 is right, the others are sqrt(2) too small: rows q > 0 take sqrt(2 / M).",
        ),
        WrongAnswer(
            "scales swapped",
            _scaled(_rows, _row_0),
            "the two scales are swapped: sqrt(1 / M) is for row 0, sqrt(2 / M) for all others.",
        ),
        WrongAnswer(
            "roots forgotten",
            _scaled(lambda n_mels: 1 / n_mels, lambda n_mels: 2 / n_mels),
            "the scales are square roots: sqrt(1 / M) and sqrt(2 / M).",
        ),
        WrongAnswer(
            "as scipy without norm",
            lambda log_mel_db, n_mfcc: 2 * _cosines(n_mfcc, log_mel_db.shape[1]) @ log_mel_db,
            'you have twice the plain sums, which scipy\'s dct gives by default: it needs norm="ortho".',
        ),
        WrongAnswer(
            "pi / (2 M)",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / (2 * n_mels) * q * (m + 0.5)),
            "your cosines are half as fast as they should be: pi / M, not pi / (2 M), with m + 1/2.",
        ),
        WrongAnswer(
            "2 pi / M",
            _scaled(_row_0, _rows, lambda q, m, n_mels: 2 * math.pi / n_mels * q * (m + 0.5)),
            "your cosines are twice as fast as they should be: row q makes q *half* turns over the mels, pi / M.",
        ),
        WrongAnswer(
            "brackets",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / n_mels * (q * m + 0.5)),
            "q * m + 0.5 lacks brackets: the half belongs to m, q * (m + 0.5).",
        ),
        WrongAnswer(
            "mels numbered from 1",
            _scaled(_row_0, _rows, lambda q, m, n_mels: math.pi / n_mels * q * (m + 1.5)),
            "the mels are numbered from 0: m = 0 to M - 1, torch.arange(M).",
        ),
        WrongAnswer(
            "n_mfcc for M",
            _n_mfcc_for_mels,
            "pi is divided by n_mfcc in your cosines; M is the number of *mels*, log_mel_db.shape[1], however many "
            "rows you keep.",
        ),
        WrongAnswer(
            "all rows kept",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, log_mel_db.shape[1]),
            "you kept all M coefficients: q runs from 0 to n_mfcc - 1.",
        ),
        WrongAnswer(
            "axes swapped",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db, n_mfcc).transpose(1, 2),
            "right values, axes in another order: (B, n_mfcc, L) comes from matrix @ log_mel_db, without transposing.",
        ),
        WrongAnswer(
            "matrix on the wrong side",
            lambda log_mel_db, n_mfcc: log_mel_db @ dct_matrix(n_mfcc, log_mel_db.shape[1]).T,
            "@ adds up over the *last* axis of what stands on its left, and yours are the frames: put the matrix on "
            "the left, matrix @ log_mel_db.",
        ),
        WrongAnswer(
            "frames taken for mels",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[2]) @ log_mel_db,
            "your matrix has a column for each frame; it needs one for each mel, M = log_mel_db.shape[1].",
        ),
        WrongAnswer(
            "clips taken for mels",
            lambda log_mel_db, n_mfcc: _cosines(n_mfcc, log_mel_db.shape[0]) @ log_mel_db,
            "your matrix has a column for each clip; it needs one for each mel, M = log_mel_db.shape[1].",
        ),
        WrongAnswer(
            "matrix transposed",
            lambda log_mel_db, n_mfcc: dct_matrix(n_mfcc, log_mel_db.shape[1]).T @ log_mel_db,
            "your matrix is (M, n_mfcc): it needs a *row* for each q and a column for each m, q[:, None] * (m + 0.5).",
        ),
        WrongAnswer(
            "no table",
            lambda log_mel_db, n_mfcc: torch.arange(n_mfcc) * (torch.arange(log_mel_db.shape[1]) + 0.5),
            "all q meet all m only if q is a column: torch.arange(n_mfcc)[:, None] * (torch.arange(M) + 0.5).",
        ),
        WrongAnswer(
            "math.cos of a tensor",
            lambda log_mel_db, n_mfcc: math.cos(torch.arange(log_mel_db.shape[1])),
            "the functions of math take a single number: torch.cos takes the whole table.",
        ),
        WrongAnswer(
            "matrix in float64",
            lambda log_mel_db, n_mfcc: dct_matrix(n_mfcc, log_mel_db.shape[1]).double() @ log_mel_db,
            "your matrix is float64 (numpy's usual), the input float32, and @ mixes no dtypes: matrix.float().",
        ),
        WrongAnswer(
            "float64",
            lambda log_mel_db, n_mfcc: mfcc(log_mel_db.double(), n_mfcc),
            "float64 where float32 came in: end with .to(log_mel_db.dtype).",
        ),
    ),
)


def mfcc_inverse(cepstrum: Tensor) -> Tensor:
    """From all M coefficients back to M mels: the matrix is orthonormal, so its inverse is its transpose. (B, M, L)."""
    return dct_matrix(cepstrum.shape[1], cepstrum.shape[1]).T @ cepstrum
