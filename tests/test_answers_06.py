"""Notebook 06: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon, pdist
from scipy.special import expit
from scipy.stats import entropy
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark
from course_lib.losses.adversarial import TERMS, discriminator_parts

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 06.1 jensen_shannon(p_real, p_fake, spacing)


@right("06.1")
def scipys_distance_squared(p_real, p_fake, spacing):
    return float(jensenshannon(p_real.double(), p_fake.double())) ** 2


@right("06.1")
def only_where_above_zero(p_real, p_fake, spacing):
    m, total = (p_real + p_fake) / 2, 0.0
    for p in (p_real, p_fake):
        some = p > 0
        total = total + 0.5 * (p[some] * torch.log(p[some] / m[some])).sum() * spacing
    return total


@right("06.1")
def nan_to_num_at_the_end(p_real, p_fake, spacing):
    m = 0.5 * (p_real + p_fake)
    integrand = sum(torch.nan_to_num(0.5 * p * (p / m).log()) for p in (p_real, p_fake))
    return torch.sum(integrand * spacing)


@right("06.1")
def tiny_epsilon(p_real, p_fake, spacing):
    m = (p_real + p_fake) / 2
    kl = [(p * ((p + 1e-12) / (m + 1e-12)).log()).sum() for p in (p_real, p_fake)]
    return spacing * (kl[0] + kl[1]) / 2


@right("06.1")
def entropy_of_the_mixture_minus_mean_entropy(p_real, p_fake, spacing):
    h = [entropy((p * spacing).double().numpy()) for p in ((p_real + p_fake) / 2, p_real, p_fake)]
    return torch.tensor(h[0] - (h[1] + h[2]) / 2)


@right("06.1")
def torchs_kl_of_masses(p_real, p_fake, spacing):
    p, q = p_real * spacing, p_fake * spacing
    m = ((p + q) / 2).clamp(min=1e-20).log()
    return 0.5 * (F.kl_div(m, p, reduction="sum") + F.kl_div(m, q, reduction="sum"))


@right("06.1")
def from_the_best_discriminators_loss(p_real, p_fake, spacing):
    best = torch.where(p_real + p_fake > 0, p_real / (p_real + p_fake), 0.5)
    loss = -(torch.xlogy(p_real, best) + torch.xlogy(p_fake, 1 - best)).sum() * spacing
    return (math.log(4) - loss) / 2


# --- 06.2 generator_slopes(fake_logits, loss)


@right("06.2")
def by_autograd(fake_logits, loss):
    leaf = fake_logits.detach().clone().requires_grad_()
    TERMS[loss][2](leaf).sum().backward()
    return leaf.grad


@right("06.2")
def by_a_table(fake_logits, loss):
    return {
        "saturating": -1 / (1 + torch.exp(-fake_logits)),
        "non_saturating": -1 / (1 + torch.exp(fake_logits)),
        "least_squares": -(1 - fake_logits),
        "hinge": torch.full_like(fake_logits, -1.0),
    }[loss]


@right("06.2")
def one_minus_a_sigmoid(fake_logits, loss):
    match loss:
        case "saturating":
            return torch.sigmoid(-fake_logits) - 1
        case "non_saturating":
            return torch.sigmoid(fake_logits) - 1
        case "least_squares":
            return fake_logits.sub(1)
    return fake_logits * 0 - 1


@right("06.2")
def scipys_expit(fake_logits, loss):
    f = fake_logits.numpy()
    slopes = {"saturating": -expit(f), "non_saturating": expit(f) - 1, "least_squares": f - 1, "hinge": f * 0 - 1}
    return torch.as_tensor(slopes[loss], dtype=torch.float32)


@right("06.2")
def by_tanh_clip_by_clip(fake_logits, loss):
    slopes = {
        "saturating": lambda f: -(1 + math.tanh(f / 2)) / 2,
        "non_saturating": lambda f: -(1 - math.tanh(f / 2)) / 2,
        "least_squares": lambda f: f - 1,
        "hinge": lambda f: -1.0,
    }
    return torch.tensor([slopes[loss](f) for f in fake_logits.tolist()])


# --- 06.3 discriminator_loss(real_logits, fake_logits, weight)


@right("06.3")
def torchs_cross_entropy(real_logits, fake_logits, weight):
    ones, zeros = torch.ones_like(real_logits), torch.zeros_like(fake_logits)
    loss = 0
    for logits, target in ((real_logits, ones), (fake_logits, zeros)):
        loss = loss + F.binary_cross_entropy_with_logits(logits, target) + weight / 2 * F.mse_loss(logits, target)
    return loss


@right("06.3")
def the_courses_parts(real_logits, fake_logits, weight):
    squares = discriminator_parts(real_logits, fake_logits, "least_squares")
    crossed = discriminator_parts(real_logits, fake_logits, "non_saturating")
    return sum(crossed.values()) + sum(weight * part for part in squares.values())


@right("06.3")
def by_logsigmoid(real_logits, fake_logits, weight):
    n = len(real_logits)
    crossed = -(F.logsigmoid(real_logits).sum() + F.logsigmoid(-fake_logits).sum()) / n
    return crossed + weight * ((real_logits - 1) ** 2 + fake_logits**2).sum() / (2 * n)


@right("06.3")
def both_at_once(real_logits, fake_logits, weight):
    logits = torch.cat([real_logits, fake_logits])
    target = torch.cat([torch.ones_like(real_logits), torch.zeros_like(fake_logits)])
    crossed = F.binary_cross_entropy_with_logits(logits, target)
    return 2 * (crossed + weight * 0.5 * torch.mean((logits - target) ** 2))


@right("06.3")
def softplus_by_logaddexp(real_logits, fake_logits, weight):
    zero = torch.zeros_like(real_logits)
    crossed = torch.logaddexp(zero, -real_logits).mean() + torch.logaddexp(zero, fake_logits).mean()
    return crossed + weight * 0.5 * ((real_logits - 1).pow(2).mean() + fake_logits.pow(2).mean())


# --- 06.4 largest_singular_value(weight, start, n_iterations)


@right("06.4")
def detached_step_by_step(weight, start, n_iterations):
    v = start
    for _ in range(n_iterations):
        u = F.normalize(weight @ v, dim=0).detach()
        v = F.normalize(weight.T @ u, dim=0).detach()
    return torch.dot(u, torch.mv(weight, v))


@right("06.4")
def detached_at_the_end(weight, start, n_iterations):
    v = start / start.norm()
    for _ in range(n_iterations):
        u = torch.einsum("oi,i->o", weight, v)
        u = u / u.square().sum().sqrt()
        v = torch.einsum("oi,o->i", weight, u)
        v = v / torch.linalg.vector_norm(v)
    return torch.einsum("o,oi,i->", u.detach(), weight, v.detach())


@right("06.4")
def length_of_the_last_product(weight, start, n_iterations):
    fixed, v = weight.detach(), start
    for _ in range(n_iterations):
        u = fixed @ v / (fixed @ v).norm()
        v = fixed.T @ u / (fixed.T @ u).norm()
    return (weight.T @ u).norm()  # = u^T W v, with the same gradient, u v^T


@right("06.4")
def scaled_once(weight, start, n_iterations):
    with torch.no_grad():
        gram = weight.T @ weight
        for _ in range(n_iterations - 1):
            start = gram @ start
        u = weight @ start
        v = weight.T @ u
    return ((u / u.norm()) @ weight) @ (v / v.norm())


@right("06.4")
def in_numpy_but_for_the_product(weight, start, n_iterations):
    matrix, v = weight.detach().numpy(), start.numpy()
    for _ in range(n_iterations):
        u = matrix @ v
        u /= np.linalg.norm(u)
        v = u @ matrix
        v /= np.linalg.norm(v)
    return (weight * torch.from_numpy(np.outer(u, v))).sum()


@right("06.4")
def in_double_columns(weight, start, n_iterations):
    wide = weight.double()
    with torch.no_grad():
        v = start.double()[:, None]
        for _ in range(n_iterations):
            u = F.normalize(wide @ v, dim=0)
            v = F.normalize(wide.mT @ u, dim=0)
    return (u.mT @ wide @ v).squeeze()


# --- 06.5 same_label_distance(mels, labels)


@right("06.5")
def pair_after_pair(mels, labels):
    distances = []
    for i in range(len(mels)):
        for j in range(i + 1, len(mels)):
            if labels[i] == labels[j]:
                distances.append(torch.sqrt(F.mse_loss(mels[i], mels[j])))
    return sum(distances) / len(distances)


@right("06.5")
def by_a_mask_above_the_diagonal(mels, labels):
    distance = (mels[:, None] - mels[None]).square().mean(dim=(-2, -1)).sqrt()
    mask = torch.triu(labels[:, None] == labels[None], diagonal=1)
    return (distance * mask).sum() / mask.sum()


@right("06.5")
def every_pair_from_both_sides(mels, labels):
    flat = mels.flatten(1)
    distance = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    same = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool)
    return distance[same].mean()


@right("06.5")
def scipys_distances_label_by_label(mels, labels):
    flat = mels.flatten(1).double().numpy()
    parts = [pdist(flat[(labels == k).numpy()]) for k in labels.unique()]
    return float(np.concatenate(parts).mean() / math.sqrt(flat.shape[1]))


@right("06.5")
def combinations_of_each_label(mels, labels):
    parts = []
    for k in set(labels.tolist()):
        where = torch.nonzero(labels == k).flatten()
        for i, j in torch.combinations(where).tolist():
            parts.append((mels[i] - mels[j]).pow(2).mean().sqrt())
    return torch.stack(parts).mean()


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


@pytest.mark.parametrize("seed", range(8))
def test_densities_are_zero_alone_both_at_once_and_never_together(seed):
    trials = draw_trials(get_exercise("06.1"), seed)
    for inputs in trials:
        for name in ("p_real", "p_fake"):
            assert inputs[name].min() >= 0 and inputs[name].sum() * inputs["spacing"] == pytest.approx(1, abs=1e-5)
    p, q = ([inputs[name] for inputs in trials] for name in ("p_real", "p_fake"))
    assert p[0].min() > 0 and q[0].min() > 0
    assert (p[1] == 0).any() and (q[1] == 0).any() and (p[1] + q[1] > 0).all()
    assert (p[2] + q[2] == 0).any() and (p[2] * q[2] > 0).any()
    reference = get_exercise("06.1").reference
    assert (p[3] * q[3] == 0).all() and float(reference(**trials[3])) == pytest.approx(math.log(2), abs=1e-5)
    assert 1e-4 < reference(**trials[4]) < 0.05


@pytest.mark.parametrize("seed", range(8))
def test_each_loss_is_met_twice_the_second_time_where_exponentials_overflow(seed):
    trials = draw_trials(get_exercise("06.2"), seed)
    assert [inputs["loss"] for inputs in trials[:4]] == [inputs["loss"] for inputs in trials[4:]]
    assert len({inputs["loss"] for inputs in trials}) == 4
    for i, inputs in enumerate(trials):
        f = inputs["fake_logits"]
        assert (f < 0).any() and (f > 1).any()
        assert i < 4 or (f.exp().isinf().any() and (-f).exp().isinf().any())


@pytest.mark.parametrize("seed", range(8))
def test_the_slopes_are_those_of_the_courses_losses(seed):
    for inputs in draw_trials(get_exercise("06.2"), seed):
        torch.testing.assert_close(get_exercise("06.2").reference(**inputs), by_autograd(**inputs))


@pytest.mark.parametrize("seed", range(8))
def test_power_iteration_has_not_converged(seed):
    for inputs in draw_trials(get_exercise("06.4"), seed):
        exact = torch.linalg.svdvals(inputs["weight"])[0]
        assert 0.5 * exact < get_exercise("06.4").reference(**inputs) < exact * (1 - 1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_labels_stand_out_of_order_one_of_them_alone_and_one_pair_of_clips_is_identical(seed):
    trials = draw_trials(get_exercise("06.5"), seed)
    for inputs in trials:
        labels = inputs["labels"]
        assert not torch.equal(labels, labels.sort().values) and len(labels.unique(return_counts=True)[1].unique()) > 1
    assert any(1 in inputs["labels"].unique(return_counts=True)[1] for inputs in trials)
    labels = torch.cat([inputs["labels"] for inputs in trials])
    assert labels.min() < 0 and labels.max() > 9
    mels, labels = trials[-1]["mels"], trials[-1]["labels"]
    assert mels.mean() < -50  # as decibels are: a difference of squares would lose its digits
    same = (mels[:, None] == mels).all(dim=-1).all(dim=-1) & (labels[:, None] == labels)
    assert same.sum() == len(labels) + 2


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("06.1", lambda p_real, p_fake, spacing: mean_kl(p_real, p_fake, (p_real + p_fake) / 2) * spacing),
        ("06.1", lambda p_real, p_fake, spacing: mean_kl(p_real, p_fake, (p_real + p_fake) / 2 + 1e-3) * spacing),
        ("06.1", lambda p_real, p_fake, spacing: jensenshannon(p_real.double(), p_fake.double())),
        ("06.2", lambda fake_logits, loss: by_autograd(fake_logits.clamp(-20, 20), loss)),
        ("06.3", lambda real_logits, fake_logits, weight: by_logsigmoid(real_logits, fake_logits.clamp(-9, 9), weight)),
        ("06.3", lambda real_logits, fake_logits, weight: probabilities(real_logits, fake_logits, 1e-8, weight)),
        ("06.4", lambda weight, start, n_iterations: detached_at_the_end(weight, start, 30)),
        ("06.5", lambda mels, labels: pair_after_pair(mels, labels.unique(return_inverse=True)[1].clamp(max=1))),
        ("06.5", lambda mels, labels: digit_after_digit(mels, labels, range(10))),
        ("06.5", lambda mels, labels: digit_after_digit(mels, labels, range(int(labels.max()) + 1))),
        ("06.5", lambda mels, labels: by_products(mels, labels)),
    ],
)
@pytest.mark.parametrize("seed", range(8))
def test_an_answer_that_holds_for_tame_inputs_only_is_refused(exercise_id, answer, seed):
    assert mark(get_exercise(exercise_id), answer, seed).status == FAILED


def digit_after_digit(mels, labels, known):
    parts = [F.pdist(mels[labels == k].flatten(1)) for k in known]
    return torch.cat(parts).mean() / mels[0].numel() ** 0.5


def by_products(mels, labels):
    flat = mels.flatten(1)
    distance = torch.cdist(flat, flat, compute_mode="use_mm_for_euclid_dist") / flat.shape[1] ** 0.5
    return distance[torch.triu(labels[:, None] == labels, diagonal=1)].mean()


def mean_kl(p, q, m):
    return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum()


def probabilities(real_logits, fake_logits, epsilon, weight):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    crossed = -(real + epsilon).log().mean() - (1 - fake + epsilon).log().mean()
    return crossed + weight * 0.5 * ((real_logits - 1).square().mean() + fake_logits.square().mean())


@pytest.mark.parametrize("exercise_id", ["06.3", "06.4"])
def test_an_answer_without_its_gradient_is_told_so(exercise_id):
    exercise = get_exercise(exercise_id)
    outcome = mark(exercise, lambda **inputs: exercise.reference(**inputs).detach())
    assert "gradient in " in outcome.message and "no gradient" in outcome.hint


def test_a_boundless_answer_that_can_be_differentiated_is_refused_at_once():
    outcome = mark(get_exercise("06.4"), lambda weight, start, n_iterations: weight[:1, :1].expand(10**6, 10**9))
    assert outcome.status == FAILED and "far larger" in outcome.message
