"""The best moment: kept beside the last one, over interruptions too, and never in the way of the training."""

import math

import pytest
import torch
from torch import nn

from course_lib.clips.clips import BatchIndices
from course_lib.losses.adversarial import Game
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit, fit_gan
from course_lib.training.moments import BestMoment
from course_lib.training.storage import CheckpointError

X = torch.randn(30, 3, generator=torch.Generator().manual_seed(5))


def squared(model: nn.Module, index: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
    noise = torch.randn(len(index), 3, generator=rng)
    return {"error": (model(X[index]) - X[index].flip(1) + 0.1 * noise).square().mean()}


def scored_as(values: dict[int, float], every: int = 3, largest: bool = False) -> BestMoment:
    """Scores that come in a given order, whatever the model is."""
    order = iter(values.values())
    return BestMoment(lambda model: next(order), every=every, name="a test's score", largest=largest)


def train(best: BestMoment | None, n_steps: int = 10, checkpoints: Checkpoints | None = None, **more):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 3))
    rng = torch.Generator().manual_seed(4)
    settings = dict(learning_rate=0.01, precision="fp32", progress=False, device="cpu", save_every_steps=1)
    fit(model, squared, BatchIndices(30, 7, rng), n_steps=n_steps, rng=rng, best=best, checkpoints=checkpoints,
        **settings, **more)  # fmt: skip
    return model


def weights_at(step: int) -> dict[str, torch.Tensor]:
    """What the training's weights were after a step, without any moment."""
    found = {}

    def keep(now: int, model: nn.Module) -> None:
        if now == step:
            found.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    train(None, on_step=keep)
    return found


def assert_equal(weights: dict, others: dict) -> None:
    assert weights.keys() == others.keys() and len(weights) == 4
    for name, tensor in weights.items():
        assert torch.equal(tensor, others[name]), name


@pytest.mark.parametrize("largest, wanted", [(False, 6), (True, 9)])
def test_the_best_of_the_moments_is_kept_and_the_last_step_too(largest, wanted):
    best = scored_as({3: 0.5, 6: 0.2, 9: 0.9, 10: 0.3}, largest=largest)
    model = train(best)
    assert best.steps == [3, 6, 9, 10] and best.scores == [0.5, 0.2, 0.9, 0.3]  # every third, and the last
    assert best.step == wanted and best.best_score == {6: 0.2, 9: 0.9}[wanted]
    assert_equal(model.state_dict(), weights_at(10))  # as the last step left it; scoring disturbed nothing
    best.put_into(model)
    assert_equal(model.state_dict(), weights_at(wanted))
    assert not model.training
    assert str(best) == (
        f"best of 4 moments by a test's score, at step {wanted} ({best.best_score}; the last, at step 10: 0.3)"
    )


def test_the_earliest_of_equals_counts_and_nan_never_does():
    best = scored_as({3: math.nan, 6: 0.4, 9: 0.4, 10: math.nan})
    model = train(best)
    assert best.step == 6
    best.put_into(model)
    assert_equal(model.state_dict(), weights_at(6))
    hopeless = scored_as({3: math.nan, 6: math.nan, 9: math.nan, 10: math.nan})
    model = train(hopeless)
    with pytest.raises(ValueError, match="no moment had a score that is a number"):
        hopeless.put_into(model)


def test_it_is_scored_in_eval_mode_without_gradients_and_draws_disturb_nothing():
    modes = []

    def score(model: nn.Module) -> float:
        modes.append((model.training, torch.is_grad_enabled()))
        return torch.rand(()).item()  # torch's own generator, which dropout draws from

    assert_equal(train(BestMoment(score, every=2, name="chance")).state_dict(), weights_at(10))
    assert modes == [(False, False)] * 5


@pytest.mark.parametrize("killed_after", [3, 5, 9])
def test_a_resumed_training_remembers_its_best_moment_bitwise(tmp_path, killed_after):
    class Killed(Exception):
        pass

    def kill(step: int, model: nn.Module) -> None:
        if step == killed_after:
            raise Killed

    def error(model: nn.Module) -> float:
        return (model(X) - X).abs().sum().item()  # not what it learns, so the best moment lies on the way

    whole, checkpoints = BestMoment(error, every=3, name="error"), Checkpoints(tmp_path / "run")
    wanted = train(whole)
    with pytest.raises(Killed):
        train(BestMoment(error, every=3, name="error"), checkpoints=checkpoints, on_step=kill)
    again = BestMoment(error, every=3, name="error")
    model = train(again, checkpoints=checkpoints)
    assert_equal(model.state_dict(), wanted.state_dict())
    assert (again.steps, again.scores) == (whole.steps, whole.scores)
    assert_equal(again.weights, whole.weights)
    read = BestMoment(error, every=3, name="error")  # a second run of the same cell trains nothing
    train(read, checkpoints=checkpoints)
    assert read.steps == whole.steps and torch.equal(read.weights["0.weight"], whole.weights["0.weight"])


def test_another_way_of_choosing_is_another_run(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run")
    train(scored_as({3: 1, 6: 2, 9: 3, 10: 4}), checkpoints=checkpoints)
    with pytest.raises(CheckpointError, match="other settings:(.|\n)*every"):
        train(scored_as({4: 1, 8: 2, 10: 3}, every=4), checkpoints=checkpoints)


def test_in_a_game_the_average_is_scored_and_kept():
    class Line(nn.Module):
        config = {}

        def __init__(self, z_dim: int):
            super().__init__()
            self.z_dim, self.layer = z_dim, nn.Linear(z_dim, 3)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.layer(z)

    class Critic(nn.Module):
        config = {}

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x).squeeze(1)

    seen = {}

    def score(average: nn.Module) -> float:
        seen[len(seen)] = average.layer.weight.clone()
        return {0: 3.0, 1: 1.0, 2: 2.0}[len(seen) - 1]

    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    best = BestMoment(score, every=4, name="a test's score")
    game = Game(lambda index: (X[index],), z_dim=2)
    average, _ = fit_gan(
        Line(2), Critic(), game, BatchIndices(30, 6, rng), n_steps=9, rng=rng, best=best, watch=None,
        precision="fp32", device="cpu", progress=False,
    )  # fmt: skip
    assert best.steps == [4, 8, 9] and best.step == 8
    assert torch.equal(average.layer.weight, seen[2])
    best.put_into(average)
    assert torch.equal(average.layer.weight, seen[1]) and not torch.equal(seen[1], seen[2])


def test_it_refuses_what_can_never_be():
    with pytest.raises(ValueError, match="every: got 0"):
        BestMoment(lambda model: 0.0, every=0, name="nothing")
    with pytest.raises(ValueError, match="no moment yet; pass this as best="):
        _ = BestMoment(lambda model: 0.0, every=1, name="nothing").step
