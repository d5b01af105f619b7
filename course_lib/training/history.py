"""What a training leaves behind: its curves, what a watchman read on the way, and how it may go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class History:
    """What happened in a training, step by step."""

    parts: dict[str, list[float]] = field(default_factory=dict)  # a curve for each named part of the loss
    steps: list[int] = field(default_factory=list)  # 1, 2, ...: the x axis of the curves
    seconds: float = 0.0  # spent training, all resumptions together
    device: str = "cpu"
    precision: str = "fp32"
    readings: dict[str, list[float]] = field(default_factory=dict)  # fit_gan's: "step", and a curve for each reading
    alarms: list[tuple[int, str]] = field(default_factory=list)  # fit_gan's: at which step, and what was wrong

    @property
    def steps_per_s(self) -> float:
        return len(self.steps) / self.seconds if self.seconds else 0.0

    @property
    def total(self) -> list[float]:
        """The loss that was minimised: the sum of the parts."""
        return [sum(values) for values in zip(*self.parts.values(), strict=True)]


class NonFiniteLoss(RuntimeError):
    """A part of the loss, or a weight, became infinite or NaN."""


def named_parts(parts: object) -> dict[str, Tensor]:
    """What batch_loss returned, if it is what it should be.

    Raises: TypeError if it is no dict of scalar tensors."""
    if not isinstance(parts, dict):
        raise TypeError(f"batch_loss returned a {type(parts).__name__}, need a dict such as {{'recon': loss.mean()}}")
    for name, value in parts.items():
        if not isinstance(value, Tensor) or value.ndim > 0:
            kind = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"batch_loss returned {name!r} of {kind}, need a tensor without axes; take its mean()")
    return parts
