"""Generators and discriminators: dense ones for toys, convolutional ones for spectrograms (Goodfellow et al. 2014).

A generator turns noise into something like the data; a discriminator gives each clip a score, a *logit*: no sigmoid at
its end, since every loss of course_lib.losses.adversarial wants the logit itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.autoencoder import SILENCE, check_rows, halved_size, keep_scale
from course_lib.models.layers.conditioning import Labels, Norm, Projection, bound_slopes

LEAK = 0.2  # of the discriminators' LeakyReLU: where a ReLU is dead, no gradient would reach the generator


def leaky_stack(sizes: tuple[int, ...]) -> nn.Sequential:
    """Linear layers from sizes[0] to sizes[-1], with a LeakyReLU between each two of them."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers[:-1])


class DenseGenerator(nn.Module):
    """Noise to rows of numbers, for toys and single frames.

    Args:
        n_features: length of a row.
        n_hidden: sizes of the layers between.
        z_dim: length of the noise.
    """

    def __init__(self, n_features: int = 1, n_hidden: tuple[int, ...] = (32, 32), z_dim: int = 8):
        super().__init__()
        self.config = {"n_features": n_features, "n_hidden": list(n_hidden), "z_dim": z_dim}
        self.layers = leaky_stack((z_dim, *n_hidden, n_features))

    def forward(self, noise: Tensor) -> Tensor:  # (B, Z)
        return self.layers(check_rows("noise", noise, self.config["z_dim"]))  # (B, n_features), any range


class DenseDiscriminator(nn.Module):
    """Rows of numbers to one logit each.

    Args:
        n_features: length of a row.
        n_hidden: sizes of the layers between.
        spectral: bound each layer's largest singular value by 1.
    """

    def __init__(self, n_features: int = 1, n_hidden: tuple[int, ...] = (32, 32), spectral: bool = False):
        super().__init__()
        self.config = {"n_features": n_features, "n_hidden": list(n_hidden), "spectral": spectral}
        self.layers = leaky_stack((n_features, *n_hidden, 1))
        if spectral:
            bound_slopes(self)

    def forward(self, x: Tensor) -> Tensor:  # (B, n_features)
        return self.layers(check_rows("x", x, self.config["n_features"])).squeeze(1)  # (B,)


class ConvGenerator(nn.Module):
    """Paint a log-mel from noise: a dense layer makes a coarse grid, transposed convolutions double it several times.

    (512, 256, 128, 64) channels are DCGAN's ladder (Radford et al. 2016); the default is a small one for two cores.

    Args:
        z_dim: length of the noise.
        n_digits, n_speakers: how many labels; 0 for both: an unconditional generator.
        n_embed: length of each label's vector.
        n_mels, n_frames: size of the pictures; what is painted beyond is cut off.
        n_channels: channels before each doubling.
        norm: after each doubling but the last: "none", "batch" or "conditional".
    """

    def __init__(
        self,
        z_dim: int = 100,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_embed: int = 16,
        n_mels: int = 64,
        n_frames: int = 64,
        n_channels: tuple[int, ...] = (128, 96, 64, 32),
        norm: str = "batch",
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_digits": n_digits, "n_speakers": n_speakers, "n_embed": n_embed}
        self.config |= {"n_mels": n_mels, "n_frames": n_frames, "n_channels": list(n_channels), "norm": norm}
        self.labels = Labels(n_digits, n_speakers, n_embed)
        n_condition = self.labels.n_out
        self.grid = halved_size(n_mels, n_frames, len(n_channels))
        self.from_noise = nn.Linear(z_dim + n_condition, n_channels[0] * self.grid[0] * self.grid[1])
        # Kernels of 4 at a stride of 2 paint every pixel equally often: no checkerboard (Odena et al. 2016).
        self.doublings = nn.ModuleList(
            nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)
            for n_in, n_out in zip(n_channels, [*n_channels[1:], 1], strict=True)
        )
        keep_scale(self, followed_by_silu=True)
        keep_scale(self.doublings[-1], followed_by_silu=False)
        nn.init.constant_(self.doublings[-1].bias, SILENCE)  # more than half of every picture
        self.norms = nn.ModuleList(Norm(n, 2, norm, n_condition) for n in n_channels)
        self.to(memory_format=torch.channels_last)

    def forward(self, noise: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, Z), and (B,) int64 twice if there are labels -> unit log-mels (B, M, L) within [-1, 1].

        Raises: ValueError for noise of another length, or labels the generator was not built for."""
        check_rows("noise", noise, self.config["z_dim"])
        code, vectors = self.labels(noise, digits, speakers)
        x = self.from_noise(code).unflatten(1, (-1, *self.grid))  # (B, C, M', L')
        for norm, double in zip(self.norms, self.doublings, strict=True):
            x = double(F.relu(norm(x, vectors)))
        return torch.tanh(x[:, 0, : self.config["n_mels"], : self.config["n_frames"]])  # (B, M, L)


class ConvDiscriminator(nn.Module):
    """Score a log-mel: strided convolutions halve it, a dense layer makes features, a projection joins the labels.

    Args:
        n_digits, n_speakers: how many labels; 0 for both: an unconditional discriminator.
        n_mels, n_frames: size of the pictures; what can't be halved often enough is filled up with silence.
        n_channels: channels after each halving.
        n_features: length of the features that the labels are compared with.
        spectral: bound each layer's largest singular value by 1 (Miyato et al. 2018).
    """

    def __init__(
        self,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_mels: int = 64,
        n_frames: int = 64,
        n_channels: tuple[int, ...] = (32, 64, 96, 128),
        n_features: int = 64,
        spectral: bool = True,
    ):
        super().__init__()
        self.config = {"n_digits": n_digits, "n_speakers": n_speakers, "n_mels": n_mels, "n_frames": n_frames}
        self.config |= {"n_channels": list(n_channels), "n_features": n_features, "spectral": spectral}
        self.grid = halved_size(n_mels, n_frames, len(n_channels))
        layers: list[nn.Module] = []
        for n_in, n_out in zip([1, *n_channels], n_channels, strict=False):
            # No batch norm: a penalty asks for the slope at each clip, which must not depend on its neighbours.
            layers += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), nn.LeakyReLU(LEAK)]
        self.convolve = nn.Sequential(*layers)
        self.to_features = nn.Linear(n_channels[-1] * self.grid[0] * self.grid[1], n_features)
        self.project = Projection(n_features, n_digits, n_speakers)
        keep_scale(self, followed_by_silu=True)
        keep_scale(self.project, followed_by_silu=False)
        if spectral:
            bound_slopes(self)
        self.to(memory_format=torch.channels_last)

    def forward(self, unit_mel: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, M, L), and (B,) int64 twice if there are labels -> (B,) logits.

        Raises: ValueError for another size of picture, or labels the discriminator was not built for."""
        n_mels, n_frames = self.config["n_mels"], self.config["n_frames"]
        if unit_mel.ndim != 3 or unit_mel.shape[1:] != (n_mels, n_frames):
            raise ValueError(
                f"unit_mel: got shape {tuple(unit_mel.shape)}, need (B, {n_mels}, {n_frames}); make it with "
                "clips.clip_log_mels(clips, cfg), or build the model with n_mels=..., n_frames=..."
            )
        n_halvings = len(self.config["n_channels"])
        n_below, n_after = (self.grid[0] << n_halvings) - n_mels, (self.grid[1] << n_halvings) - n_frames
        x = F.pad(unit_mel.unsqueeze(1), (0, n_after, 0, n_below), value=SILENCE)
        features = F.leaky_relu(self.to_features(self.convolve(x).flatten(1)), LEAK)  # (B, n_features)
        return self.project(features, digits, speakers)  # (B,)
