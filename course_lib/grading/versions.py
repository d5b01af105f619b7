"""Which code marks: a grader that was changed marks again, and all machines of a cluster must have the same one."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

_NO_PART_IN_MARKS = (
    "commands/", "grading/reports/", "grading/commands.py", "grading/grade_command.py", "grading/progress.py",
    "grading/background.py", "grading/cluster.py", "grading/local_workers.py",
)  # fmt: skip


@cache
def code_digest() -> str:
    """SHA-256 of all of the course's Python files that a mark might depend on: references call much of it."""
    root = Path(__file__).parents[1]
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(_NO_PART_IN_MARKS):
            content = path.read_bytes()
            whole.update(f"{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()
