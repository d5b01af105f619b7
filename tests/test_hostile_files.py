"""A class whose hand-ins are hostile files, from the folder to the reports; three of its students are innocent."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the sandbox is made of Linux's namespaces", allow_module_level=True)

from attacks import handins
from attacks.contained import bwrap
from attacks.table import solution

from course_lib.grading.assignment import Assigned, AssignedWritten, Assignment
from course_lib.grading.marking import Marker
from course_lib.grading.reports import write_reports
from course_lib.grading.results import PASSED, STATUSES, SubmissionResult, result_path
from course_lib.grading.sandbox.launch import Limits, Sandbox
from course_lib.grading.submissions import find_submissions
from course_lib.grading.unmarked import read_unmarked

pytestmark = pytest.mark.skipif(not bwrap(), reason="no bubblewrap: apt install bubblewrap")
HOMEWORK = Assignment("hw", "5a17" * 8, (Assigned("01.1", 2.0), Assigned("01.2", 3.0)), (AssignedWritten("02.2", 3.0),))


@contextmanager
def little_memory(n_bytes: int = 300 << 20) -> Iterator[None]:
    """Within it, this process may not map more than that."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass
class Graded:
    """All that was made of the class."""

    source: Path
    out: Path
    innocent: set[str]
    n_hostile: int
    results: dict[str, SubmissionResult]
    notes: tuple[str, ...]


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """As course grade does it, in this process, with a real sandbox."""
    source, out = tmp_path_factory.mktemp("handed_in"), tmp_path_factory.mktemp("out")
    right = handins.notebook(solution("01.1"), "import sys; sys.exit()", solution("01.2"))
    innocent, n_hostile = handins.lay_out(source, right)
    with little_memory():
        read = [read_unmarked(one, one.read(), HOMEWORK) for one in find_submissions(source, ("01",))]
    results = {}
    with Marker(HOMEWORK, Sandbox.bubblewrap(), Limits(wall_s=3.0)) as marker:
        for answers, blank in read:
            result = replace(blank, exercises=marker.mark(blank.student, answers))
            path = result_path(out, blank.student)
            path.parent.mkdir(exist_ok=True)
            assert not path.exists(), f"{blank.student!r} has another student's file"
            path.write_text(result.to_json(), "utf-8")
            results[blank.student] = SubmissionResult.from_json(path.read_text("utf-8"))
    notes = write_reports(out, HOMEWORK, lambda: iter(results.values()), similarity=True, gradebook=False)
    return Graded(source, out, innocent, n_hostile, results, notes)


def test_the_innocent_have_full_marks_and_nobody_else_a_point(graded):
    assert set(graded.results) > graded.innocent and len(graded.results) == 3 + graded.n_hostile
    for student, result in graded.results.items():
        if student in graded.innocent:
            assert [one.status for one in result.exercises] == [PASSED, PASSED] and result.points == 5.0
        else:
            assert result.points == 0, student
            assert all(one.status in STATUSES and one.message for one in result.exercises), student
            assert result.is_complete, f"{student}: {result.exercises}"  # their fault, not ours


def test_whoever_handed_in_something_unreadable_is_told(graded):
    for n, name in enumerate(handins.ZIPS):
        result = graded.results[f"z{n:02d}"]
        is_read = name.startswith(("a path", "an absolute", "names that act"))  # names in a zip decide nothing
        assert result.notes or is_read, name
    for student in ("huge", "linked", "thief", "piped", "foldered", "looped"):
        assert graded.results[student].notes, student
    assert "at most 32 MB" in " ".join(graded.results["huge"].notes)


def test_most_graders_would_need_more_memory_for_it(graded):
    """The evidence for what the class was read with."""
    with little_memory(), pytest.raises(MemoryError):
        json.loads((graded.source / "huge" / handins.NAME).read_text("utf-8"))
    with little_memory(), pytest.raises(MemoryError):
        json.loads(handins.NOTEBOOKS["ten million brackets"])


def test_nothing_was_unpacked_anywhere(graded, tmp_path):
    archive = graded.source / f"z{list(handins.ZIPS).index('a path that escapes'):02d}" / "handin.zip"
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:  # the evidence: as a grader without zipfile's own extractall does it
        for name in opened.namelist():
            (inner / name).write_bytes(opened.read(name))
    assert (tmp_path / "escaped.ipynb").exists()
    roots = {graded.source.parent, graded.source, graded.out, Path("/"), Path.cwd(), Path.cwd().parent}
    assert not [root / name for root in roots for name in os.listdir(root) if "escaped" in name]
    assert {path.name for path in graded.source.rglob("*") if path.is_file() and path.suffix == ".ipynb"} == {
        handins.NAME
    }


class Page(HTMLParser):
    """What a browser would obey in a page: tags with their attributes, not text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_no_page_holds_anything_of_theirs_that_acts(graded):
    evil = Page(f"<pre>{handins.ACTING}</pre>")  # the evidence: the same text, put into a page as it is
    assert "script" in evil.tags and "onerror" in evil.attributes
    pages = [path for path in graded.out.rglob("*.html")]
    assert len(pages) >= len(graded.results)
    innocent = Page((graded.out / "feedback" / "alice.html").read_text("utf-8"))
    for path in pages:
        page = Page(path.read_text("utf-8"))
        assert not page.tags & {"script", "img", "iframe", "svg", "object", "form", "base", "math"}, path.name
        assert not {name for name in page.attributes if name.startswith("on")}, path.name
        if path.parent.name == "feedback":
            assert page.tags <= innocent.tags | {"p", "pre", "code", "i", "ul", "li", "b", "span", "div", "strong"}


def test_no_spreadsheet_runs_anything(graded):
    formula = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
    names = [name.decode("utf-8", "surrogateescape") for name in handins.NAMES]
    assert any(formula.match(name) for name in names)  # the evidence: these go into the first column
    for path in graded.out.rglob("*.csv"):
        with open(path, encoding="utf-8-sig", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert cells
        for cell in cells:
            is_number = re.fullmatch(r"-?\d+(\.\d+)?", cell) and "-2" not in cell
            assert is_number or not formula.match(cell), f"{path.name}: {cell!r}"
            assert cell.isprintable(), f"{path.name}: {cell!r}"


def test_no_report_holds_a_secret(graded):
    for path in graded.out.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert HOMEWORK.salt.encode() not in data, path.name


@pytest.mark.parametrize(
    ("bobs", "mallorys"),
    [
        ("bob_01_sound_as_data.ipynb", "mallory_{}"),
        ("bob_11_101_01_sound_as_data.ipynb", "mallory_13_103_{}"),
        ("Bob B_11_assignsubmission_file_01_sound_as_data.ipynb", "Mallory M_13_assignsubmission_file_{}"),
        ("hw_bob_attempt_2026-01-01-00-00-00_01_sound_as_data.ipynb", "hw_mallory_attempt_2026-01-01-00-00-00_{}"),
    ],
    ids=["plain", "canvas", "moodle", "blackboard"],
)
@pytest.mark.parametrize(
    "chosen",
    [
        "bob_01_sound_as_data.ipynb",
        "x_bob_attempt_2030-01-01-00-00-00_01_sound_as_data.ipynb",
        "bob_11_999_01_sound_as_data.ipynb",
        "Bob B_11_assignsubmission_file_01_sound_as_data.ipynb",
    ],
)
def test_nobody_hands_in_for_another_by_a_file_name(tmp_path, bobs, mallorys, chosen):
    """Platforms write who it is first; the rest of a file's name is the student's choice."""
    for name in (bobs, bobs.replace("bob", "carol").replace("Bob", "Carol"), mallorys.format(chosen)):
        (tmp_path / name).write_bytes(handins.notebook(handins.WRONG))
    found = {one.student: [file.name for file in one.files] for one in find_submissions(tmp_path, ("01",))}
    assert [files for files in found.values() if bobs in files] == [[bobs]]
    (mallory,) = [student for student, files in found.items() if mallorys.format(chosen) in files]
    assert mallory.lower().startswith("mallory") and len(found) == 3
