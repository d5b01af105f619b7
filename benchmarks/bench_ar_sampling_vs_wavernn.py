"""Sampling one clip: our GRU beside torchaudio's WaveRNN at the same hidden size."""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.models import WaveRNN

from benchmarks import Row
from benchmarks.bench_ar_sampling_b1 import OTHER_HIDDEN, ready, samples_a_second
from course_lib.models.mulaw_rnn import MuLawRNN
from course_lib.sampling.choosing import draw_noise
from course_lib.sampling.samples import fastest_sampler
from course_lib.settings.profiles import current_device

N_STEPS = 1024
UPSAMPLE_SCALES = [4, 4, 8]  # 128 samples a frame, as our conditions have


def run() -> list[Row]:
    """Samples a second at the shipped hidden size and a larger one; for threads, see samples_a_second.

    Both draw their random numbers within their time, and neither is trained. WaveRNN (Kalchbrenner et al. 2018) as
    torchaudio has it is the larger network: two GRUs and four dense layers, which are given as many units as the state
    here (512 unless asked), so that a sample takes 4 times our multiplications. The rest of the ratio is the loop.
    """
    names = {MuLawRNN().config["n_hidden"]: "ar_sampling_vs_wavernn"}
    names.setdefault(OTHER_HIDDEN, f"ar_sampling_vs_wavernn_h{OTHER_HIDDEN}")
    return [_compare(name, n_hidden) for n_hidden, name in names.items()]


def _compare(name: str, n_hidden: int) -> Row:
    device, rng = current_device(), torch.Generator().manual_seed(0)
    model, conditions = ready(n_hidden, 1)
    sampler, n_classes = fastest_sampler(device), model.config["n_classes"]
    peer = WaveRNN(UPSAMPLE_SCALES, n_classes, hop_length=128, n_rnn=n_hidden, n_fc=n_hidden, n_freq=64)
    peer, mels = peer.to(device).eval(), torch.zeros(1, 64, N_STEPS // 128, device=device)

    def ours() -> Tensor:
        return sampler(model, conditions, draw_noise(N_STEPS, 1, n_classes, rng).to(device))

    @torch.inference_mode()
    def peers() -> Tensor:
        return peer.infer(mels)[0]

    for loop in (ours, peers):
        if loop().numel() != N_STEPS:  # compiles, and warms up
            raise RuntimeError(f"{name}: {loop.__name__} made {loop().numel()} samples, need {N_STEPS}")
    return Row(name, *samples_a_second([ours, peers]), "samples/s", higher_is_better=True)
