"""How an attack is written down, and the answers of the innocent around it."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ATTACKED = "01.1"  # the exercise whose cell is the attack: alias_frequency(frequency_hz, rate_hz)
BESIDE = ("00.1", "01.2")  # answered rightly by the attacker, too: an attack costs one exercise

# Evidence: what the naive grader makes of the attack.
PASSES = "passes"  # full points for a wrong answer
BREACH = "breach"  # it got at what it should not: its own message says so
DIES = "dies"  # the grader ended, and the next student has no mark
HANGS = "hangs"  # the grader had to be killed, and the next student has no mark
SPOILS = "spoils"  # the next student's right answer is marked as wrong
LINGERS = "lingers"  # processes of the attack outlive the grader


@dataclass(frozen=True)
class Attack:
    """One cell that attacks.

    Attributes:
        name: says what it does.
        cell: the source; words as @SECRET@ are replaced by what the test has laid out.
        evidence: what comes of it in the naive grader.
        how: which naive grader (see naive.py).
        twin: where it has no evidence of its own: a name that has, which comes to the same (an attack of the table, or
            one of replies' FOOLS, ENDERS or INCOMPARABLE).
        says: words that the result's message must hold in the real grader, "" for any.
    """

    name: str
    cell: str
    evidence: str
    how: str = "mark"
    says: str = ""
    twin: str = ""

    def source(self, places: dict[str, str]) -> str:
        """The cell, with @NAME@ replaced by places["NAME"]."""
        cell = self.cell
        for name, value in places.items():
            cell = cell.replace(f"@{name}@", value)
        return cell


def forger(name: str, cell: str, how: str = "mark", evidence: str = PASSES) -> Attack:
    """A cell that defines a wrong alias_frequency, and something that makes it count as right."""
    return Attack(name, "# EXERCISE 01.1\n" + textwrap.dedent(cell).strip() + "\n", evidence, how)


def burglar(name: str, body: str, says: str = "HELD", evidence: str = BREACH, twin: str = "") -> Attack:
    """A function body that returns something if it got at what it should not, and nothing (or raises) if it was held.

    The message tells, so that a test sees the attack both run and held.
    """
    cell = "# EXERCISE 01.1\nimport ctypes, gc, os, signal, sys, time\n\ndef attack():\n"
    cell += textwrap.indent(textwrap.dedent(body).strip(), "    ")
    cell += textwrap.dedent(
        """

        def alias_frequency(frequency_hz, rate_hz):
            try:
                got = attack()
                verdict = f"BREACH {got!r}" if got else "HELD nothing to be had"
            except BaseException as error:
                verdict = f"HELD {type(error).__name__}: {error}"
            raise RuntimeError(verdict)
        """
    )
    return Attack(name, cell, evidence, says=says, twin=twin)


def solution(exercise_id: str) -> str:
    """The cell of the exercise in solutions/."""
    (path,) = (ROOT / "solutions").glob(f"{exercise_id[:2]}_*.ipynb")
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.startswith(f"# EXERCISE {exercise_id}\n"):
            return source
    raise ValueError(f"{path.name} holds no exercise {exercise_id}")
