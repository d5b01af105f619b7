"""Which answers count as the same, which groups are worth a look, and what the report shows of them."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from course_lib.exercises.checking import list_exercises
from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading.answers import read_answers
from course_lib.grading.assignment import Assigned, Assignment
from course_lib.grading.reports.similar import write_similar
from course_lib.grading.results import ExerciseResult, SubmissionResult
from course_lib.grading.similarity import MAX_CHARS, MIN_TOKENS, fingerprint, groups, n_tokens_of

ROOT = Path(__file__).parents[1]
ANSWER = """# EXERCISE 02.1
def my_mfcc(log_mel_db, n_mfcc):
    '''log_mel_db: (B, M, L) in dB -> (B, n_mfcc, L).'''
    n_mels = log_mel_db.shape[1]
    q, m = torch.arange(n_mfcc)[:, None], torch.arange(n_mels)[None, :]
    basis = torch.cos(torch.pi / n_mels * q * (m + 0.5)) * (2 / n_mels) ** 0.5  # (n_mfcc, M)
    basis[0] /= 2**0.5
    return torch.einsum("km,bml->bkl", basis, log_mel_db.to(dtype=basis.dtype))
"""
RENAMED = '''# EXERCISE 02.1
def my_mfcc(x: dict[str, Tensor], dtype: "int") -> dict[str, Tensor]:
    """My own words,
    on two lines."""

    M = x.shape[1]; i, j = torch.arange(dtype,)[ : , None ], torch.arange(
        M)[None, :]
    # the cosines
    B = torch.cos(torch.pi / M * i * \\
                  (j + .5)) * (2. / M) ** 0.50
    B[0] /= 2 ** .5
    return torch.einsum('km,bml->bkl', B, x.to(dtype=B.dtype))
    # YOUR CODE HERE
    raise NotImplementedError
'''


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (lambda text: RENAMED, True),
        (lambda text: text.replace("basis", "cosines"), True),
        (lambda text: text.replace("    ", "\t").replace("\n", "\n\n"), True),
        (lambda text: text.replace('"', "'''"), True),
        (lambda text: text.replace("def my_mfcc", "def mine"), True),
        (lambda text: text.replace("cos", "sin"), False),
        (lambda text: text.replace("/ n_mels * q", "* n_mels * q"), False),
        (lambda text: text.replace("0.5", "0.25"), False),
        (lambda text: text.replace("km,bml->bkl", "km,bml->kbl"), False),
        (lambda text: text.replace("[:, None]", "[None, :]", 1), False),
        (lambda text: text.replace("q * (m", "m * (q"), False),
        (lambda text: text.replace("dtype=basis", "device=basis"), False),
    ],
)
def test_what_is_the_same(change: Callable[[str], str], is_same: bool) -> None:
    other = change(ANSWER)
    assert other != ANSWER and (fingerprint(other) == fingerprint(ANSWER)) == is_same


def test_solutions_of_all_exercises_differ_and_shrink_to_what_was_written() -> None:
    ids = [exercise.id for exercise in list_exercises()]
    sources = {}
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        sources |= {one: answer.source for one, answer in read_answers(path.read_bytes(), ids, ()).answers.items()}
    assert len({fingerprint(source) for source in sources.values()}) == len(sources) == len(ids)
    for source in sources.values():
        assert 5 < n_tokens_of(fingerprint(source)) < len(source) / 2
    stub = "# EXERCISE 02.1\ndef my_mfcc(a, b):\n    '''So.'''\n    # YOUR CODE HERE\n    raise NotImplementedError\n"
    assert n_tokens_of(fingerprint(stub)) == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["'''\\", "(", "def f(", "def f(x:", "a,", ",\n", "a=", "9", "\ud800", "->"])
def test_hostile_text_has_a_fingerprint_too(piece: str) -> None:
    text = piece * (MAX_CHARS // len(piece))
    assert fingerprint(text) == fingerprint(text) != fingerprint(text + text)
    assert fingerprint(piece) != fingerprint("x = 1")


def result(student: str, status: str = PASSED, **sources: str) -> SubmissionResult:
    """Of exercises called by letters; the report does not mind."""
    each = tuple(ExerciseResult(one, one, status, 1, 1, source=source) for one, source in sources.items())
    return SubmissionResult(student, "", exercises=each)


def answer(n: int, n_tokens: int = 100) -> str:
    """One of many answers that differ in more than names."""
    return f"def f(x):\n    return {n} + " + " + ".join("x" for _ in range((n_tokens - 2) // 2))


def renamed(source: str, name: str) -> str:
    return source.replace("x", name)


def test_groups_are_told_apart_and_the_most_remarkable_comes_first() -> None:
    results = [result(f"s{i:02d}", a=answer(i), b=answer(100 + i)) for i in range(30)]
    results += [result("short 1", a=answer(1, 20)), result("short 2", a=answer(1, 20))]
    results += [result("pair 2", a=renamed(answer(77), "mine")), result("pair 1", a=answer(77))]
    results += [result(f"long {i}", FAILED, a=answer(78, 300)) for i in range(3)]
    results += [result("both 1", a=answer(79), b=answer(80))]
    results += [result("both 2", a=answer(79), b=renamed(answer(80), "y"))]
    results += [result(f"stub {i}", NOT_ATTEMPTED, a=answer(81)) for i in range(2)]
    results += [result(f"a trio {i}", a=answer(82)) for i in range(3)]
    random.Random(1).shuffle(results)
    found = groups(iter(results))
    assert [(one.exercise_id, one.students, one.also) for one in found] == [
        ("a", ("long 0", "long 1", "long 2"), ()),
        ("a", ("both 1", "both 2"), ("b",)),
        ("b", ("both 1", "both 2"), ("a",)),
        ("a", ("pair 1", "pair 2"), ()),
        ("a", ("a trio 0", "a trio 1", "a trio 2"), ()),  # as long as the pair's, and not as rare
    ]
    n_answers = 30 + 2 + 2 + 3 + 2 + 3  # of exercise a, stubs left out
    assert found[0].share_of_class == pytest.approx(3 / n_answers) and found[0].n_tokens == 300 > MIN_TOKENS
    assert not any(one.is_common for one in found)
    assert groups(reversed(results)) == found and groups([]) == []


def test_what_a_third_of_the_class_wrote_comes_last() -> None:
    results = [result(f"usual {i}", a=answer(1, 300)) for i in range(10)]
    results += [result(f"s{i}", a=answer(2 + i)) for i in range(18)]
    results += [result("pair 1", a=answer(99)), result("pair 2", a=answer(99))]
    pair, usual = groups(results)
    assert usual.is_common and usual.share_of_class == pytest.approx(1 / 3) and not pair.is_common
    assert not groups(results[-2:])[0].is_common  # two of two are no majority to speak of


def test_ten_thousand_submissions_are_read_once_and_one_by_one() -> None:
    sources = [answer(n, 60) for n in range(50)]
    results = (result(f"s{i}", a=sources[i % 50] if i % 2 else f"{sources[3]} + {i}") for i in range(10_000))
    found = groups(results)
    assert len(found) == 25 and all(len(one.students) == 200 for one in found)


def test_the_report_shows_the_groups_and_nothing_that_runs(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\u202e"
    source = answer(5) + f"  # {evil}"
    results = [result("=cmd()|' /C calc'!A0", a=source), result(f"<b>{evil}", a=source), result("jane", a=answer(6))]
    results += [result(f"usual {i}", b=answer(7)) for i in range(6)]
    assignment = Assignment("hw1", "salt" * 8, (Assigned("01.1", 2),))
    lines = write_similar(tmp_path, assignment, lambda: iter(results))
    assert lines == ("1 group of answers that are the same but for names: similar.html",)
    page = (tmp_path / "similar.html").read_text("utf-8")
    assert "<script" not in page and "<b>" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    assert "salt" not in page and "default-src 'none'" in page and page.count("<pre>") == 2 and "usual" not in page
    with open(tmp_path / "similar.csv", encoding="utf-8-sig", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["n_students"] == "2" and first["common_answer"] == "no" and first["students"].startswith("<b>")
    assert "; '=cmd()" in first["students"]  # a formula no more, also where semicolons separate cells
    assert second["common_answer"] == "yes" and second["share_of_class"] == "1"
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    write_similar(tmp_path, assignment, lambda: reversed(results))
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before
