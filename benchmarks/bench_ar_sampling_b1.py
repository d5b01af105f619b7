"""Sampling one clip, sample by sample: our compiled loop beside the plain loop over nn.GRU, the same samples."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import Row
from course_lib.models.mulaw_rnn import MuLawRNN
from course_lib.sampling.choosing import draw_noise
from course_lib.sampling.samples import Sampler, fastest_sampler, sample_plain
from course_lib.settings.profiles import current_device
from course_lib.training.precision import choose_threads

N_STEPS = 2048  # a quarter of a clip
N_ROUNDS = 9
OTHER_HIDDEN = 256  # shipped is what MuLawRNN has unless told otherwise


def run() -> list[Row]:
    """Samples a second, at the shipped size and a larger one."""
    return compare_with_plain(1)


def compare_with_plain(n_clips: int) -> list[Row]:
    """Medians of interleaved rounds, in fp32, weights as they are drawn.

    Both loops are handed the conditions and the same noise, drawn before the clock starts (draw_noise takes 1 to 2 us a
    sample, the same for both); ours folds the model within its time.

    Raises: RuntimeError if they do not draw the same samples."""
    shipped = MuLawRNN().config["n_hidden"]
    name = f"ar_sampling_b{n_clips}"
    sizes = {shipped: name} | {OTHER_HIDDEN: f"{name}_h{OTHER_HIDDEN}"} if shipped != OTHER_HIDDEN else {shipped: name}
    return [_compare(name, n_hidden, n_clips) for n_hidden, name in sizes.items()]


def _compare(name: str, n_hidden: int, n_clips: int) -> Row:
    device = current_device()
    model, conditions = ready(n_hidden, n_clips)
    noise = draw_noise(N_STEPS, n_clips, model.config["n_classes"], torch.Generator().manual_seed(0)).to(device)
    loops: list[Sampler] = [fastest_sampler(device), sample_plain]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine, more can take minutes
    drawn = [loop(model, conditions, noise) for loop in loops]  # compiles, and warms up
    torch.set_num_threads(n_threads)
    if not torch.equal(*drawn):
        raise RuntimeError(f"{name}: {loops[0].__name__} and sample_plain drew different samples from the same noise")
    speeds = samples_a_second([lambda loop=loop: loop(model, conditions, noise) for loop in loops])
    return Row(name, *speeds, "samples/s", higher_is_better=True)


@torch.no_grad()
def ready(n_hidden: int, n_clips: int) -> tuple[MuLawRNN, Tensor]:
    """A model of this size, and conditions (B, L, n_in)."""
    torch.manual_seed(0)
    model = MuLawRNN(n_hidden=n_hidden).eval()
    index, every = torch.arange(n_clips), torch.ones(n_clips)
    conditions = model.conditions(index % 10, index % 6, 0.5 * every, 120 * every)
    return model.to(current_device()), conditions.to(current_device())


def samples_a_second(loops: list[Callable[[], Tensor]]) -> list[float]:
    """What ours, then the peer make, (B, T) or (B, 1, T), a second: medians of interleaved rounds.

    Both use as many threads as are faster now: all, or one on a busy machine, where a late thread holds up the rest."""
    all_threads, speeds = torch.get_num_threads(), ([], [])
    torch.set_num_threads(choose_threads())
    try:
        for _ in range(N_ROUNDS):
            for loop, found in zip(loops, speeds, strict=True):
                start_s = time.perf_counter()
                n_samples = loop().cpu().numel()  # .cpu() waits for a GPU
                found.append(n_samples / (time.perf_counter() - start_s))
    finally:
        torch.set_num_threads(all_threads)
    return [statistics.median(found) for found in speeds]
