"""Everything that lies in a folder or a zip of submissions, listed without following links and without unpacking."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.grading.platforms import is_notebook, notebook_number, platform_of, read_name
from course_lib.grading.zipped import Place, UnreadableFile

MAX_ENTRIES = 2_000  # of one student: files and folders that are looked at
_MAX_WRAPPERS = 3
MAX_DEPTH = 8  # of folders below a student's
_WRAPPERS = re.compile(r"submitted|assignment_\d+_export", re.IGNORECASE)  # nbgrader, Gradescope
_NBGRADER = {"source", "release", "autograded", "gradebook.db", "nbgrader_config.py"}


@dataclass(frozen=True)
class Listed:
    """A file: the names on the way to it from the top, where its bytes lie, and what is wrong with it, or ""."""

    parts: tuple[str, ...]
    place: Place
    problem: str = ""


def list_folder(source: Path) -> Iterator[Listed]:
    """The files in a folder of submissions, below the folders that merely wrap it. Hidden files are passed over."""
    source = _inner_folder(source)
    for entry in _entries(source):
        name, path = entry.name, Path(entry.path)
        if entry.is_symlink():
            yield Listed((name,), Place(path), "is a link, which is not followed")
        elif entry.is_dir(follow_symlinks=False):
            yield from list(_walk(path, (name,))) or [Listed((name, ""), Place(path), "holds no file")]
        else:
            yield Listed((name,), Place(path))


def list_zip(place: Place) -> list[Listed]:
    """The files in a zip. Raises: UnreadableFile."""
    listed = []
    for name, problem in place.entries():
        parts = tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))
        if not parts or any(_is_hidden(part) for part in parts if part != ".."):
            continue
        if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
            problem = "has a name that leads out of its zip"
        elif len(parts) > MAX_DEPTH:
            parts, problem = parts[:MAX_DEPTH], f"lies more than {MAX_DEPTH} folders deep"
        listed.append(Listed(parts, Place(place.path, (*place.inside, name), place.is_class), problem))
    return listed


def unwrapped(listed: list[Listed]) -> list[Listed]:
    """Without the folders that merely wrap all of a class's submissions."""
    for _ in range(_MAX_WRAPPERS):
        wrapper = _wrapper([one.parts for one in listed if not one.problem])
        if not wrapper:
            break
        listed = [Listed(one.parts[1:], one.place, one.problem) for one in listed if one.parts[0] == wrapper]
    return listed


def _inner_folder(source: Path) -> Path:
    """The same for a folder on disk, which may be too large to list it all."""
    for _ in range(_MAX_WRAPPERS):
        entries = _entries(source)
        folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        if len(folders) != 1 and all(entry.name != "submitted" for entry in folders):
            break
        paths = [(entry.name,) for entry in entries if entry not in folders]
        for entry in folders:
            paths += [one.parts for one in _walk(Path(entry.path), (entry.name,)) if not one.problem]
        wrapper = _wrapper(paths)
        if not wrapper:
            break
        source = source / wrapper
    return source


def _wrapper(paths: list[tuple[str, ...]]) -> str:
    """The folder that wraps all submissions, or "": nbgrader's `submitted` in a course, what Gradescope exports, or the
    only folder, if the submissions in it are several students'."""
    tops = {parts[0] for parts in paths}
    if "submitted" in tops and tops & _NBGRADER:
        return "submitted"
    folders = {parts[0] for parts in paths if len(parts) > 1}
    if len(folders) != 1 or any(len(parts) == 1 and is_read(parts[0]) for parts in paths):
        return ""
    (name,) = folders
    below = [parts[1:] for parts in paths if len(parts) > 1]
    return name if _WRAPPERS.fullmatch(name) or _wrapper(below) or _is_several(below) else ""


def _is_several(below: Iterable[tuple[str, ...]]) -> bool:
    """True if the same notebook lies in two folders, or in two files that tell their students apart."""
    holders = defaultdict(set)
    below = list(below)
    if platform_of(parts[0] for parts in below if len(parts) == 1):
        return True
    for parts in below:
        if not is_read(parts[-1]):
            continue
        file = notebook_number(parts[-1]) or parts[-1].casefold()
        student = read_name(parts[0], "").student if len(parts) == 1 else parts[0]
        if student:
            holders[file].add(student)
    return any(len(students) > 1 for students in holders.values())


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[Listed]:
    """The files below one student's folder, at most MAX_ENTRIES of them."""
    pending, n_entries = [(folder, parts)], 0
    while pending:
        folder, parts = pending.pop()
        try:
            entries = _entries(folder)
        except UnreadableFile as error:
            yield Listed(parts, Place(folder), str(error))
            continue
        for entry in entries:
            n_entries += 1
            path, names = Path(entry.path), (*parts, entry.name)
            if n_entries > MAX_ENTRIES:
                yield Listed(names, Place(path), f"comes after {MAX_ENTRIES:,} others; no more are looked at")
                return
            if entry.is_symlink():
                yield Listed(names, Place(path), "is a link, which is not followed")
            elif not entry.is_dir(follow_symlinks=False):
                yield Listed(names, Place(path))
            elif len(names) > MAX_DEPTH:
                yield Listed(names, Place(path), f"lies more than {MAX_DEPTH} folders deep")
            else:
                pending.append((path, names))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is visible in a folder, in the order of names. Raises: UnreadableFile."""
    try:
        with os.scandir(folder) as entries:
            return sorted((one for one in entries if not _is_hidden(one.name)), key=lambda one: one.name)
    except OSError as error:
        raise UnreadableFile(f"cannot be opened ({error.strerror})") from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def is_read(name: str) -> bool:
    return is_notebook(name) or name.lower().endswith(".zip")
