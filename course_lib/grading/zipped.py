"""Read files, and files in zips, that may be hostile: nothing is unpacked to disk, nothing read beyond what was asked.

A name inside a zip decides nothing about where something goes, so a name with `..` in it is only a strange name.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

MAX_BYTES = 32 << 20  # of one file, unpacked: a notebook of the course with all its sounds has some 3 MB
MAX_ZIP_BYTES = 64 << 20  # of a student's zip, as it is
MAX_LIST_BYTES = 1 << 20  # of the list of names in a student's zip, some 10,000 of them
MAX_CLASS_LIST_BYTES = 256 << 20  # of the list of names in a zip of the whole class
_CHUNK_BYTES = 1 << 18
# What zipfile raises for damaged and hostile files; RuntimeError for encrypted ones.
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, OverflowError)


class UnreadableFile(Exception):
    """A file that will not be read; the message says why, in words for the student."""


@dataclass(frozen=True)
class Place:
    """Where a file's bytes lie: `path` on disk, then names inside zips, from the outermost zip to the innermost.

    `is_class`: `path` is a zip of the whole class, so its list of names may be long.
    """

    path: Path
    inside: tuple[str, ...] = ()
    is_class: bool = False

    def read(self, max_bytes: int = MAX_BYTES) -> bytes:
        """Raises: UnreadableFile if it is larger, damaged, encrypted, a link or gone."""
        if not self.inside:
            return _read_file(self.path, max_bytes)
        return _read_member(self._container(), self.inside[-1], max_bytes)

    def entries(self) -> Iterator[tuple[str, str]]:
        """(name, what is wrong with it, or "") of each file in this zip. Raises: UnreadableFile."""
        for info in self.opened().infolist():
            if not info.is_dir():
                yield info.filename, _what_is_wrong(info)

    def opened(self) -> zipfile.ZipFile:
        """This file as a zip. Raises: UnreadableFile."""
        status = _status(self.path)
        return _open_zip(self, status.st_mtime_ns, status.st_size)

    def _container(self) -> zipfile.ZipFile:
        return Place(self.path, self.inside[:-1], self.is_class).opened()


class _Frugal:
    """Refuses to read much at once. zipfile reads a zip's whole list of names in one go, however long it claims to be;
    with 600 bytes of memory for each name, 32 MB of names would take 400 MB."""

    max_read = MAX_LIST_BYTES

    def read(self, n_bytes: int | None = -1) -> bytes:
        if n_bytes is not None and n_bytes > self.max_read:
            raise zipfile.BadZipFile("its list of names is too long")
        return super().read(n_bytes)  # type: ignore[misc]


class _FrugalFile(_Frugal, io.FileIO):
    pass


class _FrugalBytes(_Frugal, io.BytesIO):
    pass


# A few are kept open: files come zip by zip, and the list of a class of 10,000 takes a tenth of a second to read.
@lru_cache(maxsize=3)
def _open_zip(place: Place, mtime_ns: int, n_bytes: int) -> zipfile.ZipFile:
    del mtime_ns, n_bytes  # part of the key, so that a file that was replaced is opened again
    file: _FrugalFile | _FrugalBytes
    if place.inside:
        file = _FrugalBytes(place.read(MAX_ZIP_BYTES))
    else:
        file = _FrugalFile(_open_plain(place.path))
        if place.is_class:
            file.max_read = MAX_CLASS_LIST_BYTES
    try:
        return zipfile.ZipFile(file)
    except BROKEN as error:
        file.close()
        raise UnreadableFile(f"is no readable zip ({_reason(error)}); zip it again") from None


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(name)
    except KeyError:
        raise UnreadableFile("is no longer in its zip") from None


def _read_member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    info = _member(archive, name)
    if wrong := _what_is_wrong(info):
        raise UnreadableFile(wrong)
    _check_size(info.file_size, max_bytes)
    try:
        with archive.open(info) as member:
            return _read_capped(member.read, max_bytes)
    except BROKEN as error:
        raise UnreadableFile(f"is damaged within its zip ({_reason(error)}); zip it again") from None


def _what_is_wrong(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x1:
        return "is encrypted; hand it in without a password"
    if info.external_attr >> 28 not in (0, 0o10):  # the Unix file type: 0o10 a file, 0 not told
        return "is a link or a device, not a file; hand in the notebook itself"
    # LZMA is out: a few bytes of its header make it ask for 4 GB.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way; zip it with your system's own tool"
    return ""


def _read_file(path: Path, max_bytes: int) -> bytes:
    try:
        with open(_open_plain(path), "rb", buffering=0) as file:
            _check_size(os.fstat(file.fileno()).st_size, max_bytes)
            return _read_capped(file.read, max_bytes)
    except OSError as error:
        raise UnreadableFile(f"cannot be read ({error.strerror})") from None


def _read_capped(read: object, max_bytes: int) -> bytes:
    """All of it, or UnreadableFile: sizes that a file system or a zip tells are not believed."""
    chunks, n_bytes = [], 0
    while chunk := read(_CHUNK_BYTES):  # type: ignore[operator]
        n_bytes += len(chunk)
        _check_size(n_bytes, max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _check_size(n_bytes: int, max_bytes: int) -> None:
    if n_bytes > max_bytes:
        size = f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
        raise UnreadableFile(
            f"has {size} or more, and at most {max_bytes >> 20} MB are read; clear its outputs, save, hand it in again"
        )


def _open_plain(path: Path) -> int:
    """Open a plain file, not through a link; a pipe that nobody writes to must not make us wait."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        number = os.open(path, flags)
    except OSError as error:
        raise UnreadableFile(f"cannot be opened ({error.strerror})") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UnreadableFile("is a link, a pipe or a device, not a file")
    return number


def _status(path: Path) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise UnreadableFile(f"cannot be read ({error.strerror})") from None


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
