"""What every exercise of every notebook must satisfy."""

import ast
import inspect
import json
import math
import pickle
import re
import sys
from pathlib import Path

import pytest
import torch

from course_lib.exercises import checking, framework
from course_lib.exercises.attempts import MAX_PARTS
from course_lib.exercises.checking import check
from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED, Exercise, mark

ALL = checking.list_exercises()
SQUARE = {("08.1", "weight_hh")}  # from state to state: square by nature
MAGIC = re.compile(r"^\s*[%!]", re.MULTILINE)  # lines for IPython, not Python
EACH = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
EACH_WRONG = pytest.mark.parametrize(
    ("exercise", "wrong"),
    [(exercise, wrong) for exercise in ALL for wrong in exercise.wrong_answers],
    ids=lambda part: part.id if isinstance(part, Exercise) else part.name.replace(" ", "-"),
)


def stub(*args, **kwargs):
    raise NotImplementedError


def test_ids_are_unique_and_each_belongs_to_its_file():
    ids = [exercise.id for exercise in ALL]
    assert len(set(ids)) == len(ids) and "00.1" in ids
    for exercise in ALL:
        assert exercise in checking.list_exercises(exercise.id[:2])
        assert checking.get_exercise(exercise.id) is exercise


@EACH
@pytest.mark.parametrize("seed", [0, 1, 2, 2026])
def test_the_right_answer_passes(exercise, seed):
    outcome = mark(exercise, exercise.reference, seed)
    assert (outcome.status, outcome.points) == (PASSED, exercise.points), outcome.message


@EACH
def test_there_are_four_slips_with_hints_of_their_own(exercise):
    hints = {wrong.hint for wrong in exercise.wrong_answers}
    assert len(exercise.wrong_answers) >= 4
    assert len(hints) == len(exercise.wrong_answers) and exercise.hint not in hints
    assert all(len(hint) > 20 for hint in hints)


@EACH_WRONG
@pytest.mark.parametrize("seed", [0, 5])
def test_each_slip_is_refused_with_its_own_hint(exercise, wrong, seed):
    outcome = mark(exercise, wrong.answer, seed)
    assert (outcome.status, outcome.points) == (FAILED, 0)
    assert outcome.hint == wrong.hint


@pytest.mark.parametrize(
    ("exercise_id", "name", "seed"),
    [
        ("01.2", "mapped to [0, n_classes]", 25),
        ("03.3", "rounded to nearest", 44),
        ("03.3", "rounded to nearest", 212),
        ("03.5", "floor where negative", 178),
        ("09.1", "longest clip", 4223),
    ],
)
def test_slips_that_some_seed_once_let_pass_or_mistook_for_others(exercise_id, name, seed):
    (wrong,) = [one for one in checking.get_exercise(exercise_id).wrong_answers if one.name == name]
    outcome = mark(checking.get_exercise(exercise_id), wrong.answer, seed)
    assert (outcome.status, outcome.hint) == (FAILED, wrong.hint)


@EACH
def test_no_result_is_the_same_for_all_inputs(exercise):
    """What could be known beforehand, a forger could write down: every part depends on the seed in some trial."""
    side_effects = {"tensors whose .grad was changed"}  # none in a right answer, and easier to avoid than to hide
    drawn = [framework.draw_trials(exercise, seed) for seed in (3, 4, 5)]
    first, *others = [[a.outputs for a in framework.run_trials(exercise, exercise.reference, one)] for one in drawn]
    vary = {
        name
        for other in others
        for mine, theirs in zip(first, other, strict=True)
        for name in mine
        if mine[name].shape != theirs[name].shape
        or not torch.allclose(mine[name], theirs[name], exercise.rtol, exercise.atol, equal_nan=True)
    }
    assert set(first[0]) - vary <= side_effects


@EACH
def test_a_stub_is_not_attempted(exercise):
    outcome = mark(exercise, stub)
    assert outcome.status == NOT_ATTEMPTED and exercise.function in outcome.hint


@EACH
def test_inputs_repeat_by_seed_and_differ_in_size(exercise):
    first, again, other = (framework.draw_trials(exercise, seed) for seed in (3, 3, 4))
    assert len(first) >= 2
    assert [_shown(t) for t in first] == [_shown(t) for t in again] != [_shown(t) for t in other]
    for inputs in first:
        for name, value in inputs.items():
            assert isinstance(value, (torch.Tensor, int, float, bool, str)), name
            if isinstance(value, torch.Tensor):
                assert not torch.isnan(value.abs()).any(), name
                if (exercise.id, name) in SQUARE:
                    assert not torch.allclose(value, value.T, atol=0.1), f"{name}: symmetry would hide a swapped axis"
                    continue
                assert len(set(value.shape)) == value.dim(), f"{name}: two axes of one size would hide a swapped axis"
    outputs = [framework.run_probe(exercise, exercise.reference, inputs).outputs for inputs in first]
    sizes = [_sizes(inputs) + _sizes(out) for inputs, out in zip(first, outputs, strict=True)]
    assert not any(sizes[0]) or len(set(sizes)) > 1, "right only for one shape would pass"


def _sizes(values):
    return tuple(tuple(v.shape) for v in values.values() if isinstance(v, torch.Tensor))


def _shown(inputs):
    return {name: v.tolist() if isinstance(v, torch.Tensor) else v for name, v in inputs.items()}


@EACH
def test_the_probe_can_run_by_itself(exercise):
    """A later grader sends the probe's source to a process that has torch and the learner's code, and no reference."""
    code = exercise.probe.__code__
    assert not code.co_freevars and exercise.probe.__defaults__ is None
    used = set(inspect.getclosurevars(exercise.probe).globals)
    assert used <= {"torch", "math"}, f"the probe uses {used - {'torch', 'math'}}"
    attempts = framework.run_trials(exercise, exercise.reference, framework.draw_trials(exercise))
    back = pickle.loads(pickle.dumps(attempts))
    assert framework.compare(exercise, framework.draw_trials(exercise), back).status == PASSED


@EACH
def test_the_notebook_poses_the_exercise_as_declared_and_its_solution_passes(exercise):
    found = sorted(Path(__file__).parents[1].glob(f"solutions/{exercise.id[:2]}_*.ipynb"))
    if not found:
        pytest.skip(f"notebook {exercise.id[:2]} is not written yet")
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(found[0].read_text("utf-8"))["cells"]]
    posed = [i for i, (_, source) in enumerate(cells) if source.startswith(f"# EXERCISE {exercise.id}\n")]
    assert len(posed) == 1
    assert cells[posed[0] + 1] == ("code", f'check("{exercise.id}", {exercise.function})')
    task = "\n".join(source for _, source in cells[max(0, posed[0] - 2) : posed[0]])
    assert exercise.dots in task and f"{exercise.points} point" in task and f"{exercise.minutes} min" in task

    code = [ast.parse(source) for kind, source in cells[: posed[0]] if kind == "code" and not MAGIC.search(source)]
    imports = [node for tree in code for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: dict = {}
    exec(compile(ast.Module(imports, []), "imports", "exec"), names)
    exec(cells[posed[0]][1], names)
    assert mark(exercise, names[exercise.function]).status == PASSED


def _raise(error):
    raise error


class BadText(Exception):
    def __str__(self):
        raise ValueError("no text for you")


class EvilList(list):
    def __iter__(self):
        while True:
            yield torch.zeros(2)

    def __len__(self):
        return 1


def _cyclic():
    items = []
    items.append(items)
    return items


NONSENSE = {
    "none": lambda *a, **k: None,
    "text": lambda *a, **k: "three",
    "object": lambda *a, **k: object(),
    "type": lambda *a, **k: torch.Tensor,
    "numpy": lambda *a, **k: torch.zeros(3).numpy(),
    "nan": lambda *a, **k: math.nan,
    "infinite": lambda *a, **k: torch.full((3, 4), math.inf),
    "empty tensor": lambda *a, **k: torch.zeros(0, 7),
    "no outputs": lambda *a, **k: (),
    "complex": lambda *a, **k: torch.zeros(2, dtype=torch.complex64),
    "huge number": lambda *a, **k: 10**400,
    "boundless size": lambda *a, **k: torch.zeros(1).expand(10**15),
    "boundless list": lambda *a, **k: EvilList(),
    "boundless generator": lambda *a, **k: iter(int, 1),
    "cyclic": lambda *a, **k: _cyclic(),
    "many": lambda *a, **k: [torch.zeros(1)] * (MAX_PARTS + 1),
    "sparse": lambda *a, **k: torch.eye(3).to_sparse(),
    "meta": lambda *a, **k: torch.empty(3, device="meta"),
    "raises": lambda *a, **k: 1 / 0,
    "raises without text": lambda *a, **k: _raise(BadText()),
    "exits": lambda *a, **k: sys.exit(3),
    "recurses": lambda *a, **k: _recurse(),
    "generator exit": lambda *a, **k: _raise(GeneratorExit()),
    "no arguments": lambda: torch.zeros(3),
    "one argument too many": lambda a, b, c, d, e, f, g, h: torch.zeros(3),
    "builtin": len,
    "a number": 3,
    "nothing": None,
    "text instead of a function": "make_tone",
}


def _recurse():
    return _recurse()


@EACH
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_and_never_raises(exercise, name, capsys):
    outcome = check(exercise.id, NONSENSE[name])
    assert outcome.status == FAILED and outcome.points == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"✗ Exercise {exercise.id}") and "the check itself broke" not in shown
    assert len(shown) < 1200


@EACH
def test_an_answer_that_changes_its_inputs_does_not_change_the_verdict_on_others(exercise, capsys):
    def vandal(*args, **kwargs):
        for value in [*args, *kwargs.values()]:
            if isinstance(value, torch.Tensor):
                value.zero_() if value.dtype == torch.bool else value.fill_(7)
                value.resize_(0)
        return torch.zeros(3)

    before = [_shown(t) for t in framework.draw_trials(exercise)]
    assert check(exercise.id, vandal).status == FAILED
    assert [_shown(t) for t in framework.draw_trials(exercise)] == before
    assert check(exercise.id, exercise.reference).status == PASSED
