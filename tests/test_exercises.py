"""Every exercise of every notebook, and the framework that marks them."""

import ast
import builtins
import inspect
import json
import math
import pickle
import sys
from pathlib import Path

import pytest
import torch

from course_lib import exercises
from course_lib.exercises import FAILED, NOT_ATTEMPTED, PASSED, Exercise, WrongAnswer, check, mark
from course_lib.exercises.attempts import MAX_PARTS, Attempt

ALL = exercises.list_exercises()
EACH = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)
EACH_WRONG = pytest.mark.parametrize(
    ("exercise", "wrong"),
    [(exercise, wrong) for exercise in ALL for wrong in exercise.wrong_answers],
    ids=lambda part: part.id if isinstance(part, Exercise) else part.name.replace(" ", "-"),
)


def stub(*args, **kwargs):
    raise NotImplementedError


# ---------------------------------------------------------------- what every exercise must satisfy


def test_ids_are_unique_and_each_belongs_to_its_file():
    ids = [exercise.id for exercise in ALL]
    assert len(set(ids)) == len(ids) and "00.1" in ids
    for exercise in ALL:
        assert exercise in exercises.list_exercises(exercise.id[:2])
        assert exercises.get_exercise(exercise.id) is exercise


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


@EACH
def test_a_stub_is_not_attempted(exercise):
    outcome = mark(exercise, stub)
    assert outcome.status == NOT_ATTEMPTED and exercise.function in outcome.hint


@EACH
def test_inputs_repeat_by_seed_and_differ_in_size(exercise):
    first, again, other = (exercises.draw_trials(exercise, seed) for seed in (3, 3, 4))
    assert len(first) >= 2
    assert [_shown(t) for t in first] == [_shown(t) for t in again] != [_shown(t) for t in other]
    for inputs in first:
        for name, value in inputs.items():
            assert isinstance(value, (torch.Tensor, int, float, bool, str)), name
            if isinstance(value, torch.Tensor):
                assert not torch.isnan(value.abs()).any(), name
                assert len(set(value.shape)) == value.dim(), f"{name}: two axes of one size would hide a swapped axis"
    outputs = [exercises.run_probe(exercise, exercise.reference, inputs).outputs for inputs in first]
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
    attempts = exercises.run_trials(exercise, exercise.reference, exercises.draw_trials(exercise))
    back = pickle.loads(pickle.dumps(attempts))
    assert exercises.compare(exercise, exercises.draw_trials(exercise), back).status == PASSED


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

    code = [ast.parse(source) for kind, source in cells[: posed[0]] if kind == "code" and "%" not in source]
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

    before = [_shown(t) for t in exercises.draw_trials(exercise)]
    assert check(exercise.id, vandal).status == FAILED
    assert [_shown(t) for t in exercises.draw_trials(exercise)] == before
    assert check(exercise.id, exercise.reference).status == PASSED


# ---------------------------------------------------------------- the framework, on an exercise of its own


def row_means(x):
    return x.mean(dim=1)


def _draw_rows(rng, trial):
    return {"x": torch.randn(2 + trial, 5 + 2 * trial, generator=rng)}


def make(**changes):
    fields = {
        "id": "99.1", "title": "row means", "points": 3, "function": "row_means", "draw": _draw_rows,
        "reference": row_means, "hint": "average each row",
        "wrong_answers": (
            WrongAnswer("columns", lambda x: x.mean(dim=0), "you averaged the columns"),
            WrongAnswer("sum", lambda x: x.sum(dim=1), "that is the sum"),
            WrongAnswer("one size", lambda x: x.sum(dim=1) / 5, "right only for rows of five"),
            WrongAnswer("view", lambda x: x.view(2, 5).mean(dim=1), "the size is written into the code"),
        ),
    }  # fmt: skip
    return Exercise(**(fields | changes))


@pytest.mark.parametrize("index", range(4))
def test_a_slip_is_recognised_though_it_is_right_or_raises_on_some_trial(index):
    wrong = make().wrong_answers[index]
    assert mark(make(), wrong.answer).hint == wrong.hint


def test_a_slip_that_equals_the_reference_on_one_trial_lends_its_hint_to_nobody_else():
    def agrees_then_differs(x):  # like "one size" on trial 1 (where that is right), unlike it afterwards
        return x.mean(dim=1) if x.shape[1] == 5 else x.mean(dim=1) + 1

    outcome = mark(make(), agrees_then_differs)
    assert outcome.hint == "average each row" and "input 2 of 4" in outcome.message


def test_another_error_of_the_same_type_does_not_get_the_slips_hint():
    def other_error(x):
        if x.shape[1] != 5:
            raise RuntimeError("something else")
        return x.mean(dim=1)

    assert mark(make(), other_error).hint == "average each row"


def test_the_message_names_the_input_the_place_and_both_values(capsys):
    def one_off(x):
        y = x.mean(dim=1)
        y[1] = 0.25
        return y

    check_text = mark(make(draw=lambda rng, trial: {"x": torch.ones(3 + trial, 7)}), one_off).message
    assert "input 1 of 4: x (3, 7) float32" in check_text
    assert "expected  output[1] = 1\n" in check_text and "got       output[1] = 0.25   (1 of 3 values" in check_text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x.mean(dim=1, keepdim=True), "got       output of shape (2, 1)"),
        (lambda x: x.double().mean(dim=1), "got       output of dtype float64"),
        (lambda x: x.mean(dim=1).where(x.mean(dim=1) > 9, math.nan), "output[0] = nan   (2 of 2 values differ)"),
        (lambda x: (x.mean(dim=1), x), "got       2 tensors (output[0], output[1])"),
        (lambda x: None, "got None: is the `return` missing?"),
        (lambda x: x.mean(dim=1).numpy(), "need a tensor, got numpy.ndarray"),
        (lambda rows: rows, "it takes (rows), the check calls it with (x)"),
        (lambda x: x.mean(dim=1).add_(x.zero_()[:, 0]), "its input (x) in place"),
        (lambda x: x @ x, "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x5 and 2x5)\n  in line"),
    ],
)
def test_what_is_said_about_a_failure(answer, words):
    outcome = mark(make(), answer)
    assert outcome.status == FAILED and words in outcome.message


def test_values_that_differ_never_look_the_same():
    message = mark(make(reference=lambda x: 1.0, wrong_answers=(), atol=1e-12, rtol=0.0), lambda x: 1 + 1e-10).message
    assert "expected  output = 1\n" in message and "got       output = 1.0000000001" in message


def test_an_error_is_shown_with_the_learners_own_line():
    def inner(x):
        return torch.cat([x, x[:1, :1]])  # the line to show

    _, line = inspect.getsourcelines(inner)
    message = mark(make(), lambda x: inner(x)).message
    assert f"in line {line + 1} of your code: return torch.cat([x, x[:1, :1]])  # the line to show" in message


def test_torchs_own_not_implemented_is_a_failure_not_a_stub():
    outcome = mark(make(), lambda x: x.to(torch.complex64).floor())
    assert outcome.status == FAILED and "in line" in outcome.message


def test_a_stub_with_a_message_is_still_a_stub():
    def answer(x):
        raise NotImplementedError("your turn")

    assert mark(make(), answer).status == NOT_ATTEMPTED


def test_numbers_are_compared_by_value_and_kind():
    exercise = make(reference=lambda x: 2.0, wrong_answers=())
    assert all(mark(exercise, lambda x, v=v: v).status == PASSED for v in (2, 2.0, torch.tensor(2.0), 2.000001))
    assert all(mark(exercise, lambda x, v=v: v).status == FAILED for v in (2.1, True, 2 + 0j, torch.tensor([2.0])))
    count = make(reference=lambda x: 2, wrong_answers=())
    assert mark(count, lambda x: torch.tensor(2, dtype=torch.int32)).status == PASSED
    assert all(mark(count, lambda x, v=v: v).status == FAILED for v in (3, 2.0, True))


def test_infinities_and_several_outputs_are_compared():
    exercise = make(reference=lambda x: {"a": x, "b": [torch.full((3,), -math.inf), 1]}, wrong_answers=())
    assert mark(exercise, lambda x: {"a": x + 1e-7, "b": (torch.full((3,), -math.inf), 1)}).status == PASSED
    outcome = mark(exercise, lambda x: {"a": x, "b": (torch.full((3,), math.inf), 1)})
    assert "output['b'][0][0] = -inf" in outcome.message
    assert mark(exercise, lambda x: {"a": x, "b": (torch.full((3,), -math.inf), 2)}).status == FAILED


def test_an_input_may_be_changed_where_the_exercise_says_so():
    def fill(x):
        return x.zero_()

    exercise = make(reference=lambda x: torch.zeros_like(x), wrong_answers=(), may_change=("x",))
    assert mark(exercise, fill).status == PASSED
    assert mark(make(reference=lambda x: torch.zeros_like(x), wrong_answers=()), fill).status == FAILED


def test_an_answer_that_reuses_one_buffer_is_judged_by_what_it_gave():
    buffer = torch.zeros(20)

    def reuse(x):
        buffer[: len(x)] = x.mean(dim=1)
        return buffer[: len(x)]

    assert mark(make(), reuse).status == PASSED


def test_missing_attempts_never_pass():
    exercise, trials = make(), exercises.draw_trials(make())
    attempts = exercises.run_trials(exercise, row_means, trials)
    assert exercises.compare(exercise, trials, attempts).status == PASSED
    assert exercises.compare(exercise, trials, attempts[:-1]).status == FAILED
    assert exercises.compare(exercise, trials, []).status == FAILED
    assert exercises.compare(exercise, trials, [Attempt()] * len(trials)).status == FAILED


def test_the_callers_randomness_is_left_alone():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    mark(make(), lambda x: torch.rand(len(x)))
    assert torch.equal(torch.rand(3), expected)


def test_an_answer_that_draws_random_numbers_is_marked_the_same_every_time():
    messages = set()
    for seed in range(3):
        torch.manual_seed(seed)  # whatever the notebook has drawn before
        messages.add(mark(make(), lambda x: torch.rand(len(x))).message)
    assert len(messages) == 1


def test_control_c_still_stops_a_check():
    with pytest.raises(KeyboardInterrupt):
        check("00.1", lambda **inputs: _raise(KeyboardInterrupt()))


@pytest.mark.parametrize("exercise_id", ["00.99", 1, None, [], "make_tone"])
def test_an_unknown_exercise_is_named_and_does_not_raise(exercise_id, capsys):
    assert check(exercise_id, row_means).status == FAILED
    assert "00.1" in capsys.readouterr().out


def test_a_broken_exercise_is_ours_to_mend_and_does_not_raise(monkeypatch, capsys):
    broken = make(reference=lambda x: 1 / 0)
    monkeypatch.setattr(exercises, "get_exercise", lambda exercise_id: broken)
    assert check("99.1", row_means).status == FAILED
    assert "the check itself broke" in capsys.readouterr().out


def test_a_console_without_ticks_gets_ascii(monkeypatch):
    said = []

    def ascii_print(text):
        text.encode("ascii")
        said.append(text)

    monkeypatch.setattr(builtins, "print", ascii_print)
    check("00.1", exercises.get_exercise("00.1").reference)
    assert said[0].startswith("? Exercise 00.1")


def test_notebooks_show_the_printed_verdict_and_nothing_else():
    from IPython.core.formatters import DisplayFormatter

    outcome = mark(make(), row_means)
    assert DisplayFormatter().format(outcome) == ({}, {})
    assert repr(outcome) == "<99.1 passed>"


@pytest.mark.parametrize("changes", [{"id": "1.1"}, {"points": 0}, {"difficulty": 4}, {"n_trials": 0}])
def test_a_wrong_declaration_is_refused(changes):
    with pytest.raises(ValueError, match="need"):
        make(**changes)
