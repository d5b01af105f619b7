"""A recurrent network that speaks frame by frame: each mel frame is drawn, given all frames before it.

A frame is told by a few principal coordinates of its 64 mels. What the network says of the next one is a mixture of
Gaussians (Bishop 1994; for sequences Graves 2013), since speech may go on in several ways and their mean is none.

Letters: B clips, M mels, L frames, P principal coordinates, K components of the mixture, H hidden.
Taught in: notebooks/08_a_network_that_remembers.ipynb
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.layers.conditioning import Labels
from course_lib.models.layers.subspaces import pca

SILENT = -1.0  # of a unit log-mel
FIT_FRAMES = 40_000  # enough for a PCA of 64 values, seconds less than all


class FrameMixture(NamedTuple):
    """What is said of each next frame, and the state to go on from."""

    log_weights: Tensor  # (B, L, K), their exponentials sum to 1
    means: Tensor  # (B, L, K, P)
    sigmas: Tensor  # (B, L, K, P)
    stop_logits: Tensor  # (B, L): of this frame being the clip's last
    state: Tensor  # (1, B, H)


class MelRNN(nn.Module):
    """Previous frames, digit and speaker -> how likely each next frame is, and whether it is the last.

    Args:
        n_digits, n_speakers: how many labels.
        n_principal: coordinates a frame; with all 64, most of the effort goes into what is hardly heard.
        n_hidden, n_embed: length of the state, and of a label's vector.
        n_mixtures: components of the mixture.
        n_mels, n_frames: size of a picture.
        sigma_floor: least standard deviation, in units of the coordinates' spread. Without it, a component that settles
            on frames that never vary (silence) makes the likelihood grow for ever.
    """

    def __init__(
        self,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_principal: int = 24,
        n_hidden: int = 256,
        n_mixtures: int = 8,
        n_embed: int = 32,
        n_mels: int = 64,
        n_frames: int = 64,
        sigma_floor: float = 0.1,
    ):
        super().__init__()
        if not 1 <= n_principal <= n_mels or min(n_hidden, n_mixtures, n_embed, n_frames) < 1 or sigma_floor < 0:
            raise ValueError(
                f"got n_principal={n_principal} of {n_mels} mels, n_hidden={n_hidden}, n_mixtures={n_mixtures}, "
                f"n_embed={n_embed}, n_frames={n_frames}, sigma_floor={sigma_floor}; need 1 <= n_principal <= n_mels, "
                "at least 1 of the rest, and a floor of 0 or more"
            )
        self.config = {
            "n_digits": n_digits,
            "n_speakers": n_speakers,
            "n_principal": n_principal,
            "n_hidden": n_hidden,
            "n_mixtures": n_mixtures,
            "n_embed": n_embed,
            "n_mels": n_mels,
            "n_frames": n_frames,
            "sigma_floor": sigma_floor,
        }
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("basis", torch.eye(n_mels, n_principal))  # (M, P): until start_at(), some mels
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("left_over", torch.zeros(n_mels))  # (M,): put back as noise
        self.labels = Labels(n_digits, n_speakers, n_embed)
        self.to_input = nn.Linear(n_principal + 2 * n_embed, n_hidden)
        self.gru = nn.GRU(n_hidden, n_hidden, batch_first=True)
        widths = (n_hidden + 2 * n_embed, n_hidden, n_mixtures * (1 + 2 * n_principal) + 1)
        self.to_mixture = nn.Sequential(nn.Linear(*widths[:2]), nn.SiLU(), nn.Linear(*widths[1:]))

    @torch.no_grad()
    def start_at(self, unit_mel: Tensor, n_frames: Tensor) -> MelRNN:
        """Fit the principal coordinates to the frames of speech of these pictures; training clips only.

        Args:    unit_mel: (N, M, L); n_frames: (N,) int64, how many frames of each belong to the recording."""
        inside = torch.arange(unit_mel.shape[2], device=unit_mel.device) < n_frames.unsqueeze(1)  # (N, L)
        frames = unit_mel.transpose(1, 2)[inside]  # (frames, M)
        frames = frames[:: max(1, len(frames) // FIT_FRAMES)]
        mean, basis = pca(frames, self.config["n_principal"])
        self.mean.copy_(mean)
        self.basis.copy_(basis)
        centred = frames.to(self.mean) - self.mean
        told = centred @ self.basis  # (frames, P)
        self.spread.copy_(told.square().mean().sqrt())
        self.left_over.copy_((centred - told @ self.basis.T).square().mean(dim=0).sqrt())
        return self

    def coordinates(self, unit_mel: Tensor) -> Tensor:
        """Pictures (B, M, L) -> the coordinates of each frame (B, L, P), of a spread of about 1."""
        size = self.config["n_mels"]
        if unit_mel.ndim != 3 or unit_mel.shape[1] != size:
            raise ValueError(f"unit_mel: got shape {tuple(unit_mel.shape)}, need (B, {size}, L)")
        return (unit_mel.transpose(1, 2) - self.mean) @ self.basis / self.spread

    def pictures(self, coordinates: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Coordinates (B, L, P) -> unit log-mels (B, M, L) in [-1, 1]; with rng, what PCA left out comes as noise."""
        frames = coordinates * self.spread @ self.basis.T + self.mean  # (B, L, M)
        if rng is not None:
            frames = frames + self.left_over * torch.randn(frames.shape, generator=rng, device=rng.device).to(frames)
        return frames.transpose(1, 2).clamp(-1, 1)

    def silent_frame(self) -> Tensor:
        """What stands before the first frame: (P,)."""
        return (SILENT - self.mean) @ self.basis / self.spread

    def forward(self, previous: Tensor, digits: Tensor, speakers: Tensor, state: Tensor | None = None) -> FrameMixture:
        """previous: (B, L, P), previous[:, l] is the frame before the one that is said something of; labels (B,)."""
        n_principal, n_mixtures = self.config["n_principal"], self.config["n_mixtures"]
        if previous.ndim != 3 or previous.shape[2] != n_principal:
            raise ValueError(f"previous: got shape {tuple(previous.shape)}, need (B, L, {n_principal})")
        vectors = torch.cat(self.labels.pair(len(previous), digits, speakers), dim=1)  # (B, 2 * n_embed)
        vectors = vectors.unsqueeze(1).expand(-1, previous.shape[1], -1)  # (B, L, 2 * n_embed)
        x = F.silu(self.to_input(torch.cat([previous, vectors], dim=2)))  # (B, L, H)
        hidden, state = self.gru(x, state)  # (B, L, H), (1, B, H)
        out = self.to_mixture(torch.cat([hidden, vectors], dim=2))  # (B, L, K + 2 K P + 1)
        n_values = n_mixtures * n_principal
        weights, means, spreads, stop = out.split([n_mixtures, n_values, n_values, 1], dim=2)
        return FrameMixture(
            weights.log_softmax(dim=2),
            means.unflatten(2, (n_mixtures, n_principal)),
            self.config["sigma_floor"] + F.softplus(spreads.unflatten(2, (n_mixtures, n_principal))),
            stop.squeeze(2),
            state,
        )


def frames_of_speech(n_valid: Tensor, hop_length: int, n_frames: int) -> Tensor:
    """How many frames of a picture the recording reaches, the one after its end included, which is its fading out.

    Args:    n_valid: (N,) int64 samples.     Returns: (N,) int64, at most n_frames."""
    return ((n_valid + hop_length - 1) // hop_length + 1).clamp(max=n_frames)
