"""Notebook 05: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 05.1 interpolate_spherical(z_a, z_b, weights)


@right("05.1")
def angle_by_half_lengths(z_a, z_b, weights):
    u_a, u_b = F.normalize(z_a, dim=0), F.normalize(z_b, dim=0)
    angle = 2 * torch.atan2((u_a - u_b).norm(), (u_a + u_b).norm())
    if torch.sin(angle) < 1e-5:
        return torch.lerp(z_a, z_b, weights[:, None])
    shares = torch.stack([((1 - weights) * angle).sin(), (weights * angle).sin()], dim=1) / angle.sin()
    return shares @ torch.stack([z_a, z_b])


@right("05.1")
def point_by_point(z_a, z_b, weights):
    cosine = F.cosine_similarity(z_a, z_b, dim=0).clamp(-1, 1).item()
    angle, points = math.acos(cosine), []
    for w in weights.tolist():
        if angle < 1e-3:
            points.append(z_a + w * (z_b - z_a))
        else:
            points.append((math.sin((1 - w) * angle) * z_a + math.sin(w * angle) * z_b) / math.sin(angle))
    return torch.stack(points)


@right("05.1")
def straight_from_a_cosine_of_almost_one(z_a, z_b, weights):
    cosine = torch.dot(z_a, z_b) / z_a.norm() / z_b.norm()
    if cosine > 0.99999:
        return torch.outer(1 - weights, z_a) + torch.outer(weights, z_b)
    angle = torch.acos(cosine)
    return torch.outer(((1 - weights) * angle).sin() / angle.sin(), z_a) + torch.outer(
        (weights * angle).sin() / angle.sin(), z_b
    )


@right("05.1")
def in_float64_numpy(z_a, z_b, weights):
    a, b, w = (tensor.double().numpy() for tensor in (z_a, z_b, weights[:, None]))
    angle = np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
    shares = (
        (1 - w, w) if angle < 1e-6 else (np.sin((1 - w) * angle) / np.sin(angle), np.sin(w * angle) / np.sin(angle))
    )
    return torch.as_tensor(shares[0] * a + shares[1] * b, dtype=z_a.dtype)


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


@pytest.mark.parametrize("seed", range(8))
def test_arcs_are_obtuse_acute_parallel_by_a_cosine_above_one_and_of_one_and_small(seed):
    trials = draw_trials(get_exercise("05.1"), seed)
    cosines = [(i["z_a"] / i["z_a"].norm()) @ (i["z_b"] / i["z_b"].norm()) for i in trials]
    assert cosines[0] < 0 < cosines[1] < 0.95 and cosines[2] > 1 and cosines[3] == 1 and 0.96 < cosines[4] < 0.99
    others = [i["z_a"] @ i["z_b"] / (i["z_a"].norm() * i["z_b"].norm()) for i in trials]
    assert others[2] > 1 and others[3] == 1, "whichever way a cosine is taken, it has to be clamped"
    assert all((i["z_a"] @ i["z_b"]).abs() < 1 for i in trials[:2])


@pytest.mark.parametrize(
    ("exercise_id", "answer"),
    [
        ("05.1", lambda z_a, z_b, weights: by_acos_of(z_a @ z_b / (z_a.norm() * z_b.norm()), z_a, z_b, weights)),
        ("05.1", lambda z_a, z_b, weights: by_acos_of((z_a @ z_b).clamp(-1, 1), z_a, z_b, weights)),
    ],
)
@pytest.mark.parametrize("seed", range(12))
def test_an_answer_that_holds_for_tame_inputs_only_is_refused(exercise_id, answer, seed):
    assert mark(get_exercise(exercise_id), answer, seed).status == FAILED


def by_acos_of(cosine, z_a, z_b, weights):
    angle, w = cosine.acos(), weights[:, None]
    if angle.sin() < 1e-5:
        return (1 - w) * z_a + w * z_b
    return (((1 - w) * angle).sin() * z_a + (w * angle).sin() * z_b) / angle.sin()
