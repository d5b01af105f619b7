"""What surrounds a GAN's two turns: who stands still, an exact average, readings of games whose state is known."""

import copy
import math

import pytest
import torch
from torch import nn

from course_lib.losses.adversarial import Game
from course_lib.models.gan import DenseGenerator
from course_lib.training.players import Players, Watch, average_decay_at, read_game, standing_still, update_average

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(7)) * torch.tensor([1.0, 0.3, 2.0]) + 0.5
TOY = Game(lambda index: (ROWS[index],), z_dim=4, loss="non_saturating")


def test_standing_still_leaves_frozen_weights_frozen():
    generator = DenseGenerator(n_features=3, n_hidden=(7,), z_dim=4)
    generator.layers[0].bias.requires_grad_(False)
    with pytest.raises(ZeroDivisionError), standing_still(generator):
        assert not any(weight.requires_grad for weight in generator.parameters())
        1 / 0  # noqa: B018
    assert [weight.requires_grad for weight in generator.parameters()] == [True, False, True, True]


def test_the_average_is_exact():
    """a_t = d a_{t-1} + (1 - d) w_t, unrolled; buffers are those of the last model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).double()
    average, start = copy.deepcopy(model), model[0].weight.detach().clone()
    seen = []
    for _ in range(6):
        for weight in model.parameters():
            weight.data = torch.randn_like(weight)
        model(torch.randn(5, 3).double())
        seen.append(model[0].weight.detach().clone())
        update_average(average, model, 0.9)
    expected = 0.9**6 * start + sum(0.1 * 0.9 ** (5 - i) * weight for i, weight in enumerate(seen))
    torch.testing.assert_close(average[0].weight.detach(), expected, atol=1e-14, rtol=0)
    assert torch.equal(average[1].running_mean, model[1].running_mean)
    assert average[1].num_batches_tracked == 6
    update_average(average, model, 0.0)
    torch.testing.assert_close(average.state_dict(), model.state_dict(), atol=0, rtol=0)
    for decay in (-0.1, 1.1):
        with pytest.raises(ValueError, match="need 0 .a copy. to 1"):
            update_average(average, model, decay)


def test_the_untrained_start_is_soon_forgotten():
    decays = [average_decay_at(step, 0.999) for step in range(1, 20_001)]
    assert decays[0] == 1 / 11 and decays == sorted(decays) and decays[-1] == 0.999
    assert math.prod(decays[:100]) < 1e-10 and 0.999**100 > 0.9
    assert average_decay_at(50, 0.0) == 0.0


def read(fake_scale: float, critic_weight: float) -> dict[str, float]:
    """Fakes of the real mean, spread fake_scale times as wide; a critic that scores the first feature."""

    class Copy(Game):
        def draw(self, generator, like, condition, rng):
            return 0.5 + fake_scale * torch.randn(len(like), 3, generator=rng) * torch.tensor([1.0, 0.3, 2.0])

    class First(nn.Module):
        def forward(self, x):
            return critic_weight * x[:, 0]

    players = Players(nn.Linear(1, 1), First())
    index = torch.arange(40)
    return {
        k: v.item() for k, v in read_game(Copy(TOY.clips_at), players, index, torch.Generator().manual_seed(0)).items()
    }


def test_readings_of_known_games():
    assert read(1.0, 1.0)["diversity"] == pytest.approx(1.0, abs=0.15)
    assert read(0.01, 1.0)["diversity"] == pytest.approx(0.01, rel=0.15)
    assert read(0.0, 1.0)["diversity"] == 0 and read(1.0, 0.0)["wins"] == 0.5
    above = (ROWS[:, 0] > 0.5).float().mean().item()
    assert read(0.0, 1.0)["wins"] == pytest.approx(above) and read(0.0, -1.0)["wins"] == pytest.approx(1 - above)


def test_alarms_wait_for_patience_and_are_said_once():
    watch, said = Watch(patience=3, most_wins=0.9, least_diversity=0.2), []
    wins = [0.95, 0.95, 0.5, 0.95, 0.9, 1.0, 1.0, 1.0, 0.2, 1.0, 1.0, 1.0]
    for n in range(1, len(wins) + 1):
        said.append(watch.alarms({"wins": wins[:n], "diversity": [0.5] * n}))
    assert [i for i, texts in enumerate(said) if texts] == [5, 11] and "has won" in said[5][0]
    (collapsed,) = watch.alarms({"wins": [0.5] * 3, "diversity": [0.2, 0.1, 0.0]})
    assert "diversity has collapsed" in collapsed
    with pytest.raises(ValueError, match="patience=0"):
        Watch(patience=0)
