"""nbgrader's gradebook and the sheets of its formgrader, read back by nbgrader's own code."""

from __future__ import annotations

import csv
import json
import sqlite3
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import CsvExportPlugin
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config

from course_lib.grading.assignment import Assignment, choose
from course_lib.grading.reports import write_reports
from course_lib.grading.reports.formgrader import harmless_markdown, shown_answers
from course_lib.grading.reports.gradebook import GradebookError, write_gradebook
from course_lib.grading.results import (
    FAILED,
    MISSING,
    NOT_ATTEMPTED,
    NOT_GRADED,
    PASSED,
    ExerciseResult,
    SubmissionResult,
    WrittenAnswer,
    slug,
    student_id,
)

NOTEBOOK, OTHER = "03_autoencoders", "06_gans_on_spectrograms"
HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) ![x](http://e.example/x.png)\n"
    "# written-03-6\n<written-03-6>\n===\n[y]: javascript:alert(1)\n\n[y] [y][y] <javascript:alert(1)>\n"
    "$\\href{javascript:a}{x}$\n\n<input id='check-03-3'> &lt;b&gt; \x00 \u202e \ud800"
)  # fmt: skip


@pytest.fixture(scope="module")
def homework() -> Assignment:
    """03.3 (2 points), 03.4 (3), 06.2 (2.5) and two written questions (4 each)."""
    return choose(exercises=["03.3", "03.4", "03.6", "06.2", "06.6"], points={"06.2": 2.5}, name="hw1", salt="s")


def result(student: str, written: str = "Because.", **statuses: str) -> SubmissionResult:
    """Everything passed, but for the statuses given as e_03_3="failed"."""
    points, exercises = {"03.3": 2.0, "03.4": 3.0, "06.2": 2.5}, []
    for one, worth in points.items():
        status = statuses.get(f"e_{one.replace('.', '_')}", PASSED)
        source = "" if status == MISSING else f"# EXERCISE {one}\nanswer = 1"
        hint = "did you divide?" if status == FAILED else ""
        got = worth if status == PASSED else 0.0
        exercises.append(ExerciseResult(one, "A title", status, got, worth, f"{status} <b>", hint, source))
    answers = tuple(WrittenAnswer(one, 4.0, text) for one, text in (("03.6", written), ("06.6", "")))
    return SubmissionResult(student, "digest", (), (), tuple(exercises), answers)


def opened(folder: Path) -> Gradebook:
    return Gradebook(f"sqlite:///{folder}/gradebook.db")


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in there}


def save(folder: Path, homework: Assignment, *results: SubmissionResult) -> tuple[str, ...]:
    return write_gradebook(folder, homework, lambda: iter(results))


# ---- what nbgrader reads


def test_nbgrader_finds_the_points_and_what_a_human_must_mark(tmp_path, homework):
    save(tmp_path, homework, result("ann"), result("bob", "", e_03_4=FAILED, e_06_2=NOT_GRADED))
    with opened(tmp_path) as book:
        ann, bob = (book.find_submission("hw1", student) for student in ("ann", "bob"))
        assert (ann.score, ann.max_score, ann.max_written_score, ann.max_code_score) == (7.5, 15.5, 8, 7.5)
        assert (bob.score, bob.needs_manual_grade, ann.needs_manual_grade) == (2, True, True)
        of = {
            name: book.find_grade(name, NOTEBOOK, "hw1", "bob") for name in ("check-03-3", "check-03-4", "written-03-6")
        }
        assert [grade.auto_score for grade in of.values()] == [2, 0, 0]
        assert not any(grade.needs_manual_grade for grade in of.values())  # nothing was written: nothing to mark
        assert of["check-03-4"].failed_tests and not of["check-03-3"].failed_tests
        unknown = book.find_grade("check-06-2", OTHER, "hw1", "bob")
        assert unknown.auto_score is None and unknown.needs_manual_grade
        written = book.find_grade("written-03-6", NOTEBOOK, "hw1", "ann")
        assert written.auto_score is None and written.needs_manual_grade
        comments = [
            book.find_comment(name, NOTEBOOK, "hw1", "bob").comment for name in ("exercise-03-4", "written-03-6")
        ]
        assert comments == ["did you divide?", "No response."]


def test_nbgraders_exporter_writes_the_totals(tmp_path, homework):
    save(tmp_path, homework, result("ann"), result("=cmd(),x", e_03_3=NOT_ATTEMPTED))
    with opened(tmp_path) as book:
        CsvExportPlugin(to=str(tmp_path / "grades.csv")).export(book)
    rows = list(csv.DictReader((tmp_path / "grades.csv").open()))
    assert {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in rows} == {
        "ann": (7.5, 15.5),
        student_id("=cmd(),x"): (5.5, 15.5),
    }
    assert "=cmd" not in (tmp_path / "grades.csv").read_text()


def test_formgrader_lists_what_was_handed_in(tmp_path, homework):
    missing = {"e_03_3": MISSING, "e_03_4": MISSING}
    save(tmp_path, homework, result("ann"), result("bob", "", **missing))
    api = NbGraderAPI(CourseDirectory(root=str(tmp_path)))
    assert [one["name"] for one in api.get_assignments()] == ["hw1"]
    listed = api.get_notebook_submissions("hw1", NOTEBOOK)
    assert [(one["student"], one["needs_manual_grade"]) for one in listed] == [("ann", True)]
    assert {one["student"] for one in api.get_notebook_submissions("hw1", OTHER)} == {"ann", "bob"}
    assert not list((tmp_path / "autograded/bob/hw1").glob(f"{NOTEBOOK}*"))


class Tags(HTMLParser):
    """Every tag with its attributes' names; every address; every id."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.values = set(), []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.add((tag, tuple(sorted(name for name, _ in attributes))))
        self.values += [value for name, value in attributes if name in ("href", "src", "id")]


def shown(folder: Path, student: str) -> Tags:
    """The page that formgrader makes of a sheet."""
    config = Config()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    known = ("assignment_id", "notebook_id", "submission_id", "student", "last_name", "first_name", "notebook_path")
    resources = dict.fromkeys(known, "x") | {"index": 0, "total": 1, "base_url": ""}
    path = folder / "autograded" / student / "hw1" / f"{NOTEBOOK}.ipynb"
    return Tags(HTMLExporter(config=config).from_filename(str(path), resources=resources)[0])


def test_formgrader_shows_hostile_answers_and_they_do_nothing(tmp_path, homework):
    evil = result("evil", HOSTILE)
    changed = [replace(one, source=HOSTILE, message=HOSTILE, title=HOSTILE) for one in evil.exercises]
    save(tmp_path, homework, result("ann", "http://e.example"), replace(evil, exercises=tuple(changed)))
    good, bad = shown(tmp_path, "ann"), shown(tmp_path, "evil")
    allowed = {("pre", ()), ("span", ()), ("em", ()), ("br", ()), ("span", ("class",)), ("code", ())}
    assert bad.tags - good.tags <= allowed
    assert sorted(set(bad.values) - set(good.values)) == ["http://e.example/x.png"]  # an address, shown as such
    assert bad.values.count("written-03-6") == bad.values.count("check-03-3") == 1
    sheet = json.loads((tmp_path / f"autograded/evil/hw1/{NOTEBOOK}.ipynb").read_text("utf-8"))
    shown_text = json.dumps([(cell["source"], cell.get("outputs")) for cell in sheet["cells"]], ensure_ascii=False)
    assert (
        not {"\u202e", "\ud800"} & set(shown_text) and shown_text.count("⟨U+202E⟩") == 5
    )  # 2 codes, 2 checks, 1 answer


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<b>", "< b>"),
        ("$a < b$ and 1<2", "$a < b$ and 1<2"),
        ("[x](y) [x][y]\n[y]: z", "[x] (y) [x] [y]\n[y] : z"),
        ("\\HREF{a} \\alpha", "\\ HREF{a} \\alpha"),
        ("# a\n---\n- b\n|--|", "\u2060# a\n--\u2060-\n- b\n|--|"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("&#36;&#92;href{a}{x}&lt; R&D && $a&=b$", "& #36;& #92;href{a}{x}& lt; R& D && $a&=b$"),
        (r"\csname href\endcsname", r"\ csname href\endcsname"),
        ("-" * 19_999 + "x", "-" * 200 + "x"),  # these two took seconds
        ("a" + " " * 10_000 + "b" + "\n" * 9_000, "a" + " " * 200 + "b" + "\n" * 200),
    ],
)
def test_markdown_is_taken_apart_where_it_acts(text, safe):
    assert harmless_markdown(text) == safe


def test_a_sheet_holds_exercises_and_written_questions_only(tmp_path, homework):
    save(tmp_path, homework, result("ann", "**Why half?** Because."))
    sheet = json.loads((tmp_path / f"autograded/ann/hw1/{NOTEBOOK}.ipynb").read_text())
    marked = [cell["metadata"]["nbgrader"]["grade_id"] for cell in sheet["cells"] if "nbgrader" in cell["metadata"]]
    assert marked == ["exercise-03-3", "check-03-3", "exercise-03-4", "check-03-4", "written-03-6"]
    assert len(sheet["cells"]) == 8  # with the title and what each exercise asks for
    assert sheet["cells"][-1]["source"].endswith("points=4 -->\n\n**Why half?** Because.")
    source = (tmp_path / f"source/hw1/{OTHER}.ipynb").read_text()
    assert "2.5 points" in source and "BEGIN SOLUTION" in source
    assert "BEGIN SOLUTION" not in (tmp_path / f"release/hw1/{OTHER}.ipynb").read_text()


def test_code_that_takes_minutes_to_colour_is_folded_and_cut_and_the_cut_part_still_counts(tmp_path, homework):
    """4,000 lines of one blank kept formgrader busy for two seconds, 100,000 for a quarter of an hour."""
    ann = result("ann")

    def sheet(code: str) -> dict:
        handed_in = replace(ann, exercises=(replace(ann.exercises[0], source=code), *ann.exercises[1:]))
        save(tmp_path, homework, handed_in)
        return json.loads((tmp_path / f"autograded/ann/hw1/{NOTEBOOK}.ipynb").read_text())

    def code_on(sheet: dict) -> str:
        return next(cell["source"] for cell in sheet["cells"] if cell["metadata"].get("course", {}).get("exercise"))

    assert code_on(sheet("def f(x):  \n" + " \n" * 40_000 + "    return x\t")) == "def f(x):\n\n\n    return x"
    long = [sheet("y = 1\n" * 5_000 + f"z = {z}") for z in (1, 2)]
    assert code_on(long[0]) == code_on(long[1])
    assert code_on(long[0]).endswith("(20005 characters more; the student's feedback page has all of it)")
    assert len(code_on(long[0])) < 10_100
    one, two = (shown_answers(there)["check-03-3"] for there in long)
    assert one != two


# ---- grading again


def test_a_second_run_changes_nothing_and_a_fresh_one_gives_the_same_bytes(tmp_path, homework):
    results = [result("ann"), result("Bob B", HOSTILE), result("cy", "", e_03_3=FAILED)]
    for folder in ("one", "two"):
        save(tmp_path / folder, homework, *results)
    before = files(tmp_path / "one")
    save(tmp_path / "one", homework, *results)
    assert files(tmp_path / "one") == before
    assert [name for name, (content, _) in files(tmp_path / "two").items() if content != before[name][0]] == []


def mark_by_hand(folder: Path, student: str = "ann") -> None:
    with opened(folder) as book:
        for name, score in (("written-03-6", 3.5), ("check-03-3", 1.0)):
            grade = book.find_grade(name, NOTEBOOK, "hw1", student)
            grade.manual_score, grade.extra_credit, grade.needs_manual_grade = score, 0.5, False
        book.find_comment("written-03-6", NOTEBOOK, "hw1", student).manual_comment = "Good, but which control?"
        book.find_submission_notebook(NOTEBOOK, "hw1", student).flagged = True
        book.db.commit()


def by_hand(folder: Path, student: str = "ann") -> dict[str, tuple]:
    with opened(folder) as book:
        grades = {name: book.find_grade(name, NOTEBOOK, "hw1", student) for name in ("written-03-6", "check-03-3")}
        said = book.find_comment("written-03-6", NOTEBOOK, "hw1", student).comment
        flagged = book.find_submission_notebook(NOTEBOOK, "hw1", student).flagged
        return {name: (grade.manual_score, grade.extra_credit, grade.needs_manual_grade, said, flagged)
                for name, grade in grades.items()}  # fmt: skip


@pytest.mark.parametrize(
    ("again", "look_again"),
    [
        (result("ann"), ()),
        (result("ann", "Because not."), ("written-03-6",)),
        (result("ann", e_03_3=FAILED), ("check-03-3",)),
        (result("ann", e_03_4=FAILED), ()),
        (result("ann", "", e_03_3=NOT_GRADED), ("written-03-6", "check-03-3")),
    ],
)
def test_marks_by_hand_stay_and_a_changed_answer_asks_for_another_look(tmp_path, homework, again, look_again):
    save(tmp_path, homework, result("ann"), result("bob"))
    mark_by_hand(tmp_path)
    save(tmp_path, homework, again, result("bob", "Another."))
    scores = {"written-03-6": 3.5, "check-03-3": 1.0}
    expected = {
        name: (score, 0.5, name in look_again, "Good, but which control?", True) for name, score in scores.items()
    }
    assert by_hand(tmp_path) == expected
    with opened(tmp_path) as book:
        auto = book.find_grade("check-03-4", NOTEBOOK, "hw1", "ann").auto_score
    assert auto == again.exercises[1].points


def test_who_is_gone_is_removed_unless_marked_by_hand(tmp_path, homework):
    save(tmp_path, homework, *(result(student) for student in ("ann", "bob", "cy")))
    mark_by_hand(tmp_path)
    (note,) = save(tmp_path, homework, result("cy"))
    assert "ann has marks by hand" in note and "nbgrader db student remove --force ann" in note
    assert sorted(path.name for path in (tmp_path / "autograded").iterdir()) == ["ann", "cy"]
    with opened(tmp_path) as book:
        assert {one.id for one in book.students} == {"ann", "cy"}
        assert book.find_submission("hw1", "ann").score == 3.5 + 1.0 + 2 * 0.5 + 3 + 2.5
        with pytest.raises(MissingEntry):
            book.find_submission("hw1", "bob")
    assert not list((tmp_path / "autograded/bob").rglob("*.ipynb")) and list((tmp_path / "autograded/ann").rglob("*"))


def test_other_points_and_fewer_questions(tmp_path, homework):
    save(tmp_path, homework, result("ann"))
    less = replace(homework, exercises=homework.exercises[1:])
    dearer = replace(less, exercises=tuple(replace(one, points=10.0) for one in less.exercises))
    save(tmp_path, dearer, result("ann"))
    with opened(tmp_path) as book:
        assert (book.find_assignment("hw1").max_score, book.find_submission("hw1", "ann").score) == (28, 5.5)
        book.find_grade("written-03-6", NOTEBOOK, "hw1", "ann").manual_score = 2.0
        book.db.commit()
    before = files(tmp_path)["gradebook.db"]
    with pytest.raises(GradebookError, match="no written-03-6 any more, but somebody has marked it"):
        save(tmp_path, replace(dearer, written=dearer.written[1:]), result("ann"))
    assert files(tmp_path)["gradebook.db"][0] == before[0]


@pytest.mark.parametrize("exists", [False, True])
def test_a_grader_that_dies_leaves_the_old_gradebook_or_none(tmp_path, homework, exists):
    if exists:
        save(tmp_path, homework, result("ann"))
    before = {name: content for name, (content, _) in files(tmp_path).items() if "autograded" in name or ".db" in name}

    def dying():
        yield from (result(f"student{i}") for i in range(250))  # more than a batch
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gradebook(tmp_path, homework, dying)
    there = {
        name: content for name, (content, _) in files(tmp_path).items() if name in before or name == "gradebook.db"
    }
    assert there == before
    save(tmp_path, homework, result("ann"))
    with opened(tmp_path) as book:
        assert [one.id for one in book.students] == ["ann"]


def test_what_is_no_gradebook_is_named(tmp_path, homework):
    (tmp_path / "gradebook.db").write_text("no database " * 100)
    with pytest.raises(GradebookError, match="gradebook.db: file is not a database.*move it away"):
        save(tmp_path, homework, result("ann"))
    (tmp_path / "gradebook.db").unlink()
    with sqlite3.connect(tmp_path / "gradebook.db") as old:
        old.execute("CREATE TABLE assignment (id TEXT)")
    with pytest.raises(GradebookError, match="nbgrader db upgrade"):
        save(tmp_path, homework, result("ann"))


def test_a_gradebook_that_cannot_be_written_keeps_no_other_report_from_it(tmp_path, homework):
    (tmp_path / "nbgrader").write_text("a file where a folder has to be")
    with pytest.raises(GradebookError, match="nbgrader.*start the same command again") as raised:
        write_reports(tmp_path, homework, lambda: iter([result("ann")]), similarity=True)
    assert isinstance(raised.value.notes, tuple)
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"grades.csv", "canvas.csv", "moodle.csv", "similar.csv", "ann.html", "ann.json"} <= written


@pytest.mark.parametrize("name", ["ann", "doejane_123", "First Last_12345", "müller", "a@b.example", "a+b", "x"])
def test_plain_names_stay(name):
    assert student_id(name) == name


@pytest.mark.parametrize("name", ["", "..", ".a", "a/b", "=1", "-x", "+1", "@a", "a,b", "a*", "a[b]", "{a}", "a ",
                                  "x" * 101, slug("a/b"), "<b>", "a\nb"])  # fmt: skip
def test_other_names_become_folders_that_mean_themselves(name):
    assert student_id(name) != name and student_id(student_id(name)) != student_id(name)
    assert student_id(name).replace("-", "").replace("_", "").replace(".", "").isalnum()
