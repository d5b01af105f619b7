"""Who handed in the same code but for names and layout? A hint to a human, never a mark.

Libraries for this (copydetect, compare50, JPlag, Dolos) compare every submission with every other, to find passages
that were copied into longer programs: for 10,000 submissions that is 50 million pairs, and answers of ten lines are
shorter than the passages they look for. Here an answer is brought to one form, and equal forms are found by their hash,
in time proportional to the number of answers. So a changed order of statements, or one line more, is not seen.
"""

from __future__ import annotations

import builtins
import hashlib
import keyword
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from course_lib.exercises.attempts import READY_NAMES
from course_lib.exercises.framework import FAILED, PASSED
from course_lib.grading.results import REFUSED, STOPPED, SubmissionResult
from course_lib.grading.tokens import COMMENT, NAME, NEWLINE, NUMBER, STRING, content_of, tokens

MIN_TOKENS = 30  # below the signature; shorter answers come out the same by themselves
MAX_CHARS = 20_000  # of an answer that is brought to one form; longer ones are compared as they are
COMMON_SHARE = 1 / 3  # of those who answered: what so many have in common is the usual way to do it
MIN_COMMON = 5  # students
_KEPT = {*keyword.kwlist, *dir(builtins), *READY_NAMES}  # names that mean the same to everybody
_STUB = ["raise", "NotImplementedError"]

_Token = tuple[str, str]


@dataclass(frozen=True)
class SimilarGroup:
    """Students whose answers to one exercise have one form.

    Attributes:
        share_of_class: of the students who answered the exercise, in (0, 1].
        n_tokens: length of the answer below its signature.
        also: other exercises in which all of these students are in one group, too.
        evidence: how remarkable it is: tokens, less what is common, over this exercise and `also`.
    """

    exercise_id: str
    students: tuple[str, ...]
    share_of_class: float
    n_tokens: int
    also: tuple[str, ...] = ()
    evidence: float = 0.0

    @property
    def is_common(self) -> bool:
        """True if so many gave this answer that it says nothing."""
        return self.share_of_class >= COMMON_SHARE and len(self.students) >= MIN_COMMON


def groups(results: Iterable[SubmissionResult]) -> list[SimilarGroup]:
    """All groups of two or more, the most remarkable first, common answers last. Reads the results once."""
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    n_answers: Counter[str] = Counter()
    for result in results:
        for one in result.exercises:
            if one.source and one.status in (PASSED, FAILED, STOPPED, REFUSED):
                n_answers[one.exercise_id] += 1
                form = fingerprint(one.source)
                if n_tokens_of(form) >= MIN_TOKENS:
                    holders[one.exercise_id, form].append(result.student)
    found = [
        SimilarGroup(one, tuple(sorted(students)), len(students) / n_answers[one], n_tokens_of(form))
        for (one, form), students in holders.items()
        if len(students) > 1
    ]
    return sorted(_weighed(found), key=lambda one: (one.is_common, -one.evidence, one.exercise_id, one.students))


def fingerprint(source: str) -> str:
    """The same for answers that differ in names, comments, layout, docstrings or hints of types only: the number of
    tokens below the signature, and a hash. Never fails, whatever the text."""
    if len(source) > MAX_CHARS:
        n_tokens, form = len(source) // 4, [source]
    else:
        n_tokens, form = _one_form(source)
    digest = hashlib.sha256("\0".join(form).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{n_tokens}-{digest[:32]}"


def n_tokens_of(form: str) -> int:
    return int(form.partition("-")[0])


def _weighed(found: list[SimilarGroup]) -> Iterator[SimilarGroup]:
    """The groups with `also` and `evidence`; every student is looked at once for each exercise."""
    group_of = {(one.exercise_id, student): i for i, one in enumerate(found) for student in one.students}
    exercise_ids = sorted({one.exercise_id for one in found})
    for one in found:
        together = [one]
        for other in exercise_ids:
            places = {group_of.get((other, student)) for student in one.students}
            if other != one.exercise_id and len(places) == 1 and (place := places.pop()) is not None:
                together.append(found[place])
        evidence = sum(each.n_tokens * (1 - each.share_of_class) for each in together)
        also = tuple(each.exercise_id for each in together[1:])
        yield SimilarGroup(one.exercise_id, one.students, one.share_of_class, one.n_tokens, also, evidence)


def _one_form(source: str) -> tuple[int, list[str]]:
    """(number of tokens below the first signature, the tokens in their one form)."""
    kept, is_parameter, end = _without_hints(list(_that_count(source)))
    numbers: dict[str, str] = {}
    form: list[str] = []
    depth = 0  # in brackets
    for i, (kind, text) in enumerate(kept):
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
        if kind == NAME and not _is_kept(kept, i, depth > 0 and not is_parameter[i]):
            text = numbers.setdefault(text, f"name {len(numbers)}")
        elif kind == NUMBER:
            text = _number(text)
        elif kind == STRING:
            text = "string " + " ".join(content_of(text))
        form.append(text)
        if form[-2:] == _STUB:  # left below an answer
            del form[-2:]
    return max(0, len(form) - end), form


def _that_count(source: str) -> Iterator[_Token]:
    """The tokens without comments, layout, strings that stand alone (docstrings), and commas before a bracket."""
    found = [one for one in tokens(source) if one[0] != COMMENT]
    for i, (kind, text) in enumerate(found):
        before = found[i - 1] if i else (NEWLINE, "\n")
        after = found[i + 1] if i + 1 < len(found) else (NEWLINE, "\n")
        alone = kind == STRING and before[0] == NEWLINE and (after[0] == NEWLINE or after[1] == ";")
        if kind != NEWLINE and text != ";" and not alone and not (text == "," and _closes(found, i + 1)):
            yield kind, text


def _closes(found: list[_Token], i: int) -> bool:
    """True if the next token that is no newline closes a bracket."""
    while i < len(found) and found[i][0] == NEWLINE:
        i += 1
    return i < len(found) and found[i][1] in (")", "]", "}")


def _without_hints(found: list[_Token]) -> tuple[list[_Token], list[bool], int]:
    """The tokens without hints of types in signatures; whether each stands in one; where the first one ends."""
    kept: list[_Token] = []
    flags: list[bool] = []
    depth, in_def, in_hint, in_result, end = 0, False, False, False, 0
    for token in found:
        text = token[1]
        if text == "def":
            depth, in_def, in_hint, in_result = 0, True, False, False
        elif in_def:
            depth += text in ("(", "[", "{")
            depth -= text in (")", "]", "}")
            if depth <= 0 and text == ":":
                in_def = in_hint = in_result = False
                end = end or len(kept) + 1
            elif text == "->" or (depth == 1 and text == ":"):
                in_hint, in_result = True, text == "->" or in_result
            elif not in_result and ((depth == 1 and text in (",", "=")) or (depth == 0 and text == ")")):
                in_hint = False
        if not in_hint:
            kept.append(token)
            flags.append(in_def)
    return kept, flags, end


def _is_kept(found: list[_Token], i: int, in_call: bool) -> bool:
    """Names that are not the student's own: keywords, builtins, torch; attributes; names of arguments in calls."""
    before, after = found[i - 1][1] if i else "", found[i + 1][1] if i + 1 < len(found) else ""
    return found[i][1] in _KEPT or before == "." or (in_call and after == "=" and before in ("(", ","))


def _number(text: str) -> str:
    """2, 2. and 2.0 are one number."""
    try:
        return repr(float(text.replace("_", "")))
    except ValueError:
        return text
