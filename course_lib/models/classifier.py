"""The judge: a small convolutional network that says which digit a log-mel picture holds.

Trained in notebook 02 and used in every later one, to measure whether generated sounds can be understood.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_HALVINGS = 4


class DigitClassifier(nn.Module):
    """Read a unit-scaled log-mel picture and score each class.

    Four strided convolutions turn 64 mels x 64 frames into 4 bands x 4 moments. The bands stay apart: where in
    frequency the energy sits is what tells digits from each other. Each moment gets an embedding, and the largest value
    over all moments is kept: *when* the word was spoken, and how much silence follows it, does not matter.

    Args:
        n_classes: number of classes.
        n_mels: number of mel bands, a multiple of 16.
        n_channels: channels after each of the four convolutions.
        n_embed: length of the embedding, in which Frechet distances are measured.
        dropout: share of embedding values hidden while training, in [0, 1).
    """

    def __init__(
        self,
        n_classes: int = 10,
        n_mels: int = 64,
        n_channels: tuple[int, ...] = (32, 64, 128, 160),
        n_embed: int = 64,
        dropout: float = 0.2,
    ):
        super().__init__()
        if n_mels % 2**N_HALVINGS or len(n_channels) != N_HALVINGS:
            raise ValueError(
                f"got n_mels={n_mels}, n_channels={tuple(n_channels)}; need a multiple of {2**N_HALVINGS} and "
                f"{N_HALVINGS} channel counts, since the picture is halved {N_HALVINGS} times"
            )
        self.config = {
            "n_classes": n_classes,
            "n_mels": n_mels,
            "n_channels": list(n_channels),
            "n_embed": n_embed,
            "dropout": dropout,
        }
        layers = []
        for n_in, n_out in zip([1, *n_channels], n_channels, strict=False):
            # No bias: the normalisation would take it away again.
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.SiLU()]
        self.convolve = nn.Sequential(*layers)
        self.to_embed = nn.Linear(n_channels[-1] * n_mels // 2**N_HALVINGS, n_embed)
        self.dropout = nn.Dropout(dropout)
        self.to_logits = nn.Linear(n_embed, n_classes)
        # Channels side by side in memory: on CPUs a step takes 0.7 to 0.9 of the time, in bf16 as in fp32.
        self.to(memory_format=torch.channels_last)

    def embed(self, unit_mel: Tensor) -> Tensor:
        """Summarise each clip in a few numbers.

        Args:    unit_mel: (B, M, L) log-mel scaled to [-1, 1], any L >= 1.
        Returns: (B, n_embed), the layer before the logits.
        Raises:  ValueError if the picture has another number of mels."""
        n_mels = self.config["n_mels"]
        if unit_mel.ndim != 3 or unit_mel.shape[1] != n_mels or unit_mel.shape[2] < 1:
            raise ValueError(
                f"unit_mel: got shape {tuple(unit_mel.shape)}, need (B, {n_mels}, L); "
                "make it with clips.clip_log_mels(clips, cfg), or to_unit(log_mel(waves, cfg), cfg)"
            )
        x = self.convolve(unit_mel.unsqueeze(1))  # (B, C, M / 16, L / 16)
        x = x.flatten(1, 2).transpose(1, 2)  # (B, L / 16, C * M / 16)
        return F.silu(self.to_embed(x)).amax(dim=1)  # (B, n_embed)

    def forward(self, unit_mel: Tensor) -> Tensor:  # (B, M, L)
        return self.to_logits(self.dropout(self.embed(unit_mel)))  # (B, n_classes)


def vary_mels(
    unit_mel: Tensor,
    rng: torch.Generator,
    *,
    n_earlier: int = 8,
    n_later: int = 24,
    gain: tuple[float, float] = (-0.4, 0.2),
    noise: tuple[float, float] = (-1.5, -0.4),
) -> Tensor:
    """Change what must not matter to a judge: when the word is spoken, how loud, and over how much noise.

    Args:
        unit_mel: (B, M, L) log-mel scaled to [-1, 1].
        n_earlier, n_later: frames by which a clip may move; silence fills the gap.
        gain: range of what is added; with 80 dB between -1 and 1, 0.1 is 4 dB.
        noise: range of the level of the noise that covers quieter parts; under -1 there is none.
    Returns: (B, M, L) in [-1, 1].

    Taught in: notebooks/02_a_machine_that_listens.ipynb
    """
    n_clips, _, n_frames = unit_mel.shape

    def draw(low: float, high: float) -> Tensor:  # (B, 1, 1)
        return low + (high - low) * torch.rand(n_clips, 1, 1, generator=rng, device=rng.device).to(unit_mel)

    shift = torch.randint(-n_earlier, n_later + 1, (n_clips, 1, 1), generator=rng, device=rng.device)
    source = torch.arange(n_frames, device=unit_mel.device) - shift.to(unit_mel.device)  # (B, 1, L): what moves here
    moved = unit_mel.gather(2, source.clamp(0, n_frames - 1).expand_as(unit_mel))
    moved = moved.where((source >= 0) & (source < n_frames), -1.0)
    hiss = torch.randn(unit_mel.shape, generator=rng, device=rng.device).to(unit_mel)
    return torch.maximum(moved + draw(*gain), draw(*noise) + 0.1 * hiss).clamp(-1, 1)
