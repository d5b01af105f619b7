"""`course grade`: what is marked again and what is not, kills at any moment, and what it refuses."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner, Result

from course_lib import cli
from course_lib.exercises import FAILED, PASSED
from course_lib.grading import grade as grading
from course_lib.grading import grade_command
from course_lib.grading.answers import Answer
from course_lib.grading.assignment import Assignment, choose, write_assignment
from course_lib.grading.grade import GradeError, Listener, Options, Summary, default_notebooks, grade, stored_assignment
from course_lib.grading.reports import RosterError
from course_lib.grading.reports.gradebook_layout import GradebookError
from course_lib.grading.results import NOT_GRADED, ExerciseResult, SubmissionResult
from course_lib.grading.results_folder import InUseError
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError

ASSIGNMENT = choose(exercises=["00.1", "01.1"], name="hw1", salt="0" * 32)
NO_SANDBOX = Sandbox(None, False, "none: the marker of these tests runs no code")
RIGHT = """def alias_frequency(frequency_hz, rate_hz):
    f = frequency_hz % rate_hz
    return torch.minimum(f, rate_hz - f)"""


class FakeMarker:
    """Right is who writes so; a bug of ours is met where `bugs` exists."""

    def __init__(self, assignment: Assignment, bugs: Path) -> None:
        self.assignment, self.bugs = assignment, bugs

    def mark(self, student: str, answers: Mapping[str, Answer]) -> tuple[ExerciseResult, ...]:
        time.sleep(0.005)
        if "bug" in student and self.bugs.exists():
            raise ZeroDivisionError
        return tuple(self._mark_one(one.exercise_id, one.points, answers) for one in self.assignment.exercises)

    def _mark_one(self, exercise_id: str, points: float, answers: Mapping[str, Answer]) -> ExerciseResult:
        source = answers[exercise_id].source if exercise_id in answers else ""
        status, got = (PASSED, points) if "right" in source else (FAILED, 0)
        return ExerciseResult(exercise_id, "title", status, got, points, "message", "hint", source)

    def close(self) -> None: ...


class Heard(Listener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, line: str) -> None:
        self.lines.append(line)


def hand_in(folder: Path, student: str, answer: str) -> None:
    """Write student/01_sound_as_data.ipynb and student/00_start_here.ipynb with one exercise each."""
    home = folder / student
    home.mkdir(parents=True, exist_ok=True)
    for name, exercise_id in (("00_start_here", "00.1"), ("01_sound_as_data", "01.1")):
        source = f"# EXERCISE {exercise_id}\n{answer}"
        cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        body = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (home / f"{name}.ipynb").write_text(json.dumps(body), "utf-8")


def tree(out_dir: Path) -> dict[str, bytes]:
    """Every file's bytes, but for the lock's."""
    files = {path.relative_to(out_dir).as_posix(): path for path in out_dir.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != ".lock"}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster whose worker is a thread of this process: it starts at once, and outlives graders that are killed."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as theirs:
        yield theirs.scheduler_address


@pytest.fixture
def run(scheduler, tmp_path):
    """Grade tmp_path/in into tmp_path/out; returns the summary and the lines told."""

    def run(
        assignment: Assignment = ASSIGNMENT,
        limits: Limits | None = None,
        check: Callable[[], None] | None = None,
        roster: Path | None = None,
    ) -> tuple[Summary, list[str]]:
        heard, make = Heard(), partial(FakeMarker, assignment, tmp_path / "bugs")
        options = Options(NO_SANDBOX, limits or Limits(), scheduler, roster=roster, similarity=False)
        return grade(tmp_path / "in", tmp_path / "out", assignment, options, heard, make, check), heard.lines

    return run


def results(out_dir: Path) -> dict[str, SubmissionResult]:
    found = [SubmissionResult.from_json(path.read_text("utf-8")) for path in (out_dir / "results").glob("*.json")]
    return {one.student: one for one in found}


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


def test_torn_and_foreign_results_are_named_and_made_again(run, tmp_path):
    for student in "abcd":
        hand_in(tmp_path / "in", student, "right")
    run()
    before, folder = tree(tmp_path / "out"), tmp_path / "out/results"
    (folder / "a.json").write_bytes((folder / "a.json").read_bytes()[:200])
    (folder / "b.json").write_bytes(b"\xff\xfe")
    (folder / "c.json").write_bytes((folder / "d.json").read_bytes())
    (folder / ".d.json.tmp").write_text("half of a result")
    summary, lines = run()
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


# ---- kills


def grade_in_this_process(source: Path, out_dir: Path, scheduler: str) -> None:
    make = partial(FakeMarker, ASSIGNMENT, out_dir / "no-bugs")
    grade(source, out_dir, ASSIGNMENT, Options(NO_SANDBOX, Limits(), scheduler), make_marker=make)


def test_a_grader_that_is_killed_goes_on_where_it_was(scheduler, tmp_path):
    """kill -9 while it marks, twice, and while it writes reports: the same bytes as of an undisturbed run."""
    for i in range(40):
        hand_in(tmp_path / "in", f"student-{i:02}", f"right_{i} = 0" if i % 3 else f"wrong = {i}")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["course_lib.grading.grade", "course_lib.grading.reports.gradebook", "nbgrader.api"])

    def start(out_dir: Path) -> multiprocessing.Process:
        process = context.Process(target=grade_in_this_process, args=(tmp_path / "in", out_dir, scheduler))
        process.start()
        return process

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    process = start(undisturbed)
    process.join()
    assert process.exitcode == 0
    n_before = 0
    for pattern, n_files in (("results/s*.json", 5), ("results/s*.json", 25), ("feedback/*.html", 10)):
        process = start(killed)
        while len(list(killed.glob(pattern))) < n_files and process.is_alive():
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it had ended by itself"
        n_now = len(list(killed.glob("results/s*.json")))
        assert n_before <= n_now
        n_before = n_now
    process = start(killed)
    process.join()
    assert process.exitcode == 0
    whole, mended = tree(undisturbed), tree(killed)
    assert mended.keys() == whole.keys() and len([name for name in whole if name.startswith("results/")]) == 40
    assert [name for name in whole if mended[name] != whole[name]] == []


# The whole command but for the 5 s in which it tries whether the sandbox holds.
UNTRIED = """
from course_lib.grading import grade_command
grade_command.check_sandbox = lambda sandbox: []
from course_lib.cli import app
app()
"""


def test_a_killed_command_leaves_no_process_behind_and_ends_its_work_when_started_again(monkeypatch, tmp_path):
    """With workers and sandboxes of its own."""
    for i in range(4):
        hand_in(tmp_path / "in", f"s{i}", RIGHT if i % 2 else RIGHT.replace("minimum", "maximum"))
    write_assignment(tmp_path / "hw1.toml", choose(exercises=["01.1"], name="hw1", salt="0" * 32))
    usual = ("in", "-o", "out", "--assignment", "hw1.toml", "--workers", "1")
    grader = subprocess.Popen(
        [sys.executable, "-c", UNTRIED, "grade", *usual],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while not list(tmp_path.glob("out/results/s*.json")) and grader.poll() is None:
        time.sleep(0.005)
    family = psutil.Process(grader.pid).children(recursive=True) if grader.poll() is None else []
    grader.kill()
    said, _ = grader.communicate()
    assert any("bwrap" in one.name() for one in family if one.is_running()) or len(family) >= 3, said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    monkeypatch.setattr(grade_command, "check_sandbox", lambda sandbox: [])
    monkeypatch.chdir(tmp_path)
    done = course_grade(*usual)
    assert done.exit_code == 0 and "4 submissions" in done.output, done.output
    assert {name: one.points for name, one in results(tmp_path / "out").items()} == {
        f"s{i}": 2 * (i % 2) for i in range(4)
    }


# ---- the command


def course_grade(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["grade", *map(str, arguments)], catch_exceptions=False)


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
    assert "1 submission: 1 marked now" in result.output and "a" in results(tmp_path / "out")


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
    (tmp_path / "in/a/06_rnn.ipynb").write_bytes(extra)  # one student's stray file adds no exercises for all
    assert default_notebooks(tmp_path / "in") == ("00", "01")
    (tmp_path / "odd/a").mkdir(parents=True)
    (tmp_path / "odd/a/homework.ipynb").write_bytes(extra)
    with pytest.raises(GradeError, match="add e.g. --notebooks 01,03"):
        default_notebooks(tmp_path / "odd")
