"""`course release --to`: what a class gets, what its instructor keeps, and what is not released."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from reported import files_in
from typer.testing import CliRunner

from course_lib.commands.cli import app
from course_lib.exercises.checking import check, get_exercise
from course_lib.grading import handout
from course_lib.grading.assignment import Assigned, AssignedWritten, AssignmentError, choose, read_assignment
from course_lib.grading.handout import HandoutError, hand_out, release_to
from course_lib.grading.tailored import posed, solved
from course_lib.grading.validate import Deviation, Report

ROOT = Path(__file__).parents[1]
NOTEBOOK = "03_autoencoders"
CLEAN = Report({"03.4": 2}, ())


@pytest.fixture
def trusted(monkeypatch) -> None:
    """Do not try the answers: that takes seconds, and other tests do."""
    monkeypatch.setattr(handout, "validate", lambda *_, **__: CLEAN)


def released(folder: Path, **options) -> list[str]:
    """Release with the options of the command line; the names written."""
    chosen = {"name": "", "notebooks": "", "exercises": "", "points": [], "deny": []} | options
    return [path.relative_to(folder).as_posix() for path in release_to(ROOT, folder, **chosen, tell=lambda _: None)]


def cells(folder: Path, name: str = NOTEBOOK) -> list[nbformat.NotebookNode]:
    return nbformat.read(folder / f"notebooks/{name}.ipynb", as_version=4).cells


# ---- what is written


def test_a_class_gets_its_points_and_no_solutions(tmp_path, trusted):
    assert released(tmp_path, exercises="03.4,03.6", points=["03.4=2.5,03.6=1"]) == [
        f"notebooks/{NOTEBOOK}.ipynb",
        "assignment.toml",
    ]
    text = "\n".join(cell.source for cell in cells(tmp_path))
    assert "### Exercise 03.4 · speech in noise at a given SNR · ●●○ · 2.5 points · 8 min" in text
    assert "### Exercise 03.3 · sizes through a stack of convolutions · ●○○ · not graded · 5 min" in text
    assert "●●○ · 1 point · 10 min" in text and "<!-- WRITTEN 03.6 points=1 -->" in text
    assert 'check("03.4", mix_at_snr, points=2.5)' in text and 'check("03.3", conv_sizes)' in text
    assert "BEGIN SOLUTION" not in text and "Open in Colab" not in text and "# SET-UP" in text
    marked = [cell.metadata.nbgrader for cell in cells(tmp_path) if "nbgrader" in cell.metadata]
    assert {one.grade_id: one.points for one in marked if one.grade} == {"check-03-4": 2.5, "written-03-6": 1}
    assert "check-03-3" in {one.grade_id for one in marked if one.locked and not one.grade}


def test_the_instructor_gets_what_course_grade_reads(tmp_path, trusted):
    released(tmp_path / "hw1", exercises="03.4,03.6", points=["03.4=2.5"], deny=["03.4=torch.linalg,torch.fft"])
    kept = read_assignment(tmp_path / "hw1/assignment.toml")
    assert kept.name == "hw1" and len(kept.salt) == 32
    assert kept.exercises == (Assigned("03.4", 2.5, ("torch.linalg", "torch.fft")),)
    assert kept.written == (AssignedWritten("03.6", 4.0),)
    assert kept.salt not in (tmp_path / f"hw1/notebooks/{NOTEBOOK}.ipynb").read_text("utf-8")


def test_the_points_of_a_class_are_what_the_check_tells(capsys):
    assert check("03.4", get_exercise("03.4").reference, points=2.5).points == 2.5
    assert "2.5 of 2.5 points" in capsys.readouterr().out


@pytest.mark.parametrize("points", [{}, {"03.4": 2.5}])
def test_without_other_points_learners_get_the_course_s_own_text(points):
    """But for the badge, which would open the course's notebook."""
    chosen = choose(["03"], points=points, root=ROOT)
    own = nbformat.read(ROOT / f"notebooks/{NOTEBOOK}.ipynb", as_version=4).cells
    made = posed(ROOT, ["03"], chosen)[NOTEBOOK].cells
    changed = [i for i, (a, b) in enumerate(zip(own, made, strict=True)) if a.source != b.source]
    assert [made[i].cell_type for i in changed] == (["markdown", "markdown", "code"] if points else ["markdown"])
    assert made[changed[0]].source.startswith("# 03 · Autoencoders\n\n") and "](" not in made[changed[0]].source


def test_solutions_get_the_points_too_so_that_nbgrader_can_release_them():
    chosen = choose(exercises=["03.4"], points={"03.4": 5}, root=ROOT)
    made = {cell.metadata.nbgrader.grade_id: cell for cell in solved(ROOT, ["03"], chosen)[NOTEBOOK].cells
            if "nbgrader" in cell.metadata}  # fmt: skip
    assert made["check-03-4"].metadata.nbgrader.points == 5 and "BEGIN SOLUTION" in made["exercise-03-4"].source
    assert made["written-03-6"].metadata.nbgrader.points == 0  # nbgrader refuses one without points


# ---- releasing again


def test_the_salt_stays_unless_another_is_given(tmp_path, trusted):
    salts = []
    for options in ({}, {}, {"salt": "another"}):
        released(tmp_path, exercises="03.4", name="hw1", **options)
        salts.append(read_assignment(tmp_path / "assignment.toml").salt)
    assert salts[0] == salts[1] and salts[2] == "another"


def test_notebooks_that_are_no_longer_chosen_go_and_others_stay(tmp_path, trusted):
    released(tmp_path, notebooks="00,03", exercises="00.1")
    own = tmp_path / "notebooks/my_own.ipynb"
    own.write_text("{}")
    assert (tmp_path / f"notebooks/{NOTEBOOK}.ipynb").exists()  # handed out, though nothing in it counts
    with pytest.raises(HandoutError, match=f"\n  - notebooks/{NOTEBOOK}.ipynb goes\nGive"):
        released(tmp_path, notebooks="0")
    released(tmp_path, notebooks="0", replace=True)
    assert sorted(path.name for path in own.parent.iterdir()) == ["00_start_here.ipynb", "my_own.ipynb"]


def test_earlier_choices_are_never_undone_without_a_word(tmp_path, trusted):
    first = {"notebooks": "03", "exercises": "03.3,03.4", "points": ["03.4=5"], "deny": ["03.4=torch.fft,torch.linalg"]}
    released(tmp_path, name="midterm", **first)
    before = files_in(tmp_path)
    with pytest.raises(HandoutError) as refused:
        released(tmp_path, exercises="03.4,03.6,06.1")
    listed = [line.removeprefix("  - ") for line in str(refused.value).splitlines() if line.startswith("  - ")]
    assert listed == [
        f"the name was midterm, now {tmp_path.name}",
        "03.3 counts no longer (2 points)",
        "03.4 was worth 5 points, now 3 points",
        "03.6 counts now (4 points)",
        "06.1 counts now (3 points)",
        "03.4 was denied torch.fft, torch.linalg, now nothing",
    ]
    assert "--replace" in str(refused.value) and files_in(tmp_path) == before
    released(tmp_path, name="midterm", **first)
    assert files_in(tmp_path) == before


def test_what_is_replaced_is_told(tmp_path, trusted):
    released(tmp_path, name="hw1", exercises="03.4")
    salt = read_assignment(tmp_path / "assignment.toml").salt
    command = ["release", "--to", str(tmp_path), "--name", "hw1", "--exercises", "03.4", "--points", "03.4=4"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1 and "03.4 was worth 3 points, now 4 points" in refused.output
    done = CliRunner().invoke(app, [*command, "--replace"])
    assert done.exit_code == 0 and "replaced: 03.4 was worth 3 points, now 4 points" in done.output
    kept = read_assignment(tmp_path / "assignment.toml")
    assert kept.salt == salt and kept.exercises == (Assigned("03.4", 4.0),)


# ---- what is not released


def small_root(folder: Path, old: str, new: str) -> Path:
    """A repository of notebook 00 with something changed in its solution."""
    for kind in ("solutions", "notebooks"):
        (folder / kind).mkdir(parents=True)
        shutil.copy(ROOT / kind / "00_start_here.ipynb", folder / kind)
    path = folder / "solutions/00_start_here.ipynb"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return folder


def test_a_solution_that_does_not_pass_is_not_released(tmp_path):
    root = small_root(tmp_path / "root", "10 ** (level_db / 20)", "10 ** (level_db / 10)")
    chosen = choose(["00"], root=root)
    with pytest.raises(HandoutError, match="not released.*\n00.1 solution: wanted passed, 2 points; got failed, 0"):
        hand_out(root, tmp_path / "hw1", chosen)
    assert not (tmp_path / "hw1").exists()


def test_a_stub_that_does_something_is_not_released(tmp_path, monkeypatch):
    deviation = Deviation("00.1", "stub", "not attempted, 0 points", "passed, 2 points ()")
    monkeypatch.setattr(handout, "validate", lambda *_, **__: Report({"00.1": 2}, (deviation,)))
    with pytest.raises(HandoutError, match="00.1 stub: wanted not attempted"):
        hand_out(ROOT, tmp_path / "hw1", choose(["00"]))
    assert not (tmp_path / "hw1").exists()


def test_where_answers_cannot_be_tried_that_is_told(tmp_path, monkeypatch):
    """Handing out works everywhere, grading on Linux."""
    told = []
    monkeypatch.setattr(handout, "validate", lambda *_, **__: pytest.fail("tried"))
    monkeypatch.setattr(handout.sys, "platform", "darwin")
    hand_out(ROOT, tmp_path / "hw1", choose(["00"]), tell=told.append)
    assert (tmp_path / "hw1/notebooks/00_start_here.ipynb").exists() and "not tried, as that takes Linux" in told[0]


def test_the_course_s_own_folders_are_safe(tmp_path, trusted):
    for folder in (ROOT, small_root(tmp_path, "level_db", "level_db")):
        with pytest.raises(HandoutError, match="where the notebooks are edited; give a folder"):
            hand_out(ROOT, folder, choose(["00"]))
    assert not (ROOT / "assignment.toml").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exercises": "03.4", "points": ["03.4:5"]}, "--points: got '03.4:5', need an id and what it gets"),
        ({"exercises": "03.4", "points": ["03.4=five"]}, "--points: got 'five', need a number"),
        ({"exercises": "03.4", "points": ["03.4=5", "03.4=4"]}, "--points: 03.4 is there twice"),
        ({"exercises": "03.4", "points": ["03.4=5,4"]}, "--points: got '4', need an id"),
        ({"exercises": "03.4", "deny": ["torch.fft"]}, "--deny: got 'torch.fft', need an id"),
        ({}, "got neither notebooks nor exercises"),
    ],
)
def test_options_that_cannot_be_read_are_refused(tmp_path, options, message):
    with pytest.raises(AssignmentError, match=message):
        released(tmp_path / "hw1", **options)
    assert not (tmp_path / "hw1").exists()


# ---- the command


def test_the_command_hands_out_what_the_grader_has_tried(tmp_path, monkeypatch):
    tried = []

    def look(assignment, sandbox, root):
        tried.append({path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.ipynb")})
        return Report({"00.1": 27}, ())

    monkeypatch.setattr(handout, "validate", look)
    done = CliRunner().invoke(app, ["release", "--to", str(tmp_path / "hw1"), "--notebooks", "0", "--points", "00.1=3"])
    assert done.exit_code == 0, done.output
    assert "27 answers marked, 0 not as they should be" in done.output and "assignment.toml" in done.output
    assert read_assignment(tmp_path / "hw1/assignment.toml").exercises == (Assigned("00.1", 3.0),)
    name = "notebooks/00_start_here.ipynb"
    assert set(tried[0]) == {name, "solutions/00_start_here.ipynb"}
    assert tried[0][name] == (tmp_path / "hw1" / name).read_bytes()


def test_the_command_names_the_option_that_is_missing():
    done = CliRunner().invoke(app, ["release", "--points", "03.4=5"])
    assert done.exit_code == 1 and "need --to FOLDER" in done.output
