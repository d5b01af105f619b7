"""Files handed in: notebooks that are none, zips that unpack without end or elsewhere, names that act.

Each is laid into a folder of submissions beside innocent ones.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from handed_in import zipped

NAME = "01_sound_as_data.ipynb"


def notebook(*cells: object, **more: object) -> bytes:
    """A notebook of code cells with these sources (or cells as they are)."""
    made = [
        cell if isinstance(cell, dict) else {"cell_type": "code", "metadata": {}, "outputs": [], "source": cell}
        for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | more).encode()


def exercise(source: str) -> str:
    return f"# EXERCISE 01.1\n{source}"


WRONG = exercise("def alias_frequency(frequency_hz, rate_hz):\n    return frequency_hz")
ACTING = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>=HYPERLINK(1)\u202e\x1b[2J{{7*7}}"

# Notebook files. None of them may earn a point.
NOTEBOOKS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n" * 100,
    "half a notebook": notebook(WRONG)[:150],
    "not JSON": b"passed: 100 points",
    "a pickle": b"\x80\x04\x95\x15\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "a web page": b"<!DOCTYPE html><script>alert(1)</script>",
    "noise": bytes(range(256)) * 40,
    "a number": b"1" * 5000,
    "a giant number": b"1" * 10_000_000,
    "a list": b"[]",
    "null": b"null",
    "nested lists": b"[" * 500_000,
    "nested cells": b'{"cells":' * 100_000,
    "ten million brackets": b"[" + b"[]," * 10_000_000 + b"[]]",
    "cells are a number": notebook(cells=7),
    "cells are texts": notebook(cells=["# EXERCISE 01.1", None, 3, [[]]]),
    "a cell without a source": notebook({"cell_type": "code", "metadata": {"course": {"exercise": "01.1"}}}),
    "a source of numbers": notebook({"cell_type": "code", "source": [1, 2], "metadata": {}}),
    "metadata of lists": notebook({"cell_type": "code", "source": WRONG, "metadata": [1]}),
    "metadata that lies": notebook(
        {"cell_type": "code", "source": "x = 1", "metadata": {"course": {"exercise": "01.1"}, "points": 99}}
    ),
    "metadata with unhashable ids": notebook(
        {"cell_type": "code", "source": "x = 1", "metadata": {"course": {"exercise": ["01.1"]}}}
    ),
    "grades in the metadata": notebook(
        {
            "cell_type": "code", "source": WRONG, "outputs": [{"output_type": "stream", "text": "passed"}],
            "metadata": {"nbgrader": {"grade_id": "exercise-01-1", "points": 1000, "score": 1000, "grade": True}},
        }
    ),
    "outputs that say passed": notebook(
        {
            "cell_type": "code", "source": WRONG, "metadata": {}, "execution_count": 1,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["\u2713 Exercise 01.1: passed"]}],
        }
    ),
    "the same id twice": notebook(
        {"cell_type": "code", "id": "a", "source": WRONG, "metadata": {}},
        {"cell_type": "code", "id": "a", "source": WRONG, "metadata": {}},
    ),
    "the same key twice": b'{"cells": [], "cells": [{"cell_type": "code", "source": "# EXERCISE 01.1\\nx = 1"}]}',
    "ten thousand cells for one exercise": notebook(*[exercise(f"x = {n}") for n in range(10_000)]),
    "a cell of 10 MB": notebook(exercise("x = '" + "y" * 10_000_000 + "'")),
    "a line of brackets": notebook(exercise("(" * 90_000)),
    "a line of backslashes": notebook(exercise("\\" * 90_000)),
    "quotes without end": notebook(exercise("'''" * 30_001)),
    "deep indentation": notebook(exercise("\n".join(" " * n + "if 1:" for n in range(400)))),
    "a form feed, a NUL, halves of pairs": notebook(exercise("x = 1\x0c\x00\ud800\udfff\u2028y = 2")),
    "another encoding named": notebook("# coding: rot13\n" + WRONG),
    "format 3": json.dumps(
        {"worksheets": [{"cells": [{"cell_type": "code", "input": WRONG}]}], "nbformat": 3, "metadata": {}}
    ).encode(),
    "format 99": notebook(WRONG, nbformat=99),
    "utf-16": notebook(WRONG).decode().encode("utf-16"),
    "latin-1": notebook(WRONG).replace(b"EXERCISE", b"EX\xc9RCISE"),
    "text that acts": notebook(exercise(f"raise ValueError({ACTING!r})  # {ACTING}\n{ACTING}")),
    "an error that acts": notebook(
        exercise(f"def alias_frequency(frequency_hz, rate_hz):\n    raise ValueError({ACTING!r})")
    ),
    "a written answer that acts": notebook(
        WRONG, {"cell_type": "markdown", "metadata": {}, "source": f"<!-- WRITTEN 02.2 points=3 -->\n{ACTING}"}
    ),
}  # fmt: skip


def _link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(NAME)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "../../../../../../etc/passwd")
    return out.getvalue()


def _lying_size(data: bytes) -> bytes:
    """A zip whose list says that its file has 10 bytes."""
    raw = bytearray(zipped({NAME: data}))
    place = raw.rindex(b"PK\x01\x02")
    raw[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(raw)


def _nest(depth: int) -> bytes:
    data = notebook(WRONG)
    for _ in range(depth):
        data = zipped({"more.zip": data, "more2.zip": data})
    return data


BOMB_BYTES = 100_000_000

# Zips, each a student's.
ZIPS: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: zipped({NAME: bytes(BOMB_BYTES)}),
    "a bomb that lies about its size": lambda: _lying_size(bytes(BOMB_BYTES)),
    "zips in zips": lambda: _nest(6),
    "a path that escapes": lambda: zipped({"../../escaped.ipynb": notebook(WRONG)}),
    "an absolute path": lambda: zipped({"/escaped/01_sound_as_data.ipynb": notebook(WRONG)}),
    "a path of Windows": lambda: zipped({"..\\..\\escaped\\01_sound_as_data.ipynb": notebook(WRONG)}),
    "a path into another student's folder": lambda: zipped({f"../bob/{NAME}": notebook(WRONG)}),
    "a link": _link,
    "ten thousand files": lambda: zipped({f"{n}.ipynb": b"" for n in range(10_000)}),
    "names that act": lambda: zipped({f"{ACTING}/{NAME}": notebook(WRONG)}),
    "no zip": lambda: b"PK\x03\x04 and nothing more",
    "half a zip": lambda: zipped({NAME: notebook(WRONG)})[:-30],
    "an empty zip": lambda: zipped({}),
}

# Students' names, as folders (bytes, since a name need not be text).
NAMES: tuple[bytes, ...] = (
    b"<script>alert(1)<", b"=cmd|' C calc'!A0", b"+1+1", b"@SUM(A1)", b"-2", b"\tx", b"new\nline",
    "\u202egpj.exe".encode(), b"\xff\xfe not text", b"BOB", b"Bob", b"bob.", b"bob ", b"CON", b"aux.txt", b"0042",
    b"a" * 250, "\uff1d1+1".encode(), b"\x1b[31mred", b"{{7*7}}", b"%s%n", b"$(reboot)", b"`reboot`", b"; rm -rf x",
    b"'--help", b"--help", "Z\u0351\u036b\u0343".encode(), "\u00e9".encode(), "e\u0301".encode(), b"Points Possible",
)  # fmt: skip


def lay_out(folder: Path, innocent: bytes) -> tuple[set[str], int]:
    """Write all of them, and three innocent students. Returns the innocents' names, and how many are not."""
    for name in ("alice", "bob", "zoe"):
        _put(folder / name / NAME, innocent)
    for n, data in enumerate(NOTEBOOKS.values()):
        _put(folder / f"n{n:02d}" / NAME, data)
    for n, make in enumerate(ZIPS.values()):
        _put(folder / f"z{n:02d}" / "handin.zip", make())
    for name in NAMES:
        place = os.path.join(os.fsencode(folder), name)
        os.mkdir(place)
        with open(os.path.join(place, NAME.encode()), "wb") as file:
            file.write(notebook(WRONG))
    _put_odd_files(folder)
    return {"alice", "bob", "zoe"}, len(NOTEBOOKS) + len(ZIPS) + len(NAMES) + N_ODD


N_ODD = 6


def _put_odd_files(folder: Path) -> None:
    """Of 1 GB (mostly a hole), links to elsewhere, a pipe, a folder of that name, a folder that links to itself."""
    _put(folder / "huge" / NAME, b"{")
    os.truncate(folder / "huge" / NAME, 10**9)
    for name, target in (("linked", "/etc/passwd"), ("thief", f"../alice/{NAME}")):
        (folder / name).mkdir()
        (folder / name / NAME).symlink_to(target)
    (folder / "piped").mkdir()
    os.mkfifo(folder / "piped" / NAME)
    (folder / "foldered" / NAME).mkdir(parents=True)
    (folder / "looped").mkdir()
    (folder / "looped" / "again").symlink_to(folder / "looped")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
