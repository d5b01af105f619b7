"""The training loops of every notebook: a few visible steps, on any device, that survive being killed.

`fit` and `fit_gan` are meant to be read; `bookkeeping.Books` keeps what surrounds the steps: history, progress bar,
checkpoints; `players` what a game of two needs besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from course_lib.training.bookkeeping import Books
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.history import History, named_parts
from course_lib.training.parallel import average_gradients
from course_lib.training.players import (
    GameBooks,
    Players,
    Watch,
    average_decay_at,
    game_settings,
    standing_still,
    update_average,
)

if TYPE_CHECKING:
    from course_lib.losses.adversarial import Game
    from course_lib.training.moments import BestMoment


def fit(
    model: nn.Module,
    batch_loss: Callable[[nn.Module, Tensor, torch.Generator], dict[str, Tensor]],
    batches: Iterator[Tensor],
    *,
    n_steps: int,
    learning_rate: float,
    rng: torch.Generator,
    weight_decay: float = 0.01,
    n_warmup: int | None = None,
    clip_norm: float | None = None,
    checkpoints: Checkpoints | None = None,
    save_every_s: float = 20.0,
    save_every_steps: int | None = None,
    precision: str = "auto",
    device: torch.device | str | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    best: BestMoment | None = None,
    progress: bool = True,
) -> History:
    """Train `model` in place, and leave it in eval mode.

    Args:
        batch_loss: (model, index (B,), rng) -> the loss as named parts, scalars (means over clips); their sum is
            minimised.
        batches: endless (B,) index tensors, e.g. clips.BatchIndices.
        n_steps: steps in all, those before an interruption included.
        learning_rate: the peak, reached after n_warmup steps (a twentieth of all, unless given).
        rng: handed to batch_loss for all it draws.
        clip_norm: longest gradient allowed.
        checkpoints: where to save, and to go on from if there is something; make model, batches and rng in the same
            cell, and running it again after an interruption ends, on a CPU, in bitwise the same weights.
        save_every_s, save_every_steps: save after so many seconds, or after so many steps if that is given.
        precision: "fp32", "bf16", or "auto": bf16 where it is measurably faster.
        device: current_device() unless given.
        on_step: called as on_step(step, model) after each step; drawing in it does not disturb the training.
        best: scores the model at intervals and keeps the best weights; `best.put_into(model)` afterwards takes them.
    Returns: the history of all steps.
    Raises:  NonFiniteLoss: a loss is no longer a number; the last good checkpoint is kept.
             CheckpointError: the checkpoint belongs to another model or other settings, or can't be written.
    """
    n_warmup = max(1, n_steps // 20) if n_warmup is None else n_warmup
    settings = {"n_steps": n_steps, "learning_rate": learning_rate, "weight_decay": weight_decay, "n_warmup": n_warmup}
    settings |= {"clip_norm": clip_norm}
    with Books(model, batches, rng, settings, checkpoints, precision, device, progress, best) as books:
        optimizer, accelerator = books.optimizer, books.accelerator
        model.train()
        for step in books.steps_to_do():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, n_steps, n_warmup, learning_rate)
            index = books.next_batch()  # (B,)
            with accelerator.autocast():
                parts = named_parts(batch_loss(model, index, rng))  # 1. the loss of one batch, in named parts
            optimizer.zero_grad()  # 2. forget the last gradient
            accelerator.backward(sum(parts.values()))  # 3. the gradient of the parts' sum
            average_gradients(model.parameters(), accelerator)  # (with several processes)
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)  # 4. shorten the gradient if it is too long
            optimizer.step()  # 5. one step downhill
            books.note(step, parts)
            books.look_if_due(step)
            books.save_if_due(step, save_every_s, save_every_steps)
            if on_step is not None:
                books.call(on_step, step)
    model.eval()
    return books.history


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    game: Game,
    batches: Iterator[Tensor],
    *,
    n_steps: int,
    rng: torch.Generator,
    learning_rate: float | tuple[float, float] = 2e-4,
    betas: tuple[float, float] = (0.5, 0.99),
    weight_decay: float = 0.0,
    n_warmup: int = 0,
    anneal: bool = False,
    n_critic: int = 1,
    clip_norm: float | None = None,
    average_decay: float = 0.999,
    watch: Watch | None = Watch(),  # noqa: B008 (it is frozen)
    checkpoints: Checkpoints | None = None,
    save_every_s: float = 20.0,
    save_every_steps: int | None = None,
    precision: str = "auto",
    device: torch.device | str | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    best: BestMoment | None = None,
    progress: bool = True,
) -> tuple[nn.Module, History]:
    """Train two players in place, and leave them in eval mode. What is not explained here is as in `fit`.

    Args:
        game: the rules: an adversarial.Game, or anything with its methods.
        rng: handed to the game for all it draws.
        learning_rate: of both players, or (generator's, discriminator's).
        betas: of both Adams; a short memory of the gradient, since the other player keeps changing the task.
        n_warmup, anneal: rise for so many steps; then stay, or fall along half a cosine as in `fit`.
        n_critic: turns of the discriminator for each of the generator; the curves show the last one.
        clip_norm: longest gradient allowed, for each player.
        average_decay: how much of the generator's average each step keeps, in [0, 1).
        watch: when to look at the game and what is alarming; None: never look.
        on_step: called as on_step(step, average), with the generator's average in eval mode.
        best: scores the average.
    Returns: the generator's average, and the history of all steps: the discriminator's parts are named d_..., the
             generator's g_...; readings and alarms are the watch's.
    Raises:  NonFiniteLoss, CheckpointError as `fit`; GameOver: an alarm, if watch.stop.

    Taught in: notebooks/06_gans_on_spectrograms.ipynb
    """
    settings = {"n_steps": n_steps, "betas": list(betas), "weight_decay": weight_decay, "n_warmup": n_warmup}
    settings |= {"anneal": anneal, "n_critic": n_critic, "clip_norm": clip_norm, "average_decay": average_decay}
    settings = game_settings(game, learning_rate, watch, **settings)
    players = Players(generator, discriminator)
    with GameBooks(players, batches, rng, settings, checkpoints, precision, device, progress, best) as books:
        accelerator, (g_optimizer, d_optimizer) = books.accelerator, books.optimizers.values()
        players.train()
        for step in books.steps_to_do():
            rise = min(1.0, step / max(1, n_warmup))
            books.set_rate(learning_rate_at(step, n_steps, n_warmup, 1.0) if anneal else rise)
            for _ in range(n_critic):  # 1. the discriminator's turn: real or fake?
                index = books.next_batch()  # (B,)
                with standing_still(generator), accelerator.autocast():
                    d_parts = named_parts(game.discriminator_parts(generator, discriminator, index, rng, step))
                d_optimizer.zero_grad()
                accelerator.backward(sum(d_parts.values()))
                average_gradients(discriminator.parameters(), accelerator)
                if clip_norm is not None:
                    nn.utils.clip_grad_norm_(discriminator.parameters(), clip_norm)
                d_optimizer.step()

            with standing_still(discriminator), accelerator.autocast():  # 2. the generator's turn: be taken for real
                g_parts = named_parts(game.generator_parts(generator, discriminator, index, rng, step))
            g_optimizer.zero_grad()
            accelerator.backward(sum(g_parts.values()))
            average_gradients(generator.parameters(), accelerator)
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(generator.parameters(), clip_norm)
            g_optimizer.step()

            update_average(players.average, generator, average_decay_at(step, average_decay))
            books.note(step, {f"d_{k}": v for k, v in d_parts.items()} | {f"g_{k}": v for k, v in g_parts.items()})
            books.watch(step, game, watch)
            books.look_if_due(step)
            books.save_if_due(step, save_every_s, save_every_steps)
            if on_step is not None:
                books.call(on_step, step)
    players.eval()
    return players.average, books.history


def learning_rate_at(step: int, n_steps: int, n_warmup: int, peak: float) -> float:
    """Rise in a straight line for n_warmup steps, then fall along half a cosine to 0 (Loshchilov & Hutter 2017).

    Args:    step: 1 to n_steps."""
    if step <= n_warmup:
        return peak * step / n_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
