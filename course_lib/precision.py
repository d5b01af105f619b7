"""Is bf16 faster than fp32 here? Asked with a stopwatch, since flags do not tell.

A processor may list bf16 instructions and still be slower with them (the work around the multiplications grows), or
speed up matrix products and not convolutions. So one small training step of each kind is timed, once a process.
"""
import time
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

PRECISIONS = ("auto", "fp32", "bf16")
WORTH_IT = 1.15  # bf16 keeps 8 bits of a number: it has to be clearly faster to be chosen


def choose_precision(precision: str, device: torch.device) -> tuple[str, str]:
    """Settle "auto" by measurement.

    Args:    precision: "auto", "fp32" or "bf16".
    Returns: "fp32" or "bf16", and the reason in a few words.
    Raises:  ValueError if precision is none of the three."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision: got {precision!r}, need one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision, "as asked"
    if device.type not in ("cpu", "cuda"):
        return "fp32", f"bf16 is not tried on {device.type}"
    speedup = bf16_speedup(device.type, torch.get_num_threads())
    return ("bf16" if speedup >= WORTH_IT else "fp32"), f"bf16 runs at {speedup:.1f} x the speed of fp32 here"


@cache
def bf16_speedup(device_type: str, n_threads: int) -> float:
    """How many times faster a small convolutional training step is in bf16 than in fp32.

    Measured once a process for each device and number of threads; takes a fraction of a second.
    """
    if device_type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return 0.0
    step = _probe_step(torch.device(device_type))
    fp32_s, bf16_s = [], []
    step(True), step(False)  # the first call pays for kernel selection
    for _ in range(5):  # in turns, so that a busy machine slows both
        fp32_s.append(_seconds(step, False, device_type))
        bf16_s.append(_seconds(step, True, device_type))
    return min(fp32_s) / min(bf16_s)


def _probe_step(device: torch.device):
    """A step like the course's own: a convolution, a normalisation, a dense layer, forwards and backwards."""
    with torch.random.fork_rng(devices=[]):  # asking about speed must not change what is drawn afterwards
        size = 32 if device.type == "cpu" else 256
        net = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.SiLU(), nn.Conv2d(64, 64, 3, stride=2))
        net, head = net.to(device), nn.Linear(64 * 49, 128).to(device)
        x = torch.zeros(size, 32, 16, 16, device=device)

    def step(bf16: bool) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = F.silu(head(net(x).flatten(1))).float().mean()
        loss.backward()

    return step


def _seconds(step, bf16: bool, device_type: str) -> float:
    started = time.perf_counter()
    step(bf16)
    if device_type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
