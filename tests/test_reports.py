"""Reports of grading: right figures, the formats that platforms import, and nothing of a student's text that acts."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import io
import json
import os
import random
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from course_lib.exercises import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.assignment import Assigned, AssignedWritten, Assignment, exercise_seed
from course_lib.grading.reports import RosterError, write_reports
from course_lib.grading.reports.gradebook import GradebookError, write_gradebook
from course_lib.grading.reports.roster import read_roster
from course_lib.grading.reports.tables import write_file
from course_lib.grading.reports.texts import cell, count, number, one_line, shortened, visible
from course_lib.grading.results import (
    MISSING,
    NOT_GRADED,
    REFUSED,
    RUNS_ALONE,
    STOPPED,
    ExerciseResult,
    SubmissionResult,
    WrittenAnswer,
    slug,
)

SALT = "5a17" * 8
HOMEWORK = Assignment("hw1", SALT, (Assigned("01.1", 2), Assigned("01.2", 2.5)), (AssignedWritten("01.5", 4),))
EXERCISES_ONLY = replace(HOMEWORK, written=())


def result(
    student: str = "ada", outcomes: tuple[str, str] = (PASSED, FAILED), text: str = "", files: tuple[str, ...] = ()
) -> SubmissionResult:
    """`text` stands wherever a student's words can."""
    exercises = tuple(
        ExerciseResult(
            one.exercise_id, f"Title {one.exercise_id}", status, one.points if status == PASSED else 0.0, one.points,
            f"message {text}", f"hint {text}", f"# code {text}"
        )
        for one, status in zip(HOMEWORK.exercises, outcomes, strict=True)
    )  # fmt: skip
    written = (WrittenAnswer("01.5", 4, f"because {text}"),)
    return SubmissionResult(student, "d1", files, (f"note {text}",) if text else (), exercises, written)


def report(out_dir: Path, *results: SubmissionResult, assignment: Assignment = HOMEWORK, **options) -> tuple[str, ...]:
    return write_reports(out_dir, assignment, lambda: iter(results), gradebook=False, **options)


def read_csv(path: Path, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text("utf-8-sig")), delimiter=delimiter))


def page_of(out_dir: Path, student: str = "ada") -> str:
    return (out_dir / "feedback" / f"{slug(student)}.html").read_text("utf-8")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- grades.csv


def test_grades_has_a_row_a_student_and_leaves_open_what_is_not_known(tmp_path):
    ungraded = result("cy", (PASSED, NOT_GRADED))
    some = result("bob", (PASSED, PASSED)), result("ada", (FAILED, NOT_ATTEMPTED)), ungraded
    report(tmp_path, *some, assignment=EXERCISES_ONLY)
    header, *rows = read_csv(tmp_path / "grades.csv")
    assert header == ["student", "points", "max_points", "exercise 01.1", "exercise 01.2", "needs_attention",
                      "result"]  # fmt: skip
    assert rows == [
        ["ada", "0", "4.5", "0", "0", "", "ada"],
        ["bob", "4.5", "4.5", "2", "2.5", "", "bob"],
        ["cy", "", "4.5", "2", "", "not graded: 01.2 (start the grader again)", "cy"],
    ]


ALONE = f"{RUNS_ALONE}: define or import `LOG_BASE` in it"
BROKEN = "the notebook could not be read: it is not whole, or not a notebook (line 1, column 5: no value); open it"
NO_CELL = "the cell of exercise 01.1 is not in 01.ipynb: was it deleted, or its first line, # EXERCISE 01.1, changed?"


@pytest.mark.parametrize(
    ("outcome", "notes", "told"),
    [
        ((STOPPED, "stopped: the cell defines no `my_fft`: it defines fft2", ""), (),
         "did not run: 01.1 (the cell defines no `my_fft`: it defines fft2)"),
        ((STOPPED, f"stopped: NameError: name 'X' is not defined in line 2: {RUNS_ALONE}, so define", ""), (),
         "did not run: 01.1 (NameError: name 'X' is not defined in line 2)"),
        ((STOPPED, "stopped: took longer than 10 s", ""), ("a note",),
         "did not run: 01.1 (took longer than 10 s) | a note"),
        ((FAILED, "failed on input 1", ALONE), (), "uses a name that its cell does not define: 01.1 (LOG_BASE)"),
        ((FAILED, "failed on input 1", "another hint"), (), ""),
        ((NOT_ATTEMPTED, "not attempted yet", "replace it"), (), ""),
        ((MISSING, "notebook 00 was not handed in", ""), (), "notebook 00 was not handed in"),
        ((MISSING, NO_CELL, ""), (), "the cell of exercise 01.1 is not in 01.ipynb"),
        ((REFUSED, "not run: it uses eval", ""), (), "not accepted: 01.1 (not run: it uses eval)"),
        ((REFUSED, BROKEN, ""), ("other", f"01.ipynb: {BROKEN}"), f"not accepted: 01.1 (01.ipynb: {BROKEN}) | other"),
    ],
)  # fmt: skip
def test_whatever_needs_a_human_is_told_in_few_words(tmp_path, outcome, notes, told):
    one = result("ada", (PASSED, PASSED), files=("01.ipynb",))
    status, message, hint = outcome
    odd = replace(one.exercises[0], status=status, message=message, hint=hint, points=0)
    report(tmp_path, replace(one, exercises=(odd, one.exercises[1]), notes=notes))
    header, row = read_csv(tmp_path / "grades.csv")
    assert row[header.index("needs_attention")] == told


def test_what_two_exercises_share_is_told_once_and_nobody_handed_in_nothing_unseen(tmp_path):
    one = result("ada", (MISSING, MISSING), files=("01.ipynb",))
    missing = tuple(replace(each, message="notebook 01 was not handed in") for each in one.exercises)
    empty = replace(one, student="bob", exercises=missing, files=(), notes=("no notebook was handed in",))
    report(tmp_path, replace(one, exercises=missing), empty)
    header, *rows = read_csv(tmp_path / "grades.csv")
    told = {row[0]: row[header.index("needs_attention")] for row in rows}
    assert told == {"ada": "notebook 01 was not handed in", "bob": "no notebook was handed in"}


def test_needs_attention_ends_after_a_whole_word_however_much_there_is(tmp_path):
    one = result("ada", (STOPPED, REFUSED), text="word " * 500)
    notes = tuple(f"note {n} " + "word " * 500 for n in range(20))
    report(tmp_path, replace(one, notes=notes))
    header, row = read_csv(tmp_path / "grades.csv")
    told = row[header.index("needs_attention")]
    assert 500 < len(told) <= 900 and told.endswith(" word ...") and "did not run: 01.1 (message word" in told
    assert shortened("x" * 50, 20) == "x" * 16 + " ..." and shortened("a b", 3) == "a b"


def test_written_answers_wait_for_a_human_and_none_is_worth_nothing(tmp_path):
    silent = replace(result("bob"), written=(WrittenAnswer("01.5", 4, " \n"),))
    report(tmp_path, result("ada"), silent)
    header, *rows = read_csv(tmp_path / "grades.csv")
    assert header[5:9] == ["written 01.5", "total", "max_total", "to_mark"]
    assert [row[5:9] for row in rows] == [["", "", "8.5", "1"], ["0", "2", "8.5", "0"]]


def test_an_exercise_that_the_result_lacks_is_not_a_zero(tmp_path):
    one = result()
    report(tmp_path, replace(one, exercises=one.exercises[:1]))
    _, row = read_csv(tmp_path / "grades.csv")
    assert row[3:5] == ["2", ""] and "not graded: 01.2" in row[-2]


def test_numbers_are_written_as_people_and_platforms_read_them():
    assert [number(n) for n in (2.0, 2.5, 1 / 3, 0.1 + 0.2, 1e-9, -1e-9, 1e6)] == [
        "2", "2.5", "0.3333", "0.3", "0", "0", "1000000"
    ]  # fmt: skip
    assert count(1, "point") == "1 point" and count(0.5, "point") == "0.5 points"


# ---- what platforms import


def canvas_import(path: Path) -> tuple[list[str], dict[str, str], list[dict[str, str]]]:
    """Read a file as lib/gradebook_importer.rb of Canvas does. Returns titles, points possible, students."""
    lines = read_csv(path)
    header = lines[0]
    assert len(header) > 3 and "Student" in header[0] and "ID" in header[1], "InvalidHeaderRow"
    n_columns = 3
    if re.search(r"SIS\s+Login\s+ID", header[2]):
        n_columns = 4
    elif re.search(r"SIS\s+User\s+ID", header[2]) and re.search(r"SIS\s+Login\s+ID", header[3]):
        n_columns = 5
    assert "Section" in header[n_columns - 1], "InvalidHeaderRow"
    possible, students = {}, []
    for line in lines[1:]:
        if "Points Possible" in line[0]:
            possible = dict(zip(header[n_columns:], line[n_columns:], strict=True))
        else:
            students.append(dict(zip(header, line, strict=True)))
    return header[n_columns:], possible, students


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


# ---- rosters

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


def roster(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "roster.csv"
    path.write_text(text, "utf-8")
    return path


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


# ---- hostile text

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "＋1", "－1", "＠x", "\u00a0=1",
            "\ufeff=1", 'a;=1', 'a;"=1', 'a\t=1', "'=1", '"=1+1"', "x;\u3000=1", "\u200b=1"]  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_starts_a_formula_however_the_spreadsheet_splits_lines(tmp_path, name):
    one = result(name, (REFUSED, FAILED), text=name)
    report(tmp_path, replace(one, notes=(name,)))
    for file in ("grades.csv", "canvas.csv", "moodle.csv"):
        for delimiter in ",;\t":
            cells = [text for row in read_csv(tmp_path / file, delimiter) for text in row]
            starts = {unicodedata.normalize("NFKC", text).lstrip(' \t\r\n"')[:1] for text in cells}
            assert not starts & set("=+-@"), (file, delimiter, cells)


def test_what_is_no_formula_stays_as_it_is():
    for text in ("0042", "Anne-Marie Müller", "ada+sound@uni.example", "O'Neill", "李小龍", "12.5", "a=b"):
        assert cell(text) == text
    assert [cell(n) for n in (-1.5, 0, None)] == ["-1.5", "0", ""]  # figures are ours


class Structure(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *attributes))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


HOSTILE = [
    "<script>alert(1)</script>", "</pre></details></section><h1>Full marks</h1>", "<img src=x onerror=alert(1)>",
    "'\" onmouseover=alert(1) x='", "<!-- ", "]]>", "{{ 7*7 }} {% raw %}", "</style><style>*{display:none}",
    "</title><script>1</script>", "&lt;b&gt; &#60;", "javascript:alert(1)", "`</code><b>x`", "\x00<\x00script>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_leaves_the_page_as_it_is_and_can_be_read(tmp_path, text):
    report(tmp_path / "hostile", result(f"ada {text}", (FAILED, REFUSED), text, files=(f"x{text}.ipynb",)))
    report(tmp_path / "innocent", result("ada a", (FAILED, REFUSED), "a", files=("xa.ipynb",)))
    hostile = Structure(page_of(tmp_path / "hostile", f"ada {text}"))
    innocent = Structure(page_of(tmp_path / "innocent", "ada a"))
    without_code = [tag for tag in hostile.tags if tag[0] != "code"]
    assert without_code == [tag for tag in innocent.tags if tag[0] != "code"]
    shown = visible(text).strip()
    assert hostile.text.count(shown.strip("`")) >= 7  # title, heading, note, message, hint, code, written answer, file
    assert "49" not in hostile.text.replace(slug(f"ada {text}"), "") or "49" in text


def test_the_page_may_run_and_load_nothing_but_its_own_style(tmp_path):
    report(tmp_path, result())
    page = page_of(tmp_path)
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    structure = Structure(page)
    assert not {tag[0] for tag in structure.tags} & {"script", "link", "img", "iframe", "form", "object", "base"}
    addresses = [value for tag in structure.tags for name, value in tag[1:] if name in ("href", "src", "style")]
    assert addresses and all(address.startswith("#exercise-") for address in addresses)
    assert "url(" not in style and "@import" not in style


INVISIBLE = "a\u202eb\u2066c\x00d\x1b[31me\x85f\u200bg\ufeffh\ud800i\U000e0041j\u2028k\rl\x7fm\uffff"


def test_whatever_is_invisible_or_turns_text_round_is_spelled_out_in_every_report(tmp_path):
    report(tmp_path, result(INVISIBLE, (FAILED, FAILED), INVISIBLE))
    for name, content in files_in(tmp_path).items():
        text = content.decode("utf-8-sig")
        odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")} - {"\n", "\t"}
        assert not odd, (name, odd)
    assert "a⟨U+202E⟩b⟨U+2066⟩c⟨U+0000⟩d⟨U+001B⟩[31me" in page_of(tmp_path, INVISIBLE)
    assert visible("tab\tline\r\nзвук \u0938\u094d\u200d\U0001f469\u200d\U0001f52c") == (
        "tab\tline\nзвук \u0938\u094d\u200d\U0001f469\u200d\U0001f52c"
    )
    assert one_line(" a\n\tb\x0b ") == "a b⟨U+000B⟩"


def test_pages_do_not_grow_without_bound(tmp_path):
    one = result(text="x")
    wide = replace(one.exercises[1], source="y" * 100_000, message="z" * 10**6, hint="h" * 10**6)
    exercises = (replace(one.exercises[0], source="x\n" * 50_000), wide)
    notes = tuple(f"note {i} {'n' * 10_000}" for i in range(1000))
    report(tmp_path, replace(one, exercises=exercises, notes=notes, files=("f" * 10_000,) * 100))
    assert max(len(content) for content in files_in(tmp_path).values()) < 150_000
    assert "characters more)" in page_of(tmp_path)


# ---- the page itself


def test_the_page_says_how_it_stands_with_each_exercise(tmp_path):
    one = result(outcomes=(PASSED, FAILED), text="of a pass")
    failed = replace(one.exercises[1], message="expected 1\ngot 2", hint="write `x + 1`", source="\na = 1\nb = 2\n")
    report(tmp_path, replace(one, exercises=(one.exercises[0], failed)))
    page = page_of(tmp_path)
    for part in (
        '<p class="score">2<span> of 4.5</span></p>', "1 of 2 exercises pass.",
        "4 points more, are still to be marked by hand",
        "expected 1\ngot 2", "<code>x + 1</code>", ">\n<i></i>a = 1\n<i></i>b = 2<", "because",
    ):  # fmt: skip
        assert part in page, part
    assert "message of a pass" not in page  # it needs no more words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (NOT_ATTEMPTED, "Not attempted"), (MISSING, "Not found"), (REFUSED, "Not run"),
        (STOPPED, "Did not run"), (NOT_GRADED, "no fault of yours"),
    ],
)  # fmt: skip
def test_every_outcome_has_words(tmp_path, status, words):
    report(tmp_path, result(outcomes=(PASSED, status)))
    assert words in page_of(tmp_path)


def test_what_is_not_there_or_did_not_run_says_why_on_the_page(tmp_path):
    one = result(outcomes=(MISSING, STOPPED))
    gone = replace(one.exercises[0], message="notebook 00 was not handed in", hint="", source="")
    ended = replace(one.exercises[1], message="stopped: took longer than 10 s", hint="")
    report(tmp_path, replace(one, exercises=(gone, ended)))
    page = page_of(tmp_path)
    assert "<p>Notebook 00 was not handed in.</p>" in page and "was it deleted" not in page
    assert "stopped: took longer than 10 s" in page and "could not run this cell to its end" in page
    unread = replace(gone, status=REFUSED, message="the notebook could not be read: it is a PDF")
    report(tmp_path, replace(one, exercises=(unread, ended)))
    assert "could not be read from what you handed in" in page_of(tmp_path)
    assert "Your answer was found" not in page_of(tmp_path)


def test_no_report_holds_salt_or_seed(tmp_path):
    report(tmp_path, result("ada"))
    seeds = [str(exercise_seed(SALT, "ada", one.exercise_id)) for one in HOMEWORK.exercises]
    for name, content in files_in(tmp_path).items():
        assert not any(secret in content.decode() for secret in (SALT, *seeds)), name


# ---- marks by hand


@pytest.fixture
def gradebook(tmp_path):
    """nbgrader's own gradebook of three students, as `course grade` leaves it."""
    api = pytest.importorskip("nbgrader.api")
    silent = replace(result("cy"), written=(WrittenAnswer("01.5", 4, ""),))
    students = [result("ada", text="it is so"), result("bob", (PASSED, PASSED)), silent]
    write_gradebook(tmp_path / "nbgrader", HOMEWORK, lambda: iter(students))
    with api.Gradebook(f"sqlite:///{tmp_path / 'nbgrader' / 'gradebook.db'}") as book:
        yield book, students


def mark(book, student: str, cell: str, points: float | None = None, comment: str = "") -> None:
    """As formgrader does."""
    if points is not None:
        grade = book.find_grade(cell, "01_sound_as_data", "hw1", student)
        grade.manual_score, grade.needs_manual_grade = points, False
    if comment:
        book.find_comment(cell, "01_sound_as_data", "hw1", student).manual_comment = comment
    book.db.commit()


def test_once_written_answers_are_marked_reports_hold_whole_grades(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "written-01-5", 3.5, "Well said. <i>But</i> why?")
    notes = report(tmp_path, *students)
    header, *rows = read_csv(tmp_path / "grades.csv")
    totals = {row[0]: row[header.index("total")] for row in rows}
    assert totals == {"ada": "5.5", "bob": "", "cy": "2"}
    for student in ("ada", "cy"):  # as nbgrader's exporter has it
        assert float(totals[student]) == book.find_submission("hw1", student).score
    titles, possible, canvas = canvas_import(tmp_path / "canvas.csv")
    assert possible == {"hw1 exercises": "4.5", "hw1": "8.5"} and list(possible) == titles
    assert {row["Student"]: (row["hw1 exercises"], row["hw1"]) for row in canvas} == {
        "ada": ("2", "5.5"), "bob": ("4.5", ""), "cy": ("2", "2")
    }  # fmt: skip
    moodle = {row[1]: row[5:7] for row in read_csv(tmp_path / "moodle.csv")[1:]}
    assert moodle == {"ada": ["5.5", "8.5"], "cy": ["2", "8.5"]}
    assert any("moodle.csv until" in note and "bob" in note for note in notes)
    page = page_of(tmp_path)
    assert "5.5<span> of 8.5</span>" in page and "3.5 of 4 points" in page
    assert "Well said. &lt;i&gt;But&lt;/i&gt; why?" in page


def test_a_mark_overruled_by_hand_goes_before_the_automatic_one(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "check-01-2", 1.5)
    mark(book, "ada", "exercise-01-2", comment="The idea is right.")
    report(tmp_path, *students)
    header, row, *_ = read_csv(tmp_path / "grades.csv")
    assert row[:5] == ["ada", "3.5", "4.5", "2", "1.5"]
    assert canvas_import(tmp_path / "canvas.csv")[0] == ["hw1 exercises"]  # no written answer has been marked yet
    page = page_of(tmp_path)
    assert "1.5 of 2.5 points, by hand" in page and "The idea is right." in page
    body = json.loads((tmp_path / "gradescope" / "ada.json").read_text("ascii"))
    assert body["score"] == 3.5 == sum(test["score"] for test in body["tests"])


def test_extra_credit_is_added_to_the_automatic_mark(tmp_path, gradebook):
    book, students = gradebook
    book.find_grade("check-01-1", "01_sound_as_data", "hw1", "cy").extra_credit = 0.5
    book.db.commit()
    report(tmp_path, *students)
    header, *_, row = read_csv(tmp_path / "grades.csv")
    assert row[0] == "cy" and row[3] == "2.5"
    assert float(row[header.index("total")]) == 2.5 == book.find_submission("hw1", "cy").score


def test_a_mark_for_an_answer_that_has_changed_is_waited_for(tmp_path, gradebook):
    book, students = gradebook
    mark(book, "ada", "written-01-5", 3.5)
    students[0] = replace(students[0], written=(WrittenAnswer("01.5", 4, "another answer"),))
    for _ in range(2):  # at once, not only the second time
        notes = write_reports(tmp_path, HOMEWORK, lambda: iter(students))
        header, row, *_ = read_csv(tmp_path / "grades.csv")
        assert row[header.index("written 01.5")] == "" and row[header.index("to_mark")] == "1"
        assert row[header.index("needs_attention")].startswith("changed since it was marked by hand: 01.5 |")
        assert any("another answer than was marked by hand" in note and "ada (01.5)" in note for note in notes)
    mark(book, "ada", "written-01-5", 2)
    assert not any("another answer" in note for note in write_reports(tmp_path, HOMEWORK, lambda: iter(students)))
    assert read_csv(tmp_path / "grades.csv")[1][header.index("written 01.5")] == "2"


def test_a_gradebook_that_cannot_be_used_is_told_and_keeps_no_report_back(tmp_path):
    pytest.importorskip("nbgrader")
    (tmp_path / "nbgrader").mkdir()
    (tmp_path / "nbgrader" / "gradebook.db").write_bytes(b"no database" * 1000)
    (note,) = report(tmp_path, result())
    assert "gradebook.db cannot be read" in note and (tmp_path / "grades.csv").exists()
    with pytest.raises(GradebookError, match="gradebook.db") as raised:
        write_reports(tmp_path, HOMEWORK, lambda: iter([result("bob")]), roster(tmp_path, "student\nbob\nzoe\n"))
    assert any("handed in nothing" in note and "zoe" in note for note in raised.value.notes)
    assert read_csv(tmp_path / "grades.csv")[1][0] == "bob" and (tmp_path / "feedback" / "bob.html").exists()


def test_without_nbgrader_there_are_all_reports_but_one(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (note,) = write_reports(tmp_path, HOMEWORK, lambda: iter([result()]))
    assert "course-lib[instructor]" in note and page_of(tmp_path)


# ---- files


def test_the_same_results_give_the_same_bytes_in_any_order(tmp_path):
    results = [result(name, text=name) for name in ("ada", "Bob", "Ćy", "=d", "d\u202e")]
    report(tmp_path / "a", *results)
    random.Random(1).shuffle(results)
    report(tmp_path / "b", *results)
    report(tmp_path / "b", *results)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b") and len(files_in(tmp_path / "a")) == 13


def test_what_is_left_of_others_or_of_a_killed_grader_goes(tmp_path):
    report(tmp_path, result("ada"), result("gone"), result("cy"))
    (tmp_path / "feedback" / ".cy.html.tmp").write_text("half a pa")
    report(tmp_path, result("ada"), result("cy", (PASSED, NOT_GRADED)))
    names = {name for name in files_in(tmp_path) if "/" in name}
    assert names == {"feedback/ada.html", "feedback/cy.html", "gradescope/ada.json"}


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "grades.csv"
    write_file(path, "old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_file(path, "new")
    assert path.read_text() == "old"
