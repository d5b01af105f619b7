"""How fast this machine could draw samples if nothing but the products of a matrix with a vector took time.

Letters: H hidden, C classes.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable

import torch

from course_lib.models.mulaw_rnn import FoldedRNN

MEASURE_S = 0.2
N_TIMES = 20  # products between two looks at the clock


def flops_a_sample(folded: FoldedRNN) -> int:
    """Multiplications and additions that a sample of one clip can't do without: two for each weight, gates left out."""
    return 2 * (folded.weight_hh.numel() + folded.weight_out.numel())


@torch.no_grad()
def machine_matvec_gflops(n_rows: int, n_columns: int, seconds: float = MEASURE_S) -> float:
    """The most that one core has reached on one matrix with one vector: 1e9 multiplications and additions a second.

    The better of torch.mv and the compiled loop, where there is one. The matrix is read again and again, so that it
    lies in the nearest cache that holds it (4 bytes a number: (832, 192) takes 0.64 MB, (1024, 256) 1.05 MB).

    Raises: ValueError for sizes below 1, or n_rows that is not a multiple of 4."""
    if min(n_rows, n_columns) < 1 or n_rows % 4 or not seconds > 0:
        raise ValueError(
            f"got n_rows={n_rows}, n_columns={n_columns}, seconds={seconds}; need a multiple of 4, at least 1, above 0"
        )
    weight, vector = torch.rand(n_rows, n_columns), torch.rand(n_columns)
    products = torch.empty(n_rows)

    def by_torch() -> None:
        for _ in range(N_TIMES):
            torch.mv(weight, vector, out=products)

    loops: list[Callable[[], None]] = [by_torch]
    if importlib.util.find_spec("numba") is not None:
        from course_lib.sampling.compiled import repeat_multiply

        arrays = (weight.numpy(), torch.zeros(n_rows).numpy(), vector[None].numpy(), products[None].numpy())
        loops.append(lambda: repeat_multiply(*arrays, N_TIMES))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        least_s = min(_least_s(loop, seconds / len(loops)) for loop in loops)
    finally:
        torch.set_num_threads(n_threads)
    return 2 * n_rows * n_columns * N_TIMES / least_s / 1e9


def _least_s(loop: Callable[[], None], seconds: float) -> float:
    loop()  # compiles, and fetches the matrix
    least_s, started_s = float("inf"), time.perf_counter()
    while time.perf_counter() - started_s < seconds:
        start_s = time.perf_counter()
        loop()
        least_s = min(least_s, time.perf_counter() - start_s)
    return least_s
