"""Generating waveforms: times real time, one clip and 64 at once."""

from __future__ import annotations

import statistics
import time

import torch

from benchmarks import Row
from course_lib.models.wavegan import WaveGenerator
from course_lib.settings.profiles import current_device
from course_lib.sound.features import AudioConfig
from course_lib.training.precision import choose_threads

N_WARM_UP = 3
N_ROUNDS = {1: 100, 64: 15}  # by batch


def run() -> list[Row]:
    """Seconds of sound a second, medians of interleaved rounds, in eval mode, without gradients, in fp32.

    Ours is WaveGenerator as notebook 07 builds it, the peer the same with nearest-neighbour up-sampling: both have as
    many weights, and write waves of the same length.
    """
    device = current_device()
    all_threads = torch.get_num_threads()
    models = [WaveGenerator(upsampling=kind).to(device).eval() for kind in ("transposed", "nearest")]
    if device.type == "cpu":
        torch.set_num_threads(choose_threads())
    try:
        return [_compare(*models, batch_size, n_rounds) for batch_size, n_rounds in N_ROUNDS.items()]
    finally:
        torch.set_num_threads(all_threads)


@torch.inference_mode()
def _compare(ours: WaveGenerator, peer: WaveGenerator, batch_size: int, n_rounds: int) -> Row:
    for _ in range(N_WARM_UP):
        _times_real_time(ours, batch_size), _times_real_time(peer, batch_size)
    pairs = [(_times_real_time(ours, batch_size), _times_real_time(peer, batch_size)) for _ in range(n_rounds)]
    ours_speed, peer_speed = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(f"wavegan_generate_b{batch_size}", ours_speed, peer_speed, "x real time", higher_is_better=True)


def _times_real_time(model: WaveGenerator, batch_size: int) -> float:
    device = next(model.parameters()).device
    start_s = time.perf_counter()
    noise = torch.randn(batch_size, model.config["z_dim"], device=device)
    labels = torch.arange(batch_size, device=device)
    waves = model(noise, labels % model.config["n_digits"], labels % model.config["n_speakers"]).cpu()  # waits
    return waves.numel() / AudioConfig().sample_rate_hz / (time.perf_counter() - start_s)
