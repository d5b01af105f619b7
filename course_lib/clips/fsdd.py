"""Find, download, verify and import the Free Spoken Digit Dataset (Jackson and others, CC BY-SA 4.0; data/fsdd.md).

The cache holds one file, `fsdd-1.0.10.zip`, with the 3,000 recordings unchanged. One file can be replaced in one
step, so that no half-written cache can exist, and it is verified whenever it is read.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from course_lib.clips.archives import MAX_TOTAL_BYTES, DataError, read_recordings, recordings_digest
from course_lib.settings.profiles import cache_dir

FSDD_VERSION = "1.0.10"
FSDD_URL = f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{FSDD_VERSION}.tar.gz"
FSDD_DIGEST = "997e451901d158bdf09dde66b240f3f19310fdbf4d9c056ebd806254df4a672c"
N_RECORDINGS = 3000
CONNECT_TIMEOUT_S = 5  # a machine without a network should notice within seconds
READ_TIMEOUT_S = 30  # a server that sends nothing for so long is gone
BLOCK_BYTES = 1 << 16
STALE_S = 24 * 3600  # what a killed process left behind is removed after a day: until then it may be at work
TEMPORARY = ".fsdd-part-"

fsdd_digest = recordings_digest


class BrokenTransfer(DataError):
    """A download that began and broke off: worth another try at once."""


def cached_fsdd_path() -> Path:
    """Where the cache keeps FSDD (it may not exist)."""
    return cache_dir() / f"fsdd-{FSDD_VERSION}.zip"


def check_fsdd(recordings: Mapping[str, bytes], source: str | Path) -> None:
    """Raises: DataError unless these are exactly the recordings of FSDD 1.0.10."""
    if len(recordings) != N_RECORDINGS:
        raise DataError(f"{source}: got {len(recordings)} recordings, need the {N_RECORDINGS} of FSDD {FSDD_VERSION}")
    digest = fsdd_digest(recordings)
    if digest != FSDD_DIGEST:
        raise DataError(
            f"{source}: the recordings are not those of FSDD {FSDD_VERSION} (digest {digest[:12]}..., "
            f"need {FSDD_DIGEST[:12]}...): damaged, changed, or another version"
        )


def read_fsdd() -> dict[str, bytes] | None:
    """The verified recordings from the cache; None if it has none, or none that can be used (said on stderr)."""
    path = cached_fsdd_path()
    if not os.path.isfile(path):  # False too where the folder above may not be looked into
        return None
    try:
        recordings = read_recordings(path)
        check_fsdd(recordings, path)
    except DataError as error:
        print(f"The cached data set is damaged and will not be used: {error}", file=sys.stderr, flush=True)
        return None
    return recordings


def find_fsdd() -> Path | None:
    """The cache file if it is there and its contents are right; a damaged one is named on stderr."""
    return cached_fsdd_path() if read_fsdd() is not None else None


def import_fsdd(path: str | Path) -> Path:
    """Take FSDD from an archive (.tar.gz, .tar, .zip) or folder into the cache; return the cache file.

    Raises: DataError if `path` is not there, is unsafe, does not hold exactly FSDD 1.0.10, or the cache cannot be
            written (a full disk, say). The cache stays as it was.
    """
    recordings = read_recordings(Path(path))
    check_fsdd(recordings, path)
    return _store(recordings)


def download_fsdd(url: str | None = None, *, progress: bool = True, n_tries: int = 2) -> Path:
    """Download FSDD (from its home, FSDD_URL, if no other is given) into the cache; return the cache file.

    Only a transfer that broke off is tried again: without a connection, waiting does not help.

    Raises: DataError if it cannot be had, is not FSDD 1.0.10, or the disk is full. The cache stays as it was.
    """
    url = FSDD_URL if url is None else url
    folder = _prepared_cache_dir()
    with _disk_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=TEMPORARY) as temporary:
        archive = Path(temporary) / "archive"
        for i_try in range(n_tries):
            try:
                _fetch(url, archive, progress)
                break
            except BrokenTransfer:
                if i_try == n_tries - 1:
                    raise
        try:
            return import_fsdd(archive)
        except DataError as error:  # name the address: the temporary file is gone when this is read
            raise DataError(str(error).replace(str(archive), url)) from error


def _fetch(url: str, archive: Path, progress: bool) -> None:
    """Raises: BrokenTransfer if it broke off half-way, DataError if it did not begin or has no end."""
    import requests
    from tqdm.auto import tqdm

    try:
        with requests.get(url, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)) as response:
            response.raise_for_status()
            n_expected = int(response.headers.get("content-length", 0)) or None  # GitHub does not always say
            n_got = 0
            bar = tqdm(total=n_expected, desc=f"FSDD {FSDD_VERSION}", unit="B", unit_scale=True, disable=not progress)
            with bar, open(archive, "wb") as file:
                for block in response.iter_content(BLOCK_BYTES):
                    file.write(block)
                    bar.update(len(block))
                    n_got += len(block)
                    if n_got > MAX_TOTAL_BYTES:
                        raise DataError(f"{url}: refused, the download is over {MAX_TOTAL_BYTES >> 20} MB")
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise BrokenTransfer(f"{url}: the transfer broke off ({error})") from error
    except requests.Timeout as error:
        raise DataError(f"{url}: no answer in time; is there a network?") from error
    except requests.HTTPError as error:
        raise DataError(f"{url}: the server answered {error.response.status_code} {error.response.reason}") from error
    except requests.ConnectionError as error:
        raise DataError(f"{url}: no connection; is there a network?") from error
    except requests.RequestException as error:
        raise DataError(f"{url}: {error}") from error
    if n_expected is not None and n_got < n_expected:
        raise BrokenTransfer(f"{url}: the transfer broke off after {n_got} of {n_expected} bytes")


def _store(recordings: Mapping[str, bytes]) -> Path:
    """Write the cache file beside its place, then move it there in one step; a failure leaves nothing behind."""
    path = cached_fsdd_path()
    folder = _prepared_cache_dir()
    with _disk_errors(folder):
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=TEMPORARY, suffix=".zip")
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


def _prepared_cache_dir() -> Path:
    """The cache folder, made if need be, without what killed processes left in it long ago."""
    folder = cache_dir()
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(f"{TEMPORARY}*"):
            with suppress(FileNotFoundError):  # another process has just finished with it
                if time.time() - left_over.lstat().st_mtime > STALE_S:
                    shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
    return folder


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn the errors of a full or closed disk into a DataError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free 50 MB, or set COURSE_DATA_DIR to a folder on another disk"
            raise DataError(f"{folder}: the disk is full; {remedy}") from error
        raise DataError(f"{folder}: cannot be written ({error}); set COURSE_DATA_DIR to another folder") from error
