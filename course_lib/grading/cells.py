"""Read the cells of a notebook file that may hold anything."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from course_lib.grading.zipped import MAX_BYTES

TEXT_STUB = "*Your answer here.*"  # what a written answer's cell holds before there is one
MAX_VALUES = 2_000_000  # lists, objects and items: 32 MB of nothing but brackets would take 2 GB of memory to hold
MAX_NOTES = 30
_ID = re.compile(r"[0-9]{2}\.[0-9]{1,3}")
_GRADE_ID = re.compile(r"(exercise|written|check)-([0-9]{2})-([0-9]{1,3})")
_AGAIN = "open it in Jupyter, save it, and hand in the .ipynb file"


class UnreadableNotebook(ValueError):
    """The message says why this is no notebook, in words for the student."""


@dataclass(frozen=True)
class Cell:
    """Attributes:
    kind: "code", "markdown", "raw", or whatever the file says.
    claims: what its metadata says it is: {"exercise": "01.2"}, {"written": ...}, {"check": ...}.
    """

    kind: str
    source: str
    claims: dict[str, str]


@dataclass
class Notes:
    """What a student should know of their files: each line once, and not without end."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        if line not in self.lines and len(self.lines) < MAX_NOTES:
            self.lines.append(line)


def grade_id(kind: str, question_id: str) -> str:
    """What `course release` calls a cell in nbgrader's metadata: of ("check", "01.2"), check-01-2."""
    return f"{kind}-{question_id}".replace(".", "-")


def read_cells(data: bytes, notes: Notes) -> list[Cell]:
    """The cells of a notebook of format 4, or of an older one. Raises: UnreadableNotebook, and nothing else."""
    notebook = _parse(data)
    if not isinstance(notebook, dict):
        raise UnreadableNotebook(f"it holds {_kind_of(notebook)}, not a notebook; {_AGAIN}")
    cells = notebook.get("cells")
    if isinstance(notebook.get("worksheets"), list) and not isinstance(cells, list):
        notes.add("the notebook is of format 3, which is out of date; open it in Jupyter and save it")
        sheets = [sheet.get("cells") for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    if not isinstance(cells, list):
        raise UnreadableNotebook(f"it has no list of cells; {_AGAIN}")
    return list(_good_cells(cells, notes))


def _parse(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise UnreadableNotebook(f"it has more than {MAX_BYTES >> 20} MB; clear its outputs and save it")
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head and not data.strip():
        raise UnreadableNotebook("the file is empty")
    if head.startswith((b"<", b"PK\x03\x04", b"%PDF")):
        what = {b"<": "a web page", b"P": "a zip", b"%": "a PDF"}[head[:1]]
        raise UnreadableNotebook(f"it is {what} under another name; {_AGAIN}")
    if sum(map(data.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise UnreadableNotebook(f"it holds more than {MAX_VALUES:,} values; clear its outputs and save it")
    try:
        # Not utf-8 alone: Windows' PowerShell writes utf-16. json.loads recognises these, and not the mark of utf-8.
        return json.loads(data[3:] if data.startswith(b"\xef\xbb\xbf") else data)
    except RecursionError:
        raise UnreadableNotebook(f"its brackets are nested without end; {_AGAIN}") from None
    except UnicodeDecodeError:
        raise UnreadableNotebook(f"its text is not UTF-8; {_AGAIN}") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg.removesuffix(' starting at')}"
        raise UnreadableNotebook(f"it is not whole, or not a notebook ({where}); {_AGAIN}") from None
    except ValueError:  # a number of more than 4,300 digits
        raise UnreadableNotebook(f"it holds a number that no notebook holds; {_AGAIN}") from None


def _good_cells(cells: list[Any], notes: Notes) -> Iterator[Cell]:
    n_odd = 0
    for cell in cells:
        kind = cell.get("cell_type") if isinstance(cell, dict) else None
        source = _source(cell) if isinstance(kind, str) else None
        if source is None:
            n_odd += 1
            continue
        yield Cell(kind, source, _claims(cell.get("metadata")))
    if n_odd:
        notes.add(f"{n_odd} of {len(cells)} cells could not be read, and were passed over")


def _source(cell: dict[str, Any]) -> str | None:
    """The cell's text with plain line ends and only characters that can be written down, or None if it has none."""
    source = cell.get("source", cell.get("input"))  # formats 4 and 3
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in source:
        source = source.replace("\0", "\ufffd")
    if not source.isascii():
        # Halves of surrogate pairs, which JSON can hold and UTF-8 cannot: pairs are joined, others replaced.
        source = source.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return source


def _claims(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict):
        return {}
    course, nbgrader = metadata.get("course"), metadata.get("nbgrader")
    if isinstance(course, dict):
        claims = {name: course.get(name) for name in ("exercise", "written", "check")}
        found = {name: value for name, value in claims.items() if isinstance(value, str) and _ID.fullmatch(value)}
        if found:
            return found
    name = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    found = _GRADE_ID.fullmatch(name) if isinstance(name, str) else None
    return {found[1]: f"{found[2]}.{found[3]}"} if found else {}


def _kind_of(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return kinds.get(type(value), "a number")
