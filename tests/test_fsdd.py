"""Getting FSDD: whatever goes wrong, the cache holds a verified data set or none, and a retry puts it right."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsdd_server import Server, make_recordings, running_server, sends, sends_chunks, tar_gz, zipped

from course_lib.clips import archives, fsdd, loading
from course_lib.clips.archives import DataError, recordings_digest
from course_lib.clips.fsdd import BrokenTransfer, cached_fsdd_path, download_fsdd, find_fsdd, import_fsdd, read_fsdd

RECORDINGS = make_recordings()
GOOD = tar_gz(RECORDINGS)


@pytest.fixture(autouse=True)
def small_fsdd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; RECORDINGS counts as FSDD. Returns the cache folder."""
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("COURSE_DATASET", raising=False)
    monkeypatch.setattr(fsdd, "N_RECORDINGS", len(RECORDINGS))
    monkeypatch.setattr(fsdd, "FSDD_DIGEST", recordings_digest(RECORDINGS))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with running_server() as server:
        monkeypatch.setattr(fsdd, "FSDD_URL", server.url)
        yield server


def is_untouched(cache: Path) -> bool:
    """No data set in the cache, and nothing left over from the attempt."""
    return not cache.exists() or not list(cache.iterdir())


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# --- importing ---


@pytest.mark.parametrize(
    ("name", "content"),
    [("fsdd.tar.gz", GOOD), ("fsdd.tar", tar_gz(RECORDINGS, mode="w")), ("fsdd.zip", zipped(RECORDINGS))],
)
def test_import_takes_archives(tmp_path, name, content):
    assert find_fsdd() is None
    assert import_fsdd(write(tmp_path / name, content)) == find_fsdd() == cached_fsdd_path()
    assert read_fsdd() == RECORDINGS


@pytest.mark.parametrize("below", [".", "recordings", "free-spoken-digit-dataset-1.0.10/recordings"])
def test_import_takes_folders(tmp_path, below):
    folder = tmp_path / "mine" / below
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("not a recording")
    for name, content in RECORDINGS.items():
        write(folder / name, content)
    import_fsdd(str(tmp_path / "mine"))
    assert read_fsdd() == RECORDINGS


def test_digest_tells_names_sizes_and_contents_apart():
    base = {"0_a_0.wav": b"ab", "0_a_1.wav": b"c"}
    others = [{"0_a_0.wav": b"a", "0_a_1.wav": b"bc"}, {"0_a_0.wav": b"ab", "0_a_2.wav": b"c"}, {"0_a_0.wav": b"ab"}]
    assert recordings_digest(dict(reversed(base.items()))) == recordings_digest(base)
    assert len({recordings_digest(recordings) for recordings in [base, *others]}) == 4


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        (dict(list(RECORDINGS.items())[1:]), "got 27 recordings, need the 28"),
        ({**RECORDINGS, "9_z_9.wav": b"more"}, "got 29 recordings"),
        (make_recordings(seed=1), "not those of FSDD 1.0.10"),
        ({}, "no recordings such as"),
    ],
)
def test_import_refuses_other_recordings(tmp_path, small_fsdd, recordings, message):
    with pytest.raises(DataError, match=message):
        import_fsdd(write(tmp_path / "other.tar.gz", tar_gz(recordings)))
    assert is_untouched(small_fsdd)


def test_import_names_a_missing_path(tmp_path):
    with pytest.raises(DataError, match="nowhere.zip: no such file or folder"):
        import_fsdd(tmp_path / "nowhere.zip")


def test_a_refused_import_keeps_the_cache_it_has(tmp_path):
    import_fsdd(write(tmp_path / "good.tar.gz", GOOD))
    with pytest.raises(DataError):
        import_fsdd(write(tmp_path / "half.tar.gz", GOOD[: len(GOOD) // 2]))
    assert read_fsdd() == RECORDINGS


# --- downloading ---


@pytest.mark.parametrize("answer", [sends(GOOD), sends_chunks(GOOD, ends=True)], ids=["length known", "chunked"])
def test_download(server: Server, small_fsdd, capfd, answer):
    server.answers = [answer]
    assert download_fsdd() == find_fsdd()
    assert [path.name for path in small_fsdd.iterdir()] == ["fsdd-1.0.10.zip"]
    assert "FSDD 1.0.10" in capfd.readouterr().err  # the progress bar


ONE_BYTE_OFF = {**RECORDINGS, "0_a_0.wav": RECORDINGS["0_a_0.wav"][:-1] + b"!"}
FAULTS = {
    "cut connection": (sends(GOOD[:999], n_said=len(GOOD)), "the transfer broke off", 2),
    "cut while chunked": (sends_chunks(GOOD[:999], ends=False), "the transfer broke off", 2),
    "nothing sent": (sends(b"", n_said=len(GOOD)), "the transfer broke off", 2),
    "truncated file": (sends(GOOD[: len(GOOD) // 2]), "broken, or not an archive", 1),
    "its end missing": (sends(GOOD[:-2000]), "broken, or not an archive", 1),
    "empty file": (sends(b""), "broken, or not an archive", 1),
    "wrong content": (sends(b"<html>Please sign in to this network</html>" * 99), "broken, or not an archive", 1),
    "another data set": (sends(tar_gz(make_recordings(seed=1))), "not those of FSDD", 1),
    "one recording short": (sends(tar_gz(dict(list(RECORDINGS.items())[1:]))), "got 27 recordings", 1),
    "one byte changed": (sends(tar_gz(ONE_BYTE_OFF)), "not those of FSDD", 1),
    "not found": (sends(b"no such tag", status=404), "the server answered 404", 1),
    "server error": (sends(b"", status=503), "the server answered 503", 1),
}


@pytest.mark.parametrize(("answer", "message", "n_requests"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_download_is_never_used_and_costs_a_retry(server: Server, small_fsdd, answer, message, n_requests):
    server.answers = [answer]
    with pytest.raises(DataError, match=message) as raised:
        download_fsdd(progress=False)
    assert server.url in str(raised.value) and server.n_requests == n_requests
    assert is_untouched(small_fsdd)
    server.answers = [sends(GOOD)]
    download_fsdd(progress=False)
    assert read_fsdd() == RECORDINGS


def test_a_transfer_that_breaks_off_is_tried_again_at_once(server: Server):
    server.answers = [sends(GOOD[:999], n_said=len(GOOD)), sends(GOOD)]
    download_fsdd(progress=False)
    assert read_fsdd() == RECORDINGS and server.n_requests == 2


def test_an_endless_download_is_stopped(server: Server, small_fsdd, monkeypatch):
    monkeypatch.setattr(fsdd, "MAX_TOTAL_BYTES", 1 << 20)
    server.answers = [sends(bytes(3 << 20))]
    with pytest.raises(DataError, match="refused, the download is over 1 MB"):
        download_fsdd(progress=False)
    assert is_untouched(small_fsdd)


def test_no_network_is_noticed_within_seconds(monkeypatch, small_fsdd):
    with socket.socket() as listener:  # takes connections and never answers
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        monkeypatch.setattr(fsdd, "READ_TIMEOUT_S", 0.2)
        started = time.monotonic()
        with pytest.raises(DataError, match="no answer in time"):
            download_fsdd(url, progress=False)
    with pytest.raises(DataError, match="no connection"):  # and now nobody listens there
        download_fsdd(url, progress=False)
    assert time.monotonic() - started < 10 and fsdd.CONNECT_TIMEOUT_S <= 10
    assert is_untouched(small_fsdd)


# --- the disk ---


class FullDisk:
    """A file that takes n_bytes and then says that the disk is full."""

    def __init__(self, file, n_bytes: int) -> None:
        self._file, self._n_left = file, n_bytes

    def write(self, block: bytes) -> int:
        if len(block) > self._n_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._n_left -= len(block)
        return self._file.write(block)

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


@pytest.mark.parametrize("n_bytes", [0, 1000, 15_000])
def test_a_disk_full_while_downloading(server: Server, small_fsdd, monkeypatch, n_bytes):
    def open_on_full_disk(path, mode):
        return FullDisk(Path(path).open(mode), n_bytes)

    server.answers = [sends(GOOD)]
    with monkeypatch.context() as patch:
        patch.setattr(fsdd, "BLOCK_BYTES", 512)
        patch.setattr(fsdd, "open", open_on_full_disk, raising=False)
        with pytest.raises(DataError, match="the disk is full; free .* or set COURSE_DATA_DIR"):
            download_fsdd(progress=False)
    assert is_untouched(small_fsdd)
    download_fsdd(progress=False)
    assert read_fsdd() == RECORDINGS


@pytest.mark.parametrize("n_bytes", [0, 1000, 15_000])
def test_a_disk_full_while_writing_the_cache(tmp_path, small_fsdd, monkeypatch, n_bytes):
    archive, fdopen = write(tmp_path / "good.tar.gz", GOOD), os.fdopen
    with monkeypatch.context() as patch:
        patch.setattr(fsdd.os, "fdopen", lambda *args: FullDisk(fdopen(*args), n_bytes))
        with pytest.raises(DataError, match="the disk is full"):
            import_fsdd(archive)
    assert is_untouched(small_fsdd)
    import_fsdd(archive)
    assert read_fsdd() == RECORDINGS


def test_a_cache_folder_that_cannot_be_made(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA_DIR", str(write(tmp_path / "a file", b"") / "cache"))
    assert find_fsdd() is None
    with pytest.raises(DataError, match="cache: cannot be written .*COURSE_DATA_DIR"):
        import_fsdd(write(tmp_path / "good.tar.gz", GOOD))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_import_leaves_no_data_set_and_its_rest_is_removed_later(tmp_path, small_fsdd):
    archive = write(tmp_path / "good.tar.gz", GOOD)
    script = (
        "import os, signal, sys; from course_lib.clips import fsdd\n"
        f"fsdd.N_RECORDINGS, fsdd.FSDD_DIGEST = {len(RECORDINGS)}, {recordings_digest(RECORDINGS)!r}\n"
        "fsdd.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "fsdd.import_fsdd(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", script, archive], check=False).returncode == -signal.SIGKILL
    (rest,) = small_fsdd.iterdir()
    assert find_fsdd() is None
    import_fsdd(archive)
    assert rest.exists() and read_fsdd() == RECORDINGS  # too young to be removed: its process might be at work
    os.utime(rest, (time.time() - 2 * fsdd.STALE_S,) * 2)
    import_fsdd(archive)
    assert [path.name for path in small_fsdd.iterdir()] == ["fsdd-1.0.10.zip"]


def test_readers_and_writers_at_once_see_whole_data_sets(tmp_path):
    archive = write(tmp_path / "good.tar.gz", GOOD)
    import_fsdd(archive)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(import_fsdd, archive) for _ in range(60)]
        readers = [pool.submit(read_fsdd) for _ in range(20)]
        assert {writer.result() for writer in writers} == {cached_fsdd_path()}
        assert all(reader.result() == RECORDINGS for reader in readers)
    assert len(list(cached_fsdd_path().parent.iterdir())) == 1


# --- a cache that went bad, and what load_clips does ---


@pytest.mark.parametrize("harm", ["byte", "truncated", "emptied", "text"])
def test_a_damaged_cache_is_named_not_used_and_fetched_again(server: Server, capsys, tmp_path, harm):
    content = import_fsdd(write(tmp_path / "good.tar.gz", GOOD)).read_bytes()
    middle = len(content) // 2
    harmed = {
        "byte": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "truncated": content[:middle],
        "emptied": b"",
        "text": b"<html>",
    }
    cached_fsdd_path().write_bytes(harmed[harm])
    assert find_fsdd() is None
    said = capsys.readouterr().err
    assert "damaged and will not be used" in said and str(cached_fsdd_path()) in said
    server.answers = [sends(GOOD)]
    assert len(loading.load_clips("fsdd")) == len(RECORDINGS) and server.n_requests == 1
    assert read_fsdd() == RECORDINGS and cached_fsdd_path().read_bytes() == content


def test_load_clips_downloads_once_then_reads_the_cache(server: Server):
    server.answers = [sends(GOOD)]
    clips, again = loading.load_clips(), loading.load_clips("fsdd")
    assert server.n_requests == 1 and clips.dataset == again.dataset == "fsdd" and clips.names == again.names


def test_auto_falls_back_to_the_bundled_digits_with_one_loud_line(server: Server, capsys, small_fsdd):
    server.answers = [sends(b"", status=503)]
    clips = loading.load_clips("auto")
    said = capsys.readouterr().err
    assert clips.dataset == "bundled" and said.count("\n") == 1
    for part in ("bundled", "figures will differ", "503", "course data import"):
        assert part in said
    assert is_untouched(small_fsdd)


def test_fsdd_by_name_never_becomes_something_else(server: Server, monkeypatch, capsys):
    server.answers = [sends(b"", status=503)]
    with pytest.raises(DataError, match="503.*course data import"):
        loading.load_clips("fsdd")
    monkeypatch.setenv("COURSE_DATASET", "fsdd")
    with pytest.raises(DataError, match="FSDD cannot be had"):
        loading.load_clips()
    monkeypatch.setenv("COURSE_DATASET", "bundled")
    assert loading.load_clips().dataset == "bundled" and server.n_requests == 2
    assert "bundled" not in capsys.readouterr().err  # it was asked for: nothing to warn of


def test_an_unknown_data_set_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="got 'mnist', need one of auto, fsdd, bundled"):
        loading.load_clips("mnist")
    monkeypatch.setenv("COURSE_DATASET", "FSSD")
    with pytest.raises(ValueError, match="got 'FSSD'"):
        loading.load_clips()


def test_the_real_digest_is_that_of_the_real_data_set(monkeypatch):
    monkeypatch.undo()  # the real cache again
    recordings = read_fsdd()
    if recordings is None:
        pytest.skip("FSDD is not in the cache")
    assert len(recordings) == 3000 and recordings_digest(recordings) == fsdd.FSDD_DIGEST
    assert max(map(len, recordings.values())) < archives.MAX_RECORDING_BYTES / 10


def test_broken_transfer_is_a_data_error():
    assert issubclass(BrokenTransfer, DataError)  # so that load_clips falls back on it too
