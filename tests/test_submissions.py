"""Whose file is it, and what of it is read: folders and zips made to do harm."""

from __future__ import annotations

import io
import os
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from handed_in import NB, found_in, put, zipped

from course_lib.grading import collected, submissions
from course_lib.grading.submissions import SubmissionsError, digest_of, find_submissions
from course_lib.grading.zipped import MAX_BYTES, Place, UnreadableFile

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")


def problems(source: Path, student: str = "jane") -> str:
    """All that one student would be told of their files."""
    (one,) = [one for one in find_submissions(source) if one.student == student]
    return "\n".join([*one.notes, *(f"{content.name} {content.problem}" for content in one.read() if content.problem)])


def test_each_students_zip_is_their_own_whatever_the_names_in_it(tmp_path: Path) -> None:
    hostile = [
        "../bob/09_sample_by_sample.ipynb",
        "/etc/09_sample_by_sample.ipynb",
        "C:\\09_sample_by_sample.ipynb",
        "bob/09_sample_by_sample.ipynb",
        "a/../../x.ipynb",
    ]
    source = put(tmp_path / "subs", ["bob/09_sample_by_sample.ipynb"])
    (source / "jane.zip").write_bytes(zipped(hostile))
    found = found_in(source)
    assert found == {"bob": ["bob/09_sample_by_sample.ipynb"], "jane": ["jane.zip/bob/09_sample_by_sample.ipynb"]}
    assert problems(source).count("leads out of its zip") == 4
    with zipfile.ZipFile(source / "jane.zip") as archive:  # that a zip can hold such names at all
        assert "../bob/09_sample_by_sample.ipynb" in archive.namelist()
    # The same zip among a class's, and within a class's zip.
    (tmp_path / "class.zip").write_bytes(zipped({"jane/x.zip": zipped(hostile), "bob/09_sample_by_sample.ipynb": NB}))
    assert found_in(tmp_path / "class.zip") == {
        "bob": ["bob/09_sample_by_sample.ipynb"],
        "jane": ["jane/x.zip/bob/09_sample_by_sample.ipynb"],
    }


def test_digest_tells_what_was_read(tmp_path: Path) -> None:
    source = put(tmp_path / "subs", ["jane/x.ipynb", "bob/x.ipynb"])
    first = {one.student: digest_of(one.read()) for one in find_submissions(source)}
    put(source, ["bob/x.ipynb"], NB.replace(b" ", b"\t"))
    again = {one.student: digest_of(one.read()) for one in find_submissions(source)}
    assert again["jane"] == first["jane"] and again["bob"] != first["bob"] and first["jane"] != first["bob"]


def test_what_cannot_be_graded_is_an_error_that_helps(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "torn.zip").write_bytes(zipped(["jane/x.ipynb"])[:60])
    for name, words in {
        "nowhere": "is not there",
        "empty": "nobody's submission",
        "notes.txt": "neither a folder, a zip nor a notebook",
        "torn.zip": "no readable zip",
    }.items():
        with pytest.raises(SubmissionsError, match=words):
            find_submissions(tmp_path / name)


def test_nobodys_files_are_told(tmp_path: Path) -> None:
    lines: list[str] = []
    find_submissions(put(tmp_path, ["jane/x.ipynb", "grades.csv", "09_sample_by_sample.ipynb"]), tell=lines.append)
    assert lines == ["09_sample_by_sample.ipynb names no student; left out", "grades.csv names no student; left out"]


@posix
def test_links_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ipynb"
    secret.write_bytes(b"the salt")
    source = put(tmp_path / "subs", ["bob/x.ipynb", "jane/a.txt"])
    (source / "jane" / "x.ipynb").symlink_to(secret)
    (source / "jane" / "folder").symlink_to(tmp_path)
    (source / "eve").symlink_to(source / "bob")
    lines: list[str] = []
    find_submissions(source, tell=lines.append)
    assert (source / "jane" / "x.ipynb").read_bytes() == b"the salt"  # without care, a link is followed
    assert found_in(source) == {"bob": ["bob/x.ipynb"], "jane": []}
    assert problems(source).count("a link, which is not followed") == 2 and "eve is a link" in lines[0]
    with pytest.raises(UnreadableFile, match=r"cannot be opened|a link"):
        Place(source / "jane" / "x.ipynb").read()  # put there after the folder was listed


@posix
@pytest.mark.timeout(20)
def test_a_pipe_does_not_make_the_grader_wait(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/a.txt"])
    os.mkfifo(source / "jane" / "x.ipynb")
    assert "a pipe" in problems(source)


def test_a_file_of_one_gigabyte_is_not_read(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/x.ipynb"])
    with open(source / "jane" / "x.ipynb", "r+b") as file:
        file.truncate(10**9)  # sparse: takes no room
    assert "x.ipynb has 1.0 GB or more" in problems(source)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zipped({"x.ipynb": bytes(MAX_BYTES + 1)})
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert len(archive.read("x.ipynb")) > 900 * len(bomb)  # what unpacking it would give
    source = put(tmp_path / "subs", ["jane/x.zip"], bomb)
    assert "has 34 MB or more" in problems(source)
    # One that lies about its size: only the length told is unpacked, and then its check sum is wrong.
    lie = bomb.replace((MAX_BYTES + 1).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lie != bomb
    put(source, ["jane/x.zip"], lie)
    assert "is damaged within its zip" in problems(source)
    put(source, ["jane/x.zip"], zipped({"y.zip": bomb}))
    assert "a zip in a zip, which is not opened" in problems(source)


def test_a_long_list_of_names_is_not_read(tmp_path: Path) -> None:
    names = zipped([f"{i:060d}.txt" for i in range(11_000)], zipfile.ZIP_STORED)
    assert len(zipfile.ZipFile(io.BytesIO(names)).namelist()) == 11_000  # which zipfile reads in one go
    source = put(tmp_path / "subs", ["jane/x.zip"], names)
    assert "its list of names is too long" in problems(source)
    put(source, ["jane/x.zip"], zipped([f"{i}.txt" for i in range(collected.MAX_ENTRIES + 5)] + ["x.ipynb"]))
    assert "only the first 2,000 were looked at" in problems(source)
    (tmp_path / "class.zip").write_bytes(names.replace(b".txt", b".zip"))  # a whole class may be many
    assert len(Place(tmp_path / "class.zip", is_class=True).opened().namelist()) == 11_000


def test_only_some_of_thousands_of_files_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collected, "MAX_ENTRIES", 50)
    source = put(tmp_path, [f"jane/{i}.txt" for i in range(60)] + ["bob/x.ipynb"])
    assert "comes after 50 others" in problems(source) and found_in(source)["bob"] == ["bob/x.ipynb"]
    source = put(tmp_path, [f"eve/{i:02d}_rnn.ipynb" for i in range(30)])
    (eve,) = [one for one in find_submissions(source) if one.student == "eve"]
    assert len(eve.files) == submissions.MAX_FILES and "only the first 20 were read" in eve.notes[0]


def test_students_whose_names_look_the_same_stay_two(tmp_path: Path) -> None:
    names = ["bob", "bob ", "Zoë", unicodedata.normalize("NFD", "Zoë")]
    (tmp_path / "class.zip").write_bytes(zipped([f"{name}/x.ipynb" for name in names]))
    found = found_in(tmp_path / "class.zip")
    assert [name.partition("~")[0] for name in found] == ["Zoë", "Zoë", "bob", "bob"] and {"bob", "Zoë"} < set(found)
    assert all(len(files) == 1 for files in found.values())
    # Nor can one take the name that the other is given.
    names.append(next(name for name in found if name.startswith("bob~")))
    (tmp_path / "class.zip").write_bytes(zipped([f"{name}/x.ipynb" for name in names]))
    assert len(found_in(tmp_path / "class.zip")) == 5
    (tmp_path / "class.zip").write_bytes(zipped([f"{names[3]}/x.ipynb", "bob/x.ipynb"]))
    assert list(found_in(tmp_path / "class.zip")) == ["Zoë", "bob"]


def test_folders_without_a_file_are_somebodys_too(tmp_path: Path) -> None:
    source = put(tmp_path, ["bob/x.ipynb"])
    (source / "jane" / "x.ipynb").mkdir(parents=True)
    (source / "eve").mkdir()
    assert found_in(source) == {"bob": ["bob/x.ipynb"], "eve": [], "jane": []}
    assert problems(source).startswith("jane holds no file\nno notebook was handed in; need a file")


def test_deep_folders_are_not_entered(tmp_path: Path) -> None:
    source = put(tmp_path / "subs", [f"jane/{'a/' * 12}x.ipynb"])
    assert "more than 8 folders deep" in problems(source)
    put(source, ["jane/x.zip"], zipped(["a/" * 30_000 + "x.ipynb", "y.ipynb"]))  # in zips, any depth is possible
    assert problems(source).count("more than 8 folders deep") == 2
    (tmp_path / "class.zip").write_bytes(zipped(["jane/" + "a/" * 30_000 + "x.ipynb", "bob/x.ipynb"]))
    assert found_in(tmp_path / "class.zip") == {"bob": ["bob/x.ipynb"], "jane": []}


def test_many_zips_are_opened_in_part(tmp_path: Path) -> None:
    source = put(tmp_path, [f"jane/{i}.zip" for i in range(7)], zipped(["x.ipynb"]))
    assert len(find_submissions(source)[0].files) == 5 and "the sixth zip or later" in problems(source)


def test_all_of_a_students_files_are_capped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MAX_TOTAL_BYTES", 2 * len(NB))
    source = put(tmp_path, [f"jane/{i}.ipynb" for i in range(3)])
    assert problems(source).startswith("jane/2.ipynb was not read")


def test_odd_zips_are_refused_in_words(tmp_path: Path) -> None:
    good = zipped({"x.ipynb": NB * 100})
    link = zipfile.ZipInfo("x.ipynb")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    encrypted = bytearray(good)
    encrypted[6] |= 1  # the flag in the file's own header, and in the list
    encrypted[good.index(b"PK\x01\x02") + 8] |= 1
    rotten = bytearray(good)
    rotten[45] ^= 0xFF
    for data, words in {
        bytes(encrypted): "is encrypted",
        buffer.getvalue(): "is a link or a device",
        zipped({"x.ipynb": NB}, zipfile.ZIP_LZMA): "compressed in an unusual way",
        bytes(rotten): "is damaged within its zip",
        good[:-30]: "is no readable zip",
        b"not a zip": "is no readable zip",
        b"": "is no readable zip",
        zipped({}): "no notebook was handed in",
    }.items():
        source = put(tmp_path / "subs", ["jane/x.zip"], data)
        assert words in problems(source), words


@posix
def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/J\xf6rg"
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    Path(os.fsdecode(folder), "x.ipynb").write_bytes(NB)
    put(tmp_path, ["a\x1b[2J\nb/x.ipynb", "\u202egpj.exe/x.ipynb"])
    found = find_submissions(tmp_path)
    assert [one.student for one in found] == ["J\\xf6rg", "\\u202egpj.exe", "a\\x1b[2J\\x0ab"]
    assert all(one.read()[0].data == NB for one in found)
    assert all(one.student.isprintable() and one.student.encode() for one in found)


def test_a_file_that_vanishes_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/x.ipynb", "bob/x.zip"])
    (source / "bob" / "x.zip").write_bytes(zipped(["x.ipynb"]))
    found = find_submissions(source)
    (source / "jane" / "x.ipynb").unlink()
    (source / "bob" / "x.zip").write_bytes(zipped(["other.ipynb"]))
    bob, jane = (one.read()[0].problem for one in found)
    assert bob == "is no longer in its zip" and jane == "cannot be opened (No such file or directory)"
