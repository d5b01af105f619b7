"""Nothing of a student's text that acts, in any report; and the page that a student reads."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reported import SALT, files_in, page_of, read_csv, report, result

from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.marking import exercise_seed
from course_lib.grading.reports.texts import cell, one_line, visible
from course_lib.grading.results import MISSING, NOT_GRADED, REFUSED, STOPPED, slug

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "＋1", "－1", "＠x", "\u00a0=1",
            "\ufeff=1", 'a;=1', 'a;"=1', 'a\t=1', "'=1", '"=1+1"', "x;\u3000=1", "\u200b=1"]  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_starts_a_formula_however_the_spreadsheet_splits_lines(tmp_path, name):
    one = result(name, (REFUSED, FAILED), text=name)
    report(tmp_path, replace(one, notes=(name,)))
    for file in ("grades.csv", "canvas.csv", "moodle.csv"):
        for delimiter in ",;\t":
            cells = [text for row in read_csv(tmp_path / file, delimiter) for text in row]
            starts = {unicodedata.normalize("NFKC", text).lstrip(' \t\r\n"')[:1] for text in cells}
            assert not starts & set("=+-@"), (file, delimiter, cells)


def test_what_is_no_formula_stays_as_it_is():
    for text in ("0042", "Anne-Marie Müller", "ada+sound@uni.example", "O'Neill", "李小龍", "12.5", "a=b"):
        assert cell(text) == text
    assert [cell(n) for n in (-1.5, 0, None)] == ["-1.5", "0", ""]  # figures are ours


class Structure(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *attributes))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")


HOSTILE = [
    "<script>alert(1)</script>", "</pre></details></section><h1>Full marks</h1>", "<img src=x onerror=alert(1)>",
    "'\" onmouseover=alert(1) x='", "<!-- ", "]]>", "{{ 7*7 }} {% raw %}", "</style><style>*{display:none}",
    "</title><script>1</script>", "&lt;b&gt; &#60;", "javascript:alert(1)", "`</code><b>x`", "\x00<\x00script>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_leaves_the_page_as_it_is_and_can_be_read(tmp_path, text):
    report(tmp_path / "hostile", result(f"ada {text}", (FAILED, REFUSED), text, files=(f"x{text}.ipynb",)))
    report(tmp_path / "innocent", result("ada a", (FAILED, REFUSED), "a", files=("xa.ipynb",)))
    hostile = Structure(page_of(tmp_path / "hostile", f"ada {text}"))
    innocent = Structure(page_of(tmp_path / "innocent", "ada a"))
    without_code = [tag for tag in hostile.tags if tag[0] != "code"]
    assert without_code == [tag for tag in innocent.tags if tag[0] != "code"]
    shown = visible(text).strip()
    assert hostile.text.count(shown.strip("`")) >= 7  # title, heading, note, message, hint, code, written answer, file
    assert "49" not in hostile.text.replace(slug(f"ada {text}"), "") or "49" in text


def test_the_page_may_run_and_load_nothing_but_its_own_style(tmp_path):
    report(tmp_path, result())
    page = page_of(tmp_path)
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = re.findall('http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    structure = Structure(page)
    assert not {tag[0] for tag in structure.tags} & {"script", "link", "img", "iframe", "form", "object", "base"}
    addresses = [value for tag in structure.tags for name, value in tag[1:] if name in ("href", "src", "style")]
    assert addresses and all(address.startswith("#exercise-") for address in addresses)
    assert "url(" not in style and "@import" not in style


INVISIBLE = "a\u202eb\u2066c\x00d\x1b[31me\x85f\u200bg\ufeffh\ud800i\U000e0041j\u2028k\rl\x7fm\uffff"


def test_whatever_is_invisible_or_turns_text_round_is_spelled_out_in_every_report(tmp_path):
    report(tmp_path, result(INVISIBLE, (FAILED, FAILED), INVISIBLE))
    for name, content in files_in(tmp_path).items():
        text = content.decode("utf-8-sig")
        odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")} - {"\n", "\t"}
        assert not odd, (name, odd)
    assert "a⟨U+202E⟩b⟨U+2066⟩c⟨U+0000⟩d⟨U+001B⟩[31me" in page_of(tmp_path, INVISIBLE)
    assert visible("tab\tline\r\nзвук \u0938\u094d\u200d\U0001f469\u200d\U0001f52c") == (
        "tab\tline\nзвук \u0938\u094d\u200d\U0001f469\u200d\U0001f52c"
    )
    assert one_line(" a\n\tb\x0b ") == "a b⟨U+000B⟩"


def test_pages_do_not_grow_without_bound(tmp_path):
    one = result(text="x")
    wide = replace(one.exercises[1], source="y" * 100_000, message="z" * 10**6, hint="h" * 10**6)
    exercises = (replace(one.exercises[0], source="x\n" * 50_000), wide)
    notes = tuple(f"note {i} {'n' * 10_000}" for i in range(1000))
    report(tmp_path, replace(one, exercises=exercises, notes=notes, files=("f" * 10_000,) * 100))
    assert max(len(content) for content in files_in(tmp_path).values()) < 150_000
    assert "characters more)" in page_of(tmp_path)


def test_the_page_says_how_it_stands_with_each_exercise(tmp_path):
    one = result(outcomes=(PASSED, FAILED), text="of a pass")
    failed = replace(one.exercises[1], message="expected 1\ngot 2", hint="write `x + 1`", source="\na = 1\nb = 2\n")
    report(tmp_path, replace(one, exercises=(one.exercises[0], failed)))
    page = page_of(tmp_path)
    for part in (
        '<p class="score">2<span> of 4.5</span></p>', "1 of 2 exercises pass.",
        "4 points more, are still to be marked by hand",
        "expected 1\ngot 2", "<code>x + 1</code>", ">\n<i></i>a = 1\n<i></i>b = 2<", "because",
    ):  # fmt: skip
        assert part in page, part
    assert "message of a pass" not in page  # it needs no more words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (NOT_ATTEMPTED, "Not attempted"), (MISSING, "Not found"), (REFUSED, "Not run"),
        (STOPPED, "Did not run"), (NOT_GRADED, "no fault of yours"),
    ],
)  # fmt: skip
def test_every_outcome_has_words(tmp_path, status, words):
    report(tmp_path, result(outcomes=(PASSED, status)))
    assert words in page_of(tmp_path)


def test_what_is_not_there_or_did_not_run_says_why_on_the_page(tmp_path):
    one = result(outcomes=(MISSING, STOPPED))
    gone = replace(one.exercises[0], message="notebook 00 was not handed in", hint="", source="")
    ended = replace(one.exercises[1], message="stopped: took longer than 10 s", hint="")
    report(tmp_path, replace(one, exercises=(gone, ended)))
    page = page_of(tmp_path)
    assert "<p>Notebook 00 was not handed in.</p>" in page and "was it deleted" not in page
    assert "stopped: took longer than 10 s" in page and "could not run this cell to its end" in page
    unread = replace(gone, status=REFUSED, message="the notebook could not be read: it is a PDF")
    report(tmp_path, replace(one, exercises=(unread, ended)))
    assert "could not be read from what you handed in" in page_of(tmp_path)
    assert "Your answer was found" not in page_of(tmp_path)


def test_no_report_holds_salt_or_seed(tmp_path):
    report(tmp_path, result("ada"))
    seeds = [str(exercise_seed(SALT, "ada", one.exercise_id, one.source)) for one in result("ada").exercises]
    for name, content in files_in(tmp_path).items():
        assert not any(secret in content.decode() for secret in (SALT, *seeds)), name
