"""The rules of the game: losses by hand, slopes by hand and autograd, the optimal discriminator, whose turn it is."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from course_lib.losses.adversarial import (
    TERMS,
    Game,
    discriminator_parts,
    generator_parts,
    gradient_penalty,
    optimal_discriminator,
    r1_penalty,
    squared_slopes,
)
from course_lib.models.gan import ConvDiscriminator, DenseDiscriminator, DenseGenerator
from course_lib.models.wavegan import WaveDiscriminator

REAL, FAKE = torch.tensor([2.0, -0.5, 0.25]), torch.tensor([-3.0, 0.5, 1.5, 0.0])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    """Scores (B, C, T) by a weighted sum: its slope is the length of the weights, everywhere."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (x * self.weight).flatten(1).sum(dim=1)


# ---- losses


def test_cross_entropy_is_that_of_probabilities():
    p_real, p_fake = REAL.double().sigmoid(), FAKE.double().sigmoid()
    for loss in ("saturating", "non_saturating"):
        parts = discriminator_parts(REAL, FAKE, loss)
        assert list(parts) == ["real", "fake"]
        assert parts["real"].item() == pytest.approx(-p_real.log().mean().item(), rel=1e-6)
        assert parts["fake"].item() == pytest.approx(-(1 - p_fake).log().mean().item(), rel=1e-6)
    assert generator_parts(FAKE, "saturating")["fool"].item() == pytest.approx((1 - p_fake).log().mean().item())
    assert generator_parts(FAKE, "non_saturating")["fool"].item() == pytest.approx(-p_fake.log().mean().item())


def test_other_losses_by_hand():
    def values(loss):
        parts = discriminator_parts(REAL, FAKE, loss) | generator_parts(FAKE, loss)
        return [parts[name].item() for name in ("real", "fake", "fool")]

    assert values("least_squares") == pytest.approx([3.8125 / 6, 11.5 / 8, 17.5 / 8])
    assert values("hinge") == pytest.approx([2.25 / 3, 5.0 / 4, 0.25])
    assert values("wasserstein") == pytest.approx([-1.75 / 3, -0.25, 0.25])


def test_the_saturating_gradient_dies_where_the_generator_loses():
    """d/df: -sigmoid(f) against sigmoid(f) - 1, on a fake that is seen through (f = -8)."""
    slopes = {}
    for loss in ("saturating", "non_saturating"):
        f = torch.tensor([-8.0], requires_grad=True)
        (slopes[loss],) = torch.autograd.grad(generator_parts(f, loss)["fool"], f)
    assert slopes["saturating"].item() == pytest.approx(-1 / (1 + math.exp(8)), rel=1e-4)
    assert slopes["non_saturating"].item() == pytest.approx(-1 / (1 + math.exp(-8)), rel=1e-4)


@pytest.mark.parametrize("loss", list(TERMS))
def test_players_pull_a_fakes_score_in_opposite_directions(loss):
    f = torch.tensor([0.2, 0.6], requires_grad=True)
    (for_d,) = torch.autograd.grad(discriminator_parts(REAL, f, loss)["fake"], f)
    (for_g,) = torch.autograd.grad(generator_parts(f, loss)["fool"], f)
    assert (for_d > 0).all() and (for_g < 0).all()


def test_losses_add_up_by_their_weights():
    mixed = {"non_saturating": 1.0, "least_squares": 0.5}
    parts = discriminator_parts(REAL, FAKE, mixed) | generator_parts(FAKE, mixed)
    assert set(parts) == {f"{loss}_{part}" for part in ("real", "fake", "fool") for loss in mixed}
    alone = discriminator_parts(REAL, FAKE, "least_squares") | generator_parts(FAKE, "least_squares")
    for name, value in alone.items():
        assert parts[f"least_squares_{name}"].item() == pytest.approx(0.5 * value.item())
    assert parts["non_saturating_fool"] == generator_parts(FAKE, "non_saturating")["fool"]


def test_losses_of_half_precision_logits_are_computed_in_full():
    assert discriminator_parts(REAL.bfloat16(), FAKE.bfloat16(), "hinge")["fake"].dtype == torch.float32


@pytest.mark.parametrize("loss", ["mse", {}, {"hinge": 1.0, "bce": 1.0}])
def test_refuses_unknown_losses(loss):
    with pytest.raises(ValueError, match="need one of saturating, non_saturating"):
        generator_parts(FAKE, loss)
    with pytest.raises(ValueError, match="need one of saturating, non_saturating"):
        Game(lambda index: (index,), loss=loss)


def test_refuses_logits_of_another_shape():
    with pytest.raises(ValueError, match=r"real_logits: got shape \(3, 1\), need \(B,\)"):
        discriminator_parts(REAL[:, None], FAKE, "hinge")


# ---- the optimal discriminator


def test_the_optimal_discriminator_minimises_cross_entropy():
    """On a grid, the best logit for each point by itself is log p - log q; there, the loss is 2 log 2 - 2 JS."""
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    p, q = Normal(-1.0, 0.7).log_prob(x).exp(), Normal(1.2, 1.1).log_prob(x).exp()
    best = optimal_discriminator(p, q)
    logits = torch.zeros_like(x).requires_grad_()
    loss = (p * F.softplus(-logits) + q * F.softplus(logits)).sum()
    (slope,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(slope, 0.5 * (q - p))  # not yet the optimum
    logits = best.logit().requires_grad_()
    loss = (p * F.softplus(-logits) + q * F.softplus(logits)).sum()
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.abs().max() < 1e-12
    mix, dx = 0.5 * (p + q), 0.05
    js = 0.5 * (p * (p / mix).log() + q * (q / mix).log()).sum() * dx
    assert loss.item() * dx == pytest.approx(2 * math.log(2) - 2 * js.item(), abs=1e-4)


def test_least_squares_has_the_same_optimum_and_equal_densities_leave_a_guess():
    p, q = torch.tensor([0.2, 0.0, 3.0, 0.7]).double(), torch.tensor([0.6, 1.0, 1.0, 0.7]).double()
    best = optimal_discriminator(p, q)
    assert best.tolist() == pytest.approx([0.25, 0.0, 0.75, 0.5])
    score = best.clone().requires_grad_()
    real, fake, _ = TERMS["least_squares"]
    (slope,) = torch.autograd.grad((p * real(score) + q * fake(score)).sum(), score)
    assert slope.abs().max() < 1e-12
    guess = torch.zeros(4, dtype=torch.float64)  # the logit of 1/2
    assert sum(discriminator_parts(guess, guess, "non_saturating").values()).item() == pytest.approx(2 * math.log(2))


def test_a_trained_discriminator_comes_near_to_the_optimal_one():
    torch.manual_seed(0)
    p, q, rng = Normal(-1.0, 0.7), Normal(1.2, 1.1), seeded(1)
    critic = DenseDiscriminator(n_features=1, n_hidden=(24, 24))
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.01)
    for step in range(500):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - step / 500)
        real, fake = (d.loc + d.scale * torch.randn(400, 1, generator=rng) for d in (p, q))
        loss = sum(discriminator_parts(critic(real), critic(fake), "non_saturating").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.linspace(-2.5, 3.5, 61)
    expected = optimal_discriminator(p.log_prob(x).exp(), q.log_prob(x).exp())
    found = critic(x[:, None]).detach().sigmoid()
    assert (found - expected).abs().max() < 0.12 and (found - expected).abs().mean() < 0.03


# ---- penalties


@pytest.mark.parametrize("length", [1.0, 3.0, 0.25])
def test_penalties_of_a_linear_critic(length):
    """Its slope is `length` everywhere: (length - 1)^2 and length^2 / 2."""
    weight = torch.randn(3, 7, generator=seeded(0))
    critic = Linear(length * weight / weight.norm())
    real, fake = torch.randn(5, 3, 7), torch.randn(5, 3, 7)
    assert gradient_penalty(critic, real, fake, rng=seeded(1)).item() == pytest.approx((length - 1) ** 2, abs=1e-5)
    assert r1_penalty(critic, real).item() == pytest.approx(0.5 * length**2, rel=1e-5)


def test_a_critic_of_slope_one_pays_nothing_though_it_is_no_plane():
    """score = distance from a point: its slope is 1 everywhere else, whatever the direction."""

    class Distance(Linear):
        def forward(self, x):
            return (x - self.weight).flatten(1).norm(dim=1)

    critic = Distance(torch.full((3, 7), 9.0))
    real, fake = torch.randn(5, 3, 7, generator=seeded(0)), torch.randn(5, 3, 7, generator=seeded(1))
    penalty = gradient_penalty(critic, real, fake, rng=seeded(2))
    penalty.backward()
    assert penalty.item() < 1e-10 and critic.weight.grad.abs().max() < 1e-5


def test_the_gradient_penalty_pulls_a_linear_critic_towards_slope_one_and_reaches_nobody_else():
    """d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|."""

    class Square(Linear):  # its slope does depend on where it is taken
        def forward(self, x):
            return super().forward(x.square())

    critic = Linear(torch.randn(3, 7, generator=seeded(0), dtype=torch.float64))
    real, fake = (torch.randn(5, 3, 7, generator=seeded(n), dtype=torch.float64, requires_grad=True) for n in (1, 2))
    (gradient_penalty(critic, real, fake, rng=seeded(3)) + r1_penalty(critic, real)).backward()
    weight = critic.weight.detach()
    length = weight.norm()
    torch.testing.assert_close(critic.weight.grad, 2 * (length - 1) * weight / length + weight)  # R1's is w itself
    bent = Square(critic.weight.detach())
    (gradient_penalty(bent, real, fake, rng=seeded(3)) + r1_penalty(bent, real)).backward()
    assert bent.weight.grad.abs().max() > 0 and real.grad is None and fake.grad is None


def test_r1_and_its_gradient_are_those_done_by_hand():
    """score = sum w x^2: slope 2 w x, R1 = 2 mean |w x|^2, dR1/dw = 4 w mean x^2."""

    class Square(Linear):
        def forward(self, x):
            return super().forward(x.square())

    critic = Square(torch.randn(3, 4, generator=seeded(0)))
    x = torch.randn(5, 3, 4, generator=seeded(1))
    penalty = r1_penalty(critic, x)
    assert penalty.item() == pytest.approx(2 * (critic.weight * x).square().sum(dim=(1, 2)).mean().item(), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(critic.weight.grad, 4 * critic.weight.detach() * x.square().mean(dim=0))


def test_slopes_are_those_of_each_clip_alone():
    torch.manual_seed(0)
    critic = DenseDiscriminator(n_features=6, n_hidden=(9, 5))
    x = torch.randn(4, 6)
    for row, found in zip(x, squared_slopes(critic, x), strict=True):
        alone = torch.autograd.functional.jacobian(lambda r: critic(r[None])[0], row)
        assert found.item() == pytest.approx(alone.square().sum().item(), rel=1e-5)


COURSE_CRITICS = {
    "picture": (lambda: ConvDiscriminator(7, 3, 12, 20, n_channels=(4, 6), n_features=5, spectral=False), (3, 12, 20)),
    "wave": (lambda: WaveDiscriminator(7, 3, 90, n_channels=(4, 3), n_kernel=8, n_features=5), (3, 90)),
    "bounded wave": (lambda: WaveDiscriminator(7, 3, 90, (4, 3), n_kernel=8, n_features=5, spectral=True), (3, 90)),
}


@pytest.mark.parametrize("kind", list(COURSE_CRITICS))
def test_penalties_of_the_courses_own_critics_are_those_of_finite_differences(kind):
    torch.manual_seed(0)
    maker, shape = COURSE_CRITICS[kind]
    critic = maker().double().eval()
    told = torch.tensor([4, 0, 6]), torch.tensor([2, 0, 1])
    x = 0.5 * torch.randn(shape, generator=seeded(1), dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    with torch.no_grad():
        for place in range(x[0].numel()):
            nudge = torch.zeros(x[0].numel(), dtype=torch.float64)
            nudge[place] = 1e-5
            nudge = nudge.view(shape[1:])
            squares += ((critic(x + nudge, *told) - critic(x - nudge, *told)) / 2e-5).square()
    assert r1_penalty(critic, x, told).item() == pytest.approx(0.5 * squares.mean().item(), rel=1e-4)
    penalty = gradient_penalty(critic, x, x, told, rng=seeded(2))  # real = fake: the point between is known
    assert penalty.item() == pytest.approx((squares.sqrt() - 1).square().mean().item(), rel=1e-4)
    # And the gradient of R1 with regard to the weights, along one direction.
    critic.zero_grad()
    r1_penalty(critic, x, told).backward()
    weights = [weight for weight in critic.parameters() if weight.grad is not None]
    steps = [torch.randn(weight.shape, generator=seeded(3), dtype=torch.float64) for weight in weights]
    slope = sum((weight.grad * step).sum() for weight, step in zip(weights, steps, strict=True)).item()
    values = []
    for way in (1e-6, -2e-6):
        with torch.no_grad():
            for weight, step in zip(weights, steps, strict=True):
                weight += way * step
        values.append(r1_penalty(critic, x, told).item())
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-3)


def test_the_gradient_penalty_looks_between_real_and_fake():
    seen = []

    class Spy(Linear):
        def forward(self, x):
            seen.append(x.detach())
            return super().forward(x)

    real, fake = torch.zeros(200, 2, 3), torch.ones(200, 2, 3)
    gradient_penalty(Spy(torch.ones(2, 3)), real, fake, rng=seeded(0))
    where = seen[0][:, 0, 0]
    assert torch.equal(seen[0], where[:, None, None].expand(200, 2, 3))  # on the line, one point a pair
    assert 0 <= where.min() < 0.05 and 0.95 < where.max() <= 1 and abs(where.mean() - 0.5) < 0.08


def test_a_flat_critic_gives_a_finite_gradient():
    critic = Linear(torch.zeros(2, 3))
    gradient_penalty(critic, torch.randn(4, 2, 3), torch.randn(4, 2, 3), rng=seeded(0)).backward()
    assert critic.weight.grad.isfinite().all()


def test_penalties_pass_the_condition_on_and_stay_in_full_precision():
    class Told(Linear):
        def forward(self, x, scale):
            kinds.add(x.dtype)
            return super().forward(x) * scale

    kinds, critic = set(), Told(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))
    x, scale = torch.randn(4, 3, 2).bfloat16(), torch.tensor([1.0, 2.0, 3.0, 4.0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert r1_penalty(critic, x, (scale,)).item() == pytest.approx(0.5 * 7.5)
        assert gradient_penalty(critic, x, x, (scale,), rng=seeded(0)).item() == pytest.approx(3.5, rel=1e-4)
    assert kinds == {torch.float32}


def test_the_gradient_penalty_refuses_other_shapes():
    with pytest.raises(ValueError, match="need the same shape"):
        gradient_penalty(Linear(torch.ones(3)), torch.ones(4, 3), torch.ones(5, 3), rng=seeded(0))


# ---- whose turn it is


def players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return DenseGenerator(n_features=3, n_hidden=(7,), z_dim=4), DenseDiscriminator(n_features=3, n_hidden=(5,))


def rows_at(index: torch.Tensor) -> tuple[torch.Tensor]:
    return (torch.randn(20, 3, generator=seeded(9))[index],)


@pytest.mark.parametrize("extra", [{}, {"gradient_penalty": 10.0}, {"r1": 1.0, "r1_every": 1}])
def test_no_gradient_crosses_on_the_discriminators_turn(extra):
    generator, critic = players()
    game = Game(rows_at, z_dim=4, **extra)
    sum(game.discriminator_parts(generator, critic, torch.arange(6), seeded(1), 1).values()).backward()
    assert all(weight.grad is None for weight in generator.parameters())
    assert all(weight.grad is not None for weight in list(critic.parameters())[:-1])


def test_r1_comes_every_so_many_steps_and_as_much_stronger():
    generator, critic = players()
    game = Game(rows_at, z_dim=4, r1=0.5, r1_every=4)
    index = torch.tensor([3, 1, 4])
    found = [game.discriminator_parts(generator, critic, index, seeded(1), step)["r1"].item() for step in range(1, 9)]
    expected = 0.5 * 4 * r1_penalty(critic, rows_at(index)[0]).item()
    assert found == pytest.approx([0, 0, 0, expected] * 2)


def test_the_gradient_penalty_has_its_weight():
    generator, critic = players()
    index = torch.arange(5)
    light, heavy = (
        Game(rows_at, z_dim=4, gradient_penalty=w).discriminator_parts(generator, critic, index, seeded(1), 1)
        for w in (1.0, 10.0)
    )
    assert heavy["gradient_penalty"].item() == pytest.approx(10 * light["gradient_penalty"].item())
    assert heavy["real"] == light["real"]


def test_both_players_hear_the_labels():
    class Told(nn.Module):
        def forward(self, x, digits, speakers):
            heard.append((digits.tolist(), speakers.tolist()))
            return x[..., None] if x.shape[1] == 4 else x.sum(dim=1)

    heard: list = []
    game = Game(lambda index: (torch.zeros(len(index), 3), index, 2 * index), z_dim=4)
    told = Told()
    with pytest.raises(ValueError, match="logits: got shape"):  # Told paints no clips of 3, but it has heard
        game.generator_parts(told, told, torch.tensor([5, 2]), seeded(0), 1)
    assert heard == [([5, 2], [10, 4])] * 2


@pytest.mark.parametrize("changes", [{"r1": -1.0}, {"r1_every": 0}, {"gradient_penalty": -0.1}, {"z_dim": 0}])
def test_the_game_refuses(changes):
    with pytest.raises(ValueError, match="need weights >= 0"):
        Game(rows_at, **changes)
