"""Find what students handed in: which files are whose, in the folders and zips that learning platforms export.

| SUBMISSIONS | whose a file is |
|---|---|
| a folder of folders `student/.../notebook.ipynb` (nbgrader's `submitted/`, Moodle, Gradescope) | the folder's |
| a folder of files `student_notebook.ipynb` (Canvas, Blackboard, Moodle) | what stands before the notebook's name |
| zips among such folders or files | each zip is one student's |
| one zip of any of these | as above |

Nothing is unpacked; links are not followed. Names are other people's: see `platforms.printable`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.grading import platforms
from course_lib.grading.collected import MAX_ENTRIES, Listed, is_read, list_folder, list_zip, unwrapped
from course_lib.grading.platforms import is_notebook, notebook_number, printable
from course_lib.grading.zipped import MAX_BYTES, Place, UnreadableFile

MAX_FILES = 20  # of one student: notebooks that are read
MAX_ZIPS = 5  # of one student: zips that are opened
MAX_TOTAL_BYTES = 64 << 20  # of one student: all that is read
_FAULT_BYTES = 8 << 20  # what a damaged file counts for: finding out may have meant unpacking most of it
MAX_NOTES = 20


class SubmissionsError(ValueError):
    """The place given holds no submissions; the message says what was found and what is needed."""


@dataclass(frozen=True)
class FileRef:
    """One notebook file, not read yet.

    Attributes:
        name: its path in the source, through zips too, as the platform named it; made printable.
        notebook: "01" if its name says so, else "".
    """

    place: Place
    name: str
    notebook: str = ""
    version: tuple[str, int] = ("", 0)

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """Raises: UnreadableFile, which says why in words for the student."""
        return self.place.read(max_bytes)


@dataclass(frozen=True)
class Content:
    """A file that was read: its bytes, or the problem that kept it from being read."""

    name: str
    notebook: str
    data: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Submission:
    """What one student handed in. `files`: the likeliest first. `notes`: what they should know of their files."""

    student: str
    files: tuple[FileRef, ...] = ()
    notes: tuple[str, ...] = ()

    def read(self) -> tuple[Content, ...]:
        """Read its files, at most MAX_TOTAL_BYTES in all. Never raises for what a student can do."""
        contents, left = [], MAX_TOTAL_BYTES
        for file in self.files:
            data, problem = b"", ""
            try:
                if left <= 0:
                    raise UnreadableFile(f"was not read: with it there are more than {MAX_TOTAL_BYTES >> 20} MB")
                data = file.read(min(left, MAX_BYTES))
            except UnreadableFile as error:
                problem = str(error)
            left -= len(data) + _FAULT_BYTES * bool(problem)
            contents.append(Content(file.name, file.notebook, data, problem))
        return tuple(contents)


def digest_of(contents: Iterable[Content]) -> str:
    """SHA-256, in hexadecimal, of all that was read."""
    sha = hashlib.sha256()
    for one in contents:
        head = f"{one.name}\0{one.notebook}\0{one.problem}\0{len(one.data)}\0"
        sha.update(head.encode("utf-8", "surrogatepass"))
        sha.update(one.data)
    return sha.hexdigest()


def find_submissions(
    source: Path, notebooks: Sequence[str] | None = None, tell: Callable[[str], None] = lambda line: None
) -> list[Submission]:
    """The submissions in a folder or zip, sorted by student.

    Args:
        notebooks: numbers of the notebooks that are wanted, as in ("01", "03"). Others are left out, if their names say
            that they are others and the student has files for all that are wanted.
        tell: called with a line for each thing that belongs to nobody.
    Raises: SubmissionsError if there is nothing of that name, or nobody's submission in it.
    """
    source = Path(source).expanduser()
    students: dict[str, _Found] = {}
    nameless: list[Listed] = []
    everything = list(_list(source))
    platform = platforms.platform_of(listed.parts[0] for listed in everything if len(listed.parts) == 1)
    for listed in everything:
        student, version = _owner(listed, platform)
        if student:
            students.setdefault(student, _Found()).add(listed, version)
        else:
            nameless.append(listed)
    if not students and any(is_notebook(listed.parts[-1]) for listed in nameless):
        # One student's own folder, or file.
        alone = students.setdefault(platforms.stem_of(source.resolve().name), _Found())
        while nameless:
            alone.add(nameless.pop(0), ("", 0))
    for listed in nameless:
        tell(f"{printable('/'.join(listed.parts))} {listed.problem or 'names no student'}; left out")
    if not students:
        raise SubmissionsError(
            f"{source.name}: nobody's submission is in it; need a folder (or a zip) of folders student/notebook.ipynb, "
            "or of files student_notebook.ipynb"
        )
    names = platforms.distinct(students)
    submissions = [found.submission(names[student], notebooks) for student, found in students.items()]
    return sorted(submissions, key=lambda one: one.student)


def _list(source: Path) -> Iterable[Listed]:
    """All files in the source. Raises: SubmissionsError if it is neither folder nor zip nor notebook."""
    try:
        if source.is_dir():
            return list(list_folder(source))
        if source.is_file() and source.suffix.lower() == ".zip":
            return unwrapped(list_zip(Place(source.resolve(), is_class=True)))
        if source.is_file() and is_notebook(source.name):
            return [Listed((source.name,), Place(source.resolve()))]
    except UnreadableFile as error:
        raise SubmissionsError(f"{source.name} {error}") from None
    what = "is neither a folder, a zip nor a notebook" if source.exists() else "is not there"
    raise SubmissionsError(f"{source} {what}; name the folder or the zip that holds the submissions")


def _owner(listed: Listed, platform: str) -> tuple[str, tuple[str, int]]:
    """Whose a file is ("" if nobody's), and its version. platform: which one named the files of a flat folder."""
    top, name = listed.parts[0], listed.parts[-1]
    if top == "..":
        return "", ("", 0)
    if len(listed.parts) > 1:
        return platforms.owner_of_folder(top), platforms.version_in_folder(name)
    if is_read(name) or platforms.is_platforms(name, platform):
        named = platforms.read_name(name, platform)
        return named.student, named.version
    return "", ("", 0)


@dataclass
class _Found:
    """What has been found of one student."""

    files: list[tuple[int, FileRef]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_zips: int = 0

    def add(self, listed: Listed, version: tuple[str, int], outer: str = "") -> None:
        """Take in one file, or all that is in a zip."""
        name = "/".join(printable(part) for part in (outer, *listed.parts) if part)
        last = listed.parts[-1]
        if listed.problem:
            self.note(f"{name} {listed.problem}")
        elif last.lower().endswith(".zip"):
            self.add_zip(listed, version, name)
        elif is_notebook(last):
            self.files.append((len(listed.parts), FileRef(listed.place, name, notebook_number(last), version)))
        else:
            self.others.append(name)

    def add_zip(self, listed: Listed, version: tuple[str, int], name: str) -> None:
        self.n_zips += 1
        if len(listed.place.inside) > listed.place.is_class:
            return self.note(f"{name} is a zip in a zip, which is not opened")
        if self.n_zips > MAX_ZIPS:
            return self.note(f"{name} is the sixth zip or later, and is not opened")
        place = listed.place
        try:
            inside = list_zip(place)
        except UnreadableFile as error:
            return self.note(f"{name} {error}")
        for one in inside[:MAX_ENTRIES]:
            own = platforms.version_in_folder(one.parts[-1])
            self.add(one, (version[0], max(version[1], own[1])), name)
        if len(inside) > MAX_ENTRIES:
            self.note(f"{name} holds {len(inside):,} files; only the first {MAX_ENTRIES:,} were looked at")
        return None

    def note(self, text: str) -> None:
        if len(self.notes) < MAX_NOTES and text not in self.notes:
            self.notes.append(text)

    def submission(self, student: str, notebooks: Sequence[str] | None) -> Submission:
        """The files in the order in which they count: later versions first, then those higher up."""
        ordered = sorted(self.files, key=lambda one: (one[0], one[1].name))
        files = [file for _, file in sorted(ordered, key=lambda one: one[1].version, reverse=True)]
        if notebooks and set(notebooks) <= {file.notebook for file in files}:
            files = [file for file in files if not file.notebook or file.notebook in notebooks]
        if len(files) > MAX_FILES:
            self.note(f"{len(files)} notebooks were handed in; only the first {MAX_FILES} were read")
        if not files:
            got = f" (got {', '.join(self.others[:5])})" if self.others else ""
            self.note(f"no notebook was handed in{got}; need a file that ends in .ipynb")
        return Submission(student, tuple(files[:MAX_FILES]), tuple(self.notes))
