"""Sampling 16 clips at once: our compiled loop, clips shared out among threads, beside the plain loop over nn.GRU."""

from __future__ import annotations

from benchmarks import Row
from benchmarks.bench_ar_sampling_b1 import compare_with_plain


def run() -> list[Row]:
    """Samples a second of all clips together, at the shipped size and a larger one; see compare_with_plain."""
    return compare_with_plain(16)
