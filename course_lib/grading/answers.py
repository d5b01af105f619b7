"""Take the answers out of a submitted notebook: the cells of exercises and of written questions, and nothing else.

A cell is an exercise's by the line `# EXERCISE 01.2` in it, else by its metadata; one with two such lines (cells that
were merged) answers both. Of several cells for one exercise, stubs do not count; of the rest, the one just before its
check cell counts, else the last. Of several files (later versions come first), the first that holds an attempt counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from course_lib.grading.cells import TEXT_STUB, Cell, Notes, UnreadableNotebook, read_cells
from course_lib.grading.denied import denied_name
from course_lib.grading.platforms import printable
from course_lib.grading.submissions import Content

__all__ = ["Answer", "Answers", "denied_name", "read_answers", "read_contents"]

MAX_CELL_CHARS = 100_000
_MAX_CELLS = 100  # for one exercise, of which the one before the check is looked for
_SHOWN_CHARS = 2_000  # of a cell that is too long
# Possessive, so that a line of a million blanks takes no longer than it must. "#Exercise 1.2:" is good enough, too.
_EXERCISE = re.compile(r"^[ \t]*+#++[ \t]*+EXERCISE[ \t]++([0-9]{1,2})\.([0-9]{1,3})[ \t]*+[:.]?+[ \t]*+$", re.M | re.I)
_WRITTEN = re.compile(r"^[ \t]*+<!--[ \t]*+WRITTEN[ \t]++([0-9]{2}\.[0-9]{1,3})\b[^>\n]*-->[ \t]*+$", re.M)
_CHECK = re.compile(r"""^check\(\s*+["']([0-9]{2}\.[0-9]{1,3})["']""", re.M)
_STUB = re.compile(r"^[ \t]*+raise NotImplementedError\b", re.M)


@dataclass(frozen=True)
class Answer:
    """What stands in an exercise's cell. If `problem` is not empty, it says why `source` is not to be run, or, where
    there is no such cell, why not."""

    exercise_id: str
    source: str
    problem: str = ""
    is_missing: bool = False

    @property
    def is_stub(self) -> bool:
        """True if it looks as it was handed out: only running it tells for sure."""
        return not self.problem and _STUB.search(self.source) is not None


@dataclass(frozen=True)
class Answers:
    """Attributes:
    answers: by exercise; one that is not there has no cell.
    missing: those that have none, with the reason in words; only read_contents knows it.
    written: what the student wrote, by written question; "" if its cell is as it was handed out.
    notes: what the student should know of how their notebook was read.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: dict[str, Answer] = field(default_factory=dict)


def read_answers(data: bytes, exercise_ids: Collection[str], written_ids: Collection[str]) -> Answers:
    """The answers in one notebook file. Nothing that a file can hold makes it raise: for one that cannot be read there
    is a note, and a problem for each exercise."""
    notes = Notes()
    try:
        cells = read_cells(data, notes)
    except UnreadableNotebook as error:
        text = f"the notebook could not be read: {error}"
        return Answers({one: Answer(one, "", text) for one in exercise_ids}, {}, (text,))
    answers = _exercises(cells, frozenset(exercise_ids), notes)
    written = _written(cells, frozenset(written_ids), notes)
    return Answers(answers, written, tuple(notes.lines))


def read_contents(contents: Iterable[Content], exercise_ids: Sequence[str], written_ids: Sequence[str]) -> Answers:
    """The answers in all of a student's files (`Submission.read`), of each exercise the first attempt.

    A file that cannot be read is a problem for the exercises of its notebook that no other file answers.
    """
    notes, answers, written = Notes(), {}, {}
    there: dict[str, str] = {}  # notebook -> the first file that is, or holds something of it
    for content in contents:
        # What a file that cannot be read would have held: if its name does not tell, anything.
        expected = [one for one in exercise_ids if not content.notebook or one.startswith(content.notebook + ".")]
        if content.problem:
            text = f"{content.name} {content.problem}"
            found = Answers({one: Answer(one, "", text) for one in expected}, notes=(text,))
        else:
            found = read_answers(content.data, exercise_ids, written_ids)
        there.setdefault(content.notebook, content.name)
        for line in found.notes:
            notes.add(line if content.problem else f"{content.name}: {line}")
        for one, answer in found.answers.items():
            if answer.problem and not answer.source and one not in expected:
                continue
            there.setdefault(one[:2], content.name)
            old = answers.get(one)
            if old and _rank(answer) == _rank(old) == 0 and answer.source != old.source:
                notes.add(f"exercise {one} is answered in more than one file; the other than {content.name} counts")
            if old is None or _rank(answer) < _rank(old):
                answers[one] = answer
        for one, text in found.written.items():
            there.setdefault(one[:2], content.name)
            written[one] = written.get(one) or text
    missing = {one: _missing(one, there.get(one[:2], "")) for one in exercise_ids if one not in answers}
    return Answers(answers, written, tuple(notes.lines), missing)


def _missing(one: str, file: str) -> Answer:
    if not file:
        return Answer(one, "", f"notebook {one[:2]} was not handed in", is_missing=True)
    where = file.rsplit("/", 1)[-1]
    why = f"was it deleted, or its first line, # EXERCISE {one}, changed?"
    return Answer(one, "", f"the cell of exercise {one} is not in {where}: {why}", is_missing=True)


def _rank(answer: Answer) -> int:
    """An attempt counts before one that cannot be run, and that before a stub."""
    if answer.problem:
        return 1
    return 2 if answer.is_stub else 0


def _exercises(cells: Sequence[Cell], wanted: frozenset[str], notes: Notes) -> dict[str, Answer]:
    candidates: dict[str, list[int]] = defaultdict(list)
    in_text: dict[str, list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        for one in _exercise_ids(cell, notes) & wanted:
            (candidates if cell.kind == "code" else in_text)[one].append(i)
    for one in in_text.keys() - candidates.keys():
        kind = printable(cells[in_text[one][-1]].kind[:20])
        notes.add(f"exercise {one} stands in a {kind} cell; it was read as if it were code")
        candidates[one] = in_text[one]
    return {one: _answer(one, cells[_choose(one, cells, candidates[one], notes)].source) for one in sorted(candidates)}


def _exercise_ids(cell: Cell, notes: Notes) -> frozenset[str]:
    """The exercises that this cell answers; what the text says goes before what the metadata says, because metadata
    cannot be seen, and goes along when a cell is copied to begin another."""
    head = cell.source[:MAX_CELL_CHARS]
    marked = frozenset(f"{int(n):02d}.{int(k)}" for n, k in _EXERCISE.findall(head)) if "." in head else frozenset()
    claimed = cell.claims.get("exercise")
    if not marked:
        return frozenset([claimed] if claimed else [])
    if claimed and claimed not in marked:
        names = ", ".join(sorted(marked)[:5])
        notes.add(f"a cell that was handed out for exercise {claimed} is now marked {names}, and counts as that")
    return marked


def _choose(one: str, cells: Sequence[Cell], places: list[int], notes: Notes) -> int:
    """Which of several cells for an exercise counts."""
    attempts = [i for i in places if not _STUB.search(cells[i].source[:MAX_CELL_CHARS])] or places
    if len({cells[i].source for i in attempts}) == 1:
        return attempts[-1]
    checked = [i for i in attempts[-_MAX_CELLS:] if _is_checked(one, cells, i)]
    chosen = (checked or attempts)[-1]
    why = "the one just before its check" if checked else "the last"
    notes.add(f"exercise {one} has {len(attempts)} different cells; {why} counts")
    return chosen


def _is_checked(one: str, cells: Sequence[Cell], i: int) -> bool:
    """True if the next code cell is the exercise's check."""
    for cell in cells[i + 1 : i + 10]:
        if cell.kind == "code" and cell.source.strip():
            return cell.claims.get("check") == one or one in _CHECK.findall(cell.source[:MAX_CELL_CHARS])
    return False


def _answer(one: str, source: str) -> Answer:
    if len(source) > MAX_CELL_CHARS:
        problem = f"the cell has {len(source):,} characters, and at most {MAX_CELL_CHARS:,} are read"
        return Answer(one, source[:_SHOWN_CHARS] + "\n...", problem)
    if not source.strip():
        return Answer(one, "", "the cell is empty")
    return Answer(one, source)


def _written(cells: Sequence[Cell], wanted: frozenset[str], notes: Notes) -> dict[str, str]:
    """What follows the mark of each written question; several different texts are put one after the other."""
    texts: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        claimed = cell.claims.get("written")
        marks = list(_WRITTEN.finditer(cell.source[:MAX_CELL_CHARS])) if "WRITTEN" in cell.source else []
        if not marks and claimed in wanted:
            texts[claimed].append(cell.source.strip())
        ends = [mark.start() for mark in marks[1:]] + [len(cell.source)]
        for mark, end in zip(marks, ends, strict=False):
            if mark[1] in wanted:
                texts[mark[1]].append(cell.source[mark.end() : end].strip())
    return {one: _joined(one, texts[one], notes) for one in sorted(texts)}


def _joined(one: str, texts: list[str], notes: Notes) -> str:
    real = list(dict.fromkeys(text for text in texts if text and text != TEXT_STUB))
    if len(real) > 1:
        notes.add(f"question {one} has {len(real)} different cells; all of them are shown to who marks it")
    text = "\n\n".join(real)
    if len(text) > MAX_CELL_CHARS:
        notes.add(f"the answer to question {one} has {len(text):,} characters; the first {MAX_CELL_CHARS:,} were read")
    return text[:MAX_CELL_CHARS]
