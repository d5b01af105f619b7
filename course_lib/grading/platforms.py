"""Whose file is it? What learning platforms put into the names of the folders and files that they export.

A platform writes its own part first and the name that the student chose last, so that every pattern here is read from
the left and takes the shortest match; and which platform wrote the names is settled once for all of them. So a student
who calls a file `other_77_88_01_sound.ipynb` stays who they are.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

NOTEBOOK_STEMS = (
    "00_start_here",
    "01_sound_as_data",
    "02_a_machine_that_listens",
    "03_autoencoders",
    "04_vaes",
    "05_a_vae_that_speaks",
    "06_gans_on_spectrograms",
    "07_gans_on_waveforms",
    "08_a_network_that_remembers",
    "09_sample_by_sample",
)
MAX_NAME = 120  # characters of a student's or a file's name that are kept

# Canvas (lib/content_zipper.rb): sortable name, LATE, user id, attachment id, the file's name; anonymous assignments
# have anon_ and five characters in place of name and id.
_CANVAS_WHO = r"(?:LATE_)?(?P<anonymous>anon_[A-Za-z0-9]+)|(?P<name>\w+?)_(?:LATE_)?(?P<id>\d+)"
_CANVAS = re.compile(rf"(?:{_CANVAS_WHO})_(?P<version>\d+)_(?P<rest>.+)", re.DOTALL)
_CANVAS_TEXT = re.compile(rf"(?:{_CANVAS_WHO})_(?P<rest>(?:text|link)\.html)")
# Moodle: full name (or "Participant"), participant's number, plugin; then a folder, or the file's name.
_MOODLE = re.compile(r"(?P<name>.+?_\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<rest>.*))?", re.DOTALL)
# Blackboard: assignment, user, the attempt's time, the file's name.
_BLACKBOARD = re.compile(r".+?_(?P<id>[^_]+)_attempt_(?P<version>\d{4}(?:-\d\d){5})(?:_(?P<rest>.+)|\.txt)", re.DOTALL)
PATTERNS = {"Blackboard": (_BLACKBOARD,), "Moodle": (_MOODLE,), "Canvas": (_CANVAS, _CANVAS_TEXT)}
_STEM = re.compile(
    r"(?:^|(?<=[\W_]))(?P<stem>" + "|".join(NOTEBOOK_STEMS).replace("_", r"[_ \-]") + r")(?![^\W_])", re.IGNORECASE
)
_NUMBERED = re.compile(r"(?:^|(?<=[\W_]))(?P<number>\d\d)[_ \-][^\W\d_]{2}")
_COPY = re.compile(r"(?:-(?P<canvas>\d{1,3})|[ _]?\((?P<browser>\d{1,3})\))$")
_HASHED = re.compile(r"~[0-9a-f]{10}$")
_ENDING = re.compile(r"(?P<stem>.*?)\.ipynb(?P<extra>\.txt|\.json)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Named:
    """What a file's name says.

    Attributes:
        student: as the name has it (see `distinct`); "" if it names nobody.
        rest: the name that the student gave the file.
        version: of two files of one student for one notebook, the one with the higher version was handed in later.
    """

    student: str
    rest: str
    version: tuple[str, int] = ("", 0)


def owner_of_folder(name: str) -> str:
    """The student that a folder with submissions belongs to."""
    moodle = _MOODLE.fullmatch(name)
    return moodle["name"] if moodle and not moodle["rest"] else name


def platform_of(names: Iterable[str]) -> str:
    """Which platform named the files of a flat folder: one of PATTERNS, or "" (`student_notebook.ipynb`).

    The one whose pattern more than half of them have: the end of a file's name is its student's choice, and must not
    choose how it is read.
    """
    names = list(names)
    for platform in PATTERNS:
        if 2 * sum(is_platforms(name, platform) for name in names) > len(names):
            return platform
    return ""


def is_platforms(name: str, platform: str) -> bool:
    """True if this platform could have named the file."""
    return any(pattern.fullmatch(name) for pattern in PATTERNS.get(platform, ()))


def read_name(name: str, platform: str) -> Named:
    """Whose a file in a flat folder is: by the platform's pattern, or `student_notebook.ipynb`."""
    if platform == "Blackboard" and (found := _BLACKBOARD.fullmatch(name)):
        return Named(found["id"], found["rest"] or "", (found["version"], _copy_number(found["rest"] or "")))
    if platform == "Moodle" and (found := _MOODLE.fullmatch(name)) and found["rest"]:
        return Named(found["name"], found["rest"], ("", _copy_number(found["rest"])))
    if platform == "Canvas" and (found := _CANVAS.fullmatch(name) or _CANVAS_TEXT.fullmatch(name)):
        student = found["anonymous"] or f"{found['name']}_{found['id']}"
        version = found.groupdict().get("version") or ""
        return Named(student, found["rest"], (version.zfill(20), _copy_number(found["rest"])))
    stem = stem_of(name)
    mark = _STEM.search(stem) or _NUMBERED.search(stem)
    if mark is None:
        return Named(_COPY.sub("", stem), name, ("", _copy_number(name)))
    return Named(stem[: mark.start()].rstrip("_- ."), name[mark.start() :], ("", _copy_number(name)))


def notebook_number(name: str) -> str:
    """The number of the notebook that a file's name tells: "01", or "" if it tells none."""
    stem = stem_of(name)
    if found := _STEM.search(stem):
        return found["stem"][:2]
    found = _NUMBERED.search(stem) or re.match(r"(?P<number>\d\d)$", _COPY.sub("", stem))
    return found["number"] if found else ""


def is_notebook(name: str) -> bool:
    """True for x.ipynb in any case, and for x.ipynb.txt and x.ipynb.json, as browsers save them."""
    return _ENDING.fullmatch(name) is not None


def stem_of(name: str) -> str:
    found = _ENDING.fullmatch(name)
    return found["stem"] if found else name.rpartition(".")[0] or name


def version_in_folder(name: str) -> tuple[str, int]:
    """As Named.version, of a file in a student's own folder: "x-2.ipynb" and "x (2).ipynb" come after "x.ipynb"."""
    return ("", _copy_number(name))


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Each of these names -> its printable form, another for each: where two would be the same (a blank at the end,
    two spellings of one letter), those that had to be changed end with a hash of what they were."""
    plain = {name: printable(name) for name in names}
    taken = Counter(plain.values())
    kept = {name for name, text in plain.items() if (taken[text] == 1 or name == text) and not _HASHED.search(text)}
    return {name: text if name in kept else _hashed(text, name) for name, text in plain.items()}


def printable(name: str) -> str:
    """The name in one spelling (NFC), without anything that a terminal would obey, at most MAX_NAME long.

    Bytes that are not UTF-8, control characters and marks that turn text round become \\x.. and \\u....
    """
    text = unicodedata.normalize("NFC", name)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else _escaped(char) for char in text)
    text = text.strip()
    return text if len(text) <= MAX_NAME else _hashed(text, text)


def _hashed(text: str, name: str) -> str:
    return f"{text[: MAX_NAME - 11]}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _copy_number(name: str) -> int:
    found = _COPY.search(stem_of(name))
    return int(found["canvas"] or found["browser"]) if found else 0
