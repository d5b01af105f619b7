"""Clips: a whole data set as tensors of one fixed length, and the batches of indices that draw from it.

A set of 3,000 digits is 98 MB: it stays on the device from start to end, and a batch is `clips.waves[index]`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

N_SAMPLES = 8192  # 1.024 s: all but 17 of FSDD's 3,000 recordings fit, and a power of two halves evenly
SAMPLE_RATE_HZ = 8000
N_TEST_TAKES = 5  # FSDD's official split: takes 0 to 4 of each digit and speaker are the test set
VALIDATION_SHARE = 10  # one in ten takes, those after the test set's, is for choosing: of FSDD's 50, takes 5 to 9
FADE_SAMPLES = 64  # 8 ms
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_PER_CLIP = {name: torch.int64 for name in ("digits", "speakers", "takes", "n_valid")}
_PER_CLIP |= {"is_test": torch.bool, "is_validation": torch.bool}


def fit_clip(wave: Tensor, n_samples: int = N_SAMPLES) -> tuple[Tensor, int]:
    """Give a recording the fixed length: zeros after a short one; a long one is cut, its last 8 ms faded out.

    Without the fade, the cut would be a click, and models would learn to click. The level is never changed.

    Args:    wave: (T,) float32.
    Returns: (n_samples,) float32, and how many of its samples come from the recording.
    """
    out = torch.zeros(n_samples, dtype=wave.dtype, device=wave.device)
    n_valid = min(len(wave), n_samples)
    out[:n_valid] = wave[:n_valid]
    if len(wave) > n_samples:
        n_fade = min(FADE_SAMPLES, n_samples)
        out[-n_fade:] *= torch.linspace(1, 0, n_fade, dtype=wave.dtype, device=wave.device)
    return out, n_valid


@dataclass(frozen=True, eq=False, repr=False)
class Clips:
    """Labelled recordings, one row a clip, all on one device.

    `digits`, `speakers` index `digit_names`, `speaker_names`; in a set of your own, "digit" is simply the label.
    """

    waves: Tensor  # (N, T) float32 in [-1, 1], zero after each clip's n_valid samples
    digits: Tensor  # (N,) int64
    speakers: Tensor  # (N,) int64
    takes: Tensor  # (N,) int64: counts the repetitions of one digit by one speaker
    n_valid: Tensor  # (N,) int64: samples before the zeros
    is_test: Tensor  # (N,) bool: the official split
    names: tuple[str, ...]  # "7_jackson_32"
    is_validation: Tensor | None = None  # (N,) bool: what choices are made on; without it, no clip
    digit_names: tuple[str, ...] = DIGIT_NAMES
    speaker_names: tuple[str, ...] = ()
    sample_rate_hz: int = SAMPLE_RATE_HZ
    dataset: str = "fsdd"  # "fsdd", "bundled", or the name of your own folder
    _features: dict[Hashable, Tensor] = field(default_factory=dict)
    _parent: tuple[Clips, Tensor] | None = None  # the set this one was selected from, and which rows

    def __post_init__(self) -> None:
        n_clips = len(self.names)
        if self.waves.ndim != 2 or self.waves.dtype != torch.float32 or len(self.waves) != n_clips:
            raise ValueError(
                f"waves: got {self.waves.dtype} {tuple(self.waves.shape)}, need float32 ({n_clips} names, T samples)"
            )
        if self.is_validation is None:
            object.__setattr__(self, "is_validation", torch.zeros_like(self.is_test))
        for name, dtype in _PER_CLIP.items():
            value = getattr(self, name)
            if value.shape != (n_clips,) or value.dtype != dtype:
                raise ValueError(f"{name}: got {value.dtype} {tuple(value.shape)}, need {dtype} ({n_clips},)")
            if value.device != self.waves.device:
                raise ValueError(f"{name} is on {value.device}, waves on {self.waves.device}; use .to(device)")
        both = self.is_test & self.is_validation
        if not both.is_meta and both.any():
            name = self.names[int(both.nonzero()[0])]
            raise ValueError(f"{name} is a test clip and a validation clip; need one or neither")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        n_test, n_validation = int(self.is_test.sum()), int(self.is_validation.sum())
        return (
            f"Clips({self.dataset}: {len(self)} clips of {self.waves.shape[1]} samples at {self.sample_rate_hz} Hz, "
            f"{len(self.digit_names)} labels, {len(self.speaker_names)} speakers, "
            f"{n_validation} validation, {n_test} test, on {self.device})"
        )

    @property
    def device(self) -> torch.device:
        return self.waves.device

    @cached_property
    def train(self) -> Clips:
        """The clips to learn from."""
        return self.select(~self.is_test & ~self.is_validation)

    @cached_property
    def validation(self) -> Clips:
        """The clips to choose on: which checkpoint, how many steps, which temperature or limit. Never learnt from."""
        return self.select(self.is_validation)

    @cached_property
    def test(self) -> Clips:
        """The clips that nothing is learnt from or chosen on: read once, for the figure in the end."""
        return self.select(self.is_test)

    def to(self, device: str | torch.device) -> Clips:
        """The same clips on another device, features computed so far included; itself if it is there already."""
        moved_waves = self.waves.to(device)
        if moved_waves is self.waves:
            return self
        moved = {name: getattr(self, name).to(device) for name in _PER_CLIP}
        features = {key: value.to(device) for key, value in self._features.items()}
        return replace(self, waves=moved_waves, **moved, _features=features, _parent=None)

    def select(self, rows: Tensor) -> Clips:
        """Some of the clips, by a mask (N,) bool or by row numbers (any count) int64.

        Raises: ValueError for a mask of another length; IndexError for a row that is not there.
        """
        rows = torch.as_tensor(rows, device=self.device)
        if rows.dtype == torch.bool:
            if rows.shape != (len(self),):
                raise ValueError(f"mask: got shape {tuple(rows.shape)}, need ({len(self)},), one entry a clip")
            rows = rows.nonzero().squeeze(1)
        if rows.ndim != 1 or rows.is_floating_point():
            raise ValueError(f"rows: got {rows.dtype} {tuple(rows.shape)}, need one axis of integers or a bool mask")
        if len(rows) and not (-len(self) <= int(rows.min()) and int(rows.max()) < len(self)):
            raise IndexError(f"rows from {int(rows.min())} to {int(rows.max())}: this set has {len(self)} clips")
        rows = rows.to(torch.int64)
        parts = {name: getattr(self, name)[rows] for name in _PER_CLIP}
        names = tuple(self.names[row] for row in rows.tolist())
        return replace(self, waves=self.waves[rows], **parts, names=names, _features={}, _parent=(self, rows))

    def feature(self, key: Hashable, compute: Callable[[Clips], Tensor]) -> Tensor:
        """A tensor with one row a clip, computed at the first call under `key` and kept.

        A selection takes its rows from the set it came from where that one has the feature, and never hands out
        rows of other clips. Do not change the result in place: the next caller gets the same tensor.

        Args:    key: everything the feature depends on besides the clips, e.g. ("log_mel", cfg).
                 compute: called with these clips; returns (N, ...).
        """
        if key not in self._features:
            value = self._inherit(key)
            value = compute(self) if value is None else value
            if len(value) != len(self):
                raise ValueError(f"feature {key}: compute returned {len(value)} rows for {len(self)} clips")
            self._features[key] = value
        return self._features[key]

    def _inherit(self, key: Hashable) -> Tensor | None:
        if self._parent is None:
            return None
        parent, rows = self._parent
        value = parent._features[key] if key in parent._features else parent._inherit(key)
        return None if value is None else value[rows]


class BatchIndices(Iterator[Tensor]):
    """Endless batches of row numbers: each epoch visits every clip once, in a new order drawn from `rng`.

    Every batch has exactly `batch_size` rows: one that an epoch cannot fill is filled from the next epoch, so that no
    clip is dropped and compiled models see one shape.

    Args:   rng: decides the order; the batches are on its device.
    """

    def __init__(self, n_clips: int, batch_size: int, rng: torch.Generator) -> None:
        if n_clips < 1 or batch_size < 1:
            raise ValueError(f"got {n_clips} clips in batches of {batch_size}, need at least 1 of each")
        self.n_clips, self.batch_size, self.rng = n_clips, batch_size, rng
        self._left = torch.empty(0, dtype=torch.int64, device=rng.device)  # this epoch's rows not yet handed out
        self._n_drawn = 0

    @property
    def epoch(self) -> float:
        """Epochs handed out so far; 1.5 is half-way through the second."""
        return self._n_drawn / self.n_clips

    def __next__(self) -> Tensor:  # (B,) int64
        while len(self._left) < self.batch_size:
            order = torch.randperm(self.n_clips, generator=self.rng, device=self.rng.device)
            self._left = torch.cat([self._left, order])
        batch, self._left = self._left[: self.batch_size], self._left[self.batch_size :]
        self._n_drawn += self.batch_size
        return batch

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint must hold to go on exactly here (the state of `rng` included)."""
        return {
            "left": self._left.cpu().clone(),
            "counts": torch.tensor([self.n_clips, self.batch_size, self._n_drawn]),
            "rng": self.rng.get_state().clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Raises: ValueError if it was taken with another number of clips or another batch size.
        """
        n_clips, batch_size, n_drawn = state["counts"].tolist()
        if (n_clips, batch_size) != (self.n_clips, self.batch_size):
            raise ValueError(
                f"state of {n_clips} clips in batches of {batch_size}, but these are {self.n_clips} in batches of "
                f"{self.batch_size}; use the same clips and batch size, or start afresh"
            )
        self._n_drawn = n_drawn
        self._left = state["left"].to(self.rng.device).clone()
        self.rng.set_state(state["rng"].cpu())
