"""Folders and zips as students and learning platforms hand them over, for tests."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from course_lib.grading.submissions import find_submissions

NB = b'{"cells": []}'


def put(folder: Path, names: list[str], data: bytes = NB) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(members: dict[str, bytes] | list[str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in members:
            archive.writestr(name, members[name] if isinstance(members, dict) else NB)
    return buffer.getvalue()


def found_in(source: Path) -> dict[str, list[str]]:
    return {one.student: [file.name for file in one.files] for one in find_submissions(source)}
