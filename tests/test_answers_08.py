"""Notebook 08: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark
from course_lib.losses import variational
from course_lib.models.rnn import ElmanRNN

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 08.1 elman_forward(x, weight_xh, weight_hh, bias)


@right("08.1")
def by_the_library(x, weight_xh, weight_hh, bias):
    rnn = nn.RNN(x.shape[2], len(bias), batch_first=True)
    weights = {"weight_ih_l0": weight_xh, "weight_hh_l0": weight_hh, "bias_ih_l0": bias}
    return torch.func.functional_call(rnn, weights | {"bias_hh_l0": torch.zeros_like(bias)}, (x,))[0]


@right("08.1")
def by_the_course(x, weight_xh, weight_hh, bias):
    rnn = ElmanRNN(x.shape[2], len(bias))
    weights = {"weight_ih_l0": weight_xh, "weight_hh_l0": weight_hh, "bias_hh_l0": bias}
    return torch.func.functional_call(rnn, weights | {"bias_ih_l0": torch.zeros_like(bias)}, (x,))[0]


@right("08.1")
def clip_by_clip_and_unit_by_unit(x, weight_xh, weight_hh, bias):
    clips = []
    for clip in x:
        state, states = [torch.zeros(())] * len(bias), []
        for step in clip:
            state = [
                torch.tanh((weight_xh[i] * step).sum() + sum(w * h for w, h in zip(row, state, strict=True)) + bias[i])
                for i, row in enumerate(weight_hh)
            ]
            states.append(torch.stack(state))
        clips.append(torch.stack(states))
    return torch.stack(clips)


@right("08.1")
def input_products_first(x, weight_xh, weight_hh, bias):
    from_input = torch.einsum("bti,hi->tbh", x, weight_xh) + bias
    states = torch.empty(0, len(x), len(bias))
    state = torch.zeros(len(x), len(bias))
    for part in from_input:
        state = (part + torch.einsum("bj,hj->bh", state, weight_hh)).tanh()
        states = torch.cat([states, state[None]])
    return states.permute(1, 0, 2)


@right("08.1")
def one_matrix_in_float64(x, weight_xh, weight_hh, bias):
    weights = torch.cat([weight_xh, weight_hh, bias[:, None]], dim=1).double()
    state, states = torch.zeros(x.size(0), bias.size(0), dtype=torch.float64), []
    for t in range(x.size(1)):
        state = torch.tanh(F.linear(torch.cat([x[:, t], state, torch.ones(len(x), 1)], dim=1), weights))
        states += [state]
    return torch.stack(states, 1).float()


@right("08.1")
def written_into_a_tensor_that_is_not_read(x, weight_xh, weight_hh, bias):
    states = torch.zeros(*x.shape[:2], len(bias))
    state = states.new_zeros(len(x), len(bias))
    for t in range(x.shape[1]):
        state = torch.tanh(F.linear(x[:, t], weight_xh, bias) + F.linear(state, weight_hh))
        states[:, t] = state
    return states


@right("08.1")
def states_as_columns(x, weight_xh, weight_hh, bias):
    state, states = torch.zeros(len(bias), len(x)), []
    for t in range(x.shape[1]):
        state = torch.tanh(weight_xh @ x[:, t].T + weight_hh @ state + bias.unsqueeze(1))
        states.append(state.T)
    return torch.stack(states).transpose(0, 1)


# --- 08.2 bptt_gradient(x, w, u, slopes)


@right("08.2")
def forwards_with_the_states(x, w, u, slopes):
    """Real-time recurrent learning: dh / dw is carried forwards."""
    h = slope = total = 0.0
    for value, push in zip(x.tolist(), slopes.tolist(), strict=True):
        now = math.tanh(w * h + u * value)
        h, slope = now, (1 - now**2) * (h + w * slope)
        total += push * slope
    return total


@right("08.2")
def all_pairs_of_steps(x, w, u, slopes):
    """Each use of w reaches each later state by a product of Jacobians."""
    h = [torch.zeros(())]
    for value in x:
        h.append((w * h[-1] + u * value).tanh())
    total = 0
    for t in range(len(x)):
        for use in range(t + 1):
            part = slopes[t] * h[use] * (1 - h[use + 1] ** 2)
            for step in range(use + 1, t + 1):
                part = part * w * (1 - h[step + 1] ** 2)
            total = total + part
    return total


@right("08.2")
def recursively(x, w, u, slopes):
    def back(t, h):
        """(d loss / d h, d loss / d w) of steps t and later, h the state before step t."""
        if t == len(x):
            return 0.0, 0.0
        now = torch.tanh(w * h + u * x[t])
        later, total = back(t + 1, now)
        inside = (slopes[t] + later) * (1 - now * now)
        return w * inside, total + inside * h

    return back(0, torch.tensor(0.0))[1]


@right("08.2")
def finite_differences(x, w, u, slopes):
    def loss(w):
        h, total = 0.0, 0.0
        for value, push in zip(x.tolist(), slopes.tolist(), strict=True):
            h = math.tanh(w * h + u * value)
            total += push * h
        return total

    return (loss(w + 1e-5) - loss(w - 1e-5)) / 2e-5


@right("08.2")
def one_system_of_equations(x, w, u, slopes):
    """(I - D J^T) delta = D slopes, in float64, and filled in place."""
    n = len(x)
    h = torch.zeros(n + 1, dtype=torch.float64)
    for t in range(n):
        h[t + 1] = torch.tanh(w * h[t] + u * x[t])
    bend = 1 - h[1:].square()
    matrix = torch.eye(n, dtype=torch.float64) - torch.diag(w * bend[:-1], 1)
    delta = torch.linalg.solve_triangular(matrix, (bend * slopes)[:, None], upper=True)[:, 0]
    return torch.dot(delta, h[:-1])


@right("08.2")
def cosh_for_the_derivative(x, w, u, slopes):
    inside, h = [], torch.zeros(1)
    for value in x:
        inside.append(w * h + u * value)
        h = torch.tanh(inside[-1])
    arriving, total = torch.zeros(1), torch.zeros(1)
    for t in range(len(x) - 1, -1, -1):
        arriving = arriving + slopes[t]
        delta = arriving / torch.cosh(inside[t]) ** 2
        total += delta * (torch.tanh(inside[t - 1]) if t > 0 else 0)
        arriving = delta * w
    return total.squeeze()


# --- 08.3 mixture_log_likelihood(y, log_weights, means, sigmas)


@right("08.3")
def by_torch_distributions(y, log_weights, means, sigmas):
    parts = torch.distributions.Independent(torch.distributions.Normal(means, sigmas), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=log_weights), parts).log_prob(y)


@right("08.3")
def by_scipy(y, log_weights, means, sigmas):
    parts = norm.logpdf(y.unsqueeze(1).numpy(), means.numpy(), sigmas.numpy()).sum(-1)
    return torch.as_tensor(logsumexp(log_weights.numpy() + parts, axis=1)).to(y.dtype)


@right("08.3")
def three_loops(y, log_weights, means, sigmas):
    out = torch.zeros(len(y))
    for b in range(y.shape[0]):
        joint = []
        for k in range(means.shape[1]):
            total = log_weights[b, k].item()
            for p in range(y.shape[1]):
                m, s, value = means[b, k, p].item(), sigmas[b, k, p].item(), y[b, p].item()
                total += -((value - m) ** 2) / (2 * s**2) - math.log(s) - math.log(2 * math.pi) / 2
            joint.append(total)
        peak = max(joint)
        out[b] = peak + math.log(sum(math.exp(part - peak) for part in joint))
    return out


@right("08.3")
def two_at_a_time_in_float64(y, log_weights, means, sigmas):
    total = torch.full((len(y),), -math.inf, dtype=torch.float64)
    for k in range(log_weights.size(1)):
        normal = torch.distributions.Normal(means[:, k].double(), sigmas[:, k].double())
        total = torch.logaddexp(total, log_weights[:, k] + normal.log_prob(y.double()).sum(-1))
    return total.float()


@right("08.3")
def largest_taken_out(y, log_weights, means, sigmas):
    variance = sigmas.pow(2)
    square = torch.einsum("bkp,bkp->bk", (y[:, None] - means) / variance, y[:, None] - means)
    joint = log_weights.clone()
    joint -= 0.5 * square
    joint -= 0.5 * torch.log(2 * math.pi * variance).sum(2)
    peak = joint.max(dim=1, keepdim=True).values
    return (peak + (joint - peak).exp().sum(dim=1, keepdim=True).log()).squeeze(1)


@right("08.3")
def multivariate_normals(y, log_weights, means, sigmas):
    parts = torch.distributions.MultivariateNormal(means, scale_tril=torch.diag_embed(sigmas))
    return torch.logsumexp(parts.log_prob(y[:, None]) + log_weights.log_softmax(1), 1)


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


# --- what the inputs hold


@pytest.mark.parametrize("seed", range(8))
def test_the_first_step_still_matters_at_the_last(seed):
    """Else an answer that forgets, or cuts gradients off, would pass."""
    for inputs in draw_trials(get_exercise("08.1"), seed):
        first = inputs["x"].clone().requires_grad_()
        states = get_exercise("08.1").reference(**(inputs | {"x": first}))
        (slope,) = torch.autograd.grad(states[:, -1].sum(), first)
        assert slope[:, 0].abs().amax(dim=1).min() > 1e-4 and states.abs().amin() < 0.9
        weight = inputs["weight_hh"]
        assert (weight - weight.T).abs().max() > 0.1


@pytest.mark.parametrize("seed", range(8))
def test_runs_meet_every_sign_of_w_and_agree_with_autograd(seed):
    trials = draw_trials(get_exercise("08.2"), seed)
    w = [inputs["w"] for inputs in trials]
    assert min(w) < -1 and max(w) > 1 and 0.0 in w
    assert any(len(inputs["x"]) == 1 for inputs in trials)
    assert any(not inputs["slopes"][:-1].any() and len(inputs["slopes"]) > 2 for inputs in trials)
    for inputs in trials:
        leaf, h, loss = torch.tensor(inputs["w"], requires_grad=True), torch.zeros(()), torch.zeros(())
        for value, slope in zip(inputs["x"], inputs["slopes"], strict=True):
            h = torch.tanh(leaf * h + inputs["u"] * value)
            loss = loss + slope * h
        loss.backward()
        torch.testing.assert_close(get_exercise("08.2").reference(**inputs), leaf.grad)


@pytest.mark.parametrize("seed", range(8))
def test_frames_are_near_and_far_and_weights_tiny(seed):
    trials = draw_trials(get_exercise("08.3"), seed)
    nats = [get_exercise("08.3").reference(**inputs) for inputs in trials]
    assert all(torch.isfinite(part).all() for part in nats)
    assert torch.cat(nats).max() > 10 and torch.cat(nats).min() < -1500
    assert math.exp(trials[2]["log_weights"].exp()[:, 0].max()) == 1 and trials[2]["y"].shape[1] == 1
    assert trials[4]["log_weights"].shape[1] == 1 and not trials[4]["log_weights"].any()
    for inputs in trials:
        torch.testing.assert_close(inputs["log_weights"].exp().sum(dim=1), torch.ones(len(inputs["y"])))
        torch.testing.assert_close(variational.mixture_log_likelihood(**inputs), by_torch_distributions(**inputs))


# --- answers that are almost right


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("08.1", lambda x, weight_xh, weight_hh, bias: by_the_library(x, weight_xh, weight_hh.T.contiguous(), bias)),
        ("08.1", lambda x, **weights: by_the_library(x.detach(), **weights)),
        ("08.1", lambda x, weight_xh, weight_hh, bias: by_the_library(x, weight_xh, weight_hh.detach(), bias)),
        ("08.2", lambda x, w, u, slopes: forwards_with_the_states(x, abs(w), u, slopes)),
        ("08.2", lambda x, w, u, slopes: forwards_with_the_states(x[-2:], w, u, slopes[-2:])),
        ("08.2", lambda x, w, u, slopes: all_pairs_of_steps(x, w, u, slopes / w) * w),
        ("08.3", lambda y, log_weights, means, sigmas: by_torch_distributions(y, log_weights * 0, means, sigmas)),
        ("08.3", lambda **inputs: by_torch_distributions(**inputs).clamp(min=-100)),
        ("08.3", lambda **inputs: by_torch_distributions(**inputs).double()),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_an_answer_that_holds_for_tame_inputs_only_is_refused(exercise_id, answer, seed):
    assert mark(get_exercise(exercise_id), answer, seed).status == FAILED


@pytest.mark.parametrize("exercise_id", ["08.1"])
def test_an_answer_without_its_gradient_is_told_so(exercise_id):
    exercise = get_exercise(exercise_id)
    outcome = mark(exercise, lambda **inputs: exercise.reference(**inputs).detach())
    assert "gradient in " in outcome.message and "no gradient" in outcome.hint


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("enabled", [True, False])
def test_autograd_does_not_answer_what_is_asked_by_hand(backward, enabled):
    def by_autograd(x, w, u, slopes):
        leaf = torch.tensor(w, requires_grad=True)
        with torch.set_grad_enabled(enabled):
            h, loss = torch.zeros(()), 0.0
            for value, slope in zip(x, slopes, strict=True):
                h = torch.tanh(leaf * h + u * value)
                loss = loss + slope * h
            if not backward:
                return torch.autograd.grad(loss, leaf)[0]
            loss.backward()
            return leaf.grad

    outcome = mark(get_exercise("08.2"), by_autograd)
    assert outcome.status == FAILED and "autograd records nothing here" in outcome.hint


def test_writing_where_one_reads_is_told_from_a_wrong_state():
    def in_place(x, weight_xh, weight_hh, bias):
        states = torch.zeros(len(x), x.shape[1] + 1, len(bias))
        for t in range(x.shape[1]):
            states[:, t + 1] = torch.tanh(x[:, t] @ weight_xh.T + states[:, t] @ weight_hh.T + bias)
        return states[:, 1:]

    outcome = mark(get_exercise("08.1"), in_place)
    assert outcome.status == FAILED and "inplace" in outcome.message and "torch.stack" in outcome.hint


@pytest.mark.parametrize("exercise_id", ["08.1", "08.2", "08.3"])
def test_a_boundless_answer_is_refused_at_once(exercise_id):
    def boundless(*args, **inputs):
        tensor = next(value for value in inputs.values() if torch.is_tensor(value))
        return tensor.flatten()[:1].expand(10**15)

    outcome = mark(get_exercise(exercise_id), boundless)
    assert outcome.status == FAILED and "far larger" in outcome.message
