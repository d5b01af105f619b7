"""Grading a folder: what is marked again and what is not, and what keeps anything from being marked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from graded import ASSIGNMENT, NO_SANDBOX, FakeMarker, Heard, borrowed, hand_in, results, tree

from course_lib.grading.assignment import Assignment
from course_lib.grading.grade import GradeError, Options, Summary, grade, stored_assignment
from course_lib.grading.reports import RosterError
from course_lib.grading.results import NOT_GRADED
from course_lib.grading.results_folder import InUseError
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with borrowed() as address:
        yield address


@pytest.fixture
def run(scheduler, tmp_path):
    """Grade tmp_path/in into tmp_path/out; returns the summary and the lines told."""

    def run(
        assignment: Assignment = ASSIGNMENT,
        limits: Limits | None = None,
        check: Callable[[], None] | None = None,
        roster: Path | None = None,
        sandbox: Sandbox = NO_SANDBOX,
    ) -> tuple[Summary, list[str]]:
        heard, make = Heard(), partial(FakeMarker, assignment, tmp_path / "bugs")
        options = Options(sandbox, limits or Limits(), scheduler, roster=roster, similarity=False)
        return grade(tmp_path / "in", tmp_path / "out", assignment, options, heard, make, check), heard.lines

    return run


def test_only_what_is_new_changed_or_not_graded_is_marked(run, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for student, answer in (("ada", "right"), ("bob", "wrong"), ("bug", "right"), ("Zoë \ud83d", "right")):
        hand_in(folder, student.encode("utf-8", "replace").decode(), answer)
    (tmp_path / "bugs").touch()
    summary, lines = run()
    assert summary == Summary(4, 0, ("bug",))
    assert any("bug was not graded: ZeroDivisionError" in line for line in lines)
    first = results(out)
    assert {name: one.points for name, one in first.items()} == {"ada": 4, "bob": 0, "bug": 0, "Zoë ?": 4}
    assert {one.status for one in first["bug"].exercises} == {NOT_GRADED}

    (tmp_path / "bugs").unlink()
    assert run()[0] == Summary(1, 3, ())  # what was not graded, and nothing else
    assert results(out)["bug"].points == 4
    before = tree(out)
    assert run()[0] == Summary(0, 4, ()) and tree(out) == before
    hand_in(folder, "bob", "right")
    hand_in(folder, "eve", "right")
    assert run()[0] == Summary(2, 3, ())
    assert [line.split(",")[:2] for line in (out / "grades.csv").read_text("utf-8").splitlines()[1:]] == [
        ["Zoë ?", "4"], ["ada", "4"], ["bob", "4"], ["bug", "4"], ["eve", "4"],
    ]  # fmt: skip


def test_other_points_other_salt_and_other_limits_mark_all_again(run, tmp_path):
    for student in "abc":
        hand_in(tmp_path / "in", student, "right")
    assert run()[0] == Summary(3, 0, ())
    assert run(limits=Limits(wall_s=3))[0] == Summary(3, 0, ())
    assert run(replace(ASSIGNMENT, salt="1" * 32))[0] == Summary(3, 0, ())
    dearer = tuple(replace(one, points=one.points + 0.5) for one in ASSIGNMENT.exercises)
    assert run(replace(ASSIGNMENT, exercises=dearer))[0] == Summary(3, 0, ())
    assert {one.points for one in results(tmp_path / "out").values()} == {5}


def test_marks_given_without_a_sandbox_do_not_pass_for_marks_given_in_one(run, tmp_path):
    hand_in(tmp_path / "in", "a", "right")
    held = Sandbox(None, True, "none either, but it says that it is")
    assert [run(sandbox=box)[0].n_marked for box in (NO_SANDBOX, held, held, NO_SANDBOX)] == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("handed_in", "out"),
    [("in", "in"), ("in", "in/marks"), ("in", "in/a/../marks"), ("link", "in/marks"), ("out/results", "out"),
     ("out/feedback/old", "out"), ("out/nbgrader/submitted", "out")],
)  # fmt: skip
def test_marks_and_submissions_do_not_lie_in_each_other(handed_in, out, tmp_path):
    (tmp_path / "link").symlink_to("in")
    hand_in(tmp_path / handed_in.replace("link", "in"), "a", "right")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(GradeError, match="give a folder elsewhere|move the submissions"):
        grade(tmp_path / handed_in, tmp_path / out, ASSIGNMENT, Options(NO_SANDBOX))
    assert sorted(tmp_path.rglob("*")) == before


def test_torn_and_foreign_results_are_named_and_made_again(run, tmp_path):
    for student in "abcd":
        hand_in(tmp_path / "in", student, "right")
    run()
    before, folder = tree(tmp_path / "out"), tmp_path / "out/results"
    (folder / "a.json").write_bytes((folder / "a.json").read_bytes()[:200])
    (folder / "b.json").write_bytes(b"\xff\xfe")
    (folder / "c.json").write_bytes((folder / "d.json").read_bytes())
    theirs = [tmp_path / "out" / name for name in (".env.template", ".notes.tmp", "nbgrader/.env.template")]
    for path in theirs:
        path.write_text("an instructor's own")
    for name in ("results/.d.json.tmp", ".grades.csv.tmp", ".assignment.toml.a_1b2c3d.tmp", "feedback/.d.html.tmp"):
        (tmp_path / "out" / name).write_text("half of a file")
    summary, lines = run()
    for path in theirs:
        assert path.read_text() == "an instructor's own"
        path.unlink()
    assert summary == Summary(3, 1, ()) and tree(tmp_path / "out") == before
    again = [line.split(":")[0] for line in lines if "made again" in line]
    assert again == [f"the result of {student} is made again" for student in "abc"]
    assert any("c.json holds the result of 'd'" in line for line in lines)


def test_who_is_gone_is_named_and_left_out_and_their_result_is_kept(run, tmp_path):
    for student in "abc":
        hand_in(tmp_path / "in", student, "right")
    run()
    for path in (tmp_path / "in/b").iterdir():
        path.unlink()
    (tmp_path / "in/b").rmdir()
    summary, lines = run()
    assert summary == Summary(0, 2, ())
    assert any(
        "1 with results/ from before handed in nothing now: b; left out of reports; their files" in one for one in lines
    )
    assert "\nb," not in (tmp_path / "out/grades.csv").read_text("utf-8") and (tmp_path / "out/results/b.json").exists()


def test_two_graders_do_not_share_a_folder(run, tmp_path):
    hand_in(tmp_path / "in", "a", "right")
    run()
    code = "import sys, filelock as f; k = f.FileLock(sys.argv[1]); k.acquire(); print(flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out/.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        other.stdout.readline()
        with pytest.raises(InUseError, match="another grader is at work on .*out; wait"):
            run()
    finally:
        other.kill()
        other.communicate()
    assert run()[0] == Summary(0, 1, ())  # a killed one keeps nobody out


def test_a_sandbox_with_a_hole_marks_nobody_and_leaves_no_choice_behind(run, tmp_path):
    def finds_a_hole() -> None:
        raise SandboxError("it can read /etc/passwd")

    hand_in(tmp_path / "in", "a", "right")
    with pytest.raises(SandboxError, match="it can read /etc/passwd"):
        run(check=finds_a_hole)
    assert not results(tmp_path / "out") and stored_assignment(tmp_path / "out") is None
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700  # marks and solutions are not everybody's


def test_the_sandbox_is_tried_only_if_something_is_to_be_marked(run, tmp_path):
    hand_in(tmp_path / "in", "a", "right")
    times = []
    for n_times in (1, 1):
        run(check=lambda: times.append(1))
        assert len(times) == n_times and stored_assignment(tmp_path / "out") == ASSIGNMENT
    hand_in(tmp_path / "in", "b", "right")
    run(check=lambda: times.append(1))
    assert len(times) == 2


def test_a_roster_that_cannot_be_used_is_told_before_anything_is_marked(run, tmp_path):
    hand_in(tmp_path / "in", "a", "right")
    (tmp_path / "class.csv").write_text("colour,size\nred,3\n", "utf-8")
    with pytest.raises(RosterError, match="class.csv: none of the columns colour, size says who somebody is"):
        run(roster=tmp_path / "class.csv")
    assert not (tmp_path / "out").exists()
