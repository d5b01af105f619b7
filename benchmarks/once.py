"""One run of one benchmark, in a process of its own: `python -m benchmarks.once FOLDER NAME OUT`.

A process chooses threads and precision once, and keeps what it has compiled: runs within one agree better than people
who start the course will.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import benchmarks
from benchmarks import Row


def main(folder: str, name: str, out: str) -> None:
    """Write the rows of folder/bench_NAME.py, and the machine, to the file `out`."""
    if folder not in benchmarks.__path__:
        benchmarks.__path__.append(folder)
    rows: list[Row] = importlib.import_module(f"benchmarks.bench_{name}").run()
    found = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    Path(out).write_text(json.dumps(found, allow_nan=False), "utf-8")


def machine() -> str:
    """Cores, processor, device and torch, e.g. "2 cores, AMD EPYC 7B13, no AMX; torch 2.14.1"."""
    import torch

    from course_lib.settings.profiles import current_device

    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    amx = "AMX" if "amx_tile" in said else "no AMX"
    device = current_device()
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{n_cores} cores, {processor}, {amx}{gpu}; torch {torch.__version__.partition('+')[0]}"


if __name__ == "__main__":
    main(*sys.argv[1:])
