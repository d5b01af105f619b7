"""Notebook 09: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark
from course_lib.judging import bits
from course_lib.models.rnn import GatedRNN
from course_lib.sampling import choosing, folded

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


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
    return folded.gru_step(gates_x, F.linear(state, weight_hh, bias_hh), state)


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


def test_a_changed_state_and_changed_classes_are_told_from_wrong_values():
    for exercise_id, name in (
        ("09.1", "classes overwritten"),
        ("09.2", "logits changed"),
        ("09.3", "state overwritten"),
    ):
        exercise = get_exercise(exercise_id)
        (slip,) = [wrong for wrong in exercise.wrong_answers if wrong.name == name]
        assert "your result is right, but the call changed its input" in mark(exercise, slip.answer).message


@pytest.mark.parametrize("exercise_id", ["09.1", "09.2", "09.3"])
def test_a_boundless_answer_is_refused_at_once(exercise_id):
    def boundless(*args, **inputs):
        tensor = next(value for value in inputs.values() if torch.is_tensor(value))
        return tensor.flatten()[:1].expand(10**15)

    outcome = mark(get_exercise(exercise_id), boundless)
    assert outcome.status == FAILED and "far larger" in outcome.message
