"""Samplers: moments against samples, seeds, temperature, labels, ways between two codes."""

import math

import pytest
import torch
from torch import Tensor

from course_lib.models.layers.latents import LatentGaussians, balanced_labels
from course_lib.sampling.codes import (
    LEAST_VARIANCE,
    draw_observation,
    draw_prior,
    fit_latent_gaussian,
    fit_latent_gaussians,
    fit_sigma,
    interpolate_spherical,
    interpolate_straight,
)
from course_lib.training.pretrained import load_pretrained, save_pretrained

RECORD = {"dataset": "none", "steps": 0, "train_seconds": 0.0, "device": "cpu", "seed": 0, "chosen": "", "metrics": {}}
N_DIGITS, N_SPEAKERS, Z_DIM = 3, 2, 4
both_ways = pytest.mark.parametrize("interpolate", [interpolate_straight, interpolate_spherical])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes(n_clips: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """mu, log_var (N, Z), digits, speakers (N,): each group has its own mean and its own correlated spread."""
    digits, speakers = balanced_labels(n_clips, N_DIGITS, N_SPEAKERS)
    mixing = torch.randn(N_DIGITS, N_SPEAKERS, Z_DIM, Z_DIM, generator=seeded(seed))
    centre = 3 * torch.randn(N_DIGITS, N_SPEAKERS, Z_DIM, generator=seeded(seed + 1))
    noise = torch.randn(n_clips, Z_DIM, generator=seeded(seed + 2))
    mu = centre[digits, speakers] + torch.einsum("bij,bj->bi", mixing[digits, speakers], noise)
    return mu, torch.randn(n_clips, Z_DIM, generator=seeded(seed + 3)) - 2, digits, speakers


def fit(mu: Tensor, log_var: Tensor | None, digits: Tensor, speakers: Tensor, **settings) -> LatentGaussians:
    return fit_latent_gaussians(mu, log_var, digits, speakers, N_DIGITS, N_SPEAKERS, **settings)


def covariance(gaussians: LatentGaussians) -> Tensor:  # (D, S, Z, Z)
    return gaussians.scale_tril @ gaussians.scale_tril.transpose(-1, -2)


# ---- prior and labels


def test_the_prior_is_a_standard_normal_and_a_matter_of_the_seed():
    z = draw_prior(50_000, 3, seeded(0))
    assert z.shape == (50_000, 3)
    assert z.mean(dim=0).abs().max() < 0.02 and (z.T.cov() - torch.eye(3)).abs().max() < 0.03
    one, same, other = (draw_prior(5, 3, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_labels_take_turns():
    digits, speakers = balanced_labels(8, n_digits=3, n_speakers=2)
    assert digits.tolist() == [0, 1, 2, 0, 1, 2, 0, 1] and speakers.tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    digits, speakers = balanced_labels(300)
    assert digits.bincount().tolist() == [30] * 10 and speakers.bincount().tolist() == [50] * 6
    assert (digits * 6 + speakers).bincount().tolist() == [5] * 60


@pytest.mark.parametrize("sizes", [(0, 3, 2), (5, 0, 2), (5, 3, 0)])
def test_labels_of_nothing_are_refused(sizes):
    with pytest.raises(ValueError, match="at least 1 each"):
        balanced_labels(*sizes)


# ---- Gaussians fitted to posteriors


def test_moments_are_those_of_each_group():
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers, shrinkage=0.0)
    for digit in range(N_DIGITS):
        for speaker in range(N_SPEAKERS):
            inside = (digits == digit) & (speakers == speaker)
            expected = mu[inside].T.cov() + log_var[inside].exp().mean(dim=0).diag()
            torch.testing.assert_close(found.mean[digit, speaker], mu[inside].mean(dim=0))
            torch.testing.assert_close(covariance(found)[digit, speaker], expected, atol=1e-5, rtol=1e-4)


def test_without_variances_only_the_means_spread():
    mu, log_var, digits, speakers = codes(180)
    only_means, both = fit(mu, None, digits, speakers), fit(mu, log_var, digits, speakers)
    more = covariance(both) - covariance(only_means)
    torch.testing.assert_close(more[1, 0].diagonal(), log_var[(digits == 1) & (speakers == 0)].exp().mean(dim=0))
    torch.testing.assert_close(more, more.diagonal(dim1=2, dim2=3).diag_embed(), atol=1e-5, rtol=0)


def test_shrinkage_weakens_correlations_and_leaves_variances():
    mu, _, digits, speakers = codes(180)
    whole, some, none = (covariance(fit(mu, None, digits, speakers, shrinkage=s)) for s in (0.0, 0.25, 1.0))
    diagonal = whole.diagonal(dim1=2, dim2=3).diag_embed()
    torch.testing.assert_close(none, diagonal, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(some - diagonal, 0.75 * (whole - diagonal), atol=1e-5, rtol=1e-5)


def test_samples_have_the_fitted_moments():
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers)
    ones = torch.ones(60_000, dtype=torch.long)
    z = found.draw(2 * ones, ones, seeded(0))
    expected = covariance(found)[2, 1]
    assert ((z.mean(dim=0) - found.mean[2, 1]).abs() < 4 * expected.diagonal().sqrt() / 60_000**0.5).all()
    assert (z.T.cov() - expected).abs().max() < 0.03 * expected.diagonal().max()
    half = found.draw(2 * ones, ones, seeded(0), temperature=0.5)
    torch.testing.assert_close(half - found.mean[2, 1], 0.5 * (z - found.mean[2, 1]), atol=1e-4, rtol=1e-4)


def test_small_groups_take_the_pooled_spread_but_keep_their_mean():
    mu, log_var, digits, speakers = codes(180)
    keep = torch.ones(180, dtype=torch.bool)
    keep[((digits == 2) & (speakers == 0)).nonzero()[4:]] = False  # 4 clips are left, one fewer than Z + 1
    mu, log_var, digits, speakers = mu[keep], log_var[keep], digits[keep], speakers[keep]
    found = fit(mu, log_var, digits, speakers, shrinkage=0.0)
    inside = (digits == 2) & (speakers == 0)
    torch.testing.assert_close(found.mean[2, 0], mu[inside].mean(dim=0))
    scatter = sum(
        (mu[g] - mu[g].mean(dim=0)).T @ (mu[g] - mu[g].mean(dim=0))
        for g in ((digits == d) & (speakers == s) for d in range(N_DIGITS) for s in range(N_SPEAKERS))
    )
    pooled = scatter / (len(mu) - N_DIGITS * N_SPEAKERS) + log_var.exp().mean(dim=0).diag()
    torch.testing.assert_close(covariance(found)[2, 0], pooled, atol=1e-4, rtol=1e-4)
    own = fit(mu, log_var, digits, speakers, shrinkage=0.0, n_least=4)  # asked to, it takes the 4
    expected = mu[inside].T.cov() + log_var[inside].exp().mean(dim=0).diag()
    torch.testing.assert_close(covariance(own)[2, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_group_without_clips_takes_the_mean_of_its_digit():
    mu, log_var, digits, speakers = codes(180)
    keep = (digits != 2) | (speakers != 0)
    found = fit(mu[keep], log_var[keep], digits[keep], speakers[keep])
    torch.testing.assert_close(found.mean[2, 0], mu[digits.eq(2) & keep].mean(dim=0))
    keep = digits != 2  # nobody says it
    found = fit(mu[keep], log_var[keep], digits[keep], speakers[keep])
    torch.testing.assert_close(found.mean[2], mu[keep].mean(dim=0).expand(N_SPEAKERS, -1))


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_dimensions_that_never_move_can_be_fitted(shrinkage):
    """A collapsed dimension: the encoder answers 0 to every clip."""
    mu, _, digits, speakers = codes(180)
    mu[:, 1] = 0
    z = fit(mu, None, digits, speakers, shrinkage=shrinkage).draw(digits, speakers, seeded(0))
    assert z.isfinite().all() and z[:, 1].abs().max() < 5 * LEAST_VARIANCE**0.5 and z[:, 0].std() > 0.1


def test_draws_are_a_matter_of_seed_and_label():
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers)
    one, same, other = (found.draw(digits, speakers, seeded(seed)) for seed in (7, 7, 8))
    assert one.shape == (180, Z_DIM) and torch.equal(one, same) and not torch.equal(one, other)
    elsewhere = found.draw(digits, 1 - speakers, seeded(7))
    assert (one != elsewhere).all()
    changed = digits.clone()
    changed[5] = (digits[5] + 1) % N_DIGITS
    assert (found.draw(changed, speakers, seeded(7)) != one).any(dim=1).nonzero().tolist() == [[5]]


def test_temperature_0_is_the_mean():
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers)
    cold = found.draw(digits, speakers, seeded(0), temperature=0.0)
    assert torch.equal(cold, found.mean[digits, speakers])
    for wrong in (-0.1, math.nan):
        with pytest.raises(ValueError, match=r"temperature: got .*need 0"):
            found.draw(digits, speakers, seeded(0), temperature=wrong)


def test_one_gaussian_where_there_are_no_labels():
    mu, log_var, _, _ = codes(180)
    found = fit_latent_gaussian(mu, log_var, shrinkage=0.0)
    expected = mu.T.cov() + log_var.exp().mean(dim=0).diag()
    torch.testing.assert_close(covariance(found)[0, 0], expected, atol=1e-4, rtol=1e-4)
    z = found.draw_n(60_000, seeded(0))
    assert (z.T.cov() - expected).abs().max() < 0.03 * expected.diagonal().max()
    assert torch.equal(found.draw_n(5, seeded(0), temperature=0.0), mu.double().mean(dim=0).float().expand(5, -1))


def test_drawing_n_takes_labels_in_turn():
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers)
    assert torch.equal(found.draw_n(180, seeded(3)), found.draw(digits, speakers, seeded(3)))


def test_unfitted_it_is_the_prior():
    assert torch.equal(LatentGaussians(1, 1, 5).draw_n(7, seeded(0)), draw_prior(7, 5, seeded(0)))


def test_saved_and_loaded_it_draws_the_same(tmp_path):
    mu, log_var, digits, speakers = codes(180)
    found = fit(mu, log_var, digits, speakers)
    save_pretrained("some_latents", found, RECORD, tmp_path)
    twin, record = load_pretrained("some_latents", folder=tmp_path)
    assert type(twin) is LatentGaussians and record["config"] == found.config
    assert torch.equal(twin.draw(digits, speakers, seeded(0)), found.draw(digits, speakers, seeded(0)))


def test_fitting_needs_no_gradient_and_leaves_its_input_alone():
    mu, log_var, digits, speakers = codes(180)
    kept = mu.clone()
    found = fit(mu.requires_grad_(), log_var, digits, speakers)
    assert not found.scale_tril.requires_grad and torch.equal(mu.detach(), kept)


def test_fitting_refuses_what_does_not_fit():
    mu, log_var, digits, speakers = codes(12)
    for wrong in (
        (mu[0], None, digits, speakers),
        (mu, log_var[:, :3], digits, speakers),
        (mu[:9], None, digits, speakers),
    ):
        with pytest.raises(ValueError, match=r"need \(N, Z\) for mu and log_var, N labels"):
            fit(*wrong)
    with pytest.raises(ValueError, match=r"digits \(12,\), speakers \(11,\)"):
        fit(mu, log_var, digits, speakers[:11])
    with pytest.raises(ValueError, match=r"digits: got labels from 1 to 3, need 0 to 2"):
        fit(mu, log_var, digits + 1, speakers)
    with pytest.raises(ValueError, match=r"shrinkage: got 1.5"):
        fit(mu, log_var, digits, speakers, shrinkage=1.5)
    with pytest.raises(ValueError, match=r"speakers: got labels from -1 to 0"):
        fit(mu, log_var, digits, speakers).draw(digits, speakers - 1, seeded(0))


# ---- pictures around the decoder's mean


def test_sigma_is_what_is_left_over_pixel_by_pixel():
    x, recon = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    x[:, 1, 2] = torch.tensor([3.0, -4.0])  # the root of the mean of 9 and 16
    expected = torch.zeros(3, 4)
    expected[1, 2] = 12.5**0.5
    torch.testing.assert_close(fit_sigma(x, recon), expected)
    with pytest.raises(ValueError, match=r"need \(N, M, L\) for both"):
        fit_sigma(x, recon[:1])


def test_observations_vary_around_the_mean_by_sigma():
    mean, sigma = torch.rand(1, 3, 4, generator=seeded(0)), torch.rand(3, 4, generator=seeded(1))
    sigma[2, 1] = 0  # the decoder was never wrong there
    mean = mean.expand(20_000, -1, -1)
    drawn = draw_observation(mean, sigma, seeded(2), temperature=1.0)
    torch.testing.assert_close(drawn.std(dim=0), sigma, atol=0.02, rtol=0)
    assert (drawn.mean(dim=0) - mean[0]).abs().max() < 0.03 and (drawn[:, 2, 1] == mean[:, 2, 1]).all()
    half = draw_observation(mean, sigma, seeded(2), temperature=0.5)
    torch.testing.assert_close(half - mean, (drawn - mean) / 2, atol=1e-6, rtol=1e-5)
    assert torch.equal(draw_observation(mean, sigma, seeded(2), temperature=0.0), mean)
    assert not torch.equal(draw_observation(mean, sigma, seeded(3), temperature=0.5), half)


@pytest.mark.parametrize(("sigma_shape", "temperature"), [((4, 3), 0.5), ((4,), 0.5), ((), 0.5), ((3, 4), -0.1)])
def test_observations_refuse_another_sigma_or_temperature(sigma_shape, temperature):
    with pytest.raises(ValueError, match=r"need \(B, M, L\), \(M, L\) as fit_sigma"):
        draw_observation(torch.zeros(2, 3, 4), torch.ones(sigma_shape), seeded(0), temperature)


# ---- ways between two codes


@both_ways
def test_both_ends_are_included(interpolate):
    a, b = torch.randn(2, 6, generator=seeded(0))
    way = interpolate(a, b, 4)
    assert way.shape == (4, 6)
    torch.testing.assert_close(way[[0, -1]], torch.stack([a, b]))
    torch.testing.assert_close(interpolate(b, a, 4), way.flip(0))


def test_straight_steps_are_equal():
    way = interpolate_straight(torch.tensor([0.0, 2.0, 1.0]), torch.tensor([4.0, 0.0, 1.0]), 5)
    assert torch.equal(way[:, 0], torch.arange(5.0)) and torch.equal(way[:, 1], 2 - torch.arange(5.0) / 2)


def test_spherical_worked_by_hand():
    """A quarter turn in three steps: 30 degrees each."""
    way = interpolate_spherical(torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0]), 4)
    angles = torch.deg2rad(torch.tensor([0.0, 30.0, 60.0, 90.0]))
    torch.testing.assert_close(way, 2 * torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1))


def test_the_arc_keeps_the_length_that_the_line_loses():
    a, b = draw_prior(2, 64, seeded(0))
    b = b * a.norm() / b.norm()
    torch.testing.assert_close(interpolate_spherical(a, b, 9).norm(dim=1), a.norm().expand(9))
    assert interpolate_straight(a, b, 9).norm(dim=1).min() < 0.8 * a.norm()


def test_the_arc_turns_at_a_constant_rate():
    a, b = draw_prior(2, 5, seeded(0)).double()
    b = b * a.norm() / b.norm()
    way = torch.nn.functional.normalize(interpolate_spherical(a, b, 7), dim=1)
    turns = torch.acos((way[1:] * way[:-1]).sum(dim=1))
    torch.testing.assert_close(turns, turns[0].expand(6))


def test_parallel_vectors_go_straight():
    for seed in range(50):  # rounding takes the product of some unit vectors over 1, where acos is not a number
        a = torch.randn(5, generator=seeded(seed))
        for b in (a, 3 * a, a + 1e-7):
            torch.testing.assert_close(interpolate_spherical(a, b, 4), interpolate_straight(a, b, 4))


@pytest.mark.parametrize("angle_rad", [1e-5, 1e-3, math.pi - 1e-2])
def test_nearly_parallel_and_nearly_opposite_vectors_are_finite(angle_rad):
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([math.cos(angle_rad), math.sin(angle_rad), 0.0])
    torch.testing.assert_close(interpolate_spherical(a, b, 5).norm(dim=1), torch.ones(5), atol=1e-4, rtol=0)


def test_vectors_without_an_arc_are_refused():
    a = torch.randn(5, generator=seeded(0))
    for pair in ((a, 0 * a), (0 * a, a)):
        with pytest.raises(ValueError, match="length 0 has no direction"):
            interpolate_spherical(*pair, 4)
    with pytest.raises(ValueError, match="opposite vectors"):
        interpolate_spherical(a, -2 * a, 4)


@both_ways
def test_other_shapes_are_refused(interpolate):
    for a, b, n in ((torch.ones(4), torch.ones(3), 5), (torch.ones(2, 4), torch.ones(2, 4), 5), (*torch.ones(2, 4), 1)):
        with pytest.raises(ValueError, match=r"need \(Z,\) twice"):
            interpolate(a, b, n)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_cuda():
    mu, log_var, digits, speakers = codes(180)
    found = fit(*(value.to("cuda") for value in (mu, log_var, digits, speakers)))
    z = found.draw(digits.to("cuda"), speakers.to("cuda"), seeded(0))  # a CPU rng serves too
    expected = fit(mu, log_var, digits, speakers).draw(digits, speakers, seeded(0))
    assert z.device.type == "cuda"
    torch.testing.assert_close(z.cpu(), expected, atol=1e-4, rtol=1e-4)
    assert found.draw_n(3, torch.Generator("cuda").manual_seed(0)).device.type == "cuda"
