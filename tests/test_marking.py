"""Marking one submission's answers: what goes into the sandbox, what is made of what comes back."""

import dataclasses
import json
import math
import random

import pytest
import torch
from here_worker import HereWorker

from course_lib.exercises import checking, framework
from course_lib.exercises.attempts import Attempt
from course_lib.exercises.checking import get_exercise, list_exercises
from course_lib.exercises.framework import FAILED, NOT_ATTEMPTED, PASSED
from course_lib.grading import marking
from course_lib.grading.answers import Answer
from course_lib.grading.assignment import Assigned, Assignment, choose
from course_lib.grading.marking import MESSAGE_CHARS, Marker
from course_lib.grading.results import MISSING, NOT_GRADED, REFUSED, STOPPED, SubmissionResult
from course_lib.grading.sandbox import frames
from course_lib.grading.sandbox.frames import Reply
from course_lib.grading.sandbox.launch import Limits, Sandbox, WorkerFault

SALT = "pepper"
TONE = """
def make_tone(frequency_hz, clip_s, rate_hz, level_db):
    seconds = torch.arange(round(clip_s * rate_hz)) / rate_hz
    return 10 ** (level_db / 20) * torch.sin(2 * math.pi * frequency_hz * seconds)
"""
ALIAS = """
def alias_frequency(frequency_hz, rate_hz):
    return (frequency_hz - rate_hz * torch.round(frequency_hz / rate_hz)).abs()
"""
STUB = "def make_tone(frequency_hz, clip_s, rate_hz, level_db):\n    # YOUR CODE HERE\n    raise NotImplementedError\n"


def assignment(*assigned, salt=SALT):
    return Assignment("hw", salt, assigned or (Assigned("00.1", 5.0), Assigned("01.1", 2.5)))


@pytest.fixture
def make(monkeypatch):
    """Makes a Marker whose worker is a HereWorker, of this class or that."""

    def made(*assigned, salt=SALT, worker=HereWorker):
        monkeypatch.setattr(marking, "Worker", worker)
        return Marker(assignment(*assigned, salt=salt), Sandbox(None, False, "this process"), Limits())

    return made


def answers(**sources):
    return {f"{name[1:3]}.{name[3:]}": Answer(f"{name[1:3]}.{name[3:]}", source) for name, source in sources.items()}


def test_right_answers_get_the_points_of_the_assignment_in_its_order(make):
    first, second = make(Assigned("01.1", 2.5), Assigned("00.1", 5.0)).mark("ada", answers(e001=TONE, e011=ALIAS))
    assert (first.exercise_id, first.status, first.points, first.max_points) == ("01.1", PASSED, 2.5, 2.5)
    assert (second.exercise_id, second.points, second.source) == ("00.1", 5.0, TONE)
    assert first.title == checking.get_exercise("01.1").title
    assert first.message == "passed (4 inputs tried, 2.5 of 2.5 points)" and not first.hint


def test_a_known_slip_gets_its_hint_and_no_points(make):
    tone, alias = make().mark("ada", answers(e001=TONE.replace("/ 20", "/ 10"), e011=ALIAS.replace(".abs()", "")))
    assert (tone.status, tone.points) == (alias.status, alias.points) == (FAILED, 0)
    hints = {wrong.name: wrong.hint for one in ("00.1", "01.1") for wrong in checking.get_exercise(one).wrong_answers}
    assert (tone.hint, alias.hint) == (hints["dB taken as power"], hints["sign kept"])
    assert "failed on input 1 of 4" in tone.message and "expected" in tone.message


def test_what_is_not_there_or_not_allowed_never_reaches_the_sandbox(make):
    deny = Assigned("00.1", 5.0, ("torch.sin",))
    marker = make(deny, Assigned("01.1", 2.0), Assigned("01.2", 3.0))
    refused = {"01.1": Answer("01.1", ALIAS, "two cells that differ")}
    tone, alias, mu_law = marker.mark("ada", answers(e001=TONE) | refused)
    assert marker._worker.jobs == []
    assert (tone.status, alias.status, mu_law.status) == (REFUSED, REFUSED, MISSING)
    assert "torch.sin" in tone.message and alias.message == "two cells that differ" and "01.2" in mu_law.message
    assert tone.points == alias.points == mu_law.points == 0 and tone.source == TONE


def test_a_missing_cell_is_told_in_the_readers_words(make):
    gone = Answer("00.1", "", "notebook 00 was not handed in", is_missing=True)
    marker = make(Assigned("00.1", 5.0))
    (tone,) = marker.mark("ada", {"00.1": gone})
    assert (tone.status, tone.points, tone.message, marker._worker.jobs) == (MISSING, 0, gone.problem, [])


def test_a_stub_is_not_attempted_and_costs_nobody_else(make):
    stub, alias = make().mark("ada", answers(e001=STUB, e011=ALIAS))
    assert (stub.status, stub.points, alias.points) == (NOT_ATTEMPTED, 0, 2.5)
    assert "5 points" in stub.message and "make_tone" in stub.hint


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "stopped: the cell defines no `make_tone`"),
        ("def make_tone(:", "stopped: the cell is no Python"),
        ("1 / 0", "stopped: your code stopped in line 1: ZeroDivisionError"),
        ("RATE = LOG_BASE + 1", "stopped: NameError: name 'LOG_BASE' is not defined in line 1: the grader runs this"),
        ("make_tone = 3", "need your function"),
        ("def make_tone(**inputs): return object()", "need a tensor or a number"),
    ],
)
def test_code_that_cannot_be_tried_says_so_in_words(make, source, words):
    tone, alias = make().mark("ada", answers(e001=source, e011=ALIAS))
    assert tone.status == (STOPPED if words.startswith("stopped") else FAILED) and tone.points == 0
    assert words in tone.message and alias.status == PASSED


def test_an_answer_that_uses_an_earlier_cells_variable_learns_that_it_is_run_by_itself(make):
    base, misfit = TONE.replace("20", "LOG_BASE"), ALIAS.replace("rate_hz", "r", 1)
    tone, alias = make().mark("ada", answers(e001=base, e011=misfit))
    assert tone.status == FAILED
    assert tone.hint == "the grader runs this cell by itself: define or import `LOG_BASE` in it"
    assert "NameError: name 'LOG_BASE'" in tone.message
    assert "by itself" not in alias.hint and "the call did not fit" in alias.message


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("NameError: name 'x` <b>' is not defined", "  odd"),
        ("UnboundLocalError: name 'x' is not defined", "  odd"),
        ("NameError: name 'x' is not defined", ""),  # no error, whatever kind it says it is
    ],
)
def test_only_a_name_that_was_missing_gets_that_hint(make, kind, error):
    class Forger(HereWorker):
        def reply(self, job):
            return Reply([Attempt(error=error, error_kind=kind)])

    (result,) = make(Assigned("00.1", 2.0), worker=Forger).mark("ada", answers(e001=TONE))
    assert result.status == FAILED and "by itself" not in result.hint


def test_inputs_are_the_students_own_and_the_same_again(make):
    def sent(student, salt=SALT):
        marker = make(salt=salt)
        marker.mark(student, answers(e001=TONE))
        return marker._worker.jobs[0].trials

    ada = sent("ada")
    assert sent("ada") == ada
    assert ada not in (sent("bob"), sent("ada", salt="salt"), framework.draw_trials(checking.get_exercise("00.1")))


def test_the_sandbox_is_told_nothing_that_it_could_use(make):
    """What is sent for each exercise holds neither salt, student, hints, title nor the reference's results."""
    marker = make(*(Assigned(one.id, 1.0) for one in list_exercises()))
    marker.mark("ada-lovelace", {one.id: Answer(one.id, "x = 1") for one in list_exercises()})
    for job, exercise in zip(marker._worker.jobs, list_exercises(), strict=True):
        sent = frames.pack(frames.job_frame(job))
        secrets = [SALT, "ada-lovelace", exercise.hint, exercise.title, *(one.hint for one in exercise.wrong_answers)]
        assert not [one for one in secrets if one.encode() in sent]
        assert "reference" not in job.probe and "wrong_answers" not in job.probe
        for inputs, attempt in zip(
            job.trials, framework.run_trials(exercise, exercise.reference, job.trials), strict=True
        ):
            assert set(inputs) == set(framework.draw_trials(exercise)[0])
            given = [value for value in inputs.values() if isinstance(value, torch.Tensor)]
            output = next(iter(attempt.outputs.values()))
            assert not any(one.shape == output.shape and torch.equal(one, output) for one in given)


@pytest.mark.parametrize("fault", [WorkerFault, RuntimeError, OSError])
@pytest.mark.parametrize("n_faults", [1, 2, 3])
def test_a_broken_worker_is_replaced_and_three_leave_the_exercise_ungraded(make, n_faults, fault):
    made = []

    class Faulty(HereWorker):
        def __init__(self, sandbox, limits):
            super().__init__(sandbox, limits)
            made.append(self)

        def run(self, job):
            if len(made) <= n_faults:
                raise fault("the worker died" + 5000 * "!")
            return super().run(job)

    tone, alias = make(worker=Faulty).mark("ada", answers(e001=TONE, e011=ALIAS))
    assert len(made) == n_faults + 1 and [one.is_open for one in made] == [False] * n_faults + [True]
    assert alias.points == 2.5
    if n_faults < marking.N_TRIES:
        assert tone.points == 5.0
    else:
        assert (tone.status, tone.points) == (NOT_GRADED, 0) and "the worker died!!" in tone.message
        assert len(tone.message) < 500
        assert not SubmissionResult("ada", "", exercises=(tone, alias)).is_complete


def test_an_exercise_of_ours_that_is_broken_is_not_the_students_fault(make, monkeypatch):
    broken = dataclasses.replace(checking.get_exercise("00.1"), reference=lambda **inputs: 1 / 0)
    monkeypatch.setattr(Assigned, "exercise", property(lambda self: broken))
    (result,) = make(Assigned("00.1", 2.0)).mark("ada", answers(e001=TONE))
    assert result.status == NOT_GRADED and "ZeroDivisionError" in result.message


def test_what_stopped_the_code_is_said_and_costs_the_points(make):
    class Stopped(HereWorker):
        def reply(self, job):
            exercise = checking.get_exercise("00.1")
            return Reply(framework.run_trials(exercise, exercise.reference, job.trials), "it took longer than 10 s")

    (result,) = make(Assigned("00.1", 2.0), worker=Stopped).mark("ada", answers(e001=TONE))
    assert (result.status, result.points, result.message) == (STOPPED, 0, "stopped: it took longer than 10 s")


@pytest.mark.parametrize("enough_s", [10.0, 20.0, 40.0])
def test_an_answer_that_the_machine_starved_is_tried_once_more_with_twice_the_time(make, enough_s):
    class Busy(HereWorker):
        def run(self, job):
            if job.wall_s >= enough_s:
                return super().run(job)
            self.jobs.append(job)
            return Reply([], f"took longer than {job.wall_s:g} s", starved=True)

    marker = make(Assigned("00.1", 2.0), worker=Busy)
    (result,) = marker.mark("ada", answers(e001=TONE))
    assert [job.wall_s for job in marker._worker.jobs] == ([10.0] if enough_s == 10 else [10.0, 20.0])
    if enough_s > 20:
        assert (result.points, result.message) == (0, "stopped: took longer than 10 s")
    else:
        assert result.points == 2.0


def test_messages_are_short_and_the_same_in_every_run(make):
    class Noisy(HereWorker):
        def reply(self, job):
            return Reply([Attempt(error=f"  TypeError: <Net object at {hex(id(self))}> " + "x" * 3900, error_kind="T")])

    one, two = (make(Assigned("00.1", 2.0), worker=Noisy).mark("ada", answers(e001=TONE))[0] for _ in range(2))
    assert one == two and "at 0x..." in one.message and MESSAGE_CHARS <= len(one.message) < MESSAGE_CHARS + 20


@pytest.mark.parametrize("exercise", list_exercises(), ids=lambda exercise: exercise.id)
def test_answers_that_were_written_down_fit_nobody_elses_inputs(exercise):
    """A forger knows probe and reference, and all inputs but the next ones: results for others never pass."""
    seeds = range(6)
    drawn = [framework.draw_trials(exercise, seed) for seed in seeds]
    right = [framework.run_trials(exercise, exercise.reference, trials) for trials in drawn]
    for i in seeds:
        for j in seeds:
            outcome = framework.compare(dataclasses.replace(exercise, wrong_answers=()), drawn[i], right[j])
            assert outcome.status == (PASSED if i == j else FAILED), (i, j)


def test_nothing_that_comes_back_raises_or_passes(make):
    """Forged replies, from seeds: tensors of every kind that frames carry, names and texts of every kind."""
    ids = ("00.1", "01.3", "03.3", "04.1", "07.3", "09.2")

    class Forger(HereWorker):
        def reply(self, job):
            exercise = next(e for e in list_exercises() if e.function == job.function)
            right = framework.run_trials(exercise, exercise.reference, job.trials)
            return forged(right, rng)

    marker = make(*(Assigned(one, 1.0) for one in ids), worker=Forger)
    kinds = set()
    for seed in range(40):
        rng = random.Random(seed)
        results = marker.mark(f"student {seed}", {one: Answer(one, "x = 1") for one in ids})
        text = SubmissionResult("s", "", exercises=results).to_json()
        assert SubmissionResult.from_json(text).exercises == results
        for result in results:
            assert result.status in (FAILED, STOPPED, NOT_ATTEMPTED) and result.points == 0, result
            assert json.dumps(result.message).isascii() and result.message.encode() and len(result.message) < 4100
            kinds.add(result.message.split(":")[0][:20])
    assert len(kinds) > 4


def forged(right, rng):
    """A reply that differs from the right one in at least one place."""
    attempts, victim = list(right), rng.randrange(len(right))
    how = rng.choice(["tensor", "tensor", "tensor", "name", "order", "error", "stub", "fewer", "changed", "fault"])
    one = right[victim]
    names = list(one.outputs)
    if how == "tensor":
        name = rng.choice(names)
        attempts[victim] = dataclasses.replace(one, outputs=one.outputs | {name: bent(one.outputs[name], rng)})
    elif how == "name":
        odd = rng.choice(["", "__class__", "\ud800", "=cmd()", "x" * 300, "output\0", "‮", "output[0]"])
        attempts[victim] = dataclasses.replace(one, outputs={odd: one.outputs[names[0]]})
    elif how == "order":
        attempts[victim] = dataclasses.replace(
            one, outputs=dict(reversed(one.outputs.items())) | {"more": torch.ones(2)}
        )
    elif how == "error":
        attempts[victim] = Attempt(error="{x.__class__} %s \ud800 <b>" * rng.randrange(1, 200), error_kind="\udfff")
    elif how == "stub":
        attempts = [Attempt(is_stub=True)] + attempts[1:]
    elif how == "fewer":
        attempts = attempts[:victim]
    elif how == "changed":
        attempts[victim] = dataclasses.replace(one, changed=("\ud800", "x" * 300))
    return Reply(attempts, "a fault of the student's own invention" if how == "fault" else "")


def bent(tensor, rng):
    """Another tensor than this one: in a value, in shape, or in kind."""
    if not tensor.numel():
        return torch.ones(3)
    value = rng.choice([math.nan, math.inf, -math.inf, 1e30])
    bad = tensor.clone().reshape(-1)
    if bad.dtype == torch.bool or not (bad.is_floating_point() or bad.is_complex()):
        bad = ~bad if bad.dtype == torch.bool else bad + 1
    else:
        bad[rng.randrange(len(bad))] = value
    return rng.choice(
        [
            bad.reshape(tensor.shape),
            bad.reshape(tensor.shape)[None],
            torch.empty(0, 1 << 40),
            torch.ones([1] * 16),
            torch.zeros(2, 3, dtype=torch.complex128),
            torch.full(tensor.shape, value, dtype=torch.complex64),
            torch.full(tensor.shape, 7, dtype=torch.uint8),
            torch.full(tensor.shape, value, dtype=torch.bfloat16),
            torch.full(tensor.shape, -(2**63), dtype=torch.int64),
        ]
    )


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_number_of_threads_changes_no_hint(n_threads):
    """The angle of a silent clip is 0 or pi by the sign of a zero, which the number of threads decides."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        exercise = get_exercise("01.3")
        source = (
            "# EXERCISE 01.3\ndef griffin_lim_step(spec, magnitude, n_fft, hop_length):\n"
            "    window = torch.hann_window(n_fft)\n"
            "    wave = torch.istft(spec, n_fft, hop_length, window=window)\n"
            "    return torch.stft(wave, n_fft, hop_length, window=window, return_complex=True).angle()\n"
        )
        with Marker(choose(exercises=("01.3",), salt="0" * 32), Sandbox.bubblewrap()) as marker:
            (result,) = marker.mark("ann", {"01.3": Answer("01.3", source)})
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    (slip,) = (one for one in exercise.wrong_answers if one.name == "angle returned")
    assert result.status == FAILED and result.hint == slip.hint, result.message
