"""Whose file is it, and what of it is read: real names of learning platforms, and files made to do harm."""

from __future__ import annotations

import io
import os
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest

from course_lib.grading import collected, submissions
from course_lib.grading.platforms import MAX_NAME, NOTEBOOK_STEMS, notebook_number, printable, read_name
from course_lib.grading.submissions import SubmissionsError, digest_of, find_submissions
from course_lib.grading.zipped import MAX_BYTES, Place, UnreadableFile

ROOT = Path(__file__).parents[1]
NB = b'{"cells": []}'
posix = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")

# What a platform writes -> (student, the name that the student gave the file).
NAMES = {
    "jane_01_sound_as_data.ipynb": ("jane", "01_sound_as_data.ipynb"),
    "jane doe 01_Sound_As_Data (2).ipynb": ("jane doe", "01_Sound_As_Data (2).ipynb"),
    "team_05_red_06_rnn.ipynb": ("team_05_red", "06_rnn.ipynb"),
    "jane-07_new_notebook.ipynb": ("jane", "07_new_notebook.ipynb"),
    "jane.ipynb": ("jane", "jane.ipynb"),
    "01_sound_as_data.ipynb": ("", "01_sound_as_data.ipynb"),
    "doejane_123_456_01_sound_as_data-1.ipynb": ("doejane_123", "01_sound_as_data-1.ipynb"),
    "doejane_LATE_123_456_hw.ipynb": ("doejane_123", "hw.ipynb"),
    "de_la_cruzana_9_8_hw.ipynb": ("de_la_cruzana_9", "hw.ipynb"),
    "anon_Xy9Z1_456_hw.ipynb": ("anon_Xy9Z1", "hw.ipynb"),
    "LATE_anon_Xy9Z1_456_hw.ipynb": ("anon_Xy9Z1", "hw.ipynb"),
    "anon_Xy9Z1_456_01_sound_as_data.ipynb": ("anon_Xy9Z1", "01_sound_as_data.ipynb"),
    "Jane Doe_123_assignsubmission_file_hw.ipynb": ("Jane Doe_123", "hw.ipynb"),
    "hw1_jdoe_attempt_2026-01-02-03-04-05_hw.ipynb": ("jdoe", "hw.ipynb"),
    # Students choose the end of a name, and must not become somebody else by it.
    "doejane_123_456_smithbob_77_88_01_sound_as_data.ipynb": ("doejane_123", "smithbob_77_88_01_sound_as_data.ipynb"),
    "Jane Doe_1_assignsubmission_file_Bob_2_assignsubmission_file_x.ipynb": (
        "Jane Doe_1",
        "Bob_2_assignsubmission_file_x.ipynb",
    ),
    "jane_06_rnn_bob_06_rnn.ipynb": ("jane", "06_rnn_bob_06_rnn.ipynb"),
}
# Files -> what each student has, in the order in which it counts.
LAYOUTS = {
    "folders": (
        ["jane/01_sound_as_data.ipynb", "jane/.ipynb_checkpoints/x.ipynb", "bob/hw/03_vaes.ipynb", "__MACOSX/jane/._1"],
        {"bob": ["bob/hw/03_vaes.ipynb"], "jane": ["jane/01_sound_as_data.ipynb"]},
    ),
    "one student of two assignments": (
        ["jane/hw1/01_a_b.ipynb", "jane/hw2/02_c_d.ipynb"],
        {"jane": ["jane/hw1/01_a_b.ipynb", "jane/hw2/02_c_d.ipynb"]},
    ),
    "Canvas": (
        ["doejane_1_2_01_sound_as_data.ipynb", "roebob_LATE_3_4_x.pdf", "roebob_3_text.html"],
        {"doejane_1": ["doejane_1_2_01_sound_as_data.ipynb"], "roebob_3": []},
    ),
    "Moodle": (
        ["Jane Doe_1_assignsubmission_file_/x.ipynb", "Jane Doe_1_assignsubmission_onlinetext_/onlinetext.html"],
        {"Jane Doe_1": ["Jane Doe_1_assignsubmission_file_/x.ipynb"]},
    ),
    "Gradescope": (
        ["assignment_7_export/submission_1/x.ipynb", "assignment_7_export/submission_metadata.yml"],
        {"submission_1": ["submission_1/x.ipynb"]},
    ),
    "Blackboard, two attempts": (
        ["hw_jane_attempt_2026-01-02-03-04-05_06_rnn.ipynb", "hw_jane_attempt_2026-01-03-03-04-05_06_rnn.ipynb"],
        {
            "jane": [
                "hw_jane_attempt_2026-01-03-03-04-05_06_rnn.ipynb",
                "hw_jane_attempt_2026-01-02-03-04-05_06_rnn.ipynb",
            ]
        },
    ),
    "nbgrader's course": (
        ["submitted/jane/hw/a.ipynb", "submitted/bob/hw/a.ipynb", "source/hw/a.ipynb", "gradebook.db"],
        {"bob": ["bob/hw/a.ipynb"], "jane": ["jane/hw/a.ipynb"]},
    ),
    "copies": (
        ["jane/06_rnn (2).ipynb", "jane/06_rnn.ipynb", "jane/06_rnn (10).ipynb", "jane/old/06_rnn-1.ipynb.txt"],
        {
            "jane": [
                "jane/06_rnn (10).ipynb",
                "jane/06_rnn (2).ipynb",
                "jane/old/06_rnn-1.ipynb.txt",
                "jane/06_rnn.ipynb",
            ]
        },
    ),
}


def put(folder: Path, names: list[str], data: bytes = NB) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(members: dict[str, bytes] | list[str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in members:
            archive.writestr(name, members[name] if isinstance(members, dict) else NB)
    return buffer.getvalue()


def found_in(source: Path) -> dict[str, list[str]]:
    return {one.student: [file.name for file in one.files] for one in find_submissions(source)}


def problems(source: Path, student: str = "jane") -> str:
    """All that one student would be told of their files."""
    (one,) = [one for one in find_submissions(source) if one.student == student]
    return "\n".join([*one.notes, *(f"{content.name} {content.problem}" for content in one.read() if content.problem)])


@pytest.mark.parametrize("name", NAMES)
def test_names_of_platforms(name: str) -> None:
    named = read_name(name)
    assert (named.student, named.rest) == NAMES[name]


def test_the_notebooks_of_the_course_are_known() -> None:
    assert tuple(path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))) == NOTEBOOK_STEMS
    assert [notebook_number(f"bob_77_{stem.upper()}-1.ipynb") for stem in NOTEBOOK_STEMS] == [
        stem[:2] for stem in NOTEBOOK_STEMS
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_as_folder_and_as_zip(layout: str, tmp_path: Path) -> None:
    names, expected = LAYOUTS[layout]
    source = put(tmp_path / "subs", names)
    assert found_in(source) == expected
    path = tmp_path / "class.zip"
    path.write_bytes(zipped(names))
    assert found_in(path) == expected
    for one in find_submissions(path):
        assert all(content.data == NB and not content.problem for content in one.read())
        assert bool(one.notes) == (not one.files)  # whoever handed in no notebook is told so


def test_a_zip_that_wraps_everything_in_one_folder(tmp_path: Path) -> None:
    path = tmp_path / "class.zip"
    for names in (["hw/jane/x.ipynb", "hw/bob/x.ipynb"], ["hw/jane_06_rnn.ipynb", "hw/bob_06_rnn.ipynb", "hw/a.txt"]):
        path.write_bytes(zipped(names))
        assert set(found_in(path)) == {"jane", "bob"}


def test_a_students_own_folder_or_file(tmp_path: Path) -> None:
    source = put(tmp_path / "jane", ["06_rnn.ipynb", "03_vaes.ipynb"])
    assert found_in(source) == {"jane": ["03_vaes.ipynb", "06_rnn.ipynb"]}
    assert found_in(put(tmp_path, ["bob_06_rnn.ipynb"]) / "bob_06_rnn.ipynb") == {"bob": ["bob_06_rnn.ipynb"]}


def test_each_students_zip_is_their_own_whatever_the_names_in_it(tmp_path: Path) -> None:
    hostile = ["../bob/06_rnn.ipynb", "/etc/06_rnn.ipynb", "C:\\06_rnn.ipynb", "bob/06_rnn.ipynb", "a/../../x.ipynb"]
    source = put(tmp_path / "subs", ["bob/06_rnn.ipynb"])
    (source / "jane.zip").write_bytes(zipped(hostile))
    found = found_in(source)
    assert found == {"bob": ["bob/06_rnn.ipynb"], "jane": ["jane.zip/bob/06_rnn.ipynb"]}
    assert problems(source).count("leads out of its zip") == 4
    with zipfile.ZipFile(source / "jane.zip") as archive:  # that a zip can hold such names at all
        assert "../bob/06_rnn.ipynb" in archive.namelist()
    # The same zip among a class's, and within a class's zip.
    (tmp_path / "class.zip").write_bytes(zipped({"jane/x.zip": zipped(hostile), "bob/06_rnn.ipynb": NB}))
    assert found_in(tmp_path / "class.zip") == {"bob": ["bob/06_rnn.ipynb"], "jane": ["jane/x.zip/bob/06_rnn.ipynb"]}


def test_only_wanted_notebooks_unless_one_may_be_misnamed(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/01_ab.ipynb", "jane/02_cd.ipynb", "bob/02_cd.ipynb", "eve/x.ipynb"])
    found = {one.student: [file.notebook for file in one.files] for one in find_submissions(source, ("01",))}
    assert found == {"jane": ["01"], "bob": ["02"], "eve": [""]}


def test_digest_tells_what_was_read(tmp_path: Path) -> None:
    source = put(tmp_path / "subs", ["jane/x.ipynb", "bob/x.ipynb"])
    first = {one.student: digest_of(one.read()) for one in find_submissions(source)}
    put(source, ["bob/x.ipynb"], NB + b" ")
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
    find_submissions(put(tmp_path, ["jane/x.ipynb", "grades.csv", "06_rnn.ipynb"]), tell=lines.append)
    assert lines == ["06_rnn.ipynb names no student; left out", "grades.csv names no student; left out"]


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


def test_printable_names_stay_apart() -> None:
    assert printable(unicodedata.normalize("NFD", "Zoë")) == "Zoë"
    names = ["a" * 200, "a" * 201, "a\x00", "a\x01", "a", "\udcf6"]
    assert len({printable(name) for name in names}) == len(names)
    assert max(len(printable(name)) for name in names) <= MAX_NAME


def test_a_file_that_vanishes_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/x.ipynb", "bob/x.zip"])
    (source / "bob" / "x.zip").write_bytes(zipped(["x.ipynb"]))
    found = find_submissions(source)
    (source / "jane" / "x.ipynb").unlink()
    (source / "bob" / "x.zip").write_bytes(zipped(["other.ipynb"]))
    bob, jane = (one.read()[0].problem for one in found)
    assert bob == "is no longer in its zip" and jane == "cannot be opened (No such file or directory)"
