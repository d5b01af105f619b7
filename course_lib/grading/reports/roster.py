"""Who a submission's student is on the platform: by the ids in the file names that platforms give, or by a roster.

A roster is a CSV file: Canvas's export of the gradebook, Moodle's grading worksheet, or a file of your own with a
column `student` (the name of the folder or file that was handed in) and any of the columns that those two have. Whoever
has a name in that column is found by it alone, exactly as it stands there: else a file that somebody named after them,
or after their id, would be theirs as well, and neither would count.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from course_lib.grading import platforms
from course_lib.grading.results import SubmissionResult

# Headings as the platforms write them, lower case -> field of Person.
_HEADINGS = {
    "student": "name", "full name": "name", "name": "name", "id": "canvas_id", "canvas id": "canvas_id",
    "sis user id": "sis_user_id", "sis login id": "sis_login_id", "login": "sis_login_id", "section": "section",
    "identifier": "identifier", "email address": "email", "email": "email", "e-mail": "email",
    "id number": "id_number", "username": "username", "last modified (grade)": "last_modified",
}  # fmt: skip
_CANVAS = re.compile(r"(?!anon_)\w+?_(?:LATE_)?([0-9]{1,18})_[0-9]{1,18}_.+", re.DOTALL)
# A full name that itself holds the pattern could bring another's number along: then the number is not believed.
_MOODLE = re.compile(r"(?!.*_assignsubmission_.*_assignsubmission_).+?_([0-9]{1,18})_assignsubmission_.*", re.DOTALL)
_NUMBER = re.compile(r"_[0-9]{1,18}$")


class RosterError(ValueError):
    """A roster that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Person:
    """One student on the platforms; "" for what is not known. `identifier`: Moodle's "Participant 123"."""

    name: str = ""
    student: str = ""
    canvas_id: str = ""
    sis_user_id: str = ""
    sis_login_id: str = ""
    section: str = ""
    identifier: str = ""
    email: str = ""
    id_number: str = ""
    username: str = ""
    last_modified: str = ""

    @property
    def called(self) -> str:
        """What to call them in a list: the name that they were to hand in under, if the roster says it."""
        ids = (self.sis_login_id, self.username, self.email, self.id_number, self.identifier, self.canvas_id)
        return next((one for one in (self.student, self.name, *ids) if one), "")


class Roster:
    """People by all that they could have handed in under. What two of them share finds nobody.

    Args:    columns: the file's headings, as they stand there (Canvas's hold its id of each assignment).
    """

    def __init__(self, people: Iterable[Person], columns: tuple[str, ...] = ()):
        self.people = tuple(people)
        self.columns = columns
        self._by_key: dict[str, set[Person]] = {}
        for person in self.people:
            for key in _keys(person):
                self._by_key.setdefault(key, set()).add(person)

    def find(self, result: SubmissionResult) -> Person | None:
        """The one person whose submission this must be, or None."""
        named = self._by_key.get(f"student {_composed(result.student)}", set())
        if len(named) == 1:
            return next(iter(named))
        guess = from_file_names(result)
        name = _NUMBER.sub("", result.student) if guess.canvas_id or guess.identifier else result.student
        ids = (f"canvas {guess.canvas_id}", f"moodle {guess.identifier}")
        for key in (*ids, f"id {_same(name)}", f"name {_bare(name)}"):
            found = self._by_key.get(key, set())
            if len(found) == 1:
                return next(iter(found))
        return None


def from_file_names(result: SubmissionResult) -> Person:
    """What is known without a roster: the ids that Canvas and Moodle put into the names of what they export.

    Only the outermost name counts, and only where it names this student: names further in are the student's own, who
    could give themselves anybody's id by them.
    """
    person = Person(name=result.student, student=result.student)
    known = replace(person, name=_NUMBER.sub("", result.student))  # the number told two of one name apart
    for top in dict.fromkeys(name.split("/")[0] for name in result.files):
        if match := _MOODLE.fullmatch(top):
            owners = platforms.owner_of_folder(top), platforms.read_name(top, "Moodle").student
            if result.student in owners:
                return replace(known, identifier=f"Participant {match[1]}")
        elif (match := _CANVAS.fullmatch(top)) and platforms.read_name(top, "Canvas").student == result.student:
            return replace(known, canvas_id=match[1])
    where = "email" if "@" in result.student else "username"
    return replace(person, sis_login_id=result.student, **{where: result.student})


def read_roster(path: Path) -> Roster:
    """Raises: RosterError if the file is no CSV file with a column that says who somebody is."""
    try:
        text = path.read_text("utf-8-sig")
        separator = max(",;\t", key=text.split("\n", 1)[0].count)
        header, *lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise RosterError(f"{path.name} is no CSV file in UTF-8 ({error}); export the gradebook again") from error
    own = "student" in header  # ours is lower case; Canvas's "Student" holds names
    headings = _HEADINGS | ({"student": "student"} if own else {})
    fields = [headings.get(heading.strip().lower()) for heading in header]
    if not set(fields) & {"student", "name", "canvas_id", "sis_login_id", "identifier", "email", "username"}:
        raise RosterError(
            f"{path.name}: none of the columns {', '.join(header)[:200]} says who somebody is; need Canvas's export of"
            " the gradebook, Moodle's grading worksheet, or a column student"
        )
    people = []
    for line in lines:
        known = {field: text.strip() for field, text in zip(fields, line, strict=False) if field and text.strip()}
        if known and "Points Possible" not in known.get("name", ""):  # that is Canvas's row of maximum points
            people.append(Person(**known))
    return Roster(people, tuple(header))


def _keys(person: Person) -> set[str]:
    """`kind text`; the kinds keep apart what only looks alike, such as a Canvas id and a participant's number."""
    if person.student:
        return {f"student {_composed(person.student)}"}
    ids = {person.sis_user_id, person.sis_login_id, person.email, person.id_number, person.username}
    ids |= {address.split("@")[0] for address in (person.email, person.sis_login_id)}
    last, _, first = person.name.partition(",") if "," in person.name else person.name.rpartition(" ")[::-1]
    names = {_bare(person.name), _bare(f"{last}{first}"), _bare(f"{first}{last}")}
    return (
        {f"id {_same(one)}" for one in ids if one}
        | {f"name {name}" for name in names if name}
        | ({f"canvas {person.canvas_id}"} if person.canvas_id else set())
        | ({f"moodle {person.identifier}"} if person.identifier else set())
    )


def _composed(text: str) -> str:
    """macOS takes accents apart in the names of files."""
    return unicodedata.normalize("NFC", text)


def _same(text: str) -> str:
    return _composed(text).casefold()


def _bare(text: str) -> str:
    """Without case, accents, spaces and punctuation: Canvas writes `Muller, Jorg` as mullerjorg."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in decomposed if letter.isalnum())
