"""A recurrent network that speaks sample by sample: each mu-law class is drawn, given all samples before it.

As in WaveNet (van den Oord et al. 2016) a sample is one of 256 classes, as in WaveRNN (Kalchbrenner et al. 2018) one
GRU carries the past; there is one state and one softmax here. What to say, who says it, how long it takes and how high
the voice is are told a frame at a time; so are mel frames, if there are some: then a slower network decides what is
said, and this one how it sounds.

Letters: B clips, T samples, L frames of conditions, C classes, H hidden.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.layers.conditioning import Labels
from course_lib.models.layers.gru_by_hand import gru_over_time
from course_lib.models.layers.latents import LatentGaussians

LOG_DURATION, LOG_PITCH = (math.log(0.42), 0.33), (math.log(130.0), 0.4)  # (centre, scale) of FSDD's, in log s, log Hz
N_WAVES = 8  # cosines that tell where in the word, and where in time, a frame is


class FoldedRNN(NamedTuple):
    """The same network, with all that can be multiplied beforehand multiplied. Gates stand as in nn.GRU: r, z, n."""

    table: Tensor  # (C, 3H): what each class of the previous sample adds to the gates
    conditions: Tensor  # (B, L, 3H): what each frame's condition adds
    weight_hh: Tensor  # (3H, H)
    bias_hh: Tensor  # (3H,)
    weight_out: Tensor  # (C, H)
    bias_out: Tensor  # (C,)
    frame_length: int


class MuLawRNN(nn.Module):
    """Previous samples, and what is to be said -> class scores of each next sample.

    Args:
        n_digits, n_speakers: how many labels.
        n_classes: of the mu-law scale.
        n_in: length of a class's vector and of a condition; the two are added.
        n_hidden: length of the state.
        n_condition: length of a label's vector; hidden units between labels and condition are four times as many.
        frame_length: samples that share one condition.
        clip_s: longest clip, which scales time.
        n_mels: of the frames that may be told.
    """

    def __init__(
        self,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_classes: int = 256,
        n_in: int = 128,
        n_hidden: int = 192,
        n_condition: int = 32,
        frame_length: int = 128,
        sample_rate_hz: int = 8000,
        clip_s: float = 1.024,
        n_mels: int = 64,
    ):
        super().__init__()
        sizes = (n_in, n_hidden, n_condition, frame_length, sample_rate_hz)
        if n_classes < 2 or min(sizes) < 1 or n_in % 2 or not clip_s > 0:
            raise ValueError(
                f"got n_classes={n_classes}, (n_in, n_hidden, n_condition, frame_length, sample_rate_hz)={sizes}, "
                f"clip_s={clip_s}; need at least 2 classes, an even n_in, and at least 1 (s: over 0) of the rest"
            )
        self.config = {
            "n_digits": n_digits,
            "n_speakers": n_speakers,
            "n_classes": n_classes,
            "n_in": n_in,
            "n_hidden": n_hidden,
            "n_condition": n_condition,
            "frame_length": frame_length,
            "sample_rate_hz": sample_rate_hz,
            "clip_s": clip_s,
            "n_mels": n_mels,
        }
        self.embed = nn.Embedding(n_classes, n_in)
        with torch.no_grad():
            self.embed.weight.copy_(neighbourly_vectors(n_classes, n_in))
        self.labels = Labels(n_digits, n_speakers, n_condition)
        n_told = 2 * n_condition + 2 + 2 * N_WAVES
        self.to_condition = nn.Sequential(
            nn.Linear(n_told, 4 * n_condition), nn.SiLU(), nn.Linear(4 * n_condition, n_in)
        )
        self.to_frame_condition = nn.Sequential(
            nn.Linear(2 * n_mels, 4 * n_condition), nn.SiLU(), nn.Linear(4 * n_condition, n_in)
        )
        self.gru = nn.GRU(n_in, n_hidden, batch_first=True)
        self.to_logits = nn.Linear(n_hidden, n_classes)
        self.controls = LatentGaussians(n_digits, n_speakers, 2)  # of (duration, pitch), to draw them where none is set

    @property
    def silence(self) -> int:
        """The class of a sample of 0, and of what stands before the first."""
        return self.config["n_classes"] // 2

    def conditions(
        self,
        digits: Tensor,
        speakers: Tensor,
        duration_s: Tensor,
        pitch_hz: Tensor,
        n_frames: int | None = None,
        frames: Tensor | None = None,
        is_told: Tensor | None = None,
    ) -> Tensor:
        """What each frame of a clip is told: (B, L, n_in).

        Args:
            digits, speakers: (B,) int64; duration_s, pitch_hz: (B,) > 0, of the whole clip.
            n_frames: L; as many as the longest clip has, unless given.
            frames: (B, M, L) unit log-mels of the clip, hop frame_length: frame l lies at the first sample that
                condition l is for, frame l + 1 after the last.
            is_told: (B,) bool, which clips are told their frames; all unless given.
        Raises: ValueError for labels that do not fit, or numbers that are not above 0."""
        if not bool((duration_s > 0).all() and (pitch_hz > 0).all()):
            raise ValueError(f"got duration_s from {float(duration_s.min())}, pitch_hz from {float(pitch_hz.min())}; "
                             "need both above 0")  # fmt: skip
        frame_s = self.config["frame_length"] / self.config["sample_rate_hz"]
        n_frames = math.ceil(self.config["clip_s"] / frame_s - 1e-6) if n_frames is None else n_frames
        vectors = torch.cat(self.labels.pair(len(duration_s), digits, speakers), dim=1)  # (B, 2 * n_condition)
        controls = standardise_controls(duration_s, pitch_hz).to(vectors)  # (B, 2)
        start_s = frame_s * torch.arange(n_frames, device=vectors.device)  # (L,)
        told = torch.cat([vectors, controls], dim=1).unsqueeze(1).expand(-1, n_frames, -1)
        along = (start_s / duration_s.to(vectors).unsqueeze(1)).clamp(max=1.2)  # (B, L): 0 at the start, 1 at the end
        since = (start_s / self.config["clip_s"]).expand_as(along)
        condition = self.to_condition(torch.cat([told, _cosines(along / 2), _cosines(since)], dim=2))
        if frames is None:
            return condition
        if frames.shape != (len(duration_s), self.config["n_mels"], n_frames):
            raise ValueError(
                f"frames: got {tuple(frames.shape)}, need ({len(duration_s)}, {self.config['n_mels']}, {n_frames}): "
                "the unit log-mels of as many clips and frames as there are conditions"
            )
        both = torch.cat([frames, torch.cat([frames[:, :, 1:], frames[:, :, -1:]], dim=2)], dim=1)  # (B, 2M, L)
        seen = self.to_frame_condition(both.transpose(1, 2))  # (B, L, n_in)
        return condition + (seen if is_told is None else seen * is_told.to(seen).view(-1, 1, 1))

    def forward(
        self, previous: Tensor, conditions: Tensor, state: Tensor | None = None, start: int = 0
    ) -> tuple[Tensor, Tensor]:
        """One chunk of a clip, teacher forced.

        Args:
            previous: (B, T) int64, previous[:, t] the class BEFORE the sample that is said something of.
            conditions: (B, L, n_in) of the whole clip; frames after its end are told what the last one is.
            state: (1, B, H) that the chunk before has left; zeros unless given.
            start: where in the clip the chunk starts, in samples.
        Returns: logits (B, T, C), state (1, B, H)."""
        index = torch.arange(start, start + previous.shape[1], device=previous.device) // self.config["frame_length"]
        index = index.clamp(max=conditions.shape[1] - 1)  # (T,)
        if torch.is_grad_enabled() and previous.device.type == "cpu":
            return self._forward_by_hand(previous, conditions, index, state)
        x = self.embed(previous) + conditions[:, index]  # (B, T, n_in)
        hidden, state = self.gru(x, state)  # (B, T, H)
        return self.to_logits(hidden), state

    def _forward_by_hand(
        self, previous: Tensor, conditions: Tensor, index: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The same, its input product taken once a class, not once a sample, and a quicker way back: 1.4 x a step."""
        weight_ih, bias_ih, weight_hh, bias_hh = (
            getattr(self.gru, f"{kind}_l0") for kind in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        )
        told = (conditions @ weight_ih.T).transpose(0, 1)[index]  # (T, B, 3H)
        gates_x = F.embedding(previous.T, self.embed.weight @ weight_ih.T + bias_ih) + told
        before = told.new_zeros(len(previous), self.config["n_hidden"]) if state is None else state[0]
        hidden = gru_over_time(gates_x, before, weight_hh, bias_hh)  # (T, B, H)
        return self.to_logits(hidden).transpose(0, 1), hidden[-1:]

    @torch.no_grad()
    def draw_controls(
        self, digits: Tensor, speakers: Tensor, rng: torch.Generator, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """How long and how high this speaker says this digit: duration_s (B,), up to clip_s, and pitch_hz (B,)."""
        drawn = self.controls.draw(digits, speakers, rng, temperature)  # (B, 2)
        log_duration, log_pitch = (
            centre + scale * drawn[:, i] for i, (centre, scale) in enumerate((LOG_DURATION, LOG_PITCH))
        )
        return log_duration.exp().clamp(max=self.config["clip_s"]), log_pitch.exp()

    @torch.no_grad()
    def fold(self, conditions: Tensor) -> FoldedRNN:
        """Multiply all that does not depend on the state: W (e + c) + b = (W e + b) + W c. conditions: (B, L, n_in)."""
        gru = self.gru
        return FoldedRNN(
            table=self.embed.weight @ gru.weight_ih_l0.T + gru.bias_ih_l0,
            conditions=conditions @ gru.weight_ih_l0.T,
            weight_hh=gru.weight_hh_l0.clone(),
            bias_hh=gru.bias_hh_l0.clone(),
            weight_out=self.to_logits.weight.clone(),
            bias_out=self.to_logits.bias.clone(),
            frame_length=self.config["frame_length"],
        )


def neighbourly_vectors(n_classes: int, n_in: int) -> Tensor:
    """Vectors to start from, (C, n_in), n_in even: classes that sound alike look alike.

    Half are cosines over the classes, half sines over the amplitudes that they stand for, of which the finest tell
    neighbours apart near the loudest. Random vectors would leave it to the network to find out that 130 follows 129."""
    squashed = torch.linspace(-1, 1, n_classes).unsqueeze(1)  # (C, 1)
    amplitude = squashed.sign() * torch.expm1(squashed.abs() * math.log(n_classes)) / (n_classes - 1)
    n_half = n_in // 2
    cosines = torch.cos(math.pi * torch.arange(n_half) * (squashed + 1) / 2)
    return torch.cat([cosines, torch.sin(amplitude * 2 ** torch.linspace(0, 5, n_half))], dim=1)


def standardise_controls(duration_s: Tensor, pitch_hz: Tensor) -> Tensor:
    """(B,) twice -> (B, 2): logarithms, about 0 for an average clip of FSDD, of a spread of about 1."""
    pairs = ((duration_s, LOG_DURATION), (pitch_hz, LOG_PITCH))
    return torch.stack([(value.log() - centre) / scale for value, (centre, scale) in pairs], dim=1)


def _cosines(along: Tensor) -> Tensor:  # (B, L) -> (B, L, N_WAVES)
    return torch.cos(math.pi * along.unsqueeze(2) * torch.arange(1, N_WAVES + 1, device=along.device))
