"""Our figures beside peers'. `course bench` calls `run() -> list[Row]` of each file `bench_NAME.py` here.

`collect` runs each several times and keeps all values in results.json; `page` writes README.md from them, with the
words and bars that `claims` holds. LOG.md says what was tried and did not work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `ours` and `peer` are in `unit`; the ratio says how many times better ours is.

    `of` says how much was measured where that can be chosen, e.g. "1,000 submissions".
    """

    name: str
    ours: float
    peer: float
    unit: str
    higher_is_better: bool
    of: str = ""

    def __post_init__(self) -> None:
        for value in (self.ours, self.peer):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"benchmark {self.name}: got {value}, need a positive finite number")

    @property
    def ratio(self) -> float:
        """> 1: ours is better."""
        return self.ours / self.peer if self.higher_is_better else self.peer / self.ours
