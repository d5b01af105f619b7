"""Whose file is it? The names that learning platforms make, as folders and as zips."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from handed_in import NB, found_in, put, zipped

from course_lib.grading.platforms import MAX_NAME, NOTEBOOK_STEMS, notebook_number, platform_of, printable, read_name
from course_lib.grading.submissions import find_submissions

ROOT = Path(__file__).parents[1]
# What a platform writes -> (student, the name that the student gave the file).
NAMES = {
    "jane_01_sound_as_data.ipynb": ("jane", "01_sound_as_data.ipynb"),
    "jane doe 01_Sound_As_Data (2).ipynb": ("jane doe", "01_Sound_As_Data (2).ipynb"),
    "team_05_red_09_sample_by_sample.ipynb": ("team_05_red", "09_sample_by_sample.ipynb"),
    "jane-10_new_notebook.ipynb": ("jane", "10_new_notebook.ipynb"),
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
    "jane_09_sample_by_sample_bob_09_sample_by_sample.ipynb": (
        "jane",
        "09_sample_by_sample_bob_09_sample_by_sample.ipynb",
    ),
}
# Files -> what each student has, in the order in which it counts.
LAYOUTS = {
    "folders": (
        ["jane/01_sound_as_data.ipynb", "jane/.ipynb_checkpoints/x.ipynb", "bob/hw/04_vaes.ipynb", "__MACOSX/jane/._1"],
        {"bob": ["bob/hw/04_vaes.ipynb"], "jane": ["jane/01_sound_as_data.ipynb"]},
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
        [
            "hw_jane_attempt_2026-01-02-03-04-05_09_sample_by_sample.ipynb",
            "hw_jane_attempt_2026-01-03-03-04-05_09_sample_by_sample.ipynb",
        ],
        {
            "jane": [
                "hw_jane_attempt_2026-01-03-03-04-05_09_sample_by_sample.ipynb",
                "hw_jane_attempt_2026-01-02-03-04-05_09_sample_by_sample.ipynb",
            ]
        },
    ),
    "nbgrader's course": (
        ["submitted/jane/hw/a.ipynb", "submitted/bob/hw/a.ipynb", "source/hw/a.ipynb", "gradebook.db"],
        {"bob": ["bob/hw/a.ipynb"], "jane": ["jane/hw/a.ipynb"]},
    ),
    "copies": (
        [
            "jane/09_sample_by_sample (2).ipynb",
            "jane/09_sample_by_sample.ipynb",
            "jane/09_sample_by_sample (10).ipynb",
            "jane/old/09_sample_by_sample-1.ipynb.txt",
        ],
        {
            "jane": [
                "jane/09_sample_by_sample (10).ipynb",
                "jane/09_sample_by_sample (2).ipynb",
                "jane/old/09_sample_by_sample-1.ipynb.txt",
                "jane/09_sample_by_sample.ipynb",
            ]
        },
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_platforms(name: str) -> None:
    named = read_name(name, platform_of([name]))
    assert (named.student, named.rest) == NAMES[name]


def test_the_end_of_one_name_does_not_choose_how_all_are_read() -> None:
    blackboard = "hw_{}_attempt_2026-01-02-03-04-05_hw.ipynb"
    assert platform_of(["jane_01_a_b.ipynb", "bob_01_a_b.ipynb", blackboard.format("x")]) == ""
    assert platform_of([blackboard.format("a"), blackboard.format("b"), "readme.txt"]) == "Blackboard"
    assert platform_of(["doejane_1_2_x.ipynb", "roebob_3_text.html", "roebob_3_4_jane_attempt_x.ipynb"]) == "Canvas"
    assert platform_of([]) == ""
    name = "mallory_x_bob_attempt_2030-01-01-00-00-00_01_sound_as_data.ipynb"
    assert read_name(name, "Blackboard").student == "bob" and read_name(name, "").student.startswith("mallory")


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
    for names in (
        ["hw/jane/x.ipynb", "hw/bob/x.ipynb"],
        ["hw/jane_09_sample_by_sample.ipynb", "hw/bob_09_sample_by_sample.ipynb", "hw/a.txt"],
    ):
        path.write_bytes(zipped(names))
        assert set(found_in(path)) == {"jane", "bob"}


def test_a_students_own_folder_or_file(tmp_path: Path) -> None:
    source = put(tmp_path / "jane", ["09_sample_by_sample.ipynb", "04_vaes.ipynb"])
    assert found_in(source) == {"jane": ["04_vaes.ipynb", "09_sample_by_sample.ipynb"]}
    assert found_in(put(tmp_path, ["bob_09_sample_by_sample.ipynb"]) / "bob_09_sample_by_sample.ipynb") == {
        "bob": ["bob_09_sample_by_sample.ipynb"]
    }


def test_only_wanted_notebooks_unless_one_may_be_misnamed(tmp_path: Path) -> None:
    source = put(tmp_path, ["jane/01_ab.ipynb", "jane/02_cd.ipynb", "bob/02_cd.ipynb", "eve/x.ipynb"])
    found = {one.student: [file.notebook for file in one.files] for one in find_submissions(source, ("01",))}
    assert found == {"jane": ["01"], "bob": ["02"], "eve": [""]}


def test_printable_names_stay_apart() -> None:
    assert printable(unicodedata.normalize("NFD", "Zoë")) == "Zoë"
    names = ["a" * 200, "a" * 201, "a\x00", "a\x01", "a", "\udcf6"]
    assert len({printable(name) for name in names}) == len(names)
    assert max(len(printable(name)) for name in names) <= MAX_NAME
