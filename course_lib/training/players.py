"""What surrounds the two turns of a GAN's step: the players, the generator's average, a watch on the game."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from course_lib.training.bookkeeping import Books
from course_lib.training.checkpoint import describe_model


class GameOver(RuntimeError):
    """An alarm of the watch, where it was asked to stop the training."""


@dataclass(frozen=True)
class Watch:
    """When to look at the game, and what is alarming: so many readings in a row beyond a limit."""

    every: int = 50  # steps between readings
    patience: int = 5  # readings in a row
    most_wins: float = 0.995  # share of (real, fake) pairs that the discriminator ranks rightly: it has won
    least_diversity: float = 0.1  # distance of two fakes of the same label, that of two real clips being 1: collapse
    stop: bool = False  # raise GameOver at an alarm; else it is printed, and kept in history.alarms

    def __post_init__(self) -> None:
        if min(self.every, self.patience) < 1:
            raise ValueError(f"got every={self.every}, patience={self.patience}; need at least 1 each")

    def alarms(self, readings: dict[str, list[float]]) -> list[str]:
        """What has just become alarming: said once, when patience runs out."""
        said = []
        for name, wrong, text in (
            ("wins", lambda v: v >= self.most_wins, WON.format(self.most_wins)),
            ("diversity", lambda v: v <= self.least_diversity, COLLAPSED.format(self.least_diversity)),
        ):
            bad = [wrong(value) for value in readings[name][-self.patience - 1 :]]
            if len(bad) >= self.patience and all(bad[-self.patience :]) and (len(bad) == self.patience or not bad[0]):
                said.append(text)
        return said


WON = (
    "the discriminator has won: it ranks {:.1%} of all pairs or more rightly, and the generator has little left to "
    "learn from. Slow it down: spectral=True, an R1 penalty, a lower learning rate for it."
)
COLLAPSED = (
    "diversity has collapsed: two noises give sounds nearer to each other than {} of the distance of two real clips. "
    "Give both players the same learning rate if the generator's is higher, slow the discriminator down if it wins, "
    "and train from an earlier checkpoint or anew."
)


class Players(nn.Module):
    """Both players, and the average of the generator's weights, which speaks for it (Yazici et al. 2019)."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.config = {name: describe_model(player) for name, player in self.named_children()}
        for described in self.config.values():
            del described["shapes"]  # named with the whole

    def train(self, mode: bool = True) -> Players:
        super().train(mode)
        self.average.eval()
        return self


def average_decay_at(step: int, decay: float) -> float:
    """Share of the old average that is kept at a step: small at first, so that the untrained start is soon forgotten.

    Args:    step: 1, 2, ...; decay: the share in the long run, in [0, 1); 0 keeps no average."""
    return min(decay, step / (step + 10))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, weight by weight; buffers (batch norm's) are copied.

    Raises: ValueError for a decay outside [0, 1]."""
    if not 0 <= decay <= 1:
        raise ValueError(f"decay: got {decay}, need 0 (a copy) to 1 (nothing changes)")
    mine, theirs = list(average.parameters()), [weight.detach() for weight in model.parameters()]
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for buffer, new in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(new)


@contextmanager
def standing_still(player: nn.Module) -> Iterator[None]:
    """No gradient reaches this player's weights, whatever is computed with them inside."""
    moving = [weight for weight in player.parameters() if weight.requires_grad]
    for weight in moving:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in moving:
            weight.requires_grad_(True)


@torch.no_grad()
def read_game(game: object, players: Players, index: Tensor, rng: torch.Generator) -> dict[str, float]:
    """How the game stands, on one batch: both players in eval mode while it is read.

    Args:    game: an adversarial.Game; index: (B,), B >= 2.
    Returns: wins: share of all (real, fake) pairs in which the real clip scores higher, a tie being half; 0.5 is even.
             diversity: root mean squared distance of two fakes with the same label, over that of two real clips."""
    was_training = players.training
    players.eval()
    real, *told = game.clips_at(index)
    fake, other = (game.draw(players.generator, real, tuple(told), rng).float() for _ in range(2))
    real_scores, fake_scores = (players.discriminator(game.seen(x, rng), *told) for x in (real, fake))
    margin = real_scores[:, None] - fake_scores[None, :]  # (B, B), of each critic if there are several
    wins = ((margin > 0).float() + 0.5 * (margin == 0).float()).mean()
    # Any two clips differ by twice the variance.
    spread = 2 * real.float().var(dim=0).sum()
    diversity = ((fake - other).square().flatten(1).sum(dim=1).mean() / spread.clamp_min(1e-12)).sqrt()
    players.train(was_training)
    return {"wins": wins, "diversity": diversity}


class GameBooks(Books):
    """The books of a training with two players: two optimizers, and the readings of the watch."""

    model: Players

    def _make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        rates = dict(zip(("generator", "discriminator"), self.settings["learning_rate"], strict=True))
        betas = tuple(self.settings["betas"])
        return {name: self._adamw(getattr(self.model, name), rate, betas=betas) for name, rate in rates.items()}

    def next_batch(self) -> Tensor:
        self.last_index = super().next_batch()
        return self.last_index

    def set_rate(self, factor: float) -> None:
        """Each player's learning rate is its peak times factor."""
        for optimizer, peak in zip(self.optimizers.values(), self.settings["learning_rate"], strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor

    def watch(self, step: int, game: object, watch: Watch | None) -> None:
        """Read how the game stands, if it is time to; say so if it stands badly."""
        if watch is None or step % watch.every or len(self.last_index) < 2:
            return
        rng = torch.Generator(self.rng.device).manual_seed(self.rng.initial_seed() + step)  # disturbs nothing else
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            reading = read_game(game, self.model, self.last_index, rng)
        values = self.accelerator.reduce(torch.stack(list(reading.values())), "mean").tolist()
        for name, value in {"step": step, **dict(zip(reading, values, strict=True))}.items():
            self.history.readings.setdefault(name, []).append(value)
        for text in watch.alarms(self.history.readings):
            self.history.alarms.append((step, text))
            if watch.stop:
                raise GameOver(f"training stopped at step {step} of {self.n_steps}: {text}")
            if self.progress:
                self.bar.write(f"Step {step}: {text}")

    def call(self, on_step: Callable[[int, nn.Module], None], step: int) -> None:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            on_step(step, self.model.average)
        self.model.train()

    def _bar_text(self, row: dict[str, float]) -> dict[str, str]:
        sums = {side: sum(v for name, v in row.items() if name.startswith(f"{side}_")) for side in "gd"}
        return {side: f"{value:.3f}" for side, value in sums.items()}

    def _state(self) -> dict:
        return super()._state() | {"readings": self.history.readings, "alarms": self.history.alarms}

    def _restore(self, found: dict) -> None:
        super()._restore(found)
        self.history.readings = found["readings"]
        self.history.alarms = [tuple(alarm) for alarm in found["alarms"]]


def game_settings(game: object, learning_rate: float | tuple[float, float], watch: Watch | None, **more) -> dict:
    """What a checkpoint remembers of how a game was trained.

    Raises: ValueError for settings that no training can have."""
    both = learning_rate if isinstance(learning_rate, tuple | list) else (learning_rate, learning_rate)
    if len(both) != 2 or more["n_critic"] < 1 or not 0 <= more["average_decay"] < 1:
        raise ValueError(
            f"got learning_rate={learning_rate}, n_critic={more['n_critic']}, average_decay={more['average_decay']}; "
            "need one rate or (generator's, discriminator's), at least 1, and a share in [0, 1)"
        )
    watched = None if watch is None else asdict(watch)
    return {"learning_rate": list(both), "watch": watched, "game": getattr(game, "settings", None), **more}
