import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from course_lib.losses.teacher_forcing import mel_rnn_parts
from course_lib.models.mel_rnn import SILENT, MelRNN, frames_of_speech
from course_lib.sampling.frames import draw_components, draw_frames

SIZES = {"n_digits": 3, "n_speakers": 2, "n_principal": 5, "n_hidden": 7, "n_mixtures": 4, "n_embed": 6}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MelRNN(**SIZES, n_mels=9, n_frames=11).start_at(pictures(), torch.full((8,), 11))


def pictures(n_clips=8, seed=1):
    return torch.rand(n_clips, 9, 11, generator=rng(seed)) * 2 - 1


DIGITS, SPEAKERS = torch.tensor([0, 2, 1, 1]), torch.tensor([1, 0, 0, 1])


def test_shapes_weights_that_sum_to_one_and_sigmas_above_the_floor(model):
    said = model(torch.randn(4, 10, 5, generator=rng()), DIGITS, SPEAKERS)
    assert said.log_weights.shape == (4, 10, 4) and said.means.shape == said.sigmas.shape == (4, 10, 4, 5)
    assert said.stop_logits.shape == (4, 10) and said.state.shape == (1, 4, 7)
    torch.testing.assert_close(said.log_weights.exp().sum(dim=2), torch.ones(4, 10))
    assert bool((said.sigmas >= 0.1).all())


def test_with_all_coordinates_pictures_come_back():
    x = pictures(40)
    model = MelRNN(3, 2, n_principal=9, n_mels=9, n_frames=11).start_at(x, torch.full((40,), 11))
    torch.testing.assert_close(model.pictures(model.coordinates(x)), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.left_over, torch.zeros(9), atol=1e-5, rtol=0)
    assert float(model.coordinates(x).square().mean()) == pytest.approx(1, rel=1e-4)


def test_what_coordinates_leave_out_is_put_back_as_loud_as_it_was():
    x = pictures(400) * 0.3
    model = MelRNN(3, 2, n_principal=5, n_mels=9, n_frames=11).start_at(x, torch.full((400,), 11))
    told = model.coordinates(x)
    plain, noisy = model.pictures(told), model.pictures(told, rng())
    rms = (noisy - plain).square().mean(dim=(0, 2)).sqrt()
    torch.testing.assert_close(rms, model.left_over, rtol=0.05, atol=0)
    torch.testing.assert_close((x - plain).square().mean(dim=(0, 2)).sqrt(), model.left_over, rtol=1e-3, atol=0)


def test_only_frames_of_speech_are_fitted():
    x = pictures()
    x[:, :, 6:] = 5.0  # would pull the mean far up
    assert float(MelRNN(**SIZES, n_mels=9, n_frames=11).start_at(x, torch.full((8,), 6)).mean.abs().max()) < 1


def test_nll_is_that_of_torch_distributions(model):
    x, n_frames = pictures(4, seed=2), torch.tensor([11, 3, 1, 7])
    parts = mel_rnn_parts(model, x, n_frames, DIGITS, SPEAKERS, rng(), dither=0.0)
    frames = model.coordinates(x)
    previous = torch.cat([model.silent_frame().expand(4, 1, -1), frames[:, :-1]], dim=1)
    said = model(previous, DIGITS, SPEAKERS)
    mixture = MixtureSameFamily(Categorical(logits=said.log_weights), Independent(Normal(said.means, said.sigmas), 1))
    inside = torch.arange(11) < n_frames.unsqueeze(1)
    wanted = -mixture.log_prob(frames)[inside].sum() / inside.sum() / 5
    torch.testing.assert_close(parts["nll"], wanted)
    chance = torch.sigmoid(said.stop_logits)
    right = torch.where(torch.arange(11) == n_frames.unsqueeze(1) - 1, chance, 1 - chance)[inside]
    torch.testing.assert_close(parts["stop"], -right.log().mean())


def test_no_frame_sees_itself_or_what_comes_later(model):
    previous = torch.randn(4, 10, 5, generator=rng())
    changed = previous.clone()
    changed[:, 6] += 1
    a, b = model(previous, DIGITS, SPEAKERS), model(changed, DIGITS, SPEAKERS)
    assert torch.equal(a.means[:, :6], b.means[:, :6]) and torch.equal(a.stop_logits[:, :6], b.stop_logits[:, :6])
    assert not torch.equal(a.means[:, 6], b.means[:, 6])


def test_the_likelihood_of_a_frame_depends_on_no_later_one(model):
    x = pictures(4, seed=2)
    changed = x.clone()
    changed[:, :, 5:] *= -1
    ends = torch.full((4,), 5)
    a, b = (mel_rnn_parts(model, y, ends, DIGITS, SPEAKERS, rng()) for y in (x, changed))
    assert a["nll"] == b["nll"] and a["stop"] == b["stop"]


def test_one_frame_at_a_time_says_what_all_at_once_says(model):
    previous, state, means = torch.randn(4, 10, 5, generator=rng()), None, []
    for frame in previous.split(1, dim=1):
        said = model(frame, DIGITS, SPEAKERS, state)
        state = said.state
        means.append(said.means)
    torch.testing.assert_close(torch.cat(means, dim=1), model(previous, DIGITS, SPEAKERS).means)


def test_on_frames_that_never_change_floor_and_dither_bound_the_density(model):
    still = torch.full((4, 9, 11), SILENT)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(600):
        loss = mel_rnn_parts(model, still, torch.full((4,), 11), DIGITS, SPEAKERS, rng(), dither=0.1)["nll"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = math.log(0.1) + 0.5 * math.log(2 * math.pi)  # a Gaussian of sigma 0.1 at its very mean
    assert best < loss.item() < 0
    bare = MelRNN(**SIZES, n_mels=9, n_frames=11, sigma_floor=0.0).start_at(pictures(), torch.full((8,), 11))
    optimizer, lowest = torch.optim.Adam(bare.parameters(), 0.05), math.inf
    for _ in range(600):
        bare_loss = mel_rnn_parts(bare, still, torch.full((4,), 11), DIGITS, SPEAKERS, rng(), dither=0.0)["nll"]
        optimizer.zero_grad()
        bare_loss.backward()
        optimizer.step()
        lowest = min(lowest, bare_loss.item())
    assert lowest < best - 1  # beyond any density that noise allows; then its ever steeper slopes throw it about


def test_temperature_0_is_the_mean_of_the_likeliest_component(model):
    said = model(torch.randn(4, 3, 5, generator=rng()), DIGITS, SPEAKERS)
    best = said.log_weights[:, -1].argmax(dim=1)
    frame = draw_components(said, rng(), temperature=0)
    assert torch.equal(frame, torch.stack([said.means[b, -1, best[b]] for b in range(4)]))


def test_draws_follow_the_mixture(model):
    said = model(torch.randn(1, 2, 5, generator=rng()), DIGITS[:1], SPEAKERS[:1])
    many = type(said)(*(x.expand(20_000, *x.shape[1:]) for x in said[:4]), said.state)
    drawn = draw_components(many, rng(3), temperature=1.0)  # (20000, P)
    weights = said.log_weights[0, -1].exp().unsqueeze(1)  # (K, 1)
    mean = (weights * said.means[0, -1]).sum(dim=0)
    second = (weights * (said.means[0, -1].square() + said.sigmas[0, -1].square())).sum(dim=0)
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), second - mean.square(), atol=0, rtol=0.06)


def test_same_seed_same_speech_another_seed_another(model):
    a, b, c = (draw_frames(model, DIGITS, SPEAKERS, rng(seed), 1.0)[0] for seed in (7, 7, 8))
    assert torch.equal(a, b) and not torch.equal(a, c)
    still = [draw_frames(model, DIGITS, SPEAKERS, rng(seed), 0.0)[0] for seed in (7, 8)]
    assert torch.equal(*still)


def test_the_end_of_clip_output_ends_the_clip(model):
    stop = model.to_mixture[2].bias
    with torch.no_grad():
        stop[-1] = 50.0
    pictures, n_said = draw_frames(model, DIGITS, SPEAKERS, rng(), 1.0)
    assert n_said.tolist() == [1] * 4 and pictures.shape == (4, 9, 11)
    assert (pictures[:, :, 1:] == SILENT).all() and (pictures[:, :, 0] != SILENT).any()
    with torch.no_grad():
        stop[-1] = -50.0
    pictures, n_said = draw_frames(model, DIGITS, SPEAKERS, rng(), 1.0)
    assert n_said.tolist() == [11] * 4 and (pictures[:, :, -1] != SILENT).any()


def test_a_prime_is_kept_and_gone_on_from():
    torch.manual_seed(0)
    model = MelRNN(3, 2, n_principal=9, n_hidden=7, n_mels=9, n_frames=11).start_at(pictures(40), torch.full((40,), 11))
    with torch.no_grad():
        model.to_mixture[2].bias[-1] = -50.0
    prime = pictures(4, seed=5)[:, :, :6]
    primed, n_said = draw_frames(model, DIGITS, SPEAKERS, rng(), 1.0, prime=prime)
    torch.testing.assert_close(primed[:, :, :6], prime, atol=1e-5, rtol=0)
    other, _ = draw_frames(model, DIGITS, SPEAKERS, rng(), 1.0, prime=-prime)
    assert n_said.tolist() == [11] * 4 and not torch.equal(primed[:, :, 6:], other[:, :, 6:])
    frames = model.coordinates(prime)
    said = model(torch.cat([model.silent_frame().expand(4, 1, -1), frames], dim=1), DIGITS, SPEAKERS)
    first = model.pictures(draw_components(said, rng(), 0).unsqueeze(1))
    torch.testing.assert_close(draw_frames(model, DIGITS, SPEAKERS, rng(), 0, prime=prime)[0][:, :, 6:7], first)


def test_frames_of_speech_hold_the_recording_and_the_one_after():
    assert frames_of_speech(torch.tensor([1, 128, 129, 8192]), 128, 64).tolist() == [2, 2, 3, 64]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m: m(torch.zeros(4, 3, 6), DIGITS, SPEAKERS), "previous"),
        (lambda m: m.coordinates(torch.zeros(4, 8, 3)), "unit_mel"),
        (lambda m: m(torch.zeros(4, 3, 5), DIGITS + 2, SPEAKERS), "digit"),
        (lambda m: mel_rnn_parts(m, pictures(4), torch.tensor([1, 2, 3, 12]), DIGITS, SPEAKERS, rng()), "n_frames"),
        (lambda m: mel_rnn_parts(m, pictures(4), torch.tensor([1, 2, 3]), DIGITS, SPEAKERS, rng()), "n_frames"),
        (lambda m: mel_rnn_parts(m, pictures(4), DIGITS + 1, DIGITS, SPEAKERS, rng(), dither=-1.0), "dither"),
        (lambda m: draw_frames(m, DIGITS, SPEAKERS, rng(), -0.1), "temperature"),
        (lambda m: draw_frames(m, DIGITS, SPEAKERS, rng(), 1.0, prime=pictures(4)), "prime"),
        (lambda m: MelRNN(n_principal=70), "n_principal"),
    ],
)
def test_bad_input_is_refused(model, wrong, says):
    with pytest.raises(ValueError, match=says):
        wrong(model)
