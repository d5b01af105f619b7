"""What is taken out of a notebook: from honest ones as people change them, and from files made to do harm."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from course_lib.exercises.checking import list_exercises
from course_lib.grading import answers as answers_module
from course_lib.grading.answers import Answers, read_answers, read_contents
from course_lib.grading.cells import MAX_NOTES
from course_lib.grading.submissions import Content

ROOT = Path(__file__).parents[1]
IDS, WRITTEN = ("01.1", "01.2"), ("01.5",)
RIGHT = "# EXERCISE 01.1\ndef f(x):\n    return x\n"
STUB = "# EXERCISE 01.1\ndef f(x):\n    # YOUR CODE HERE\n    raise NotImplementedError\n"
MARK = "<!-- WRITTEN 01.5 points=4 -->"


def code(source: Any, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


def text(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "source": source, "metadata": metadata}


def notebook(*cells: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def read(*cells: Any) -> Answers:
    return read_answers(notebook(*cells), IDS, WRITTEN)


def source_of(found: Answers, exercise_id: str = "01.1") -> str:
    assert not found.answers[exercise_id].problem, found.answers[exercise_id].problem
    return found.answers[exercise_id].source


@pytest.mark.parametrize("folder", ["notebooks", "solutions"])
def test_the_courses_own_notebooks(folder: str) -> None:
    ids = [exercise.id for exercise in list_exercises()]
    written = [f"0{n}.{k}" for n in range(10) for k in range(1, 9)]
    found: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for path in sorted((ROOT / folder).glob("*.ipynb")):
        one = read_answers(path.read_bytes(), ids, written)
        found |= one.answers
        texts |= one.written
    assert sorted(found) == sorted(ids) and not any(answer.problem for answer in found.values())
    assert all(answer.is_stub == (folder == "notebooks") for answer in found.values())
    assert list(texts) == ["02.2", "03.6", "05.2", "06.6", "07.6", "09.4"]
    assert all(bool(one) == (folder == "solutions") for one in texts.values())


@pytest.mark.parametrize(
    "cell",
    [
        code(RIGHT),
        code(RIGHT.splitlines(keepends=True)),
        code(RIGHT.replace("\n", "\r\n")),
        code(RIGHT.replace("\n", "\r")),
        code("\n\n" + RIGHT),
        code(RIGHT.replace("# EXERCISE 01.1", "#exercise 1.1:")),
        code(RIGHT.replace("# EXERCISE 01.1\n", ""), course={"exercise": "01.1"}),
        code(RIGHT.replace("# EXERCISE 01.1\n", ""), nbgrader={"grade_id": "exercise-01-1"}),
        code(RIGHT, course={"exercise": "01.2"}),  # copied from another exercise's cell to begin this one
        code(RIGHT, course=["exercise"], nbgrader={"grade_id": 5}),
        text(RIGHT),  # the key M was pressed
        {"cell_type": "code", "input": RIGHT},
    ],
)
def test_cells_as_people_leave_them(cell: dict[str, Any]) -> None:
    found = read(text("# Title"), code("import torch"), cell, code("f(1)"))
    assert "def f(x):\n    return x\n" in source_of(found) and list(found.answers) == ["01.1"]


def test_a_cell_of_merged_exercises_answers_both() -> None:
    both = RIGHT + "\n# EXERCISE 01.2\ndef g(x):\n    return 2 * x\n"
    found = read(code(both, course={"exercise": "01.1"}))
    assert source_of(found, "01.1") == source_of(found, "01.2") == both and not found.notes


def test_exercises_that_are_not_asked_for_and_plain_cells_are_left_out() -> None:
    elsewhere = code(RIGHT.replace("01.1", "03.1"))
    found = read(elsewhere, code("# see EXERCISE 01.1\nimport os"), code("x = '''EXERCISE'''"))
    assert found == Answers()


CHECK = code('check("01.1", f)')
OTHER = RIGHT.replace("return x", "return -x")


@pytest.mark.parametrize(
    ("cells", "chosen", "note"),
    [
        ([code(RIGHT), code(STUB)], RIGHT, ""),
        ([code(STUB), code(RIGHT)], RIGHT, ""),
        ([code(RIGHT), code(RIGHT)], RIGHT, ""),
        ([code(OTHER), code(RIGHT)], RIGHT, "the last counts"),
        ([code(RIGHT), CHECK, code(OTHER)], RIGHT, "just before its check counts"),
        ([code(RIGHT), text("so"), code(" "), code("", course={"check": "01.1"}), CHECK, code(OTHER)], RIGHT, "just"),
        ([code(RIGHT), code("verify(f)", course={"check": "01.1"}), code(OTHER)], RIGHT, "just before"),
        ([code(OTHER), code("1"), CHECK, code(RIGHT)], RIGHT, "the last counts"),
        ([code(RIGHT), text(OTHER)], RIGHT, ""),
        ([code(STUB), CHECK], STUB, ""),
    ],
)
def test_of_two_cells_for_one_exercise(cells: list[Any], chosen: str, note: str) -> None:
    found = read(*cells)
    assert source_of(found) == chosen
    assert note in "".join(found.notes) and bool(found.notes) == bool(note)


def test_cells_that_are_not_run_say_why() -> None:
    long = RIGHT + "#" * answers_module.MAX_CELL_CHARS
    found = read(code(long), code("  \n", course={"exercise": "01.2"}))
    assert "100,039 characters" in found.answers["01.1"].problem and len(found.answers["01.1"].source) < 3_000
    assert found.answers["01.2"].problem == "the cell is empty"


def test_characters_that_cannot_be_written_down() -> None:
    cell = json.dumps(code("X")).replace('"X"', json.dumps(RIGHT)[:-1] + r'# \ud83d\ude00 \ud800 \u0000"')
    found = read_answers(b'{"cells": [' + cell.encode() + b"]}", IDS, ())
    assert source_of(found) == RIGHT + "# \U0001f600 \ufffd \ufffd"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings(encoding: str) -> None:
    data = json.dumps({"cells": [code(RIGHT + "# é")]}, ensure_ascii=False).encode(encoding)
    assert source_of(read_answers(data, IDS, ())) == RIGHT + "# é"


def test_format_3() -> None:
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": RIGHT}]}, None, {"cells": 3}]}
    found = read_answers(json.dumps(old).encode(), IDS, ())
    assert source_of(found) == RIGHT and "format 3" in found.notes[0]


UNREADABLE = {
    "empty": (b" \n", "is empty"),
    "a web page": (b"<!DOCTYPE html>", "a web page"),
    "a zip": (b"PK\x03\x04...", "a zip"),
    "cut short": (notebook(code(RIGHT))[:-40], "not a notebook (line 1, column"),
    "merge conflict": (b"{\n<<<<<<< HEAD\n}", "not whole"),
    "a list": (b"[]", "holds a list"),
    "null": (b"null", "holds nothing"),
    "no cells": (b'{"nbformat": 4, "cells": {"a": 1}}', "no list of cells"),
    "not UTF-8": (b'{"cells": "\xff"}', "not UTF-8"),
    "deep": (b'{"cells":' + b"[" * 200_000, "nested without end"),
    "a long number": (b'{"cells": ' + b"9" * 10_000 + b"}", "a number that no notebook"),
    "many values": (b'{"cells": [' + b"[]," * 1_000_001, "more than 2,000,000 values"),
    "large": (b" " * (32 << 20) + b"{}", "more than 32 MB"),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_notebook_is_a_problem_in_words(name: str) -> None:
    data, words = UNREADABLE[name]
    found = read_answers(data, IDS, WRITTEN)
    assert words in found.notes[0] and found.notes[0].startswith("the notebook could not be read")
    assert {one: answer.problem for one, answer in found.answers.items()} == dict.fromkeys(IDS, found.notes[0])


def test_odd_types_cost_only_their_own_cell() -> None:
    odd: list[Any] = [None, 1, "x", [], {}, {"cell_type": "code"}, {"cell_type": [], "source": "x"}]
    odd += [code(None), code(["x", 1]), code({"a": "b"}), {"cell_type": "code", "source": 5}]
    found = read(*odd, code(RIGHT, course={"exercise": {}, "written": 3, "check": None}, nbgrader=[]))
    assert source_of(found) == RIGHT and found.notes == ("11 of 12 cells could not be read, and were passed over",)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "source",
    [
        "# EXERCISE 01.1" + " " * 90_000 + "x",
        " " * 90_000 + "x",
        "#" * 90_000,
        "# EXERCISE 01.1\n" * 6_000,
        "<!-- WRITTEN 01.5 " + "-" * 90_000,
        "<!-- WRITTEN 01.5 -->\n" * 4_000,
        'check("01.1"' * 8_000,
    ],
)
def test_patterns_take_no_longer_than_they_must(source: str) -> None:
    read(*[code(source), text(source)] * 3)


@pytest.mark.timeout(60)
def test_thousands_of_cells_and_notes_do_not_pile_up() -> None:
    many = [code(f"# EXERCISE 01.1\nf = {i}", course={"exercise": f"99.{i}"}) for i in range(20_000)]
    found = read(*many)
    assert source_of(found).endswith("f = 19999") and len(found.notes) <= MAX_NOTES


def test_damaged_notebooks_never_raise() -> None:
    whole = notebook(text("# Title"), code(RIGHT, course={"exercise": "01.1"}), text(f"Why?\n{MARK}\nSo.\n"))
    rng = random.Random(6)
    n_readable = 0
    for _ in range(2_000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 5))] = rng.choice(
                (b"", b'"', b"{", b"]", b"null", b"\xff", b"\\ud800", b"1e999", bytes([rng.randrange(256)]))
            )
        found = read_answers(bytes(data), IDS, WRITTEN)
        n_readable += "could not be read:" not in "".join(found.notes)
        assert all(len(note.encode()) < 400 for note in found.notes)
    assert 200 < n_readable < 1_800  # both kinds were tried


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([text(f"Why?\n\n{MARK}\nBecause.\n")], "Because."),
        ([text(f"Why?\n\n{MARK}\n*Your answer here.*\n")], ""),
        ([text("Because.", course={"written": "01.5"})], "Because."),
        ([text("Because.", nbgrader={"grade_id": "written-01-5"})], "Because."),
        ([code(f"{MARK}\nBecause.")], "Because."),
        ([text(f"{MARK}\nOne."), text(f"{MARK}\n*Your answer here.*"), text(f"{MARK}\nTwo.")], "One.\n\nTwo."),
        ([text(f"{MARK}\nMine.\n{MARK.replace('01.5', '02.6')}\nNot asked.")], "Mine."),
        ([text(f"{MARK}\n" + "a" * 200_000)], "a" * 100_000),
    ],
)
def test_written_answers(cells: list[Any], expected: str) -> None:
    assert read(*cells).written == {"01.5": expected}


def test_several_files_of_a_student() -> None:
    second = RIGHT.replace("01.1", "01.2")
    stubs = Content("stubs.ipynb", "01", notebook(code(STUB), code(STUB.replace("01.1", "01.2")), text(MARK)))
    old = Content("old.ipynb", "01", notebook(code(OTHER), text(f"{MARK}\nSo.")))
    new = Content("new.ipynb", "01", notebook(code(RIGHT), code(second)))
    broken = Content("torn.ipynb", "01", b"{")
    huge = Content("huge.ipynb", "01", problem="has 1.0 GB or more")
    elsewhere = Content("x.ipynb", "02", b"{")

    found = read_contents([stubs, new, old, broken, huge], IDS, WRITTEN)
    assert (source_of(found, "01.1"), source_of(found, "01.2"), found.written) == (RIGHT, second, {"01.5": "So."})
    assert any("answered in more than one file" in note for note in found.notes)
    # A file that cannot be read explains what is missing, but does not hide an answer, nor speak for other notebooks.
    found = read_contents([huge, stubs], IDS, ())
    assert found.answers["01.1"].problem == "huge.ipynb has 1.0 GB or more"
    found = read_contents([elsewhere, stubs], IDS, ())
    assert found.answers["01.1"].is_stub and "x.ipynb: the notebook could not be read" in found.notes[0]
    found = read_contents([], IDS, WRITTEN)
    assert replace(found, missing={}) == Answers()


def test_what_is_missing_is_told_apart_by_why() -> None:
    """A notebook that was not handed in, a cell that is not in one that was, and a renamed file that is recognised."""
    first = Content("ada/01_sound_as_data.ipynb", "01", notebook(code(RIGHT)))
    nameless = Content("mine.ipynb", "", notebook(code(RIGHT)))
    torn = Content("02.ipynb", "02", b"{")
    ids = ("00.1", "01.1", "01.2", "02.1")
    for contents, name in ([first, torn], "01_sound_as_data.ipynb"), ([nameless, torn], "mine.ipynb"):
        found = read_contents(contents, ids, ())
        assert set(found.answers) == {"01.1", "02.1"} and all(one.is_missing for one in found.missing.values())
        assert {one: answer.problem for one, answer in found.missing.items()} == {
            "00.1": "notebook 00 was not handed in",
            "01.2": f"the cell of exercise 01.2 is not in {name}: was it deleted, or its first line, # EXERCISE 01.2, "
            "changed?",
        }
    assert {one.problem for one in read_contents([], ids, ()).missing.values()} == {
        f"notebook {number} was not handed in" for number in ("00", "01", "02")
    }
    found = read_contents([Content("w.ipynb", "", notebook(text(f"{MARK}\nSo.")))], ("01.1",), WRITTEN)
    assert "is not in w.ipynb" in found.missing["01.1"].problem  # its written answer shows which notebook this is
