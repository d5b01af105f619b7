"""How a network is told what to say: labels beside the noise, in normalisations, in a discriminator's last layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NORMS = ("none", "batch", "conditional")


def check_labels(digits: Tensor, speakers: Tensor, n_digits: int, n_speakers: int) -> None:
    """Refuse labels that a model was not built for: (B,) int64 each, from 0.

    Raises: ValueError for another shape; on a CPU also for an unknown label (reading one off a GPU makes it wait)."""
    if digits.ndim != 1 or digits.shape != speakers.shape:
        raise ValueError(
            f"got digits {tuple(digits.shape)}, speakers {tuple(speakers.shape)}; need (B,) int64 for both; "
            "for samples, see models.balanced_labels"
        )
    for name, labels, n in (("digits", digits, n_digits), ("speakers", speakers, n_speakers)):
        if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n:
            raise ValueError(
                f"{name}: got labels from {int(labels.min())} to {int(labels.max())}, need 0 to {n - 1}; "
                f"a model for other clips is built with n_{name}=..."
            )


class Labels(nn.Module):
    """A learned vector for each digit and each speaker, or nothing at all.

    Args:
        n_digits, n_speakers: how many there are; 0 for both makes an unconditional model.
        n_embed: length of each vector.
    """

    def __init__(self, n_digits: int, n_speakers: int, n_embed: int):
        super().__init__()
        if (n_digits > 0) != (n_speakers > 0) or min(n_digits, n_speakers) < 0:
            raise ValueError(f"got n_digits={n_digits}, n_speakers={n_speakers}; need both 0 (no labels), or neither")
        self.n_digits, self.n_speakers = n_digits, n_speakers
        self.n_out = 2 * n_embed if n_digits else 0
        self.digit_embed = nn.Embedding(n_digits, n_embed) if n_digits else None
        self.speaker_embed = nn.Embedding(n_speakers, n_embed) if n_digits else None

    def pair(self, n_clips: int, digits: Tensor | None, speakers: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """The vectors of digits and of speakers, (B, n_embed) each; None from an unconditional model.

        Raises: ValueError for labels that are missing, not wanted, unknown, or not one a clip."""
        if self.digit_embed is None:
            if digits is not None or speakers is not None:
                raise ValueError("got labels, need none: this model was built with n_digits=0, n_speakers=0")
            return None
        if digits is None or speakers is None:
            raise ValueError("got no labels, need digits and speakers, (B,) int64 each; see models.balanced_labels")
        check_labels(digits, speakers, self.n_digits, self.n_speakers)
        if len(digits) != n_clips:
            raise ValueError(f"got {len(digits)} labels for {n_clips} clips; need one a clip")
        return self.digit_embed(digits), self.speaker_embed(speakers)

    def forward(self, noise: Tensor, digits: Tensor | None, speakers: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, Z), and (B,) int64 twice -> noise beside the labels' vectors (B, Z + n_out), the vectors (B, n_out)."""
        pair = self.pair(len(noise), digits, speakers)
        if pair is None:
            return noise, None
        vectors = torch.cat(pair, dim=1)
        return torch.cat([noise, vectors.to(noise.dtype)], dim=1), vectors


class Norm(nn.Module):
    """Batch norm; told the labels, it gives each its own gain and offset a channel (Dumoulin et al. 2017).

    Args:
        n_channels: channels of what comes in.
        n_axes: 1 for waves, 2 for pictures.
        kind: "none", "batch" or "conditional".
        n_condition: length of the labels' vectors.
    """

    def __init__(self, n_channels: int, n_axes: int, kind: str, n_condition: int):
        super().__init__()
        if kind not in NORMS:
            raise ValueError(f"norm: got {kind!r}, need one of {', '.join(NORMS)}")
        if kind == "conditional" and not n_condition:
            raise ValueError("norm='conditional' needs labels: give n_digits and n_speakers, or take norm='batch'")
        conditional = kind == "conditional"
        make = nn.BatchNorm1d if n_axes == 1 else nn.BatchNorm2d
        self.normalise = nn.Identity() if kind == "none" else make(n_channels, affine=not conditional)
        self.to_gain = nn.Linear(n_condition, 2 * n_channels) if conditional else None
        if conditional:
            nn.init.zeros_(self.to_gain.weight)  # all labels start with a gain of 1 and no offset
            nn.init.zeros_(self.to_gain.bias)

    def forward(self, x: Tensor, vectors: Tensor | None) -> Tensor:  # (B, C, ...), (B, n_condition)
        x = self.normalise(x)
        if self.to_gain is None:
            return x
        gain, offset = self.to_gain(vectors).unflatten(1, (2, -1) + (1,) * (x.ndim - 2)).unbind(dim=1)  # (B, C, 1 ...)
        return x * (1 + gain) + offset  # (B, C, ...)


class Projection(nn.Module):
    """A discriminator's last layer: one score for "real", plus how well the features fit the labels.

    score = w . features + b + (v_digit + v_speaker) . features: the form that the log-ratio of two conditional
    densities takes when each is log-linear in the features (Miyato & Koyama 2018).

    Args:
        n_features: length of the features.
        n_digits, n_speakers: how many labels; 0 for both leaves the first two terms.
    """

    def __init__(self, n_features: int, n_digits: int, n_speakers: int):
        super().__init__()
        self.to_score = nn.Linear(n_features, 1)
        self.labels = Labels(n_digits, n_speakers, n_features)
        for embed in self.labels.children():
            nn.init.normal_(embed.weight, std=n_features**-0.5)  # no louder at first than the score without labels

    def forward(self, features: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, n_features), and (B,) int64 twice -> (B,) logits."""
        score = self.to_score(features).squeeze(1)  # (B,)
        pair = self.labels.pair(len(features), digits, speakers)
        return score if pair is None else score + ((pair[0] + pair[1]) * features).sum(dim=1)


def bound_slopes(network: nn.Module) -> None:
    """Divide each weight by its largest singular value, so that no layer stretches more than 1 (Miyato et al. 2018).

    The value is estimated by one step of power iteration at each forward in training mode.

    Args:    network: its Linear, Conv and Embedding layers are changed in place."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
            spectral_norm(layer)
