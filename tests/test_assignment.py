"""Assignments: chosen, written, read again, and refused with a word on what to do."""

from __future__ import annotations

import hashlib
import re
import stat
from dataclasses import replace

import pytest

from course_lib.exercises.checking import get_exercise, list_exercises
from course_lib.grading.assignment import (
    Assigned,
    AssignedWritten,
    Assignment,
    AssignmentError,
    choose,
    read_assignment,
    to_toml,
    write_assignment,
    written_questions,
)
from course_lib.grading.marking import exercise_seed

SMALL = Assignment("hw1", "0a1b2c", (Assigned("01.2", 2.5, ("torch.linalg",)),), (AssignedWritten("02.2", 4.0),))


# ---- choosing


def test_notebooks_give_all_of_their_questions_in_the_course_s_order():
    chosen = choose(["5", "02"], name="hw1")
    ids = [exercise.id for number in ("02", "05") for exercise in list_exercises(number)]
    assert [one.exercise_id for one in chosen.exercises] == ids
    assert [one.points for one in chosen.exercises] == [get_exercise(one).points for one in ids]
    assert chosen.written == (AssignedWritten("02.2", 4.0), AssignedWritten("05.2", 4.0))
    assert chosen.notebooks == ("02", "05") and chosen.max_points == sum(get_exercise(one).points for one in ids)


def test_exercises_narrow_the_choice_and_count_written_questions_too():
    chosen = choose(exercises=["03.6", "02.1", "01.1", "01.1"], points={"02.1": 7, "03.6": 1.5}, deny={"01.1": ["a.b"]})
    assert chosen.exercises == (Assigned("01.1", 2.0, ("a.b",)), Assigned("02.1", 7.0))
    assert chosen.written == (AssignedWritten("03.6", 1.5),)
    assert choose(["02"], ["02.1"]).written == ()


def test_every_notebook_s_written_question_is_found():
    found = written_questions()
    assert list(found) == ["02.2", "03.6", "05.2", "06.6", "07.6", "09.4"] and set(found.values()) == {4.0}


def test_each_class_gets_a_salt_of_its_own():
    first, second = choose(["00"]), choose(["00"])
    assert first.salt != second.salt and re.fullmatch("[0-9a-f]{32}", first.salt)
    assert choose(["00"], salt="mine").salt == "mine"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "got neither notebooks nor exercises"),
        ({"notebooks": ["00", "77"]}, "no notebook 77; there are 00, 01"),
        ({"exercises": ["01.9"]}, "no exercise 01.9; there are 00.1"),
        ({"notebooks": ["01"], "exercises": ["02.1"]}, "no exercise 02.1; there are 01.1"),
        ({"notebooks": ["01"], "points": {"02.1": 3}}, r"no exercise \(of points\) 02.1; there are 01.1"),
        ({"exercises": ["01.1"], "points": {"01.2": 3}}, r"of points\) 01.2; there are 01.1$"),
        ({"notebooks": ["02"], "deny": {"02.2": ["torch"]}}, r"of deny\) 02.2; there are 02.1$"),
        ({"notebooks": ["01"], "deny": {"01.1": ["import os"]}}, "exercise 01.1: got deny 'import os', need a name"),
        ({"notebooks": ["01"], "points": {"01.1": 0}}, "01.1: got 0.0 points, need more than 0"),
        ({"notebooks": ["02"], "points": {"02.2": float("nan")}}, "02.2: got nan points"),
        ({"notebooks": ["01"], "name": "../hw"}, "got name '../hw', need letters, digits"),
        ({"notebooks": ["01"], "salt": ""}, "got salt '', need letters"),
        ({"notebooks": ["01"], "salt": 'a"b'}, "got salt 'a\"b', need letters"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(choice, message):
    with pytest.raises(AssignmentError, match=message):
        choose(**choice)


def test_without_the_repository_the_remedy_is_named(tmp_path):
    with pytest.raises(AssignmentError, match="need the course's repository.*clone it"):
        choose(["01"], root=tmp_path)


def test_an_assignment_by_hand_is_held_to_the_same():
    with pytest.raises(AssignmentError, match="question 01.2 is there twice"):
        replace(SMALL, exercises=2 * SMALL.exercises)
    with pytest.raises(AssignmentError, match="got id '01.2', need one as in '02.2'"):
        replace(SMALL, exercises=(), written=(AssignedWritten("01.2", 1),))
    with pytest.raises(AssignmentError, match="need at least one"):
        replace(SMALL, exercises=(), written=())


# ---- the file


def test_the_file_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "assignment.toml"
    for assignment in (SMALL, choose(["00", "06"], points={"06.1": 1 / 3}), replace(SMALL, exercises=())):
        write_assignment(path, assignment)
        assert read_assignment(path) == assignment and path.read_text("utf-8") == to_toml(assignment)


def test_the_file_keeps_its_salt_from_others(tmp_path):
    write_assignment(tmp_path / "assignment.toml", SMALL)
    assert stat.S_IMODE((tmp_path / "assignment.toml").stat().st_mode) == 0o600


def test_people_may_write_points_as_they_like(tmp_path):
    path = tmp_path / "assignment.toml"
    path.write_text(to_toml(SMALL).replace("points = 4", "points = 4.00  # of ten"))
    assert read_assignment(path) == SMALL and read_assignment(path).digest() == SMALL.digest()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "got format 2, need 1"),
        ('name = "hw1"', "", 'got name = None, need a text as in name = "..."'),
        ('name = "hw1"', 'nome = "hw1"', "no entry nome; there are format, name"),
        ("[[exercise]]", "[exercise]", r"need tables that begin with \[\[exercise\]\]"),
        ("points = 2.5", 'points = "2.5"', "question 01.2: got points = '2.5', need a number"),
        ("points = 2.5", "points = true", "question 01.2: got points = True"),
        ("points = 2.5", f"points = 1{'0' * 400}", "question 01.2: got points = 1000"),
        ("points = 2.5", "points = inf", "question 01.2: got points = inf"),
        ("points = 2.5", "point = 2.5", r"no entry of \[\[exercise\]\] point; there are id, points, deny"),
        ('deny = ["torch.linalg"]', 'deny = "torch.linalg"', "exercise 01.2: got deny = 'torch.linalg', need a list"),
        ('id = "01.2"', 'id = "01.22"', "no exercise 01.22; there are 00.1"),
        ('id = "01.2"', "id = 01.2", "is no TOML file"),
        ('id = "02.2"', "id = 2.2", 'got id = 2.2, need a text as in id = "..."'),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path, old, new, message):
    path = tmp_path / "assignment.toml"
    text = to_toml(SMALL)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(AssignmentError, match=f"assignment.toml.*{message}"):
        read_assignment(path)


def test_bytes_that_are_no_text_are_refused_and_no_file_is_said_to_be_none(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(AssignmentError, match="a.toml is no TOML file"):
        read_assignment(tmp_path / "a.toml")
    with pytest.raises(FileNotFoundError):
        read_assignment(tmp_path / "none.toml")


# ---- what marks depend on


def test_the_digest_sees_everything_that_a_mark_depends_on():
    others = [
        replace(SMALL, salt="0a1b2d"),
        replace(SMALL, name="hw2"),
        replace(SMALL, written=()),
        replace(SMALL, exercises=(Assigned("01.2", 2.5),)),
        replace(SMALL, exercises=(Assigned("01.2", 3, ("torch.linalg",)),)),
    ]
    assert len({one.digest() for one in (SMALL, *others)}) == 6
    assert SMALL.digest() == replace(SMALL).digest()


def test_seeds_repeat_and_differ_by_student_exercise_answer_and_salt():
    seeds = {
        exercise_seed(salt, student, one, answer)
        for answer in ("def f(): ...", "def f(): ... ")
        for salt in ("s", "t")
        for student in ("ann", "bob", "an", "ann\0", "ann\ud800")
        for one in ("01.1", "01.2")
    }
    assert len(seeds) == 40 and all(0 <= seed < 2**63 for seed in seeds)
    # HMAC-SHA256 by hand, from its definition in RFC 2104.
    key = b"s".ljust(64, b"\0")
    inner = hashlib.sha256(bytes(k ^ 0x36 for k in key) + b"ann\x0001.1\x00x").digest()
    outer = hashlib.sha256(bytes(k ^ 0x5C for k in key) + inner).digest()
    assert exercise_seed("s", "ann", "01.1", "x") == int.from_bytes(outer[:8], "big") // 2
