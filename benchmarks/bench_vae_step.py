"""A training step of the conditional VAE: as `fit` takes it, beside the plain one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from benchmarks import Row
from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import Clips
from course_lib.clips.loading import load_clips
from course_lib.losses.variational import elbo_parts
from course_lib.models.vae import ConditionalVAE
from course_lib.settings.profiles import current_device
from course_lib.sound.features import AudioConfig
from course_lib.training.precision import choose_precision, choose_threads

BATCH_SIZE = 64
N_WARM_UP = 3
N_ROUNDS = 30


def run() -> list[Row]:
    """Milliseconds a step, medians of interleaved rounds: the same network, data and draws, in the same threads.

    Ours is laid out with channels side by side, in bf16 where that is measurably faster, with a fused optimizer. The
    peer is what PyTorch does unless told otherwise: fp32, channels one after another, AdamW a weight at a time.
    """
    device = current_device()
    all_threads = torch.get_num_threads()
    n_threads = choose_threads() if device.type == "cpu" else all_threads
    precision, why = choose_precision("auto", device, n_threads)
    print(f"vae_step: ours in {precision} ({why}), {n_threads} thread(s) on {device}")
    clips = load_clips().to(device)
    mels = clip_log_mels(clips, AudioConfig())
    ours = make_step(clips, mels, ours=True, bf16=precision == "bf16")
    peer = make_step(clips, mels, ours=False, bf16=False)
    _same_network(ours, peer)
    torch.set_num_threads(n_threads)
    try:
        for _ in range(N_WARM_UP):
            ours(), peer()
        pairs = [(_step_ms(ours, device), _step_ms(peer, device)) for _ in range(N_ROUNDS)]
    finally:
        torch.set_num_threads(all_threads)
    ours_ms, peer_ms = (statistics.median(column) for column in zip(*pairs, strict=True))
    return [Row("vae_step", ours_ms, peer_ms, "ms/step", higher_is_better=False)]


def make_step(clips: Clips, mels: torch.Tensor, *, ours: bool, bf16: bool) -> Callable[[], torch.Tensor]:
    """A function that takes one training step on the next batch and returns the loss before it."""
    device = mels.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConditionalVAE(n_digits=len(clips.digit_names), n_speakers=len(clips.speaker_names))
    model.to(device)
    if ours:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    else:
        model.to(memory_format=torch.contiguous_format)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=False, foreach=False)
    rng = torch.Generator(device).manual_seed(0)

    def step() -> torch.Tensor:
        index = torch.randint(len(clips), (BATCH_SIZE,), generator=rng, device=device)
        digits, speakers, mel = clips.digits[index], clips.speakers[index], mels[index]
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            parts = elbo_parts(mel, *model(mel, digits, speakers, rng))
        optimizer.zero_grad()
        loss = sum(parts.values())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _same_network(ours: Callable[[], torch.Tensor], peer: Callable[[], torch.Tensor]) -> None:
    one, other = float(ours()), float(peer())
    if abs(one - other) > 0.01 * abs(other):
        raise RuntimeError(
            f"the first losses are {one:.1f} and {other:.1f} nats: not the same network, or not its loss"
        )


def _step_ms(step: Callable[[], torch.Tensor], device: torch.device) -> float:
    start_s = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start_s) * 1_000
