"""How long `import course_lib`, and the modules that notebooks use, take on top of `import torch`."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks import Row

N_RUNS = 5
FOR_NOTEBOOKS = (
    "sound.audio clips.loading sound.features sound.effects sound.vocoder losses.variational training.checkpoint "
    "training.loops judging.metrics running.collecting exercises.checking"
)


def run() -> list[Row]:
    """Median of five fresh interpreters; the peer is `import torch` itself in the same ones."""
    modules = ", ".join(f"course_lib.{name}" for name in FOR_NOTEBOOKS.split())
    rows = []
    for name, statement in (("import", "import course_lib"), ("import_modules", f"import {modules}")):
        pairs = [_seconds(statement) for _ in range(N_RUNS)]
        torch_s, ours_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(Row(name, ours=ours_s, peer=torch_s, unit="s", higher_is_better=False))
    return rows


def _seconds(statement: str) -> tuple[float, float]:
    code = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); "
        f"{statement}; print(b - a, time.perf_counter() - b)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    torch_s, ours_s = map(float, done.stdout.split())
    return torch_s, ours_s
