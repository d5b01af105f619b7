"""Archives made to do harm: refused by name, and nothing appears outside the cache."""

from __future__ import annotations

import random
import tarfile
import zipfile
from pathlib import Path

import pytest
from fsdd_server import TOP, make_recordings, tar_gz, zipped

from course_lib.clips import archives
from course_lib.clips.archives import DataError, read_recordings

RECORDINGS = make_recordings(n_takes=2)
WAV = RECORDINGS["0_a_0.wav"]


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", n_bytes: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, n_bytes
    return info


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


INSIDE = f"{TOP}/recordings/9_z_9.wav"
HOSTILE = {
    "tar: climbs out": (tar_gz(RECORDINGS, (tar_member("../../recordings/9_z_9.wav"), WAV)), "outside the archive"),
    "tar: climbs out within": (tar_gz(RECORDINGS, (tar_member(f"{TOP}/../../x.txt"), b"x")), "outside the archive"),
    "tar: absolute": (tar_gz(RECORDINGS, (tar_member("/tmp/recordings/9_z_9.wav"), WAV)), "outside the archive"),
    "tar: drive letter": (tar_gz(RECORDINGS, (tar_member("C:/recordings/9_z_9.wav"), WAV)), "outside the archive"),
    "tar: backslashes": (tar_gz(RECORDINGS, (tar_member("..\\recordings\\9_z_9.wav"), WAV)), "outside the archive"),
    "tar: symlink": (tar_gz(RECORDINGS, (tar_member(INSIDE, tarfile.SYMTYPE, "/etc/hostname"), b"")), "a link"),
    "tar: hard link": (tar_gz(RECORDINGS, (tar_member(INSIDE, tarfile.LNKTYPE, "/etc/hostname"), b"")), "a link"),
    "tar: device": (tar_gz(RECORDINGS, (tar_member(INSIDE, tarfile.CHRTYPE), b"")), "a device"),
    "tar: fifo": (tar_gz(RECORDINGS, (tar_member(INSIDE, tarfile.FIFOTYPE), b"")), "a device"),
    "tar: outsized": (tar_gz(RECORDINGS, (tar_member(INSIDE), bytes((1 << 20) + 1))), "1048577 bytes, over 1048576"),
    "tar: twice": (tar_gz(RECORDINGS, (tar_member(f"{TOP}/recordings/0_a_0.wav"), WAV)), "0_a_0.wav twice"),
    "zip: climbs out": (zipped(RECORDINGS, ("../../recordings/9_z_9.wav", WAV)), "outside the archive"),
    "zip: absolute": (zipped(RECORDINGS, ("/tmp/recordings/9_z_9.wav", WAV)), "outside the archive"),
    "zip: symlink": (zipped(RECORDINGS, (zip_link(INSIDE), b"/etc/hostname")), "a link"),
    "zip: outsized": (zipped(RECORDINGS, (INSIDE, bytes((1 << 20) + 1))), "1048577 bytes, over 1048576"),
    "zip: twice": (zipped({}, ("recordings/0_a_0.wav", WAV), ("x/recordings/0_a_0.wav", WAV)), "0_a_0.wav twice"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(tmp_path: Path, content, message):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "archive").write_bytes(content)
    with pytest.raises(DataError, match=message) as raised:
        read_recordings(inner / "archive")
    assert str(inner / "archive") in str(raised.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [inner / "archive"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tar_gz(RECORDINGS, (tar_member("big.bin"), bytes(40 << 20))), "unpacks to more than 20 MB"),
        (lambda: tar_gz(RECORDINGS, (tar_member("x" * 120), b""), mode="w"), None),
        (lambda: zipped({f"0_a_{take}.wav": bytes(1 << 20) for take in range(22)}), "more than 20 MB"),
        (lambda: tar_gz({f"0_a_{take}.wav": b"x" for take in range(201)}), "more than 200 members"),
        (lambda: zipped({f"0_a_{take}.wav": b"x" for take in range(201)}), "more than 200 members"),
    ],
    ids=["tar bomb", "long names are fine", "zip bomb", "tar of many", "zip of many"],
)
def test_bombs_are_stopped_at_the_cap(tmp_path, monkeypatch, make, message):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 20 << 20)
    monkeypatch.setattr(archives, "MAX_MEMBERS", 200)
    path = tmp_path / "archive"
    path.write_bytes(make())
    if message is None:
        assert read_recordings(path) == RECORDINGS
    else:
        with pytest.raises(DataError, match=message):
            read_recordings(path)


def test_a_tar_whose_header_promises_a_huge_name_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 4 << 20)
    header = tar_member("long", tarfile.GNUTYPE_LONGNAME, n_bytes=4 << 30).tobuf(tarfile.GNU_FORMAT)
    path = tmp_path / "archive"
    path.write_bytes(header + bytes(8 << 20))
    with pytest.raises(DataError, match="unpacks to more than 4 MB"):
        read_recordings(path)


def test_all_but_recordings_is_passed_over(tmp_path):
    path = tmp_path / "archive"
    extra = [("README.md", b"read me"), (f"{TOP}/other/9_z_9.wav", WAV), (f"{TOP}/recordings/nine.wav", WAV)]
    path.write_bytes(zipped(RECORDINGS, *extra))
    assert read_recordings(path) == RECORDINGS
    links = (tar_member(f"{TOP}/docs", tarfile.SYMTYPE, "/etc"), b"")  # GitHub's archives may hold harmless links
    path.write_bytes(tar_gz(RECORDINGS, links))
    assert read_recordings(path) == RECORDINGS


def test_an_encrypted_or_unusual_zip_is_named(tmp_path):
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("0_a_0.wav", WAV)
    with pytest.raises(DataError, match="compressed in an unusual way"):
        read_recordings(path)
    content = bytearray(zipped({"0_a_0.wav": WAV}))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag that says "encrypted"
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken, or not an archive"):
        read_recordings(path)


@pytest.mark.parametrize("make", [tar_gz, zipped, lambda recordings: tar_gz(recordings, mode="w")])
def test_damage_anywhere_is_a_data_error_or_shows_in_the_contents(tmp_path, make):
    """300 archives with a few bytes changed or the end missing: never another exception, never a wrong name."""
    whole, rng, path = make(RECORDINGS), random.Random(0), tmp_path / "archive"
    for _ in range(300):
        harmed = bytearray(whole)
        for _ in range(rng.choice([1, 1, 4])):
            harmed[rng.randrange(len(harmed))] = rng.randrange(256)
        path.write_bytes(harmed[: rng.choice([len(harmed), rng.randrange(len(harmed))])])
        try:
            recordings = read_recordings(path)
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert all(archives.RECORDING_NAME.fullmatch(name) for name in recordings)
