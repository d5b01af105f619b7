"""The sampling loop compiled by numba to machine code: what Python costs at each of 8,000 steps a second is gone.

One step is one product of [weight_hh; weight_out] with the state, since both read it, gates, and a choice. The product
is written so that the compiler turns it into vector instructions: a tile of up to 256 outputs stays in the fastest
cache while the rows of weights run by, each multiplied with one number of the state, and up to 8 clips use a row while
it is there. Each clip is summed in the same order however many there are, so that a clip does not depend on its neighbours.

Importing this module compiles (seconds; numba then keeps the code in a cache where it may write one).

Letters: B clips, T samples, L frames, H hidden, C classes.
Taught in: notebooks/06_rnn.ipynb
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor

from course_lib.folded_sampling import Place, stacked
from course_lib.models.mulaw_rnn import FoldedRNN

MOST_A_TILE = 256  # outputs: 1 KiB a clip
N_UNROLLED = 8  # rows of weights that are added at once
MOST_TOGETHER = 8  # clips that share a row of weights: their tiles take 8 KiB
# Sums may be reordered and multiplications fused with additions; infinities and NaN stay what they are.
FAST = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}
SIGNATURE = (
    "void(float32[:,:,::1], float32[::1], float32[:,::1], float32[:,:,::1], float32[:,:,::1], int64[:,::1],"
    "float32[:,::1], int64[::1], int64[:,::1], float32[:,:,::1], int64, int64, int64, int64, float32, float32)"
)


class Packed(NamedTuple):
    """A FoldedRNN laid out for the loop; everything contiguous, float32."""

    weights: np.ndarray  # (n_tiles, H', tile): transposed [weight_hh; weight_out]; H' is H rounded up to N_UNROLLED
    biases: np.ndarray  # (n_tiles * tile,), the last ones padding
    table: np.ndarray  # (C, 3H)
    conditions: np.ndarray  # (B, L, 3H)
    frame_length: int


def pack(folded: FoldedRNN) -> Packed:
    """Cut the weights into tiles, and pad with zeros."""
    weight, bias = stacked(folded)  # (H, 3H + C)
    n_hidden, n_out = weight.shape
    n_tiles = -(-n_out // MOST_A_TILE)
    tile = -(-n_out // n_tiles // 16) * 16  # a multiple of the widest vector registers
    weights = weight.new_zeros(-(-n_hidden // N_UNROLLED) * N_UNROLLED, n_tiles * tile)
    biases = weight.new_zeros(n_tiles * tile)
    weights[:n_hidden, :n_out], biases[:n_out] = weight, bias
    tiles = weights.unflatten(1, (n_tiles, tile)).transpose(0, 1)
    return Packed(*(_array(x) for x in (tiles, biases, folded.table, folded.conditions)), folded.frame_length)


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().numpy())


@torch.no_grad()
def advance_compiled(
    folded: FoldedRNN,
    noise: Tensor,
    place: Place,
    temperature: float,
    top_p: float,
    prime: Tensor | None = None,
    logits: Tensor | None = None,
) -> tuple[Tensor, Place]:
    """As folded_sampling.advance_folded, with as many threads as torch is set to use.

    Raises: ValueError for tensors that are not float32 on the CPU."""
    if noise.device.type != "cpu" or {noise.dtype, folded.table.dtype} != {torch.float32}:
        raise ValueError(f"got noise of {noise.dtype} on {noise.device}, weights of {folded.table.dtype}; the compiled "
                         "sampler needs float32 on the CPU: model.float().cpu(), or take sample_folded")  # fmt: skip
    n_steps, n_clips, _ = noise.shape
    packed = pack(folded)
    classes, previous = np.empty((n_steps, n_clips), np.int64), place.previous.numpy().copy()
    hidden = np.zeros((n_clips, packed.weights.shape[1]), np.float32)
    hidden[:, : place.state.shape[1]] = place.state
    given = np.empty((0, n_clips), np.int64) if prime is None else _array(prime.T)
    scores = np.empty((0, n_clips, noise.shape[2]), np.float32) if logits is None else logits.numpy()
    arrays = (*packed[:4], _array(noise), given, hidden, previous, classes, scores)
    n_threads = min(torch.get_num_threads(), n_clips)
    together = min(MOST_TOGETHER, -(-n_clips // n_threads))

    def run(first: int) -> None:
        last = min(first + together, n_clips)
        _advance(*arrays, first, last, place.step, packed.frame_length, temperature, top_p)

    firsts = range(0, n_clips, together)
    if n_threads == 1:
        for first in firsts:
            run(first)
    else:
        with ThreadPoolExecutor(n_threads) as pool:  # the compiled loop lets go of Python's lock
            list(pool.map(run, firsts))
    state = torch.from_numpy(hidden[:, : place.state.shape[1]].copy())
    return torch.from_numpy(classes).T.contiguous(), Place(state, torch.from_numpy(previous), place.step + n_steps)


def _cached(signature: str) -> Callable:
    """Compile now, and keep the code on disk where that is possible: not in a read-only installation, say."""

    def compile_it(function: Callable) -> Callable:
        try:
            return njit(signature, nogil=True, cache=True, **FAST)(function)
        except (RuntimeError, OSError):  # no folder for the cache, or one that can't be read or written
            return njit(signature, nogil=True, **FAST)(function)

    return compile_it


@njit(**FAST)
def _exp(x):  # float32 -> float32, within 3e-7 of itself for |x| < 87
    """2**n * exp(r) with |r| < 0.35, exp(r) by a polynomial (Cephes' expf); vectorises, which math.exp does not."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)  # log 2 in two parts
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * (r * r) + r + np.float32(1.0)
    return p * np.int32((np.int32(n) + 127) << 23).view(np.float32)  # 2**n, put together from its bits


@njit(**FAST)
def _multiply(weights, biases, hidden, products):  # -> products (clips, n_tiles * tile)
    n_tiles, n_hidden, tile = weights.shape
    for b in range(len(hidden)):
        products[b, :] = biases
    for t in range(n_tiles):
        w = weights[t]
        for k in range(0, n_hidden, 8):
            for b in range(len(hidden)):
                h, y = hidden[b, k : k + 8], products[b, t * tile : (t + 1) * tile]
                h0, h1, h2, h3, h4, h5, h6, h7 = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
                for j in range(tile):
                    y[j] += ((w[k, j] * h0 + w[k + 1, j] * h1) + (w[k + 2, j] * h2 + w[k + 3, j] * h3)) + (
                        (w[k + 4, j] * h4 + w[k + 5, j] * h5) + (w[k + 6, j] * h6 + w[k + 7, j] * h7)
                    )


@njit(**FAST)
def _gru_step(table_row, condition, recurrent, hidden):  # (3H,) three times; hidden (H,), in place
    n, one, two = len(hidden), np.float32(1.0), np.float32(2.0)
    t_r, t_z, t_n = table_row[:n], table_row[n : 2 * n], table_row[2 * n :]
    c_r, c_z, c_n = condition[:n], condition[n : 2 * n], condition[2 * n :]
    m_r, m_z, m_n = recurrent[:n], recurrent[n : 2 * n], recurrent[2 * n :]
    for i in range(n):
        r = one / (one + _exp(-(t_r[i] + c_r[i] + m_r[i])))
        z = one / (one + _exp(-(t_z[i] + c_z[i] + m_z[i])))
        new = one - two / (one + _exp(two * (t_n[i] + c_n[i] + r * m_n[i])))  # tanh
        hidden[i] = new + z * (hidden[i] - new)


@njit(**FAST)
def _choose(logits, exponentials, temperature, top_p, p, scores):  # -> class; p and scores (C,): to work in
    best = 0
    for c in range(len(logits)):
        if logits[c] > logits[best]:
            best = c
    if temperature == np.float32(0.0):
        return best
    highest, scale = logits[best], np.float32(1.0) / temperature
    for c in range(len(logits)):
        p[c] = _exp((logits[c] - highest) * scale)
        scores[c] = p[c] / exponentials[c]
    allowed = np.float32(1e30) if top_p >= np.float32(1.0) else top_p * p.sum()
    while True:
        best = 0
        for c in range(len(scores)):
            if scores[c] > scores[best]:
                best = c
        above = np.float32(0.0)  # a class is in the smallest set that reaches top_p if those above it do not reach it
        if top_p < np.float32(1.0):
            for c in range(len(scores)):
                if logits[c] > logits[best] or (logits[c] == logits[best] and c < best):
                    above += p[c]
        if above < allowed:
            return best
        scores[best] = np.float32(-1.0)


@_cached(SIGNATURE)
def _advance(weights, biases, table, conditions, noise, prime, hidden, previous, classes, logits, first, last, step,
             frame_length, temperature, top_p):  # fmt: skip
    n_clips, n_classes, n_gates = last - first, table.shape[0], table.shape[1]
    n_hidden, n_frames = n_gates // 3, conditions.shape[1]
    products = np.empty((n_clips, len(biases)), np.float32)
    p, scores = np.empty(n_classes, np.float32), np.empty(n_classes, np.float32)
    _multiply(weights, biases, hidden[first:last], products)
    for t in range(len(noise)):
        frame = min((step + t) // frame_length, n_frames - 1)
        for b in range(n_clips):
            row, condition = table[previous[first + b]], conditions[first + b, frame]
            _gru_step(row, condition, products[b, :n_gates], hidden[first + b, :n_hidden])
        _multiply(weights, biases, hidden[first:last], products)  # these logits, and the next step's recurrent part
        for b in range(n_clips):
            scored = products[b, n_gates : n_gates + n_classes]
            if t < len(prime):
                drawn = prime[t, first + b]
            else:
                drawn = _choose(scored, noise[t, first + b], temperature, top_p, p, scores)
            if t < len(logits):
                logits[t, first + b] = scored
            classes[t, first + b] = drawn
            previous[first + b] = drawn
