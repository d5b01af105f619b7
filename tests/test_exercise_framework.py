"""The framework that marks exercises, shown on an exercise of its own: row means."""

import builtins
import inspect
import math

import pytest
import torch

from course_lib.exercises import checking, framework
from course_lib.exercises.attempts import Attempt
from course_lib.exercises.checking import check
from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED, Exercise, WrongAnswer, mark


def _interrupt(**inputs):
    raise KeyboardInterrupt


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
    exercise, trials = make(), framework.draw_trials(make())
    attempts = framework.run_trials(exercise, row_means, trials)
    assert framework.compare(exercise, trials, attempts).status == PASSED
    assert framework.compare(exercise, trials, attempts[:-1]).status == FAILED
    assert framework.compare(exercise, trials, []).status == FAILED
    assert framework.compare(exercise, trials, [Attempt()] * len(trials)).status == FAILED


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
        check("00.1", _interrupt)


@pytest.mark.parametrize("exercise_id", ["00.99", 1, None, [], "make_tone"])
def test_an_unknown_exercise_is_named_and_does_not_raise(exercise_id, capsys):
    assert check(exercise_id, row_means).status == FAILED
    assert "00.1" in capsys.readouterr().out


def test_a_broken_exercise_is_ours_to_mend_and_does_not_raise(monkeypatch, capsys):
    broken = make(reference=lambda x: 1 / 0)
    monkeypatch.setattr(checking, "get_exercise", lambda exercise_id: broken)
    assert check("99.1", row_means).status == FAILED
    assert "the check itself broke" in capsys.readouterr().out


def test_a_console_without_ticks_gets_ascii(monkeypatch):
    said = []

    def ascii_print(text):
        text.encode("ascii")
        said.append(text)

    monkeypatch.setattr(builtins, "print", ascii_print)
    check("00.1", checking.get_exercise("00.1").reference)
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
