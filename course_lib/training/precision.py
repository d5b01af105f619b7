"""Is bf16 faster than fp32 here? Asked with a stopwatch, since flags do not tell.

A processor may list bf16 instructions and still be slower with them, since the work around the multiplications grows.
So one small training step of each kind is timed, once a process, in a fraction of a second.
"""

import statistics
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

PRECISIONS = ("auto", "fp32", "bf16")
WORTH_IT = 1.15  # bf16 keeps 8 bits of each number: it has to be clearly faster to be chosen
PROBE_S = 0.3


def choose_precision(precision: str, device: torch.device, n_threads: int) -> tuple[str, str]:
    """Settle "auto" by measurement.

    Args:    precision: "auto", "fp32" or "bf16"; n_threads: how many the training will use on a CPU.
    Returns: "fp32" or "bf16", and the reason in a few words.
    Raises:  ValueError if precision is none of the three."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision: got {precision!r}, need one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision, "as asked"
    if device.type not in ("cpu", "cuda"):
        return "fp32", f"bf16 is not tried on {device.type}"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "fp32", "this GPU has no bf16"
    speedup = bf16_speedup(device.type, n_threads)
    return ("bf16" if speedup >= WORTH_IT else "fp32"), f"bf16 runs at {speedup:.1f} x the speed of fp32 here"


@cache
def bf16_speedup(device_type: str, n_threads: int) -> float:
    """How many times faster a small convolutional training step is in bf16 than in fp32 with this many threads."""
    step = _probe_step(torch.device(device_type))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    all_threads = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        for bf16 in seconds:  # the first call pays for choosing kernels
            _seconds(step, bf16, device_type)
        started = time.perf_counter()
        while len(seconds[True]) < 5 or (time.perf_counter() - started < PROBE_S and len(seconds[True]) < 50):
            for bf16 in seconds:  # in turns, and the best of many, so that a busy machine does not decide
                seconds[bf16].append(_seconds(step, bf16, device_type))
    finally:
        torch.set_num_threads(all_threads)
    return min(seconds[False]) / min(seconds[True])


def choose_threads() -> int:
    """All of torch's threads, or 1 where that is faster now.

    Threads wait for each other many times a step. On a machine that is busy with something else too, one of them is
    always late, and two threads can be ten times slower than one. So this is asked before each long training."""
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return 1
    step = _probe_step(torch.device("cpu"))
    seconds: dict[int, list[float]] = {1: [], n_threads: []}
    started = time.perf_counter()
    try:
        while len(seconds[1]) < 4 or time.perf_counter() - started < PROBE_S:
            for n, taken_s in seconds.items():
                torch.set_num_threads(n)
                taken_s.append(_seconds(step, False, "cpu"))
    finally:
        torch.set_num_threads(n_threads)
    # Medians, where bf16_speedup takes the best: it is the waiting that is measured here.
    one_s, all_s = (statistics.median(taken_s[1:]) for taken_s in seconds.values())
    return 1 if one_s < all_s else n_threads


def _probe_step(device: torch.device) -> Callable[[bool], None]:
    """A step like the course's own: convolutions, a normalisation, a dense layer, forwards and backwards."""
    n_clips = 16 if device.type == "cpu" else 256
    with torch.random.fork_rng(devices=[]):  # asking about speed must not change what is drawn afterwards
        net = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.SiLU(), nn.Conv2d(64, 64, 3, stride=2)
        )
        head = nn.Linear(64 * 7 * 7, 128)
    net, head = net.to(device, memory_format=torch.channels_last), head.to(device)
    x = torch.zeros(n_clips, 32, 16, 16, device=device)

    def step(bf16: bool) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = F.silu(head(net(x).flatten(1))).float().mean()
        loss.backward()

    return step


def _seconds(step: Callable[[bool], None], bf16: bool, device_type: str) -> float:
    started = time.perf_counter()
    step(bf16)
    if device_type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
