"""What Canvas, Moodle and Gradescope import, and rosters that say who is who there."""

from __future__ import annotations

import json

import pytest
from reported import EXERCISES_ONLY, canvas_import, read_csv, report, result, roster

from course_lib.exercises.framework import FAILED, PASSED
from course_lib.grading.reports import RosterError
from course_lib.grading.reports.roster import read_roster
from course_lib.grading.results import NOT_GRADED


def test_canvas_imports_the_points_of_those_who_were_graded(tmp_path):
    students = [result("bob", (PASSED, FAILED)), result("cy", (PASSED, NOT_GRADED))]
    report(tmp_path, *students, assignment=EXERCISES_ONLY)
    titles, possible, rows = canvas_import(tmp_path / "canvas.csv")
    assert titles == ["hw1"] and possible == {"hw1": "4.5"}
    assert [(row["Student"], row["SIS Login ID"], row["hw1"]) for row in rows] == [("bob", "bob", "2")]


def test_canvas_does_not_take_exercises_for_the_whole_where_written_answers_are_to_come(tmp_path):
    report(tmp_path, result("bob"))
    assert canvas_import(tmp_path / "canvas.csv")[0] == ["hw1 exercises"]


def test_no_student_is_taken_for_canvas_row_of_maximum_points(tmp_path):
    report(tmp_path, result("Points Possible", (FAILED, FAILED)), assignment=EXERCISES_ONLY)
    _, possible, rows = canvas_import(tmp_path / "canvas.csv")
    assert possible == {"hw1": "4.5"} and len(rows) == 1


def test_ids_come_from_the_names_that_the_platforms_gave(tmp_path):
    canvas = result("lovelaceada_77", files=("lovelaceada_LATE_77_991_01_sound_as_data-1.ipynb",))
    moodle = result("Jörg Müller_88", files=("Jörg Müller_88_assignsubmission_file_/01_sound_as_data.ipynb",))
    report(tmp_path, canvas, moodle)
    ids = {row["Student"]: row["ID"] for row in canvas_import(tmp_path / "canvas.csv")[2]}
    assert ids == {"lovelaceada": "77"}
    header, *rows = read_csv(tmp_path / "moodle.csv")
    identifiers = {row[header.index("Full name")]: row[header.index("Identifier")] for row in rows}
    assert identifiers == {"Jörg Müller": "Participant 88"}


@pytest.mark.parametrize(
    ("student", "file"),
    [
        ("eve", "eve/lovelaceada_77_991_01_sound_as_data.ipynb"),  # her own folder: she named the file
        ("eve", "eve/Ada_77_assignsubmission_file_/x.ipynb"),
        ("eve_5", "eve_5_6_lovelaceada_77_991_01_sound.ipynb"),
        ("Eve_77_assignsubmission_file__5", "Eve_77_assignsubmission_file__5_assignsubmission_file_/x.ipynb"),
        ("Eve_77", "Eve_77_assignsubmission_file__5_assignsubmission_file_/x.ipynb"),
        ("eve_77_9_01_sound", "eve_77_9_01_sound/01.ipynb"),  # her own user name, as a folder
        ("anon_77", "anon_77_991_01_sound.ipynb"),  # Canvas's anonymous marking: no id at all
    ],
)
def test_nobody_gets_the_id_of_another_by_a_file_name_of_their_own(tmp_path, student, file):
    report(tmp_path, result(student, files=(file,)))
    rows = canvas_import(tmp_path / "canvas.csv")[2]
    assert all(row["ID"] in ("", "5") for row in rows)
    assert "Participant 77" not in (tmp_path / "moodle.csv").read_text("utf-8")


def test_two_who_would_be_one_to_the_platform_are_left_out_and_told(tmp_path):
    files = ("a_7_1_01_sound.ipynb",), ("b_7_1_01_sound.ipynb",)
    notes = report(tmp_path, result("a_7", files=files[0]), result("b_7", files=files[1]), result("cy"))
    assert [row["Student"] for row in canvas_import(tmp_path / "canvas.csv")[2]] == ["cy"]
    (note,) = [note for note in notes if "canvas.csv" in note]
    assert "a_7, b_7" in note


def test_moodle_has_what_both_of_its_imports_need(tmp_path):
    report(tmp_path, result("ada@example.org", text="<b>x</b>"), result("cy", (PASSED, NOT_GRADED)))
    header, *rows = read_csv(tmp_path / "moodle.csv")
    assert {"Identifier", "Grade", "Last modified (grade)", "Email address", "Feedback comments"} <= set(header)
    (row,) = [dict(zip(header, row, strict=True)) for row in rows]
    assert (row["Email address"], row["Grade"], row["Maximum Grade"]) == ("ada@example.org", "2", "4.5")
    assert row["Feedback comments"] == (
        "01.1: 2/2 (passed), 01.2: 0/2.5 (failed); written answers (4 points) are marked by hand"
    )


def test_gradescope_gets_the_documented_fields_as_plain_text(tmp_path):
    report(tmp_path, result(text="**bold** \x1b[31m"), result("cy", (PASSED, NOT_GRADED)))
    assert [path.name for path in (tmp_path / "gradescope").iterdir()] == ["ada.json"]
    body = json.loads((tmp_path / "gradescope" / "ada.json").read_text("ascii"))
    assert body["score"] == 2 == sum(test["score"] for test in body["tests"])
    assert {body["output_format"], body["test_output_format"], body["test_name_format"]} == {"text"}
    assert set(body) <= {"score", "output", "output_format", "test_output_format", "test_name_format", "visibility",
                         "stdout_visibility", "tests"}  # fmt: skip
    documented = {"score", "max_score", "status", "name", "number", "output", "tags"}
    assert all(set(test) == documented for test in body["tests"])
    assert [(test["number"], test["max_score"], test["status"]) for test in body["tests"]] == [
        ("01.1", 2, "passed"), ("01.2", 2.5, "failed")
    ]  # fmt: skip
    assert "\x1b" not in body["tests"][1]["output"] and "⟨U+001B⟩[31m" in body["tests"][1]["output"]


CANVAS_EXPORT = """\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,Quiz (3),hw1 (412),Final Score
    Points Possible,,,,,10,4.5,(read only)
"Lovelace, Ada",77,0042,ada1@uni.example,A,,,
"Müller, Jörg",78,0043,jm,A,,,
"Lee, Ann",79,0044,al1,A,,,
"Lee, Ann",80,0045,al2,A,,,
"""
WORKSHEET = """Identifier,"Full name","Email address",Grade,"Online text","Last modified (grade)"
"Participant 87","Bob Bly",bob@uni.example,,"two
lines",-
"Participant 88","Ada Lovelace",ada@uni.example,,-,"Monday, 2 March 2026, 9:15 AM"
"""


def test_with_canvas_export_rows_hold_its_ids_and_its_own_heading(tmp_path):
    students = [result("0042"), result("Jorg Muller"), result("al2"), result("Ann Lee"), result("nobody")]
    notes = report(tmp_path, *students, assignment=EXERCISES_ONLY, roster=roster(tmp_path, CANVAS_EXPORT))
    titles, possible, rows = canvas_import(tmp_path / "canvas.csv")
    assert titles == ["hw1 (412)"] and possible == {"hw1 (412)": "4.5"}
    assert {row["ID"]: (row["Student"], row["SIS User ID"]) for row in rows} == {
        "77": ("Lovelace, Ada", "0042"), "78": ("Müller, Jörg", "0043"), "80": ("Lee, Ann", "0045")
    }  # fmt: skip
    assert any("Ann Lee, nobody" in note for note in notes), notes  # two are called so: a guess could be wrong


def test_with_moodle_worksheet_rows_hold_its_identifiers_and_times(tmp_path):
    students = [result("Ada Lovelace_88", files=("Ada Lovelace_88_assignsubmission_file_/01.ipynb",))]
    report(tmp_path, *students, roster=roster(tmp_path, WORKSHEET))
    header, row = read_csv(tmp_path / "moodle.csv")
    known = dict(zip(header, row, strict=True))
    assert known["Identifier"] == "Participant 88" and known["Email address"] == "ada@uni.example"
    assert known["Last modified (grade)"] == "Monday, 2 March 2026, 9:15 AM"


def test_a_roster_of_ones_own_maps_folders_to_ids(tmp_path):
    own = roster(tmp_path, "student;ID;ID number;name\nteam-red/ada;77;0042;Ada Lovelace\n")
    report(tmp_path, result("team-red/ada"), roster=own)
    (row,) = canvas_import(tmp_path / "canvas.csv")[2]
    assert (row["Student"], row["ID"]) == ("Ada Lovelace", "77")
    assert "0042" in read_csv(tmp_path / "moodle.csv")[1]


@pytest.mark.parametrize("other", ["beebob", "Bob Bee", "BOB", "bob@uni.example", "evil_7"])  # 7: his id
def test_nobody_takes_anothers_row_out_by_a_name_like_theirs(tmp_path, other):
    own = roster(tmp_path, "student,ID,name,email\nbob,7,Bob Bee,bob@uni.example\ncy,8,Cy,\n")
    students = [result("bob"), result(other, files=(f"{other}_8_01_sound_as_data.ipynb",))]
    notes = report(tmp_path, *students, assignment=EXERCISES_ONLY, roster=own)
    assert [row["ID"] for row in canvas_import(tmp_path / "canvas.csv")[2]] == ["7"]
    assert any("the roster doesn't say who they are" in note and other in note for note in notes), notes


def test_a_name_in_the_column_student_goes_before_the_same_one_as_an_id(tmp_path):
    own = roster(tmp_path, "student,ID,username\nbob,7,\n,8,bob\n")
    report(tmp_path, result("bob"), assignment=EXERCISES_ONLY, roster=own)
    assert [row["ID"] for row in canvas_import(tmp_path / "canvas.csv")[2]] == ["7"]


def test_whoever_is_on_the_roster_and_handed_in_nothing_is_listed(tmp_path):
    students = [result("0042"), result("jm", (PASSED, NOT_GRADED)), result("nobody")]
    text = CANVAS_EXPORT + '"Student, Test",99,,,A,,,\n'
    notes = report(tmp_path, *students, assignment=EXERCISES_ONLY, roster=roster(tmp_path, text))
    header, *rows = read_csv(tmp_path / "grades.csv")
    absent = [row for row in rows if row[header.index("needs_attention")] == "handed in nothing"]
    assert absent == [["Lee, Ann", "", "4.5", "", "", "handed in nothing", ""]] * 2 and len(rows) == 5
    assert any("2 of the roster handed in nothing, or under another name: Lee, Ann, Lee, Ann" in note for note in notes)
    assert "Lee" not in (tmp_path / "canvas.csv").read_text("utf-8-sig")  # no row, so no zero that nobody decided on


def test_whom_a_platform_would_not_find_is_told(tmp_path):
    own = roster(tmp_path, "student,ID,username\nada,77,ada\nbob,,bob\ncy,79,\ndi,,\n")
    notes = report(tmp_path, *(result(name) for name in ("ada", "bob", "cy", "di")), roster=own)
    assert [row["ID"] for row in canvas_import(tmp_path / "canvas.csv")[2]] == ["77", "79"]
    assert [note.split(";")[0] for note in notes] == [
        "not in canvas.csv, because no id says who they are there: bob, di",
        "not in moodle.csv, because no id says who they are there: cy, di",
    ]
    of_canvas = [f"{name}_{n}_9_01_sound.ipynb" for n, name in enumerate(("ann", "ben"))]
    notes = report(tmp_path, *(result(f"{one[:3]}_{n}", files=(one,)) for n, one in enumerate(of_canvas)))
    assert notes == () and len(canvas_import(tmp_path / "canvas.csv")[2]) == 2  # a class of Canvas's: nobody on Moodle


@pytest.mark.parametrize("text", ["", "colour,shape\nred,round\n", "\0\n"])
def test_a_file_that_is_no_roster_is_refused_by_name(tmp_path, text):
    with pytest.raises(RosterError, match="roster.csv"):
        read_roster(roster(tmp_path, text))
