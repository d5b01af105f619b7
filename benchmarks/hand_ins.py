"""A class of any size that hands in notebook 01, to measure the grader with: `python -m benchmarks.hand_ins DIR 10000`.

Two light exercises count, 01.1 and 01.2. Answers are right, wrong in several ways, raising, left as the stub, or gone;
no two files are the same, and each has 100 to 300 kB, most of it pictures, as after Run all.
"""

from __future__ import annotations

import base64
import json
import random
import sys
from pathlib import Path

from course_lib.grading.assignment import Assignment, choose

NOTEBOOK = "01_sound_as_data.ipynb"
EXERCISES = ("01.1", "01.2")
ALIAS = {
    "right": "{v} = frequency_hz % rate_hz\nreturn torch.minimum({v}, rate_hz - {v})",
    "right, another way": "{v} = frequency_hz / rate_hz\nreturn rate_hz * ({v} - torch.round({v})).abs()",
    "wrapped, not folded": "{v} = frequency_hz % rate_hz\nreturn {v}",
    "one fold only": (
        "{v} = (rate_hz - frequency_hz).abs()\nreturn torch.where(frequency_hz > rate_hz / 2, {v}, frequency_hz)"
    ),
    "raises": "{v} = frequency_hz[0, 0, 0, 0]\nreturn {v}",
    "misspelt": "return frequency_hz % {v}",
}
MU_LAW = {
    "right": (
        "mu = n_classes - 1\n{v} = wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)\n"
        "return (({v} + 1) / 2 * mu).round().long()"
    ),
    "linear": "{v} = (wave + 1) / 2 * (n_classes - 1)\nreturn {v}.round().long()",
    "cut off, not rounded": (
        "mu = n_classes - 1\n{v} = torch.sign(wave) * torch.log(1 + mu * wave.abs()) / math.log(1 + mu)\n"
        "return (({v} + 1) / 2 * mu).long()"
    ),
    "mu = n_classes": (
        "mu = n_classes\n{v} = wave.sign() * torch.log1p(mu * wave.abs()) / math.log1p(mu)\n"
        "return (({v} + 1) / 2 * (n_classes - 1)).round().long()"
    ),
}
HEADS = {
    "01.1": "# EXERCISE 01.1\ndef alias_frequency(frequency_hz, rate_hz):\n    '''What is heard.'''\n",
    "01.2": "# EXERCISE 01.2\ndef my_mu_law(wave, n_classes):\n    '''wave in [-1, 1] -> int64 classes.'''\n",
}
STUB = "# YOUR CODE HERE\nraise NotImplementedError"


def assignment() -> Assignment:
    """What the class is marked against; always with the same salt, so that runs can be compared."""
    return choose(exercises=EXERCISES, name="bench", salt="0123456789abcdef0123456789abcdef")


def write_hand_ins(folder: Path, n_students: int, seed: int = 0) -> Path:
    """Write folder/student-00000/01_sound_as_data.ipynb and so on; the same seed writes the same files."""
    rng = random.Random(seed)
    text = (Path(__file__).parents[1] / "notebooks" / NOTEBOOK).read_text("utf-8")
    pictures = [base64.b64encode(rng.randbytes(n)).decode() for n in range(4_000, 44_000, 1_000)]
    for number in range(n_students):
        home = folder / f"student-{number:05}"
        home.mkdir(parents=True, exist_ok=True)
        (home / NOTEBOOK).write_text(json.dumps(_notebook(text, number, pictures, rng), indent=1), "utf-8")
    return folder


def _notebook(text: str, number: int, pictures: list[str], rng: random.Random) -> dict:
    notebook = json.loads(text)
    size = len(text)
    goal = rng.randrange(100_000, 300_000)
    for cell in list(notebook["cells"]):
        exercise_id = cell["metadata"].get("course", {}).get("exercise")
        if exercise_id in EXERCISES:
            source = _source(exercise_id, number, rng)
            if not source:
                notebook["cells"].remove(cell)
            cell["source"] = source.splitlines(keepends=True)
        if cell["cell_type"] == "code" and size < goal:
            picture = rng.choice(pictures)
            size += len(picture)
            shown = {"data": {"image/png": picture}, "metadata": {}, "output_type": "display_data"}
            cell["outputs"], cell["execution_count"] = [shown], number
    return notebook


def _source(exercise_id: str, number: int, rng: random.Random) -> str:
    """A cell like nobody else's, or "" for one that is gone."""
    chance = rng.random()
    if chance < 0.03:
        return ""
    answers = ALIAS if exercise_id == "01.1" else MU_LAW
    kind = "right" if chance < 0.6 else rng.choice(list(answers))
    body = (
        STUB if chance > 0.95 else answers[kind].replace("{v}", f"{rng.choice(['folded', 'x', 'y', 'value'])}_{number}")
    )
    return HEADS[exercise_id] + "".join(f"    {line}\n" for line in body.splitlines()) + f"\n# my try number {number}"


if __name__ == "__main__":
    write_hand_ins(Path(sys.argv[1]), int(sys.argv[2]))
