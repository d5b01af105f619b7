"""Read recordings out of archives that may be broken or hostile: nothing is ever unpacked to disk.

A recording is a file {digit}_{speaker}_{take}.wav or .flac at the top of an archive or in a folder `recordings`; all
else in it is passed over. Paths that leave the archive, links, devices and outsized contents are refused.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

MAX_RECORDING_BYTES = 1 << 20  # FSDD's longest recording is 36,568 bytes
MAX_TOTAL_BYTES = 500 << 20  # unpacked; FSDD is 26 MB of recordings and a few small files
MAX_MEMBERS = 20_000
RECORDING_NAME = re.compile(r"[0-9]_[a-z]+_[0-9]{1,6}\.(wav|flac)")
# ValueError and OSError too: tarfile and zipfile raise them for some damaged headers (a seek before the file's start).
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError)


class DataError(Exception):
    """A data set that cannot be had, or is not what it should be; the message says what to do."""


def recordings_digest(recordings: Mapping[str, bytes]) -> str:
    """SHA-256 over the recordings' sorted names, sizes and contents, in hexadecimal.

    Of the contents rather than the archive, because an archive made again from the same files differs in its bytes.
    """
    sha = hashlib.sha256()
    for name in sorted(recordings):
        sha.update(f"{name}\0{len(recordings[name])}\0".encode())
        sha.update(recordings[name])
    return sha.hexdigest()


def read_recordings(path: Path) -> dict[str, bytes]:
    """Name -> contents of the recordings in a folder, .tar, .tar.gz or .zip.

    Raises: DataError if it is not there, unreadable, broken, unsafe, or has none.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    recordings: dict[str, bytes] = {}
    n_bytes = 0
    try:
        for name, content in _members(path):
            n_bytes += len(content)
            if name in recordings:
                raise DataError(f"{path}: refused, it holds {name} twice")
            if n_bytes > MAX_TOTAL_BYTES:
                raise DataError(f"{path}: refused, its recordings have more than {MAX_TOTAL_BYTES >> 20} MB")
            recordings[name] = content
    except BROKEN as error:
        raise DataError(f"{path}: broken, or not an archive ({error}); get it again") from error
    if not recordings:
        raise DataError(f"{path}: no recordings such as 7_jackson_32.wav in it")
    return recordings


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        return _folder_members(path)
    return _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    places = [folder, folder / "recordings", *sorted(folder.glob("*/recordings"))]
    for place in (place for place in places if place.is_dir()):
        files = [file for file in sorted(place.iterdir()) if RECORDING_NAME.fullmatch(file.name)]
        for file in files:
            _check_member(folder, file.name, file.is_file(), file.stat().st_size)
            yield file.name, file.read_bytes()
        if files:
            return


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_count(path, len(infos))
        for info in infos:
            name = _recording_name(path, info.filename)
            if name is None:
                continue
            kind = info.external_attr >> 28  # Unix file type: 0o10 is a regular file, 0 unknown (made elsewhere)
            _check_member(path, info.filename, kind in (0, 0o10), info.file_size)
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{path}: {info.filename!r} is compressed in an unusual way; zip it again")
            with archive.open(info) as member:  # never yields more than file_size, which was checked
                yield name, member.read()


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        capped = _Capped(gzip.GzipFile(fileobj=file) if is_gzip else file, path)
        # As a stream: members are read once, in order, and the cap counts every unpacked byte.
        with tarfile.open(fileobj=capped, mode="r|") as archive:
            for i_member, info in enumerate(archive):
                _check_count(path, i_member + 1)
                name = _recording_name(path, info.name)
                if name is None:
                    continue
                _check_member(path, info.name, info.isreg() and not info.issparse(), info.size)
                content = archive.extractfile(info).read()
                if len(content) != info.size:
                    raise DataError(f"{path}: cut short within {info.name!r}; get it again")
                yield name, content


def _recording_name(source: Path, member: str) -> str | None:
    """The bare file name if the member is a recording, else None. Refuses paths that leave the archive."""
    parts = member.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise DataError(f"{source}: refused, its member {member!r} points outside the archive")
    in_place = len(parts) == 1 or parts[-2] in ("recordings", ".")
    return parts[-1] if in_place and RECORDING_NAME.fullmatch(parts[-1]) else None


def _check_member(source: Path, member: str, is_file: bool, n_bytes: int) -> None:
    if not is_file:
        raise DataError(f"{source}: refused, its member {member!r} is a link, a device or a folder, not a file")
    if n_bytes > MAX_RECORDING_BYTES:
        raise DataError(f"{source}: refused, its member {member!r} has {n_bytes} bytes, over {MAX_RECORDING_BYTES}")


def _check_count(source: Path, n_members: int) -> None:
    if n_members > MAX_MEMBERS:
        raise DataError(f"{source}: refused, it has more than {MAX_MEMBERS} members")


class _Capped:
    """A readable that refuses to unpack more than MAX_TOTAL_BYTES (a small archive may unpack to terabytes)."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, path: Path) -> None:
        self.file, self.path, self.n_read = file, path, 0

    def read(self, n_bytes: int) -> bytes:
        block = self.file.read(n_bytes)
        self.n_read += len(block)
        if self.n_read > MAX_TOTAL_BYTES:
            raise DataError(f"{self.path}: refused, it unpacks to more than {MAX_TOTAL_BYTES >> 20} MB")
        return block
