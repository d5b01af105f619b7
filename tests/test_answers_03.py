"""Notebook 03: right answers in other words pass, and the inputs hold what an answer has to guard against.

A check that wants one wording marks style, not understanding.
"""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from torch import nn

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import FAILED, PASSED, draw_trials, mark

RIGHT: list = []


def right(exercise_id):
    def keep(answer):
        RIGHT.append(pytest.param(exercise_id, answer, id=f"{exercise_id}-{answer.__name__}"))
        return answer

    return keep


# --- 03.1 pca_reconstruct(x, z_dim)


@right("03.1")
def scikit_learn(x, z_dim):
    model = PCA(z_dim).fit(x.numpy())
    return torch.as_tensor(model.inverse_transform(model.transform(x.numpy())), dtype=x.dtype)


@right("03.1")
def eigenvectors_of_the_covariance(x, z_dim):
    basis = torch.linalg.eigh(torch.cov(x.T)).eigenvectors[:, -z_dim:]
    return (x - x.mean(0)) @ basis @ basis.T + x.mean(0)


@right("03.1")
def truncated_svd_from_the_left(x, z_dim):
    left, sizes, right_h = torch.linalg.svd(x - x.mean(0, keepdim=True), full_matrices=False)
    return left[:, :z_dim] * sizes[:z_dim] @ right_h[:z_dim] + x.mean(0, keepdim=True)


@right("03.1")
def low_rank_by_chance(x, z_dim):
    mean = x.mean(0)
    basis = torch.pca_lowrank(x, q=z_dim, niter=4)[2]
    return mean + torch.einsum("nd,dz,ez->ne", x - mean, basis, basis)


@right("03.1")
def direction_by_direction(x, z_dim):
    mean = x.mean(0)
    out = mean.expand_as(x)
    for direction in np.linalg.svd((x - mean).numpy(), full_matrices=False)[2][:z_dim]:
        direction = torch.from_numpy(direction)
        out = out + torch.outer((x - mean) @ direction, direction)
    return out


# --- 03.2 principal_angles_deg(basis_a, basis_b)


@right("03.2")
def scipys_angles(basis_a, basis_b):
    angles = subspace_angles(basis_a.numpy(), basis_b.numpy())
    return torch.from_numpy(np.rad2deg(angles)[::-1].copy()).float()


@right("03.2")
def bases_by_svd_and_a_small_margin(basis_a, basis_b):
    u_a, u_b = (torch.linalg.svd(basis, full_matrices=False).U for basis in (basis_a, basis_b))
    cosines = torch.linalg.svdvals(u_a.T @ u_b).clamp(-1 + 1e-6, 1 - 1e-6)
    return torch.sort(torch.acos(cosines) * 180 / math.pi).values


@right("03.2")
def eigenvalues_of_the_squares(basis_a, basis_b):
    q_a, q_b = (np.linalg.qr(basis.double().numpy())[0] for basis in (basis_a, basis_b))
    squares = np.linalg.eigvalsh((q_a.T @ q_b).T @ (q_a.T @ q_b))[::-1]
    return torch.tensor(np.degrees(np.arccos(np.sqrt(np.clip(squares, 0, 1)))), dtype=torch.float32)


# --- 03.3 conv_sizes(n_in, kernel, stride, padding, n_layers)


@right("03.3")
def by_recursion(n_in, kernel, stride, padding, n_layers):
    if n_layers == 0:
        return (n_in,)
    n_next = math.floor((n_in - kernel + 2 * padding) / stride + 1)
    return (n_in, *by_recursion(n_next, kernel, stride, padding, n_layers - 1))


@right("03.3")
def asked_of_torch(n_in, kernel, stride, padding, n_layers):
    sound, sizes = torch.zeros(1, 1, n_in), [n_in]
    for _ in range(n_layers):
        sound = nn.Conv1d(1, 1, kernel, stride, padding)(sound)
        sizes.append(sound.shape[-1])
    return sizes


@right("03.3")
def whole_numbers_of_numpy(n_in, kernel, stride, padding, n_layers):
    sizes = [n_in]
    for _ in range(n_layers):
        sizes.append(np.floor_divide(sizes[-1] + 2 * padding - kernel, stride) + 1)
    return sizes


# --- 03.4 mix_at_snr(speech, noise, snr_db)


@right("03.4")
def by_amplitudes(speech, noise, snr_db):
    rms_speech, rms_noise = speech.pow(2).mean(-1).sqrt(), noise.pow(2).mean(-1).sqrt()
    return speech + (rms_speech / rms_noise * 10 ** (-snr_db / 20))[:, None] * noise


@right("03.4")
def by_the_decibels_that_are_missing(speech, noise, snr_db):
    now_db = 10 * torch.log10(speech.square().sum(1) / noise.square().sum(1))
    return speech + noise * 10 ** ((now_db - snr_db) / 20).unsqueeze(1)


@right("03.4")
def clip_by_clip(speech, noise, snr_db):
    rows = []
    for clip, its_noise in zip(speech, noise, strict=True):
        gain = (clip.norm() / its_noise.norm()).item() / 10 ** (snr_db / 20)
        rows.append(clip + gain * its_noise)
    return torch.stack(rows)


@right("03.4")
def energies_with_an_epsilon(speech, noise, snr_db):
    energy_s, energy_n = (torch.einsum("bt,bt->b", wave, wave) for wave in (speech, noise))
    return speech + torch.sqrt(energy_s / (energy_n + 1e-8) * math.pow(10, -snr_db / 10)).reshape(-1, 1) * noise


# --- 03.5 subtract_noise(noisy_power, noise_power, over_subtraction, floor_gain)


@right("03.5")
def by_where(noisy_power, noise_power, over_subtraction, floor_gain):
    left, floor = noisy_power - over_subtraction * noise_power.unsqueeze(-1), floor_gain**2 * noisy_power
    return torch.where(left < floor, floor, left)


@right("03.5")
def by_a_gain(noisy_power, noise_power, over_subtraction, floor_gain):
    gain = 1 - over_subtraction * noise_power[:, :, None] / noisy_power  # -inf in silence, where the floor holds
    return noisy_power * gain.clamp(min=floor_gain**2)


@right("03.5")
def frame_by_frame(noisy_power, noise_power, over_subtraction, floor_gain):
    out = torch.empty_like(noisy_power)
    for frame in range(noisy_power.shape[2]):
        power = noisy_power[:, :, frame]
        out[:, :, frame] = torch.max(power - over_subtraction * noise_power, floor_gain * floor_gain * power)
    return out


@pytest.mark.parametrize(("exercise_id", "answer"), RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_right_answer_in_other_words_passes(exercise_id, answer, seed):
    outcome = mark(get_exercise(exercise_id), answer, seed)
    assert outcome.status == PASSED, outcome.message


@pytest.mark.parametrize("seed", range(8))
def test_a_shared_direction_has_a_cosine_above_one(seed):
    trials = draw_trials(get_exercise("03.2"), seed)
    bases = [[torch.linalg.qr(basis).Q for basis in inputs.values()] for inputs in trials]
    assert any(torch.linalg.svdvals(q_a.T @ q_b).max() > 1 for q_a, q_b in bases)


@pytest.mark.parametrize("seed", range(8))
def test_a_size_is_rounded_down_somewhere_and_none_vanishes(seed):
    for inputs in draw_trials(get_exercise("03.3"), seed):
        sizes = get_exercise("03.3").reference(**inputs)
        left_over = [(n + 2 * inputs["padding"] - inputs["kernel"]) % inputs["stride"] for n in sizes[:-1]]
        assert any(left_over) and min(sizes) >= 1 and len(sizes) == inputs["n_layers"] + 1


def test_an_array_of_sizes_is_told_to_be_a_list():
    exercise = get_exercise("03.3")
    outcome = mark(exercise, lambda **inputs: np.array(exercise.reference(**inputs)))
    assert outcome.status == FAILED and "plain list" in outcome.hint


@pytest.mark.parametrize("seed", range(8))
def test_powers_lie_below_zero_between_zero_and_the_floor_and_above_it(seed):
    kinds = torch.zeros(4, dtype=torch.bool)
    for inputs in draw_trials(get_exercise("03.5"), seed):
        power = inputs["noisy_power"]
        left = power - inputs["over_subtraction"] * inputs["noise_power"][..., None]
        floor = inputs["floor_gain"] ** 2 * power
        kinds |= torch.stack(
            [(left < 0).any(), ((left > 0) & (left < floor)).any(), (left > floor).any(), (power == 0).any()]
        )
    assert kinds.all()
