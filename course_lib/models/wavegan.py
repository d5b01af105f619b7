"""WaveGAN: noise to waveform and back to a score, by one-dimensional convolutions (Donahue et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.autoencoder import check_rows, keep_scale
from course_lib.models.gan import LEAK
from course_lib.models.layers.conditioning import Labels, Norm, Projection, bound_slopes
from course_lib.models.layers.phases import StridedConv1d, TransposedConv1d, conv_transposed

UPSAMPLINGS = ("transposed", "smoothed", "nearest", "linear")


def phase_shuffle(x: Tensor, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Shift each clip along its last axis by its own amount, -n to n; what is missing at an edge is reflected.

    All channels of a clip move together: a discriminator that sees this can't judge by the exact phase of the buzz that
    up-sampling leaves, and would otherwise win by it (Donahue et al. 2019).

    Args:
        x: (B, C, T).
        n: largest shift in samples, 0 to T - 1.
        rng: torch's own generator unless given, as in dropout.
    Returns: (B, C, T).
    Raises:  ValueError if x has other axes, or is too short to be reflected n samples deep.

    Taught in: notebooks/07_gans_on_waveforms.ipynb
    """
    if x.ndim != 3 or not 0 <= n < x.shape[2]:
        raise ValueError(f"got x {tuple(x.shape)} and n={n}; need (B, C, T), and n from 0 to T - 1")
    if n == 0:
        return x
    device = x.device if rng is None else rng.device
    shift = torch.randint(-n, n + 1, (len(x), 1), generator=rng, device=device).to(x.device)  # (B, 1)
    last = x.shape[2] - 1
    source = (torch.arange(last + 1, device=x.device) - shift).abs()  # (B, T): reflected at the start
    source = last - (last - source).abs()  # and at the end
    return x.gather(2, source.unsqueeze(1).expand_as(x))


class PhaseShuffle(nn.Module):
    """phase_shuffle while training, nothing in eval mode.

    Args:    n: largest shift in samples."""

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:  # (B, C, T)
        return phase_shuffle(x, self.n) if self.training else x  # (B, C, T)

    def extra_repr(self) -> str:
        return f"n={self.n}"


class SmoothedUpsampler(nn.ConvTranspose1d):
    """A transposed convolution whose kernels are smoothed by a box as long as the stride.

    The sums of what each phase receives are then equal, so that a constant comes out constant: no line at a multiple of
    the stride's frequency (Odena et al. 2016; Pons et al. 2021). It is nearest-neighbour stretching followed by a
    convolution with the short kernel, at the cost of a transposed convolution.

    Args:
        n_in, n_out: channels.
        n_kernel: length once smoothed: n_kernel - stride + 1 weights are learned.
        stride: how many samples each becomes.
    """

    def __init__(self, n_in: int, n_out: int, n_kernel: int, stride: int):
        super().__init__(n_in, n_out, n_kernel - stride + 1, stride, padding=(n_kernel - stride) // 2)

    def forward(self, x: Tensor) -> Tensor:  # (B, n_in, T)
        stride = self.stride[0]
        # A mean of `stride` independent weights is weaker than one of them by the square root of their number.
        kernel = F.avg_pool1d(F.pad(self.weight, (stride - 1, stride - 1)), stride, 1) * stride**0.5
        return conv_transposed(x, kernel, self.bias, stride)  # (B, n_out, stride * T)


def upsampler(kind: str, n_in: int, n_out: int, n_kernel: int, stride: int) -> nn.Module:
    """(B, n_in, T) -> (B, n_out, stride * T), by the same number of weights whatever the kind (smoothed: some fewer).

    Args:    kind: "transposed"; "smoothed", see SmoothedUpsampler; or "nearest" and "linear": stretch, then convolve.
    Raises:  ValueError for another kind, or a kernel that paints some samples more often than others."""
    if kind not in UPSAMPLINGS:
        raise ValueError(f"upsampling: got {kind!r}, need one of {', '.join(UPSAMPLINGS)}")
    if n_kernel < stride or (n_kernel - stride) % 2:
        raise ValueError(f"got n_kernel={n_kernel}, stride={stride}; need n_kernel - stride even and not negative")
    if kind == "smoothed":
        return SmoothedUpsampler(n_in, n_out, n_kernel, stride)
    if kind == "transposed":
        return TransposedConv1d(n_in, n_out, n_kernel, stride)
    stretch = nn.Upsample(scale_factor=stride, mode=kind)
    n_before = (n_kernel - 1) // 2
    return nn.Sequential(
        stretch, nn.ConstantPad1d((n_before, n_kernel - 1 - n_before), 0.0), nn.Conv1d(n_in, n_out, n_kernel)
    )


class WaveGenerator(nn.Module):
    """Noise to waveform: a dense layer makes a few steps of many channels, each up-sampling makes four times as many.

    Args:
        z_dim: length of the noise.
        n_digits, n_speakers: how many labels; 0 for both: an unconditional generator.
        n_embed: length of each label's vector.
        n_samples: length of the waves; what is made beyond is cut off.
        n_channels: channels before each up-sampling.
        n_kernel, stride: of each up-sampling. 24 is a multiple of 4, so that every sample is painted six times; with
            WaveGAN's 25 every fourth is painted once more, a buzz at a quarter of the sample rate (Odena et al. 2016).
        upsampling: "transposed", "smoothed", "nearest" or "linear".
        norm: before each up-sampling: "none", "batch" or "conditional".
    """

    def __init__(
        self,
        z_dim: int = 100,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_embed: int = 16,
        n_samples: int = 8192,
        n_channels: tuple[int, ...] = (192, 128, 64, 32, 16),
        n_kernel: int = 24,
        stride: int = 4,
        upsampling: str = "transposed",
        norm: str = "none",
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_digits": n_digits, "n_speakers": n_speakers, "n_embed": n_embed}
        self.config |= {"n_samples": n_samples, "n_channels": list(n_channels), "n_kernel": n_kernel}
        self.config |= {"stride": stride, "upsampling": upsampling, "norm": norm}
        self.labels = Labels(n_digits, n_speakers, n_embed)
        self.n_first = shortened(n_samples, stride, len(n_channels))
        self.from_noise = nn.Linear(z_dim + self.labels.n_out, n_channels[0] * self.n_first)
        self.upsamplers = nn.ModuleList(
            upsampler(upsampling, n_in, n_out, n_kernel, stride)
            for n_in, n_out in zip(n_channels, [*n_channels[1:], 1], strict=True)
        )
        keep_scale(self, followed_by_silu=True)
        last = self.upsamplers[-1] if upsampling in ("transposed", "smoothed") else self.upsamplers[-1][-1]
        with torch.no_grad():
            last.weight.mul_(0.1)  # start as quiet as speech is, not with noise at full scale
        self.norms = nn.ModuleList(Norm(n, 1, norm, self.labels.n_out) for n in n_channels)

    def forward(self, noise: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, Z), and (B,) int64 twice if there are labels -> waves (B, T) within [-1, 1].

        Raises: ValueError for noise of another length, or labels the generator was not built for."""
        check_rows("noise", noise, self.config["z_dim"])
        code, vectors = self.labels(noise, digits, speakers)
        x = self.from_noise(code).unflatten(1, (-1, self.n_first))  # (B, C, T')
        for norm, upsample in zip(self.norms, self.upsamplers, strict=True):
            x = upsample(F.relu(norm(x, vectors)))
        return torch.tanh(x[:, 0, : self.config["n_samples"]])  # (B, T)


class WaveDiscriminator(nn.Module):
    """Waveform to one logit: strided convolutions, phases shuffled between them, then a projection on the labels.

    Args:
        n_digits, n_speakers: how many labels; 0 for both: an unconditional discriminator.
        n_samples: length of the waves.
        n_channels: channels after each convolution, each of which leaves a stride-th of the samples.
        n_kernel, stride: of each convolution.
        n_shuffle: largest shift of the phase shuffle, in samples of the layer it follows; 0 for none.
        n_features: length of the features that the labels are compared with.
        spectral: bound each layer's largest singular value by 1.
    """

    def __init__(
        self,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_samples: int = 8192,
        n_channels: tuple[int, ...] = (16, 32, 64, 128, 192),
        n_kernel: int = 24,
        stride: int = 4,
        n_shuffle: int = 2,
        n_features: int = 64,
        spectral: bool = False,
    ):
        super().__init__()
        self.config = {"n_digits": n_digits, "n_speakers": n_speakers, "n_samples": n_samples}
        self.config |= {"n_channels": list(n_channels), "n_kernel": n_kernel, "stride": stride}
        self.config |= {"n_shuffle": n_shuffle, "n_features": n_features, "spectral": spectral}
        if n_kernel < stride or (n_kernel - stride) % 2:
            raise ValueError(f"got n_kernel={n_kernel}, stride={stride}; need n_kernel - stride even and not negative")
        n_left = shortened(n_samples, stride, len(n_channels))
        layers: list[nn.Module] = []
        for n_in, n_out in zip([1, *n_channels], n_channels, strict=False):
            layers += [StridedConv1d(n_in, n_out, n_kernel, stride), nn.LeakyReLU(LEAK), PhaseShuffle(n_shuffle)]
        self.convolve = nn.Sequential(*layers[:-1])  # not before the dense layer, which knows where things are
        self.to_features = nn.Linear(n_channels[-1] * n_left, n_features)
        self.project = Projection(n_features, n_digits, n_speakers)
        self.n_padded = n_left * stride ** len(n_channels)
        keep_scale(self, followed_by_silu=True)
        keep_scale(self.project, followed_by_silu=False)
        if spectral:
            bound_slopes(self)

    def forward(self, wave: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, T), and (B,) int64 twice if there are labels -> (B,) logits.

        Raises: ValueError for waves of another length, or labels the discriminator was not built for."""
        check_rows("wave", wave, self.config["n_samples"])
        x = F.pad(wave, (0, self.n_padded - wave.shape[1])).unsqueeze(1)  # (B, 1, T)
        features = F.leaky_relu(self.to_features(self.convolve(x).flatten(1)), LEAK)  # (B, n_features)
        return self.project(features, digits, speakers)  # (B,)


def shortened(n_samples: int, stride: int, n_layers: int) -> int:
    """Samples that are left after so many layers, each of which leaves a stride-th, rounded up."""
    if min(n_samples, n_layers) < 1 or stride < 2:
        raise ValueError(f"got {n_samples} samples, {n_layers} layers, stride {stride}; need at least 1, 1 and 2")
    return math.ceil(n_samples / stride**n_layers)
