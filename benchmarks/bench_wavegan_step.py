"""A training step of a conditional WaveGAN: as `fit_gan` takes it, beside the usual recipe, WGAN-GP."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks import Row
from course_lib.clips.clips import Clips
from course_lib.clips.loading import load_clips
from course_lib.losses.adversarial import Game
from course_lib.models.wavegan import WaveDiscriminator, WaveGenerator
from course_lib.settings.profiles import current_device
from course_lib.training.players import standing_still, update_average
from course_lib.training.precision import choose_precision, choose_threads

BATCH_SIZE = 64
SIZES = {  # row -> the generator's channels; the discriminator's are the same, the other way round
    "wavegan_step": (512, 256, 128, 64, 32),  # half as many as in the paper
    "wavegan_step_small": (192, 128, 64, 32, 16),  # the course's, for two cores
}
R1_EVERY = 16
N_PLAIN = 4  # of our steps a round: of 16, 15 are plain and one asks for the R1 penalty
N_ROUNDS = 3

Step = Callable[[int], dict[str, float]]


def run() -> list[Row]:
    """Milliseconds a step, medians of interleaved rounds: equal channels, kernels, clips and batch, the same threads.

    Ours: transposed up-sampling, hinge and an R1 penalty every 16 steps (a sixteenth of its cost counts), bf16 where
    that is measurably faster, fused optimizers, and the generator's average. The usual recipe (Donahue et al. 2019's
    game, with nearest-neighbour up-sampling against the buzz, Odena et al. 2016): a gradient penalty at each step,
    fp32, Adam a weight at a time. One turn of the discriminator for one of the generator in both.
    """
    device = current_device()
    all_threads = torch.get_num_threads()
    n_threads = choose_threads() if device.type == "cpu" else all_threads
    precision, why = choose_precision("auto", device, n_threads)
    print(f"wavegan_step: ours in {precision} ({why}), {n_threads} thread(s) on {device}, batch {BATCH_SIZE}")
    clips = load_clips().to(device)
    torch.set_num_threads(n_threads)
    try:
        return [_compare(name, clips, n_channels, precision == "bf16") for name, n_channels in SIZES.items()]
    finally:
        torch.set_num_threads(all_threads)


def _compare(name: str, clips: Clips, n_channels: tuple[int, ...], bf16: bool) -> Row:
    ours = make_step(clips, n_channels, ours=True, bf16=bf16)
    peer = make_step(clips, n_channels, ours=False, bf16=False)
    _same_work(ours(R1_EVERY), peer(1))  # and warm up
    plain, with_r1, peers = [], [], []
    for _ in range(N_ROUNDS):
        plain += [_step_ms(ours, n) for n in range(1, N_PLAIN + 1)]
        with_r1.append(_step_ms(ours, R1_EVERY))
        peers.append(_step_ms(peer, 1))
    plain_ms, r1_ms, peer_ms = map(statistics.median, (plain, with_r1, peers))
    print(f"{name}: plain {plain_ms:.0f} ms, with R1 {r1_ms:.0f} ms, the usual recipe {peer_ms:.0f} ms")
    ours_ms = ((R1_EVERY - 1) * plain_ms + r1_ms) / R1_EVERY
    return Row(name, ours_ms, peer_ms, "ms/step", higher_is_better=False)


def make_step(clips: Clips, n_channels: tuple[int, ...], *, ours: bool, bf16: bool) -> Step:
    """A function that takes step n of the training (both players' turns) and returns the losses before it."""
    device = clips.device
    labels = {"n_digits": len(clips.digit_names), "n_speakers": len(clips.speaker_names)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic = WaveDiscriminator(**labels, n_channels=n_channels[::-1])
        kind = "transposed" if ours else "nearest"
        generator = WaveGenerator(**labels, n_channels=n_channels, upsampling=kind)
    generator, critic = generator.to(device), critic.to(device)
    average = copy.deepcopy(generator)
    rules = {"loss": "hinge", "r1": 1.0, "r1_every": R1_EVERY} if ours else {"gradient_penalty": 10.0}
    game = Game(
        lambda index: (clips.waves[index], clips.digits[index], clips.speakers[index]),
        **({"loss": "wasserstein"} | rules),
    )
    how = {"fused": True} if ours else {"fused": False, "foreach": False}
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.5, 0.9), **how) for net in (critic, generator)]
    rng = torch.Generator(device).manual_seed(0)

    def step(n: int) -> dict[str, float]:
        index = torch.randint(len(clips), (BATCH_SIZE,), generator=rng, device=device)
        found = {}
        for turn, other, optimizer in zip(
            (game.discriminator_parts, game.generator_parts), (generator, critic), optimizers, strict=True
        ):
            with standing_still(other), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                parts = turn(generator, critic, index, rng, n)
            optimizer.zero_grad()
            sum(parts.values()).backward()
            optimizer.step()
            found |= {name: value.detach() for name, value in parts.items()}
        if ours:
            update_average(average, generator, 0.999)
        return {name: float(value) for name, value in found.items()}

    return step


def _same_work(ours: dict[str, float], peer: dict[str, float]) -> None:
    if not ours["r1"] > 0 or not peer["gradient_penalty"] > 0:
        raise RuntimeError(f"a penalty was not computed: ours {ours}, the usual recipe {peer}")


def _step_ms(step: Step, n: int) -> float:
    start_s = time.perf_counter()
    step(n)  # reads its losses, and so waits for a GPU
    return (time.perf_counter() - start_s) * 1_000
