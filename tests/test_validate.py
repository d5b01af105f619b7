"""`course grade --validate`: finds nothing where nothing is amiss, and says what is amiss where something is."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
from here_worker import HereWorker

from course_lib.exercises.checking import get_exercise, list_exercises
from course_lib.exercises.framework import WrongAnswer
from course_lib.grading import marking
from course_lib.grading.assignment import Assigned, Assignment, AssignmentError
from course_lib.grading.sandbox.launch import Sandbox, SandboxError
from course_lib.grading.validate import validate, write_submissions

ROOT = Path(__file__).parents[1]
HERE = Sandbox(None, False, "this process")
TONE = Assignment("hw", "salt", (Assigned("00.1", 2.0),))


def bubblewrap():
    try:
        return Sandbox.bubblewrap()
    except SandboxError:
        return None


@pytest.fixture
def here(monkeypatch):
    """Marks without processes, so that only what validate itself does is tried."""
    monkeypatch.setattr(marking, "Worker", HereWorker)


@pytest.fixture
def change(monkeypatch):
    """Changes the grader's idea of an exercise; what is handed in stays."""

    def changed(**fields):
        exercise = dataclasses.replace(get_exercise("00.1"), **fields)
        monkeypatch.setattr(Assigned, "exercise", property(lambda self: exercise))
        return exercise

    return changed


def answers_of(report):
    return [(one.exercise_id, one.answer) for one in report.deviations]


@pytest.mark.skipif(sys.platform != "linux" or bubblewrap() is None, reason="needs bubblewrap")
def test_every_solution_stub_and_wrong_answer_is_marked_as_it_should_be():
    """All exercises of the course, through files, sandbox and frames."""
    assigned = tuple(Assigned(one.id, 2.5) for one in list_exercises())
    seen = []
    report = validate(Assignment("all", "salt", assigned), bubblewrap(), progress=lambda *done: seen.append(done))
    assert report.is_clean, str(report)
    assert report.n_answers == {one.id: len(one.wrong_answers) + 2 for one in list_exercises()}
    n_submissions = 2 + max(len(one.wrong_answers) for one in list_exercises())
    assert seen == [(k + 1, n_submissions) for k in range(n_submissions)]


def test_a_sound_exercise_has_no_deviations(here):
    report = validate(TONE, HERE)
    assert report.is_clean and report.n_answers == {"00.1": 21}
    assert str(report) == "1 exercises, 21 answers marked, 0 not as they should be"


def test_a_reference_that_is_wrong_fails_the_solution_and_passes_a_slip(here, change):
    slip = get_exercise("00.1").wrong_answers[0]
    change(reference=slip.answer)
    found = {one.answer: one for one in validate(TONE, HERE).deviations}
    assert {"solution", slip.name} <= set(found) and "stub" not in found
    assert found["solution"].wanted == "passed, 2 points" and "failed, 0 points" in found["solution"].got
    assert found[slip.name].got.startswith("passed, 2 points")


def test_a_hint_that_does_not_come_is_a_deviation(here, change):
    first, *rest = get_exercise("00.1").wrong_answers
    change(wrong_answers=(WrongAnswer(first.name, rest[0].answer, "a hint for another slip"), *rest))
    (found,) = validate(TONE, HERE).deviations[:1]
    assert found.answer == first.name and "a hint for another slip" in found.wanted
    assert repr(get_exercise("00.1").hint) == found.got


def test_an_exercise_that_takes_anything_is_found_out(here, change):
    change(atol=1e9)
    report = validate(TONE, HERE)
    assert len(report.deviations) > 10 and not report.is_clean
    assert "stub" not in dict(map(reversed, answers_of(report))) and "passed, 2 points" in str(report)


def test_a_deny_list_that_forbids_the_solution_is_found_out(here):
    report = validate(Assignment("hw", "salt", (Assigned("00.1", 2.0, ("torch.sin",)),)), HERE)
    assert answers_of(report) == [("00.1", "solution")] and "refused" in report.deviations[0].got


def test_a_stub_that_gives_the_answer_away_is_found_out(here, tmp_path):
    for folder in ("solutions", "notebooks"):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / "solutions" / "00_start_here.ipynb", tmp_path / folder)
    assert answers_of(validate(TONE, HERE, root=tmp_path)) == [("00.1", "stub")]


def test_submissions_are_written_as_they_are_handed_in(tmp_path):
    assigned = (Assigned("00.1", 1.0), Assigned("03.1", 1.0))
    write_submissions(tmp_path, Assignment("hw", "salt", assigned), ROOT)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.ipynb"))
    n_tone, n_pca = (len(get_exercise(one).wrong_answers) for one in ("00.1", "03.1"))
    assert len(names) == 4 + n_tone + n_pca
    assert {"solution/00_start_here.ipynb", "stub/03_autoencoders.ipynb", "wrong-00/03_autoencoders.ipynb"} <= set(
        names
    )
    wrong = json.loads((tmp_path / f"wrong-{n_tone - 1}" / "00_start_here.ipynb").read_text("utf-8"))
    (cell,) = [c for c in wrong["cells"] if "".join(c["source"]).startswith("# EXERCISE 00.1\n")]
    assert cell["source"].rstrip().endswith(f'make_tone = get_exercise("00.1").wrong_answers[{n_tone - 1}].answer')


@pytest.mark.parametrize("missing", ["solutions", "notebooks/00_start_here.ipynb", "cell"])
def test_what_is_missing_is_named(here, tmp_path, missing):
    for folder in ("solutions", "notebooks"):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / folder / "00_start_here.ipynb", tmp_path / folder)
    if missing == "cell":
        path = tmp_path / "notebooks" / "00_start_here.ipynb"
        path.write_text(path.read_text("utf-8").replace('"exercise": "00.1"', '"exercise": "00.9"'), "utf-8")
    elif missing == "solutions":
        shutil.rmtree(tmp_path / "solutions")
    else:
        (tmp_path / missing).unlink()
    with pytest.raises(AssignmentError, match="solutions/|course release"):
        validate(TONE, HERE, root=tmp_path)
