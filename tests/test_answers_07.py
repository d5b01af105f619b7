"""Notebook 07: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark
from course_lib.losses import adversarial

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 07.1 painted_counts(n_in, kernel, stride)


@right("07.1")
def by_the_layer_itself(n_in, kernel, stride):
    layer = nn.ConvTranspose1d(1, 1, kernel, stride, bias=False)
    nn.init.ones_(layer.weight)
    with torch.no_grad():
        return layer(torch.ones(1, 1, n_in)).flatten().round().long()


@right("07.1")
def sample_by_sample(n_in, kernel, stride):
    n_out = (n_in - 1) * stride + kernel
    return torch.tensor([sum(0 <= t - i * stride < kernel for i in range(n_in)) for t in range(n_out)])


@right("07.1")
def numpys_convolution(n_in, kernel, stride):
    starts = np.zeros((n_in - 1) * stride + 1, dtype=np.int64)
    starts[::stride] = 1
    return torch.from_numpy(np.convolve(starts, np.ones(kernel, dtype=np.int64)))


@right("07.1")
def by_bincount(n_in, kernel, stride):
    where = torch.arange(n_in)[:, None] * stride + torch.arange(kernel)
    return torch.bincount(where.flatten(), minlength=(n_in - 1) * stride + kernel)


@right("07.1")
def starts_minus_ends(n_in, kernel, stride):
    change = torch.zeros((n_in - 1) * stride + kernel + 1, dtype=torch.int64)
    for i in range(n_in):
        change[i * stride] += 1
        change[i * stride + kernel] -= 1
    return change.cumsum(0)[:-1]


@right("07.1")
def by_fold(n_in, kernel, stride):
    n_out = (n_in - 1) * stride + kernel
    copies = torch.ones(1, kernel, n_in)
    return F.fold(copies, (1, n_out), (1, kernel), stride=(1, stride)).flatten().to(torch.int64)


# --- 07.2 wasserstein_1d(a, b)


@right("07.2")
def scipys_distance(a, b):
    return wasserstein_distance(a.numpy(), b.numpy())


@right("07.2")
def cheapest_of_all_plans(a, b):
    cost = (a[:, None] - b).abs().double()
    rows, columns = linear_sum_assignment(cost.numpy())
    return cost[rows, columns].sum() / len(a)


@right("07.2")
def falling_both(a, b):
    return torch.mean(torch.abs(torch.sort(a, descending=True)[0] - torch.sort(b, descending=True)[0]))


@right("07.2")
def area_between_the_staircases(a, b):
    edges = torch.cat([a, b]).double().sort().values
    gap = [((a <= edge).double().mean() - (b <= edge).double().mean()).abs() for edge in edges[:-1]]
    return (torch.stack(gap) * edges.diff()).sum()


@right("07.2")
def pythons_sorted(a, b):
    return sum(abs(x - y) for x, y in zip(sorted(a.tolist()), sorted(b.tolist()), strict=True)) / a.numel()


@right("07.2")
def quantiles(a, b):
    where = torch.linspace(0, 1, len(a), dtype=torch.float64)
    return (a.double().quantile(where) - b.double().quantile(where)).abs().mean()


# --- 07.3 gradient_penalty(critic, real, fake, weights)


@right("07.3")
def as_published(critic, real, fake, weights):
    alpha = weights.view(-1, 1).expand_as(real)
    between = torch.autograd.Variable((1 - alpha) * real + alpha * fake, requires_grad=True)
    scores = critic(between)
    gradients = torch.autograd.grad(
        outputs=scores,
        inputs=between,
        grad_outputs=torch.ones_like(scores),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    return ((gradients.view(len(real), -1).norm(2, dim=1) - 1) ** 2).mean()


@right("07.3")
def clip_by_clip(critic, real, fake, weights):
    total = 0
    for r, f, w in zip(real, fake, weights, strict=True):
        x = torch.lerp(r, f, w)[None].requires_grad_()
        slope = torch.autograd.grad(critic(x).squeeze(), x, create_graph=True)[0].norm()
        total = total + (slope - 1) ** 2
    return total / len(real)


@right("07.3")
def functional_and_mapped(critic, real, fake, weights):
    between = torch.lerp(real, fake, weights[:, None])
    gradient = torch.func.vmap(torch.func.grad(lambda x: critic(x[None])[0]))(between)
    return (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()


@right("07.3")
def from_a_jacobian(critic, real, fake, weights):
    between = real + torch.diag(weights) @ (fake - real)
    jacobian = torch.autograd.functional.jacobian(critic, between, create_graph=True)  # (B, B, T)
    own = torch.diagonal(jacobian).T  # (B, T)
    return F.mse_loss((torch.einsum("bt,bt->b", own, own) + 1e-12).sqrt(), torch.ones(len(real)))


@right("07.3")
def square_written_out(critic, real, fake, weights):
    between = (real * (1 - weights[:, None]) + fake * weights[:, None]).requires_grad_(True)
    with torch.enable_grad():
        (g,) = torch.autograd.grad(torch.sum(critic(between)), [between], create_graph=True)
    slope = torch.sqrt(g.pow(2).sum(1) + 1e-10)
    return torch.mean(slope**2 - 2 * slope + 1)


# --- 07.4 r1_penalty(critic, real)


@right("07.4")
def as_published_r1(critic, real):
    real.requires_grad_()
    scores = critic(real)
    (gradient,) = torch.autograd.grad(outputs=scores.sum(), inputs=real, create_graph=True)
    return gradient.pow(2).view(len(real), -1).sum(1).mean() / 2


@right("07.4")
def squared_slopes_of_the_course(critic, real):
    return adversarial.squared_slopes(critic, real).mean() / 2


@right("07.4")
def mapped_r1(critic, real):
    gradient = torch.func.vmap(torch.func.grad(lambda x: critic(x.unsqueeze(0)).squeeze()))(real)
    return 0.5 * torch.einsum("bt,bt->", gradient, gradient) / len(real)


@right("07.4")
def one_clip_after_another(critic, real):
    parts = []
    for clip in real.split(1):
        x = clip.clone().requires_grad_()
        parts.append(torch.autograd.grad(critic(x)[0], x, create_graph=True)[0].square().sum())
    return torch.stack(parts).mean() * 0.5


@right("07.4")
def norm_squared(critic, real):
    x = real.detach().clone().requires_grad_(True)
    gradient = torch.autograd.grad(critic(x), x, torch.ones(len(x)), create_graph=True)[0]
    return (gradient.norm(dim=1) ** 2).mean() / 2


# --- 07.5 phase_shuffle(x, shifts)


@right("07.5")
def padded_and_cut(x, shifts):
    moved = []
    for clip, shift in zip(x, shifts.tolist(), strict=True):
        n = abs(shift)
        padded = F.pad(clip, (n, 0), mode="reflect") if shift > 0 else F.pad(clip, (0, n), mode="reflect")
        moved.append(padded[:, : x.shape[2]] if shift > 0 else padded[:, n:])
    return torch.stack(moved)


@right("07.5")
def both_sides_padded_once(x, shifts):
    n = x.shape[2] - 1
    padded = F.pad(x, (n, n), mode="reflect")  # (B, C, 3 T - 2)
    return torch.stack([padded[b, :, n - int(s) : n - int(s) + x.shape[2]] for b, s in enumerate(shifts)])


@right("07.5")
def flips_joined(x, shifts):
    out = []
    for b in range(x.size(0)):
        s = int(shifts[b])
        if s > 0:
            out.append(torch.cat([x[b, :, 1 : s + 1].flip(-1), x[b, :, :-s]], dim=-1))
        elif s < 0:
            out.append(torch.cat([x[b, :, -s:], x[b, :, s - 1 : -1].flip(-1)], dim=-1))
        else:
            out.append(x[b])
    return torch.stack(out)


@right("07.5")
def a_triangle_wave_of_places(x, shifts):
    n = x.shape[-1] - 1
    source = n - ((torch.arange(n + 1) - shifts.unsqueeze(1)) % (2 * n) - n).abs()  # (B, T)
    return torch.take_along_dim(x, source[:, None, :], dim=2)


@right("07.5")
def a_matrix_for_each_clip(x, shifts):
    places = torch.arange(x.shape[2])
    source = (places - shifts[:, None]).abs()
    source = torch.where(source > places[-1], 2 * places[-1] - source, source)
    return torch.einsum("bct,but->bcu", x, F.one_hot(source, x.shape[2]).to(x.dtype))


@right("07.5")
def written_into_a_new_tensor(x, shifts):
    out = torch.empty_like(x)
    n_samples = x.shape[2]
    for b in range(len(x)):
        for t in range(n_samples):
            source = t - shifts[b].item()
            if source < 0:
                source = -source
            if source >= n_samples:
                source = 2 * n_samples - 2 - source
            out[b, :, t] = x[b, :, source]
    return out


@right("07.5")
def numpys_padding_of_places(x, shifts):
    n = x.shape[2]
    places = np.pad(np.arange(n), n - 1, mode="reflect")
    return torch.stack([x[b][:, places[n - 1 - s : 2 * n - 1 - s]] for b, s in enumerate(shifts.tolist())])


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


class Critic(nn.Module):
    """The critic that a table describes, written again."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, x):
        awake = F.relu(F.linear(x, self.table[:, :-2], self.table[:, -2]))
        return (awake**2 * self.table[:, -1]).sum(dim=1)


def slopes(critic, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(critic(x).sum(), x)[0].norm(dim=1)


@pytest.mark.parametrize("seed", range(8))
def test_counts_meet_gaps_remainders_and_layers_shorter_than_a_kernel(seed):
    trials = draw_trials(get_exercise("07.1"), seed)
    assert any(inputs["kernel"] < inputs["stride"] for inputs in trials)
    assert any(inputs["kernel"] % inputs["stride"] == 0 for inputs in trials)
    assert any(inputs["n_in"] * inputs["stride"] < inputs["kernel"] for inputs in trials)
    for inputs in trials:
        counts = get_exercise("07.1").reference(**inputs)
        assert len(counts) == (inputs["n_in"] - 1) * inputs["stride"] + inputs["kernel"]
        assert counts.sum() == inputs["n_in"] * inputs["kernel"]


@pytest.mark.parametrize("seed", range(8))
def test_points_stand_out_of_order_on_both_sides_of_zero(seed):
    trials = draw_trials(get_exercise("07.2"), seed)
    for inputs in trials:
        assert all(not torch.equal(points, points.sort().values) for points in inputs.values())
        assert inputs["a"].min() < 0 < inputs["a"].max()
    assert get_exercise("07.2").reference(**trials[1]) == 0
    assert get_exercise("07.2").reference(**trials[2]) == pytest.approx(1.5, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_slopes_differ_from_clip_to_clip_around_one_and_are_zero_at_silence(seed):
    for i, inputs in enumerate(draw_trials(get_exercise("07.3"), seed)):
        between = torch.lerp(inputs["real"], inputs["fake"], inputs["weights"][:, None])
        steep = slopes(Critic(inputs["critic"]), between)
        assert (steep[1] == 0) == (i >= 2)
        steep = steep[steep > 0]
        assert steep.min() > 0.1 and steep.min() < 1 < steep.max() and steep.std() > 0.1
        assert ((inputs["weights"] > 0) & (inputs["weights"] < 1)).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_references_agree_with_a_critic_written_again(seed):
    for inputs in draw_trials(get_exercise("07.4"), seed):
        steep = slopes(Critic(inputs["critic"]), inputs["real"])
        got = get_exercise("07.4").reference(Critic(inputs["critic"]), inputs["real"])
        torch.testing.assert_close(got, steep.square().mean() / 2)
    for inputs in draw_trials(get_exercise("07.3"), seed):
        steep = slopes(Critic(inputs["critic"]), torch.lerp(inputs["real"], inputs["fake"], inputs["weights"][:, None]))
        got = get_exercise("07.3").reference(**(inputs | {"critic": Critic(inputs["critic"])}))
        torch.testing.assert_close(got, (steep - 1).square().mean())


@pytest.mark.parametrize("seed", range(8))
def test_shifts_go_both_ways_and_as_far_as_they_may(seed):
    trials = draw_trials(get_exercise("07.5"), seed)
    shifts = torch.cat([inputs["shifts"] for inputs in trials])
    farthest = [int(inputs["shifts"].abs().max()) - inputs["x"].shape[2] + 1 for inputs in trials]
    assert {-1, 0, 1} == set(shifts.sign().tolist()) and max(farthest) == 0
    assert all(len(inputs["shifts"].unique()) > 2 for inputs in trials)
    assert any(-inputs["shifts"].min() > inputs["shifts"].max() for inputs in trials)
    assert any(-inputs["shifts"].min() < inputs["shifts"].max() for inputs in trials)
    row = torch.arange(5.0).expand(1, 1, 5)
    reference = get_exercise("07.5").reference
    assert reference(row, torch.tensor([2])).flatten().tolist() == [2, 1, 0, 1, 2]
    assert reference(row, torch.tensor([-2])).flatten().tolist() == [2, 3, 4, 3, 2]


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("07.1", lambda n_in, kernel, stride: by_the_layer_itself(n_in, max(kernel, stride), stride)),
        ("07.2", lambda a, b: (a.mean() - b.mean()).abs()),
        ("07.2", lambda a, b: to_the_nearest_free(a, b)),
        ("07.2", lambda a, b: to_the_nearest_free(b, a)),
        ("07.3", lambda critic, real, fake, weights: as_published(critic, real, fake, weights).detach()),
        ("07.3", lambda critic, real, fake, weights: with_frozen(critic, as_published, real, fake, weights)),
        ("07.3", lambda critic, real, fake, weights: as_published(critic, fake, real, weights)),
        ("07.4", lambda critic, real: with_frozen(critic, as_published_r1, real)),
        ("07.4", lambda critic, real: wiped(critic, real)),
        ("07.5", lambda x, shifts: torch.stack([clip.roll(int(s), -1) for clip, s in zip(x, shifts, strict=True)])),
        ("07.5", lambda x, shifts: padded_and_cut(x, shifts.clamp(-2, 2))),
        ("07.5", lambda x, shifts: padded_by(int(shifts.max()), x, shifts)),
        ("07.5", lambda x, shifts: padded_by(int(-shifts.min()), x, shifts)),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_an_answer_that_holds_for_tame_inputs_only_is_refused(exercise_id, answer, seed):
    assert mark(get_exercise(exercise_id), answer, seed).status == FAILED


def to_the_nearest_free(a, b):
    free, total = b.tolist(), 0.0
    for point in a.tolist():
        free.sort(key=lambda place: abs(place - point))
        total += abs(free.pop(0) - point)
    return total / len(a)


def padded_by(n, x, shifts):
    wide = F.pad(x, (n, n), mode="reflect")
    return torch.stack([wide[b, :, n - s : n - s + x.shape[2]] for b, s in enumerate(shifts.tolist())])


def with_frozen(critic, penalty, *clips):
    for weight in critic.parameters():
        weight.requires_grad_(False)
    return penalty(critic, *clips)


def wiped(critic, real):
    """Right, but for what another loss had left in .grad."""
    penalty = squared_slopes_of_the_course(critic, real)
    critic.zero_grad()
    return penalty


@pytest.mark.parametrize("exercise_id", ["07.3", "07.4", "07.5"])
def test_an_answer_without_its_gradient_is_told_so(exercise_id):
    exercise = get_exercise(exercise_id)
    outcome = mark(exercise, lambda **inputs: exercise.reference(**inputs).detach())
    assert "gradient in " in outcome.message and "no gradient" in outcome.hint


def test_backward_inside_a_penalty_is_told_from_a_right_one():
    def by_backward(critic, real):
        x = real.clone().requires_grad_()
        critic(x).sum().backward()
        return 0.5 * x.grad.square().sum(dim=1).mean()

    outcome = mark(get_exercise("07.4"), by_backward)
    assert outcome.status == FAILED and ".grad" in outcome.hint


def test_a_spoilt_critic_spoils_nobody_elses():
    def vandal(critic, real):
        with torch.no_grad():
            for weight in critic.parameters():
                weight.zero_()
        return critic(real).sum() * 0

    exercise = get_exercise("07.4")
    assert mark(exercise, vandal).status == FAILED
    assert mark(exercise, exercise.reference).status == PASSED


@pytest.mark.parametrize("exercise_id", ["07.3", "07.4", "07.5"])
def test_a_boundless_answer_that_can_be_differentiated_is_refused_at_once(exercise_id):
    def boundless(*args, **inputs):
        critic = inputs.get("critic")
        leaf = inputs["x"] if critic is None else next(critic.parameters())
        return leaf.flatten()[:1].expand(10**15)

    outcome = mark(get_exercise(exercise_id), boundless)
    assert outcome.status == FAILED and "far larger" in outcome.message
