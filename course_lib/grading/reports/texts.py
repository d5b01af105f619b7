"""Text that others wrote, made safe to show: in a page, in a spreadsheet, in a log."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a reader can't see, or what moves other characters about: controls (but for newline and tab), marks and overrides
# of writing direction, invisible spaces, odd line ends, halves of surrogate pairs, tags (letters nobody sees).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
# What Excel, LibreOffice and Google Sheets take for the start of a formula, full-width forms too. After a separator as
# well: a spreadsheet of a country that writes decimal commas splits a line at semicolons, quotes or not.
_FORMULA = re.compile(r"""(^|[;,|\t])([\s"']*)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")


def visible(text: str, max_chars: int = 100_000) -> str:
    """`text` with every invisible or direction-changing character spelled out: `a\\u202eb` becomes `a⟨U+202E⟩b`.

    Line ends become newlines; newlines and tabs stay. What is beyond max_chars is cut off, and the cut is told.
    """
    if len(text) > max_chars:
        text = f"{text[:max_chars]} ... ({len(text) - max_chars} characters more)"
    return _INVISIBLE.sub(_spelled, text.replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: str, max_chars: int = 300) -> str:
    """The same, with every stretch of white space a single space."""
    return " ".join(visible(text[: 4 * max_chars], 4 * max_chars).split())[:max_chars]


def shortened(text: str, max_chars: int = 300) -> str:
    """In one line too, but a longer text ends after a whole word, and with dots."""
    line = one_line(text, max_chars + 1)
    if len(line) <= max_chars:
        return line
    head, _, _ = line[: max_chars - 4].rpartition(" ")
    return f"{head or line[: max_chars - 4]} ..."


def cell(value: str | float | None) -> str:
    """A cell of a CSV file that no spreadsheet runs: what would start a formula gets an apostrophe before it.

    Numbers are written with at most four decimals; digits that stand for a person ("0042") stay as they are.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _FORMULA.sub(r"\1\2'", one_line(value, 1000))
    return number(value)


def number(value: float) -> str:
    """At most four decimals, no exponent, no needless zeros: 2, 2.5, 0.3333."""
    text = f"{value:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def count(n: float, noun: str) -> str:
    """`1 point`, `2.5 points`."""
    return f"{number(n)} {noun}" + ("" if n == 1 else "s")


def first_names(names: Sequence[str], max_chars: int = 60) -> str:
    """The first ten, each in one line, and how many more there are."""
    shown = ", ".join(one_line(name, max_chars) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _spelled(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"
