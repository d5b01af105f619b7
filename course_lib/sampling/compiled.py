"""The sampling loop compiled by numba to machine code: what Python costs at each of 8,000 steps a second is gone.

One step is one product of [weight_hh; weight_out] with the state, since both read it, gates, and a choice. The product
is written so that the compiler turns it into vector instructions and keeps the sums in registers: 4 rows of weights
with one clip, or with 4 clips at once, so that each number that is fetched is used 4 times.

Importing this module compiles (seconds; numba then keeps the code in a cache, where it may write one).

Letters: B clips, T samples, L frames, H hidden, C classes.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional as F

from course_lib.models.mulaw_rnn import FoldedRNN
from course_lib.sampling.folded import Place, stacked

N_ROWS = 4  # of weights, whose sums are in registers at once
MOST_TOGETHER = 8  # clips that go through the loop side by side, in fours
# Sums may be reordered and multiplications fused with additions; infinities and NaN stay what they are.
FAST = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy"}
SIGNATURE = (
    "void(float32[:,::1], float32[::1], float32[:,::1], float32[:,:,::1], float32[:,:,::1], int64[:,::1],"
    "float32[:,::1], int64[::1], int64[:,::1], float32[:,:,::1], int64, int64, int64, int64, float32, float32)"
)


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
    """As folded.advance_folded, with as many threads as torch is set to use.

    Raises: ValueError for tensors that are not float32 on the CPU."""
    if noise.device.type != "cpu" or {noise.dtype, folded.table.dtype} != {torch.float32}:
        raise ValueError(f"got noise of {noise.dtype} on {noise.device}, weights of {folded.table.dtype}; the compiled "
                         "sampler needs float32 on the CPU: model.float().cpu(), or take sample_folded")  # fmt: skip
    n_steps, n_clips, _ = noise.shape
    weight, biases = stacked(folded)  # (H, 3H + C)
    n_more = -weight.shape[1] % N_ROWS
    weight, biases = F.pad(weight.T, (0, 0, 0, n_more)), F.pad(biases, (0, n_more))
    classes, previous = np.empty((n_steps, n_clips), np.int64), place.previous.numpy().copy()
    hidden = place.state.numpy().copy()
    given = np.empty((0, n_clips), np.int64) if prime is None else _array(prime.T)
    scores = np.empty((0, n_clips, noise.shape[2]), np.float32) if logits is None else logits.numpy()
    arrays = [_array(x) for x in (weight, biases, folded.table, folded.conditions, noise)]
    arrays += [given, hidden, previous, classes, scores]
    n_threads = min(torch.get_num_threads(), n_clips)
    together = min(MOST_TOGETHER, -(-n_clips // n_threads))

    def run(first: int) -> None:
        last = min(first + together, n_clips)
        _advance(*arrays, first, last, place.step, folded.frame_length, temperature, top_p)

    firsts = range(0, n_clips, together)
    if n_threads == 1:
        for first in firsts:
            run(first)
    else:
        with ThreadPoolExecutor(n_threads) as pool:  # the compiled loop lets go of Python's lock
            list(pool.map(run, firsts))
    moved = Place(torch.from_numpy(hidden), torch.from_numpy(previous), place.step + n_steps)
    return torch.from_numpy(classes).T.contiguous(), moved


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
def _multiply_one(weight, biases, hidden, products):  # (N, H), (N,), (H,) -> (N,)
    for i in range(0, len(weight), 4):
        w0, w1, w2, w3 = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        a0 = a1 = a2 = a3 = np.float32(0.0)
        for k in range(len(hidden)):
            a0 += w0[k] * hidden[k]
            a1 += w1[k] * hidden[k]
            a2 += w2[k] * hidden[k]
            a3 += w3[k] * hidden[k]
        products[i] = a0 + biases[i]
        products[i + 1] = a1 + biases[i + 1]
        products[i + 2] = a2 + biases[i + 2]
        products[i + 3] = a3 + biases[i + 3]


@njit(**FAST)
def _multiply_four(weight, biases, hidden, products, i):  # (N, H), (N,), (4, H) -> (4, N), rows i to i + 3
    w0, w1, w2, w3 = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
    h0, h1, h2, h3 = hidden[0], hidden[1], hidden[2], hidden[3]
    a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = np.float32(0.0)
    a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = np.float32(0.0)
    for k in range(hidden.shape[1]):
        a00 += w0[k] * h0[k]
        a01 += w0[k] * h1[k]
        a02 += w0[k] * h2[k]
        a03 += w0[k] * h3[k]
        a10 += w1[k] * h0[k]
        a11 += w1[k] * h1[k]
        a12 += w1[k] * h2[k]
        a13 += w1[k] * h3[k]
        a20 += w2[k] * h0[k]
        a21 += w2[k] * h1[k]
        a22 += w2[k] * h2[k]
        a23 += w2[k] * h3[k]
        a30 += w3[k] * h0[k]
        a31 += w3[k] * h1[k]
        a32 += w3[k] * h2[k]
        a33 += w3[k] * h3[k]
    for r, sums in enumerate(((a00, a01, a02, a03), (a10, a11, a12, a13), (a20, a21, a22, a23), (a30, a31, a32, a33))):
        for c in range(4):
            products[c, i + r] = sums[c] + biases[i + r]


@njit(**FAST)
def _multiply(weight, biases, hidden, products):  # (N, H), (N,), (clips, H) -> (clips, N)
    n_fours = len(hidden) // 4 * 4
    for i in range(0, len(weight), 4):
        for b in range(0, n_fours, 4):
            _multiply_four(weight, biases, hidden[b : b + 4], products[b : b + 4], i)
    for b in range(n_fours, len(hidden)):
        _multiply_one(weight, biases, hidden[b], products[b])


@njit(nogil=True)
def repeat_multiply(weight, biases, hidden, products, n_times):
    """Only the product of a step, many times, to measure what it costs. (N, H), (N,), (clips, H), (clips, N)."""
    for _ in range(n_times):
        _multiply(weight, biases, hidden, products)


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
def _largest(x):  # -> the first index of the largest
    """Compares bits as integers, which are ordered as the numbers are once those under 0 are turned round: a search for
    the largest float is not vectorised, since a NaN might be among them, one for the largest integer is."""
    bits, highest = x.view(np.int32), np.int32(-(2**31))
    for c in range(len(bits)):
        highest = max(highest, np.int32(bits[c] ^ ((bits[c] >> 31) & 0x7FFFFFFF)))
    for c in range(len(bits)):
        if np.int32(bits[c] ^ ((bits[c] >> 31) & 0x7FFFFFFF)) == highest:
            return c
    return 0


@njit(**FAST)
def _choose(logits, exponentials, temperature, top_p, p, scores):  # -> class; p and scores (C,): to work in
    best = _largest(logits)
    if temperature == np.float32(0.0):
        return best
    highest, scale = logits[best], np.float32(1.0) / temperature
    for c in range(len(logits)):
        p[c] = _exp((logits[c] - highest) * scale)
        scores[c] = p[c] / exponentials[c]
    allowed = top_p * p.sum()
    while True:
        best = _largest(scores)
        if top_p >= np.float32(1.0):
            return best
        above = np.float32(0.0)  # a class is in the smallest set that reaches top_p if those above it do not reach it
        for c in range(len(logits)):
            if logits[c] > logits[best] or (logits[c] == logits[best] and c < best):
                above += p[c]
        if above < allowed:
            return best
        scores[best] = np.float32(-1.0)


@_cached(SIGNATURE)
def _advance(weight, biases, table, conditions, noise, prime, hidden, previous, classes, logits, first, last, step,
             frame_length, temperature, top_p):  # fmt: skip
    n_clips, n_classes, n_gates = last - first, table.shape[0], table.shape[1]
    n_frames = conditions.shape[1]
    products = np.empty((n_clips, len(biases)), np.float32)
    p, scores = np.empty(n_classes, np.float32), np.empty(n_classes, np.float32)
    for t in range(-1, len(noise)):  # at -1 only the product that the first step starts from
        if t >= 0:
            frame = min((step + t) // frame_length, n_frames - 1)
            for b in range(first, last):
                _gru_step(table[previous[b]], conditions[b, frame], products[b - first, :n_gates], hidden[b])
        _multiply(weight, biases, hidden[first:last], products)  # these logits, and the next step's recurrent part
        if t >= 0:
            for b in range(first, last):
                scored = products[b - first, n_gates : n_gates + n_classes]
                if t < len(prime):
                    previous[b] = prime[t, b]
                else:
                    previous[b] = _choose(scored, noise[t, b], temperature, top_p, p, scores)
                classes[t, b] = previous[b]
                if t < len(logits):
                    logits[t, b] = scored
