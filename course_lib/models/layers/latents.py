"""Gaussians of what a label leaves open (a code, a duration, a pitch), kept like a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_lib.models.layers.conditioning import check_labels


def balanced_labels(n_clips: int, n_digits: int = 10, n_speakers: int = 6) -> tuple[Tensor, Tensor]:
    """Labels for n_clips samples: digits in turn, and with each round of digits the next speaker.

    Every n_digits * n_speakers clips hold each pair once.

    Returns: digits (B,) in 0 ... n_digits - 1, speakers (B,) in 0 ... n_speakers - 1; int64."""
    if min(n_clips, n_digits, n_speakers) < 1:
        raise ValueError(f"got {n_clips} clips, {n_digits} digits, {n_speakers} speakers; need at least 1 each")
    index = torch.arange(n_clips)
    return index % n_digits, index // n_digits % n_speakers


class LatentGaussians(nn.Module):
    """A Gaussian over codes for each digit and speaker, fitted to where the encoder puts their clips.

    A module, so that it is saved, loaded and moved like a model; there is nothing in it to train.

    Args:
        n_digits, n_speakers, z_dim: sizes; all Gaussians are N(0, I) until fitted.
    """

    def __init__(self, n_digits: int, n_speakers: int, z_dim: int):
        super().__init__()
        self.config = {"n_digits": n_digits, "n_speakers": n_speakers, "z_dim": z_dim}
        self.register_buffer("mean", torch.zeros(n_digits, n_speakers, z_dim))
        self.register_buffer("scale_tril", torch.eye(z_dim).repeat(n_digits, n_speakers, 1, 1))

    def draw(self, digits: Tensor, speakers: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """One code for each pair of labels.

        Args:    digits, speakers: (B,) int64; temperature: 0 gives the means, 1 the fitted spread.
        Returns: (B, Z).
        Raises:  ValueError for unknown labels, or a temperature under 0."""
        check_labels(digits, speakers, self.config["n_digits"], self.config["n_speakers"])
        if not temperature >= 0:
            raise ValueError(f"temperature: got {temperature}, need 0 (the means) or more; 1 is the fitted spread")
        noise = torch.randn(len(digits), self.config["z_dim"], generator=rng, device=rng.device).to(self.mean)
        spread = torch.einsum("bij,bj->bi", self.scale_tril[digits, speakers], noise)  # (B, Z)
        return self.mean[digits, speakers] + temperature * spread

    def draw_n(self, n_clips: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """n_clips codes, of all digits and speakers in turn: (B, Z). For the unconditional case, where there is one."""
        digits, speakers = balanced_labels(n_clips, self.config["n_digits"], self.config["n_speakers"])
        return self.draw(digits.to(self.mean.device), speakers.to(self.mean.device), rng, temperature)
