"""What grading keeps of a submission: the file it is kept in, and the way back from it."""

import json
import random
import unicodedata

import pytest

from course_lib.grading.results import (
    NOT_GRADED,
    STATUSES,
    ExerciseResult,
    SubmissionResult,
    WrittenAnswer,
    result_path,
    slug,
)


def a_result(student: str = "ada", status: str = "passed") -> SubmissionResult:
    return SubmissionResult(
        student=student,
        digest="d" * 64,
        files=("01_sound_as_data.ipynb", "b.ipynb"),
        notes=("two cells",),
        exercises=(
            ExerciseResult("01.1", "the alias", status, 2.5, 3.0, "passed", "", "return '\ud800\u202e<b>'\n"),
            ExerciseResult("01.2", "mu-law", "failed", 0.0, 4.0, "failed", "a hint", "x"),
        ),
        written=(WrittenAnswer("01.7", 4.0, "some words \x00"),),
    )


@pytest.mark.parametrize("status", STATUSES)
def test_a_result_comes_back_from_its_file_as_it_was(status):
    result = a_result(status=status)
    text = result.to_json()
    assert SubmissionResult.from_json(text) == result and text.isascii()
    assert text == SubmissionResult.from_json(text).to_json()
    assert (result.points, result.max_points) == (2.5, 7.0)
    assert result.is_complete == (status != NOT_GRADED)


def test_a_torn_or_foreign_file_is_refused():
    text = a_result().to_json()
    for end in range(0, len(text) - 2, 7):
        with pytest.raises(ValueError):
            SubmissionResult.from_json(text[:end])
    for foreign in ("[]", "3", "null", '"x"', "{}", '{"format": 1}', text.replace('"format": 1', '"format": 2')):
        with pytest.raises(ValueError):
            SubmissionResult.from_json(foreign)
    more = json.loads(text) | {"surprise": 1}
    with pytest.raises(ValueError, match="surprise"):
        SubmissionResult.from_json(json.dumps(more))


def test_each_student_has_a_file_of_their_own_whatever_their_name(tmp_path):
    names = ["ada", "Ada", "ADA", "ada ", " ada", "ada.", ".ada", "a/da", "a\\da", "../ada", "ada\n", "ada\x00", "con"]
    names += ["CON", "con.txt", "student-con", "m\u00fcller", "mu\u0308ller", "muller", "", ".", "..", "-"]
    names += ["=1+1", "\ud800"]
    names += ["x" * n for n in (60, 61, 300)]
    names += [slug(name) for name in names if slug(name) != name]  # a name that is another's file name
    rng = random.Random(0)
    names += ["".join(rng.choice("aA-._/ \u00e9") for _ in range(rng.randrange(1, 9))) for _ in range(3000)]
    names = sorted(set(names), key=lambda name: name.encode("utf-8", "surrogatepass"))
    files = [result_path(tmp_path, name) for name in names]
    assert all(file.parent == tmp_path / "results" for file in files)
    as_windows_sees_them = {unicodedata.normalize("NFC", file.name).casefold() for file in files}
    assert len(as_windows_sees_them) == len(names)
    assert all(file.name.isascii() and len(file.name) < 120 for file in files)
    assert all(file.name.split(".")[0].lower() not in ("", "con") for file in files)


def test_a_plain_name_is_its_own_file_name():
    assert [slug(name) for name in ("ada", "ada_l", "s123", "a.b-c")] == ["ada", "ada_l", "s123", "a.b-c"]
    assert slug("Ada Lovelace") == slug("Ada Lovelace") and slug("Ada Lovelace").startswith("Ada-Lovelace-")
