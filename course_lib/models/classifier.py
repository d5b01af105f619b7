"""The judge: a small convolutional network that says which digit a log-mel picture holds.

Trained in notebook 01 and used in every later one, to measure whether generated sounds can be understood.
"""
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DigitClassifier(nn.Module):
    """Read a unit-scaled log-mel picture and score each class.

    Four halvings turn 64 mels into four broad bands, which are kept apart (where in frequency the energy sits is what
    tells digits from each other); time is averaged away (*when* the word was spoken does not matter).

    Args:
        n_classes: number of classes.
        n_mels: number of mel bands, a multiple of 16.
        n_channels: channels after each of the four halvings.
        n_embed: length of the embedding, in which Frechet distances are measured.
        dropout: share of embedding values hidden while training, in [0, 1).
    """

    def __init__(
        self,
        n_classes: int = 10,
        n_mels: int = 64,
        n_channels: tuple[int, ...] = (32, 64, 96, 128),
        n_embed: int = 64,
        dropout: float = 0.2,
    ):
        super().__init__()
        if n_mels % 16:
            raise ValueError(f"n_mels: got {n_mels}, need a multiple of 16 (four halvings); choose 64 or 80")
        self.config = {
            "n_classes": n_classes,
            "n_mels": n_mels,
            "n_channels": list(n_channels),
            "n_embed": n_embed,
            "dropout": dropout,
        }
        widths = [1, *n_channels]
        self.blocks = nn.ModuleList(_Block(c_in, c_out) for c_in, c_out in zip(widths, widths[1:], strict=False))
        self.to_embed = nn.Linear(n_channels[-1] * (n_mels // 16), n_embed)
        self.dropout = nn.Dropout(dropout)
        self.to_logits = nn.Linear(n_embed, n_classes)

    def embed(self, unit_mel: Tensor) -> Tensor:
        """Summarise each clip.

        Args:    unit_mel: (B, M, L) log-mel scaled to [-1, 1]; any L of at least 16 frames.
        Returns: (B, n_embed) embedding, the layer before the logits.
        Raises:  ValueError if the picture has another number of mels, or too few frames."""
        n_mels = self.config["n_mels"]
        if unit_mel.ndim != 3 or unit_mel.shape[1] != n_mels or unit_mel.shape[2] < 16:
            raise ValueError(
                f"unit_mel: got shape {tuple(unit_mel.shape)}, need (B, {n_mels}, L) with L >= 16; "
                "make it with features.clip_log_mels(), or to_unit(log_mel(wave))"
            )
        x = unit_mel.unsqueeze(1)  # (B, 1, M, L)
        for block in self.blocks:
            x = block(x)  # (B, C, M / 2, L / 2), ..., (B, C, M / 16, L / 16)
        x = x.mean(dim=3).flatten(1)  # (B, C * M / 16)
        return F.silu(self.to_embed(x))  # (B, n_embed)

    def forward(self, unit_mel: Tensor) -> Tensor:  # (B, M, L)
        return self.to_logits(self.dropout(self.embed(unit_mel)))  # (B, n_classes)


class _Block(nn.Module):
    """Convolve, normalise, bend, halve."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(n_out)

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, M, L)
        return F.max_pool2d(F.silu(self.norm(self.conv(x))), 2)  # (B, C_out, M // 2, L // 2)
