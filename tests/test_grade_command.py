"""`course grade`: what it asks for, what it refuses, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from graded import ASSIGNMENT, NO_SANDBOX, FakeMarker, borrowed, course_grade, hand_in, results

from course_lib.grading import grade as grading
from course_lib.grading import grade_command
from course_lib.grading import validate as validating
from course_lib.grading.assignment import Assignment, write_assignment
from course_lib.grading.grade import GradeError, Summary, default_notebooks
from course_lib.grading.reports.gradebook_layout import GradebookError
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError
from course_lib.grading.validate import Deviation, Report


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with borrowed() as address:
        yield address


@pytest.fixture
def no_check(monkeypatch):
    monkeypatch.setattr(grade_command, "choose_sandbox", lambda command, unsafe: NO_SANDBOX)


def test_it_asks_for_what_it_needs(no_check, tmp_path):
    assert course_grade().exit_code == 2 and "need SUBMISSIONS and -o OUT" in course_grade().output
    result = course_grade(tmp_path / "nothing", "-o", tmp_path / "out")
    assert result.exit_code == 2 and "is not there" in result.output
    hand_in(tmp_path / "in", "a", "right")
    write_assignment(tmp_path / "hw1.toml", ASSIGNMENT)
    usual = (tmp_path / "in", "-o", tmp_path / "out")
    both = course_grade(*usual, "--assignment", tmp_path / "hw1.toml", "--notebooks", "1")
    assert both.exit_code == 2 and "drop one" in both.output
    (tmp_path / "out").mkdir()
    write_assignment(tmp_path / "out/assignment.toml", ASSIGNMENT)
    other = course_grade(*usual, "--notebooks", "03")
    said = " ".join(other.output.split())
    assert other.exit_code == 2 and "marks for notebooks 00, 01, got --notebooks 03" in said


def test_it_refuses_to_run_without_a_sandbox(monkeypatch, tmp_path, scheduler):
    def none_here() -> Sandbox:
        raise SandboxError("no sandbox: install bubblewrap")

    hand_in(tmp_path / "in", "a", "right")
    monkeypatch.setattr(Sandbox, "bubblewrap", none_here)
    result = course_grade(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 2 and "install bubblewrap" in result.output and not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr(grade_command, "check_sandbox", lambda sandbox: ["it can read /etc/passwd"])
    holey = ("--sandbox", "sh -c {worker}", "--scheduler", scheduler)
    for result in (
        course_grade(tmp_path / "in", "-o", tmp_path / "out", *holey),
        course_grade("--validate", *holey),
    ):
        assert result.exit_code == 2 and not results(tmp_path / "out")
        for words in ("does not hold", "it can read /etc/passwd", "Nothing was graded"):
            assert words in result.output


def test_a_gradebook_that_cannot_be_written_is_told_and_no_success(no_check, monkeypatch, tmp_path, scheduler):
    def no_gradebook(*arguments: object, **options: object) -> tuple[str, ...]:
        raise GradebookError("nbgrader/gradebook.db is in use; close formgrader")

    monkeypatch.setattr(grading, "write_reports", no_gradebook)
    monkeypatch.setattr(grading, "Marker", lambda assignment, *rest: FakeMarker(assignment, tmp_path / "bugs"))
    hand_in(tmp_path / "in", "a", "right")
    result = course_grade(tmp_path / "in", "-o", tmp_path / "out", "--scheduler", scheduler)
    assert result.exit_code == 1 and "gradebook.db is in use; close formgrader\n" in result.output
    assert "trying the sandbox" not in result.output  # there is none
    assert "1 submission: 1 marked now" in result.output and "a" in results(tmp_path / "out")


def test_who_is_not_graded_is_named_and_the_command_fails(no_check, monkeypatch, tmp_path, scheduler):
    monkeypatch.setattr(grading, "Marker", lambda assignment, *rest: FakeMarker(assignment, tmp_path / "bugs"))
    (tmp_path / "bugs").touch()
    for student in ("a", *(f"bug-{i:02}" for i in range(12))):
        hand_in(tmp_path / "in", student, "right")
    usual = (tmp_path / "in", "-o", tmp_path / "out", "--scheduler", scheduler)
    result = course_grade(*usual)
    names = ", ".join(f"bug-{i:02}" for i in range(10))
    assert result.exit_code == 1
    assert f"12 not graded in full, through no fault of theirs: {names} and 2 more\n" in result.output
    assert "Start the same command again" in result.output
    (tmp_path / "bugs").unlink()
    again = course_grade(*usual)
    assert again.exit_code == 0 and "13 submissions: 12 marked now, 1 up to date" in again.output
    assert "not graded in full" not in again.output


def test_validation_shows_a_table_and_fails_if_the_grader_is_wrong(no_check, monkeypatch):
    seen = []

    def validated(*deviations: Deviation) -> str:
        def fake(assignment: Assignment, sandbox: Sandbox, limits: Limits, tell: Callable[[int, int], None]) -> Report:
            tell(1, 2)
            seen.append((assignment.notebooks, sandbox, limits.wall_s, limits.cpu_s))
            return Report({"01.1": 7, "01.2": 9}, deviations)

        monkeypatch.setattr(validating, "validate", fake)
        result = course_grade("--validate", "--notebooks", "1", "--wall-s", "30")
        assert result.exit_code == int(bool(deviations))
        return result.output

    rows = [line.split("│")[1:4] for line in validated().splitlines() if "01." in line]
    assert [[part.strip() for part in row] for row in rows] == [["01.1", "7", "7"], ["01.2", "9", "9"]]
    odd = Deviation("01.2", "wrong sign", "[no] points", "2 points")
    said = validated(odd, Deviation("01.2", "stub", "not attempted", "failed"))
    rows = [line.split("│")[1:5] for line in said.splitlines() if "01." in line or "wanted" in line]
    assert [[part.strip() for part in row] for row in rows] == [
        ["01.1", "7", "7", ""], ["01.2", "9", "7", "wrong sign: wanted [no] points; got 2 points"],
        ["", "", "", "stub: wanted not attempted; got failed"],
    ]  # fmt: skip
    assert seen == [(("01",), NO_SANDBOX, 30, 30)] * 2  # the limits of grading


def test_ctrl_c_says_that_nothing_is_lost(no_check, monkeypatch, tmp_path):
    def stopped(*arguments: object, **options: object) -> Summary:
        raise KeyboardInterrupt

    monkeypatch.setattr(grading, "grade", stopped)
    hand_in(tmp_path / "in", "a", "right")
    result = course_grade(tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 130 and "start the same command again" in result.output


def test_going_without_says_what_it_means(capsys):
    assert not grade_command.choose_sandbox("", True).isolated
    said = capsys.readouterr().err
    for words in ("runs as you", "read the other submissions", "forge its own marks"):
        assert words in said


def test_the_notebooks_of_most_count(tmp_path):
    for student in "abcd":
        hand_in(tmp_path / "in", student, "right")
    extra = (tmp_path / "in/a/01_sound_as_data.ipynb").read_bytes()
    (tmp_path / "in/a/09_sample_by_sample.ipynb").write_bytes(
        extra
    )  # one student's stray file adds no exercises for all
    assert default_notebooks(tmp_path / "in") == ("00", "01")
    (tmp_path / "odd/a").mkdir(parents=True)
    (tmp_path / "odd/a/homework.ipynb").write_bytes(extra)
    with pytest.raises(GradeError, match="add e.g. --notebooks 01,03"):
        default_notebooks(tmp_path / "odd")
