"""Notebook 06: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm
from torch import nn
from torch.nn import functional as F

from course_lib import bits, choosing, folded_sampling, losses
from course_lib.exercises import FAILED, PASSED, draw_trials, get_exercise, mark
from course_lib.models.rnn import ElmanRNN, GatedRNN

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


# --- 09.1 bits_per_sample(logits, classes, n_valid)


@right("09.1")
def bits_of_the_course(logits, classes, n_valid):
    return bits.model_bits(logits, classes, n_valid)


@right("09.1")
def two_loops(logits, classes, n_valid):
    total = 0.0
    for clip, chosen, n in zip(logits, classes, n_valid.tolist(), strict=True):
        for t in range(n):
            row = clip[t].double()
            total += float((torch.logsumexp(row, 0) - row[chosen[t]]) / math.log(2))
    return total / int(n_valid.sum())


@right("09.1")
def one_entropy_for_all(logits, classes, n_valid):
    target = classes.clone()
    for b, n in enumerate(n_valid):
        target[b, n:] = -100
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1)) / math.log(2)


@right("09.1")
def clips_put_end_to_end(logits, classes, n_valid):
    rows = torch.cat([logits[b, :n] for b, n in enumerate(n_valid)])
    chosen = torch.cat([classes[b, :n] for b, n in enumerate(n_valid)])
    return F.nll_loss(rows.log_softmax(-1), chosen) * math.log2(math.e)


@right("09.1")
def weighted_by_a_mask(logits, classes, n_valid):
    mask = (torch.arange(logits.size(1)).unsqueeze(0) < n_valid.unsqueeze(1)).float()
    nats = F.cross_entropy(logits.permute(0, 2, 1), classes, reduction="none")
    return (nats * mask).sum() / mask.sum() / torch.log(torch.tensor(2.0))


@right("09.1")
def categorical(logits, classes, n_valid):
    mask = torch.arange(logits.size(1))[None] >= n_valid[:, None]
    log_2 = torch.distributions.Categorical(logits=logits).log_prob(classes).double() / math.log(2)
    return -log_2.masked_fill(mask, 0.0).sum() / n_valid.sum()


@right("09.1")
def one_hot_and_a_difference(logits, classes, n_valid):
    picked = torch.einsum("btc,btc->bt", logits, F.one_hot(classes, logits.shape[2]).to(logits.dtype))
    nats = logits.logsumexp(2) - picked
    return (
        torch.stack([nats[b, : n_valid[b]].sum() for b in range(len(nats))]).sum() / n_valid.sum() / 0.6931471805599453
    )


# --- 09.2 top_p_probabilities(logits, temperature, top_p)


@right("09.2")
def by_the_courses_filter(logits, temperature, top_p):
    return choosing.top_p_filter(logits / temperature, top_p).softmax(dim=1)


@right("09.2")
def class_by_class(logits, temperature, top_p):
    out = torch.zeros_like(logits)
    for b, row in enumerate((logits / temperature).softmax(1)):
        total = 0.0
        for c in sorted(range(len(row)), key=lambda c: -row[c].item()):
            out[b, c] = row[c]
            total += row[c].item()
            if total >= top_p:
                break
        out[b] /= out[b].sum()
    return out


@right("09.2")
def as_published(logits, temperature, top_p):
    """Of Hugging Face's transformers: the mask is shifted to the right, so that the crossing class stays."""
    scores = logits.clone() / temperature
    ranked, places = torch.sort(scores, descending=True)
    remove = torch.cumsum(F.softmax(ranked, dim=-1), dim=-1) >= top_p
    remove[..., 1:] = remove[..., :-1].clone()
    remove[..., 0] = False
    scores[remove.scatter(1, places, remove)] = -float("inf")
    return F.softmax(scores, dim=-1)


@right("09.2")
def from_the_small_end(logits, temperature, top_p):
    ranked, places = torch.sort(logits / temperature, descending=False)
    remove = ranked.softmax(-1).cumsum(-1) <= 1 - top_p
    return (logits / temperature).masked_fill(remove.scatter(1, places, remove), -math.inf).softmax(-1)


@right("09.2")
def by_ranks(logits, temperature, top_p):
    ranked, places = F.softmax(logits.double() / temperature, dim=1).sort(dim=1, descending=True)
    n_kept = 1 + (ranked.cumsum(1) < top_p).sum(dim=1, keepdim=True)
    ranked[torch.arange(ranked.shape[1]) >= n_kept] = 0
    ranked /= ranked.sum(1, keepdim=True)
    return ranked.gather(1, places.argsort(1)).float()


@right("09.2")
def by_what_is_more_probable(logits, temperature, top_p):
    p = torch.softmax(logits / temperature, dim=1)
    more = torch.einsum("bc,bcd->bd", p, (p[:, :, None] > p[:, None, :]).to(p.dtype))
    p = p * (more < top_p)
    return F.normalize(p, p=1, dim=1)


@right("09.2")
def by_a_threshold_of_each_row(logits, temperature, top_p):
    p = torch.exp(F.log_softmax(logits / temperature, dim=1))
    rows = []
    for row in p:
        ranked = row.sort(descending=True).values
        n_kept = int((ranked.cumsum(0) < top_p).sum()) + 1
        kept = row * (row >= ranked[min(n_kept, len(row)) - 1])
        rows.append(kept / kept.sum())
    return torch.stack(rows)


# --- 09.3 gru_step(gates_x, state, weight_hh, bias_hh)


@right("09.3")
def by_the_librarys_cell(gates_x, state, weight_hh, bias_hh):
    cell = nn.GRUCell(gates_x.shape[1], state.shape[1])
    weights = {"weight_ih": torch.eye(gates_x.shape[1]), "bias_ih": torch.zeros(gates_x.shape[1])}
    return torch.func.functional_call(cell, weights | {"weight_hh": weight_hh, "bias_hh": bias_hh}, (gates_x, state))


@right("09.3")
def by_the_course_itself(gates_x, state, weight_hh, bias_hh):
    rnn = GatedRNN(gates_x.shape[1], state.shape[1])
    weights = {"weight_ih_l0": torch.eye(gates_x.shape[1]), "bias_ih_l0": torch.zeros(gates_x.shape[1])}
    weights |= {"weight_hh_l0": weight_hh, "bias_hh_l0": bias_hh}
    return torch.func.functional_call(rnn, weights, (gates_x[:, None], state))[1].detach()


@right("09.3")
def by_the_step_of_the_fast_samplers(gates_x, state, weight_hh, bias_hh):
    return folded_sampling.gru_step(gates_x, F.linear(state, weight_hh, bias_hh), state)


@right("09.3")
def three_products(gates_x, state, weight_hh, bias_hh):
    n = state.size(1)
    w_r, w_z, w_n = weight_hh.split(n)
    b_r, b_z, b_n = bias_hh.split(n)
    r = torch.sigmoid(gates_x[:, :n] + F.linear(state, w_r, b_r))
    z = torch.sigmoid(gates_x[:, n : 2 * n] + F.linear(state, w_z, b_z))
    new = torch.tanh(gates_x[:, 2 * n :] + r * F.linear(state, w_n, b_n))
    return torch.lerp(new, state, z)


@right("09.3")
def unit_by_unit(gates_x, state, weight_hh, bias_hh):
    n_clips, n = state.shape
    out = torch.empty(n_clips, n)
    for b in range(n_clips):
        c = [float(weight_hh[i] @ state[b] + bias_hh[i]) for i in range(3 * n)]
        a = gates_x[b].tolist()
        for i in range(n):
            r, z = (1 / (1 + math.exp(-(a[j] + c[j]))) for j in (i, n + i))
            out[b, i] = (1 - z) * math.tanh(a[2 * n + i] + r * c[2 * n + i]) + z * float(state[b, i])
    return out


@right("09.3")
def on_a_clone_in_place(gates_x, state, weight_hh, bias_hh):
    n = state.shape[1]
    a, c = gates_x.clone(), torch.addmm(bias_hh, state, weight_hh.t())
    a[:, : 2 * n].add_(c[:, : 2 * n]).sigmoid_()
    a[:, 2 * n :].add_(c[:, 2 * n :].mul_(a[:, :n])).tanh_()
    z = a[:, n : 2 * n]
    return a[:, 2 * n :].mul_(1 - z).add_(z * state)


@right("09.3")
def einsum_in_float64(gates_x, state, weight_hh, bias_hh):
    n = state.shape[1]
    weights, h = weight_hh.double().view(3, n, n), state.double()
    c = torch.einsum("ghj,bj->gbh", weights, h) + bias_hh.double().view(3, 1, n)
    a = gates_x.double().view(-1, 3, n).transpose(0, 1)
    r, z = 1 / (1 + torch.exp(-(a + c)[:2]))
    return (h * z + torch.tanh(a[2] + c[2] * r) * (1 - z)).float()


@right("09.3")
def sigmoid_as_a_tanh(gates_x, state, weight_hh, bias_hh):
    c = torch.matmul(weight_hh, state.T).T + bias_hh.view(1, -1)
    (a_r, a_z, a_n), (c_r, c_z, c_n) = torch.tensor_split(gates_x, 3, dim=-1), torch.tensor_split(c, 3, dim=-1)
    r, z = (0.5 * (1 + torch.tanh(0.5 * inside)) for inside in (a_r + c_r, a_z + c_z))
    candidate = torch.tanh(a_n + r * c_n)
    return state * z + candidate - z * candidate


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
        torch.testing.assert_close(losses.mixture_log_likelihood(**inputs), by_torch_distributions(**inputs))


@pytest.mark.parametrize("seed", range(8))
def test_clips_differ_in_length_and_end_in_silence(seed):
    trials = draw_trials(get_exercise("09.1"), seed)
    for inputs in trials:
        classes, n_valid, n_classes = inputs["classes"], inputs["n_valid"], inputs["logits"].shape[2]
        assert 1 <= n_valid.min() < n_valid.max() <= classes.shape[1]
        padding = classes[torch.arange(classes.shape[1]) >= n_valid[:, None]]
        assert (padding == n_classes // 2).all() and classes.min() >= 0 and classes.max() < n_classes
    assert any(inputs["n_valid"].max() < inputs["classes"].shape[1] for inputs in trials)
    assert any(inputs["n_valid"].max() == inputs["classes"].shape[1] for inputs in trials)
    assert max(float(inputs["logits"].max()) for inputs in trials) >= 300


@pytest.mark.parametrize("seed", range(8))
def test_no_set_is_decided_by_rounding(seed):
    trials = draw_trials(get_exercise("09.2"), seed)
    assert any(inputs["top_p"] == 1 for inputs in trials) and any(inputs["top_p"] < 0.1 for inputs in trials)
    for inputs in trials:
        out = get_exercise("09.2").reference(**inputs)
        n_kept = (out > 0).sum(dim=1)
        torch.testing.assert_close(out.sum(dim=1), torch.ones(len(out)))
        if 0.1 < inputs["top_p"] < 1:
            assert n_kept.max() > 1 and n_kept.min() < out.shape[1]
            full = torch.softmax(inputs["logits"].double() / inputs["temperature"], dim=1)
            kept = (full * (out > 0)).sum(dim=1)
            smallest = torch.where(out > 0, full, 1.0).amin(dim=1)
            assert (kept - inputs["top_p"] > 0.009).all() and (inputs["top_p"] - kept + smallest > 0.009).all()
        elif inputs["top_p"] < 0.1:
            assert (n_kept == 1).all() and torch.equal(out.argmax(dim=1), inputs["logits"].argmax(dim=1))


@pytest.mark.parametrize("seed", range(8))
def test_gates_are_open_shut_and_between(seed):
    trials = draw_trials(get_exercise("09.3"), seed)
    sums = [t["gates_x"] + t["state"] @ t["weight_hh"].T + t["bias_hh"] for t in trials]
    gates = torch.cat([torch.sigmoid(part[:, : 2 * part.shape[1] // 3]).flatten() for part in sums])
    assert gates.min() < 1e-6 and gates.max() > 1 - 1e-6 and ((gates > 0.2) & (gates < 0.8)).sum() > 10
    assert all(inputs["bias_hh"].abs().min() >= 0.5 and inputs["state"].abs().max() < 1 for inputs in trials)
    assert any(len(inputs["state"]) == 1 for inputs in trials)


# --- answers that are almost right


def masked_by_a_number(logits, temperature, top_p, low):
    """Right while no row lies near that number itself."""
    kept = as_published(logits, temperature, top_p) > 0
    return (logits / temperature).masked_fill(~kept, low).softmax(1)


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
        ("09.1", lambda logits, classes, n_valid: two_loops(logits[:1], classes[:1], n_valid[:1])),
        ("09.1", lambda logits, classes, n_valid: two_loops(logits.clamp(-50, 50), classes, n_valid)),
        ("09.1", lambda logits, classes, n_valid: two_loops(logits, classes, n_valid.clamp(max=n_valid[-1]))),
        ("09.2", lambda logits, temperature, top_p: as_published(logits, temperature, min(top_p, 0.95))),
        ("09.2", lambda logits, temperature, top_p: as_published(logits, temperature, max(top_p, 0.5))),
        ("09.2", lambda logits, temperature, top_p: as_published(logits.clamp(-80, 80), 1.0, top_p)),
        ("09.2", lambda logits, temperature, top_p: as_published(logits, temperature, min(top_p, 0.999))),
        ("09.2", lambda logits, temperature, top_p: masked_by_a_number(logits, temperature, top_p, -100.0)),
        ("09.3", lambda gates_x, **others: three_products(gates_x.clamp(-1, 1), **others)),
        ("09.3", lambda bias_hh, **others: three_products(bias_hh=bias_hh.roll(1), **others)),
        ("09.3", lambda state, **others: three_products(state=state[:1], **others)),
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


def crossing_dropped_in_the_logits(logits, temperature, top_p):
    scores = logits / temperature
    ranked, places = scores.sort(descending=True)
    remove = ranked.softmax(-1).cumsum(-1) > top_p
    return scores.masked_fill(remove.scatter(1, places, remove), -math.inf).softmax(-1)


def crossing_dropped_in_a_loop(logits, temperature, top_p):
    p = (logits / temperature).softmax(1)
    out = torch.zeros_like(p)
    for b, row in enumerate(p):
        total = 0.0
        for c in row.argsort(descending=True):
            total += row[c]
            if total >= top_p:
                break
            out[b, c] = row[c]
    return out / out.sum(1, keepdim=True)


def sigmoid_by_exponentials(gates_x, state, weight_hh, bias_hh):
    n = state.shape[1]
    a, c = gates_x.split(n, 1), (state @ weight_hh.T + bias_hh).split(n, 1)
    r, z = (torch.exp(a[i] + c[i]) / (1 + torch.exp(a[i] + c[i])) for i in (0, 1))
    return torch.lerp(torch.tanh(a[2] + r * c[2]), state, z)


def tanh_by_one_exponential(gates_x, state, weight_hh, bias_hh):
    n = state.shape[1]
    a, c = gates_x.split(n, 1), (state @ weight_hh.T + bias_hh).split(n, 1)
    r, z = torch.sigmoid(a[0] + c[0]), torch.sigmoid(a[1] + c[1])
    power = torch.exp(2 * (a[2] + r * c[2]))
    return torch.lerp((power - 1) / (power + 1), state, z)


@pytest.mark.parametrize(
    ("exercise_id", "answer", "told"),
    [
        ("09.2", crossing_dropped_in_the_logits, "crosses top_p belongs to the set"),
        ("09.2", crossing_dropped_in_a_loop, "crosses top_p belongs to the set"),
        ("09.3", sigmoid_by_exponentials, "torch.sigmoid"),
        ("09.3", tanh_by_one_exponential, "torch.tanh"),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_a_slip_in_other_words_gets_the_same_hint(exercise_id, answer, told, seed):
    """Whatever rounding makes of a sum near 1, and whichever gates happen to be wide open."""
    assert told in mark(get_exercise(exercise_id), answer, seed).hint


def test_writing_where_one_reads_is_told_from_a_wrong_state():
    def in_place(x, weight_xh, weight_hh, bias):
        states = torch.zeros(len(x), x.shape[1] + 1, len(bias))
        for t in range(x.shape[1]):
            states[:, t + 1] = torch.tanh(x[:, t] @ weight_xh.T + states[:, t] @ weight_hh.T + bias)
        return states[:, 1:]

    outcome = mark(get_exercise("08.1"), in_place)
    assert outcome.status == FAILED and "inplace" in outcome.message and "torch.stack" in outcome.hint


def test_a_changed_state_and_changed_classes_are_told_from_wrong_values():
    for exercise_id, name in (
        ("09.1", "classes overwritten"),
        ("09.2", "logits changed"),
        ("09.3", "state overwritten"),
    ):
        exercise = get_exercise(exercise_id)
        (slip,) = [wrong for wrong in exercise.wrong_answers if wrong.name == name]
        assert "your result is right, but the call changed its input" in mark(exercise, slip.answer).message


@pytest.mark.parametrize("exercise_id", ["08.1", "08.2", "08.3", "09.1", "09.2", "09.3"])
def test_a_boundless_answer_is_refused_at_once(exercise_id):
    def boundless(*args, **inputs):
        tensor = next(value for value in inputs.values() if torch.is_tensor(value))
        return tensor.flatten()[:1].expand(10**15)

    outcome = mark(get_exercise(exercise_id), boundless)
    assert outcome.status == FAILED and "far larger" in outcome.message
