"""Find, download, verify and import the Free Spoken Digit Dataset (Jackson et al., CC BY-SA 4.0; data/fsdd.md).

The cache holds one file, `fsdd-1.0.10.zip`, with the 3,000 recordings unchanged. One file can be replaced in one
step, so that a half-written cache cannot exist, and it is digested whenever it is read.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from .profiles import cache_dir

FSDD_VERSION = "1.0.10"
FSDD_URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{FSDD_VERSION}.tar.gz"
FSDD_DIGEST = "997e451901d158bdf09dde66b240f3f19310fdbf4d9c056ebd806254df4a672c"
N_RECORDINGS = 3000
CONNECT_TIMEOUT_S = 5  # a machine without a network should notice within seconds
READ_TIMEOUT_S = 30  # a server that sends nothing for so long is gone
MAX_RECORDING_BYTES = 1 << 20  # FSDD's longest recording is 36,568 bytes
MAX_ARCHIVE_BYTES = 500 << 20  # unpacked; FSDD's archive is 26 MB of recordings and a few small files
MAX_MEMBERS = 20_000
RECORDING_NAME = re.compile(r"[0-9]_[a-z]+_[0-9]+\.(wav|flac)")


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


fsdd_digest = recordings_digest


def cached_fsdd_path() -> Path:
    """Where the cache keeps FSDD (it may not exist)."""
    return cache_dir() / f"fsdd-{FSDD_VERSION}.zip"


def check_fsdd(recordings: Mapping[str, bytes], source: str | Path) -> None:
    """Raises: DataError unless these are exactly the recordings of FSDD 1.0.10."""
    if len(recordings) != N_RECORDINGS:
        raise DataError(f"{source}: got {len(recordings)} recordings, need the {N_RECORDINGS} of FSDD {FSDD_VERSION}")
    digest = recordings_digest(recordings)
    if digest != FSDD_DIGEST:
        raise DataError(
            f"{source}: the recordings are not those of FSDD {FSDD_VERSION} (digest {digest[:12]}..., "
            f"need {FSDD_DIGEST[:12]}...): damaged, changed, or another version"
        )


def read_fsdd() -> dict[str, bytes] | None:
    """The verified recordings from the cache; None if it has none, or none that can be used (said on stderr)."""
    path = cached_fsdd_path()
    if not path.is_file():
        return None
    try:
        recordings = read_recordings(path)
        check_fsdd(recordings, path)
    except (DataError, OSError) as error:
        print(f"The cached data set is damaged and will not be used: {error}", file=sys.stderr, flush=True)
        return None
    return recordings


def find_fsdd() -> Path | None:
    """The cache file, if it is there and its contents are right."""
    return cached_fsdd_path() if read_fsdd() is not None else None


def import_fsdd(path: str | Path) -> Path:
    """Take FSDD from an archive (.tar.gz, .tar, .zip) or folder into the cache; return the cache file.

    Raises: DataError if `path` is not there, is unsafe, or does not hold exactly FSDD 1.0.10; OSError if the cache
            cannot be written. In either case the cache is as it was.
    """
    recordings = read_recordings(Path(path))
    check_fsdd(recordings, path)
    return _store(recordings)


def download_fsdd(url: str = FSDD_URL, *, progress: bool = True, n_tries: int = 2) -> Path:
    """Download FSDD into the cache; return the cache file.

    Only a transfer that broke off is tried again: without a connection, waiting does not help.

    Raises: DataError if it cannot be had or is not FSDD 1.0.10; OSError if the disk is full. The cache is as it was.
    """
    import requests

    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        archive = Path(temporary) / "archive.tar.gz"
        for i_try in range(n_tries):
            try:
                _fetch(url, archive, progress)
                return import_fsdd(archive)
            except requests.exceptions.ChunkedEncodingError as error:
                if i_try == n_tries - 1:
                    raise DataError(f"{url}: the transfer broke off {n_tries} times ({error})") from error
            except requests.RequestException as error:
                raise DataError(f"{url}: {_reason(error)}") from error
            except DataError as error:
                raise DataError(str(error).replace(str(archive), url)) from error
    raise ValueError(f"n_tries: got {n_tries}, need at least 1")


def _fetch(url: str, archive: Path, progress: bool) -> None:
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=1 << 16, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    )
    download(url, str(archive), None)


def _reason(error: Exception) -> str:
    """One line for what requests says in five."""
    import requests

    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return f"{type(error).__name__}: {error}"


def _store(recordings: Mapping[str, bytes]) -> Path:
    """Write the cache file beside its place, then move it there in one step; nothing is left of a failure."""
    path = cached_fsdd_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".import-", suffix=".zip")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name in sorted(recordings):
                    archive.writestr(zipfile.ZipInfo(name), recordings[name])
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


# --- reading archives that may be broken or hostile: nothing is ever extracted to disk ---


def read_recordings(path: Path) -> dict[str, bytes]:
    """Name -> contents of the recordings in a folder, .tar, .tar.gz or .zip (its top, or a folder `recordings`).

    Raises: DataError if it is not there, unreadable, unsafe (escaping paths, links, devices, sizes) or has none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        members = _folder_members(path)
    elif not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    else:
        members = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)
    recordings: dict[str, bytes] = {}
    try:
        for name, content in members:
            if name in recordings:
                raise DataError(f"{path}: holds {name} twice")
            recordings[name] = content
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: broken or not an archive ({error}); get it again") from error
    if not recordings:
        raise DataError(f"{path}: no recordings such as 7_jackson_32.wav in it")
    return recordings


def _recording_name(member: str, source: Path) -> str | None:
    """The bare file name if the member is a recording, else None.

    Raises: DataError if the member's path is absolute or leaves the archive.
    """
    parts = member.replace("\\", "/").split("/")
    if ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise DataError(f"{source}: refused, its member {member!r} points outside the archive")
    in_place = len(parts) == 1 or parts[-2] == "recordings"
    return parts[-1] if in_place and RECORDING_NAME.fullmatch(parts[-1]) else None


def _check_member(source: Path, member: str, is_file: bool, n_bytes: int) -> None:
    if not is_file:
        raise DataError(f"{source}: refused, its member {member!r} is a link or device")
    if n_bytes > MAX_RECORDING_BYTES:
        raise DataError(f"{source}: refused, its member {member!r} has {n_bytes} bytes, over {MAX_RECORDING_BYTES}")


def _folder_members(folder: Path) -> Iterator[tuple[str, bytes]]:
    places = [folder, folder / "recordings", *sorted(folder.glob("*/recordings"))]
    place = next((p for p in places if any(p.glob("*.wav"))), folder)
    for file in sorted(place.iterdir()):
        if RECORDING_NAME.fullmatch(file.name):
            _check_member(folder, file.name, file.is_file() and not file.is_symlink(), file.lstat().st_size)
            yield file.name, file.read_bytes()


def _zip_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_count(path, len(infos))
        for info in infos:
            name = _recording_name(info.filename, path)
            if name is None:
                continue
            kind = info.external_attr >> 28  # the file type of Unix; 0 where the archive was made elsewhere
            _check_member(path, info.filename, kind in (0, 0o10), info.file_size)
            with archive.open(info) as member:  # stops at file_size, which was checked, whatever follows
                yield name, member.read()


def _tar_members(path: Path) -> Iterator[tuple[str, bytes]]:
    with open(path, "rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        capped = _Capped(gzip.GzipFile(fileobj=file) if is_gzip else file, path)
        # As a stream: members are read in order, once, and the cap counts every unpacked byte.
        with tarfile.open(fileobj=capped, mode="r|") as archive:
            for i_member, info in enumerate(archive):
                _check_count(path, i_member + 1)
                name = _recording_name(info.name, path)
                if name is None:
                    continue
                _check_member(path, info.name, info.isreg() and not info.issparse(), info.size)
                member = archive.extractfile(info)
                content = b"" if member is None else member.read()
                if len(content) != info.size:
                    raise DataError(f"{path}: cut short within {info.name!r}; get it again")
                yield name, content


def _check_count(path: Path, n_members: int) -> None:
    if n_members > MAX_MEMBERS:
        raise DataError(f"{path}: refused, it has more than {MAX_MEMBERS} members")


class _Capped:
    """A readable that refuses to unpack more than MAX_ARCHIVE_BYTES (a small archive may unpack to terabytes)."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, path: Path) -> None:
        self.file, self.path, self.n_read = file, path, 0

    def read(self, n_bytes: int) -> bytes:
        block = self.file.read(n_bytes)
        self.n_read += len(block)
        if self.n_read > MAX_ARCHIVE_BYTES:
            raise DataError(f"{self.path}: refused, it unpacks to more than {MAX_ARCHIVE_BYTES >> 20} MB")
        return block
