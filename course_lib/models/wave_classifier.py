"""A second judge: a network that says which digit a raw wave holds, without a log-mel picture in between.

No model of the course is chosen, stopped or tuned by it. It hears what the first judge cannot see, such as phase, and
so tells how much a figure owes to having been tuned to.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 4
LEAST_RMS = 1e-4  # -80 dBFS: what is quieter is not blown up


class WaveClassifier(nn.Module):
    """Read a wave and score each class.

    Strided convolutions, each a quarter as long as the one before: 8,192 samples become 8 moments. As in
    DigitClassifier each moment gets an embedding, and the largest value over all moments is kept.

    Args:
        n_classes: number of classes.
        n_channels: channels after each convolution.
        n_first: samples that the first kernel sees: 4 ms at 8 kHz, a formant's period or more.
        kernel_size: of the later convolutions, odd.
        n_embed: length of the embedding, in which Frechet distances are measured.
        dropout: share of embedding values hidden while training, in [0, 1).
    """

    def __init__(
        self,
        n_classes: int = 10,
        n_channels: tuple[int, ...] = (32, 64, 96, 128, 160),
        n_first: int = 31,
        kernel_size: int = 9,
        n_embed: int = 64,
        dropout: float = 0.2,
    ):
        super().__init__()
        if n_first % 2 == 0 or kernel_size % 2 == 0 or not n_channels:
            raise ValueError(
                f"got n_first={n_first}, kernel_size={kernel_size}, {len(n_channels)} convolutions; need odd sizes, so "
                "that a moment lies in the middle of what it sees, and at least one convolution"
            )
        self.config = {
            "n_classes": n_classes,
            "n_channels": list(n_channels),
            "n_first": n_first,
            "kernel_size": kernel_size,
            "n_embed": n_embed,
            "dropout": dropout,
        }
        layers = []
        for n_in, n_out in zip([1, *n_channels], n_channels, strict=False):
            size = kernel_size if layers else n_first
            convolution = nn.Conv1d(n_in, n_out, size, stride=STRIDE, padding=size // 2, bias=False)
            layers += [convolution, nn.BatchNorm1d(n_out), nn.SiLU()]  # the normalisation would take a bias away
        self.convolve = nn.Sequential(*layers)
        self.to_embed = nn.Linear(n_channels[-1], n_embed)
        self.dropout = nn.Dropout(dropout)
        self.to_logits = nn.Linear(n_embed, n_classes)

    def embed(self, wave: Tensor) -> Tensor:
        """Summarise each clip in a few numbers.

        Args:    wave: (B, T) in [-1, 1], any T >= 1.
        Returns: (B, n_embed), the layer before the logits.
        Raises:  ValueError for another shape."""
        if wave.ndim != 2 or wave.shape[1] < 1:
            raise ValueError(f"wave: got shape {tuple(wave.shape)}, need (B, T): samples, not pictures")
        level = wave.square().mean(dim=1, keepdim=True).sqrt().clamp_min(LEAST_RMS)  # speakers differ by 30 dB
        x = self.convolve((wave / level).unsqueeze(1)).transpose(1, 2)  # (B, about T / 4**n, C)
        return F.silu(self.to_embed(x)).amax(dim=1)  # (B, n_embed)

    def forward(self, wave: Tensor) -> Tensor:  # (B, T)
        return self.to_logits(self.dropout(self.embed(wave)))  # (B, n_classes)


def vary_waves(
    wave: Tensor,
    rng: torch.Generator,
    *,
    most_earlier: int = 1024,
    most_later: int = 3072,
    gain_db: tuple[float, float] = (-12.0, 6.0),
    noise_db: tuple[float, float] = (-100.0, -60.0),
    tilt: tuple[float, float] = (-0.5, 0.8),
) -> Tensor:
    """Change what must not matter to a judge: when the word is spoken, how loud, which way up, how bright, how noisy.

    Args:
        wave: (B, T) in [-1, 1].
        most_earlier, most_later: samples by which a clip may move; silence fills the gap.
        gain_db, noise_db: ranges of the gain, and of the noise's level relative to full scale.
        tilt: range of a in x[t] - a x[t - 1], in (-1, 1): above 0 brighter, below 0 duller; about as loud.
    Returns: (B, T) in [-1, 1].
    """
    n_clips, n_samples = wave.shape

    def draw(low: float, high: float) -> Tensor:  # (B, 1)
        return low + (high - low) * torch.rand(n_clips, 1, generator=rng, device=rng.device).to(wave)

    shift = torch.randint(-most_earlier, most_later + 1, (n_clips, 1), generator=rng, device=rng.device)
    source = torch.arange(n_samples, device=wave.device) - shift.to(wave.device)  # (B, T): what moves here
    moved = wave.gather(1, source.clamp(0, n_samples - 1)).where((source >= 0) & (source < n_samples), 0.0)
    a = draw(*tilt)
    loudness = (1 + a.square() - 1.6 * a).sqrt()  # of speech, whose neighbouring samples correlate by about 0.8
    moved = (moved - a * F.pad(moved, (1, 0))[:, :-1]) / loudness
    sign = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)  # which way a membrane moves is not heard
    hiss = torch.randn(wave.shape, generator=rng, device=rng.device).to(wave)
    return (sign * moved * 10 ** (draw(*gain_db) / 20) + hiss * 10 ** (draw(*noise_db) / 20)).clamp(-1, 1)
