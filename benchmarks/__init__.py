"""Our figures beside peers'. `course bench` calls `run() -> list[Row]` of each file `bench_NAME.py` here."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `peer` are in `unit`; the ratio says how many times better ours is."""

    name: str
    ours: float
    peer: float
    unit: str
    higher_is_better: bool

    def __post_init__(self) -> None:
        for value in (self.ours, self.peer):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"benchmark {self.name}: got {value}, need a positive finite number")

    @property
    def ratio(self) -> float:
        """> 1: ours is better."""
        return self.ours / self.peer if self.higher_is_better else self.peer / self.ours

    def as_dict(self) -> dict[str, object]:
        """The row as results.json keeps it."""
        return {
            "name": self.name,
            "ours": self.ours,
            "peer": self.peer,
            "ratio": self.ratio,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
        }
