"""The sampling loop on a GPU, recorded once as a CUDA graph and replayed: one launch for many steps, not ten for one.

The kernels of a step take a few microseconds each, and launching one from Python takes longer. A graph holds those
of STEPS_A_GRAPH steps with all their addresses; so everything that changes from replay to replay (noise, conditions,
classes) is copied into and out of buffers that stay where they are, and nothing in the loop waits for the GPU.

Letters: B clips, T samples, L frames of conditions, C classes, H hidden; K = STEPS_A_GRAPH.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.models.mulaw_rnn import FoldedRNN
from course_lib.sampling.choosing import choose
from course_lib.sampling.folded import Place, gru_step, stacked

STEPS_A_GRAPH = 64  # a clip of 8,192 samples is 128 replays; recording takes as long as 64 steps from Python
N_WARM_UP = 3  # steps before recording: libraries make their workspaces, kernels are loaded

Run = Callable[[int], None]  # so many steps on the buffers
Record = Callable[[Run], Callable[[], None]]  # -> what does STEPS_A_GRAPH of them when called


class Buffers(NamedTuple):
    """What a graph reads and writes, always at the same addresses."""

    state: Tensor  # (B, H)
    previous: Tensor  # (B,) int64
    noise: Tensor  # (K, B, C)
    told: Tensor  # (K, B, 3H): each step's condition
    given: Tensor  # (K, B) int64: a class that a step takes, -1 where it draws one
    classes: Tensor  # (K, B) int64
    logits: Tensor  # (K, B, C)


@torch.no_grad()
def advance_graphed(
    folded: FoldedRNN,
    noise: Tensor,
    place: Place,
    temperature: float,
    top_p: float,
    prime: Tensor | None = None,
    logits: Tensor | None = None,
) -> tuple[Tensor, Place]:
    """As folded.advance_folded, on a GPU. Each call records a graph: draw many samples a call.

    Raises: RuntimeError without CUDA; ValueError for tensors elsewhere."""
    if not torch.cuda.is_available():
        raise RuntimeError("sample_cuda_graph needs an NVIDIA GPU, and torch sees none; sample_compiled runs on a CPU")
    if not (noise.is_cuda and folded.table.is_cuda):
        raise ValueError(f"got noise on {noise.device} and weights on {folded.table.device}; need both on the GPU: "
                         "model.cuda() and noise.cuda()")  # fmt: skip
    with torch.cuda.device(noise.device):
        found = advance_in_parts(folded, noise, place, temperature, top_p, prime, logits, _record)
        torch.cuda.current_stream().synchronize()  # once, at the end: a graph must outlive its replays
    return found


def _record(run: Run) -> Callable[[], None]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(N_WARM_UP)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # records, runs nothing
        run(STEPS_A_GRAPH)
    return graph.replay


def advance_in_parts(
    folded: FoldedRNN,
    noise: Tensor,
    place: Place,
    temperature: float,
    top_p: float,
    prime: Tensor | None,
    logits: Tensor | None,
    record: Record,
) -> tuple[Tensor, Place]:
    """STEPS_A_GRAPH steps at a time: copy in, replay, copy out. The steps that are left over run one by one.

    record: makes a graph of them; whatever calls run(STEPS_A_GRAPH) does the same without a GPU."""
    buffers, (weight, biases) = _buffers(folded, place, noise), stacked(folded)  # kept until the last replay is over

    def run(n_steps: int) -> None:
        _steps(buffers, n_steps, folded.table, weight, biases, temperature, top_p)

    replay = record(run) if len(noise) >= STEPS_A_GRAPH else None
    buffers.state.copy_(place.state)  # the warm-up has moved them
    buffers.previous.copy_(place.previous)
    given = torch.full(noise.shape[:2], -1, dtype=torch.int64, device=noise.device)  # (T, B)
    if prime is not None:
        given[: prime.shape[1]] = prime.T
    steps = torch.arange(place.step, place.step + len(noise), device=noise.device)
    frames = (steps // folded.frame_length).clamp_(max=folded.conditions.shape[1] - 1)  # (T,)
    classes = torch.empty_like(given)
    for first in range(0, len(noise), STEPS_A_GRAPH):
        part, n = slice(first, first + STEPS_A_GRAPH), min(STEPS_A_GRAPH, len(noise) - first)
        buffers.noise[:n].copy_(noise[part])
        buffers.told[:n].copy_(folded.conditions[:, frames[part]].transpose(0, 1))
        buffers.given[:n].copy_(given[part])
        replay() if replay is not None and n == STEPS_A_GRAPH else run(n)
        classes[part].copy_(buffers.classes[:n])
        if logits is not None:
            logits[part].copy_(buffers.logits[:n])
    moved = Place(buffers.state.clone(), buffers.previous.clone(), place.step + len(noise))
    return classes.T.contiguous(), moved


def _buffers(folded: FoldedRNN, place: Place, noise: Tensor) -> Buffers:
    n_clips, n_classes = noise.shape[1:]
    classes = torch.full((STEPS_A_GRAPH, n_clips), -1, dtype=torch.int64, device=noise.device)
    scores = noise.new_ones(STEPS_A_GRAPH, n_clips, n_classes)  # as noise: something that can be warmed up with
    told = noise.new_zeros(STEPS_A_GRAPH, n_clips, folded.table.shape[1])
    return Buffers(place.state.clone(), place.previous.clone(), scores, told, classes, classes.clone(), scores.clone())


def _steps(
    buffers: Buffers, n_steps: int, table: Tensor, weight: Tensor, biases: Tensor, temperature: float, top_p: float
) -> None:
    """The first n_steps steps, in place. No shape, address or decision in here depends on a value on the GPU."""
    state, previous, n_gates = buffers.state, buffers.previous, table.shape[1]
    products = torch.addmm(biases, state, weight)
    for k in range(n_steps):
        state = gru_step(table.index_select(0, previous) + buffers.told[k], products, state)
        products = torch.addmm(biases, state, weight)
        scores = products[:, n_gates:]
        drawn = choose(scores, buffers.noise[k], temperature, top_p)
        previous = torch.where(buffers.given[k] >= 0, buffers.given[k], drawn)
        buffers.classes[k].copy_(previous)
        buffers.logits[k].copy_(scores)
    buffers.state.copy_(state)
    buffers.previous.copy_(previous)
