"""The training loop of every notebook: five visible steps, on any device, that survives being killed.

`fit` is meant to be read; `bookkeeping.Books` keeps what surrounds the steps: history, progress bar, checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from course_lib.bookkeeping import Books, History, NonFiniteLoss, named_parts
from course_lib.checkpoint import Checkpoints
from course_lib.parallel import average_gradients

__all__ = ["History", "NonFiniteLoss", "fit", "learning_rate_at"]


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
    progress: bool = True,
) -> History:
    """Train `model` in place, and leave it in eval mode.

    Args:
        batch_loss: (model, index (B,), rng) -> the loss as named parts, scalars (means over clips); their sum is
            minimised.
        batches: endless (B,) index tensors, e.g. datasets.BatchIndices.
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
    Returns: the history of all steps.
    Raises:  NonFiniteLoss: a loss is no longer a number; the last good checkpoint is kept.
             CheckpointError: the checkpoint belongs to another model or other settings, or can't be written.
    """
    n_warmup = max(1, n_steps // 20) if n_warmup is None else n_warmup
    settings = {"n_steps": n_steps, "learning_rate": learning_rate, "weight_decay": weight_decay, "n_warmup": n_warmup}
    settings |= {"clip_norm": clip_norm}
    with Books(model, batches, rng, settings, checkpoints, precision, device, progress) as books:
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
            books.save_if_due(step, save_every_s, save_every_steps)
            if on_step is not None:
                books.call(on_step, step)
    model.eval()
    return books.history


def learning_rate_at(step: int, n_steps: int, n_warmup: int, peak: float) -> float:
    """Rise in a straight line for n_warmup steps, then fall along half a cosine to 0 (Loshchilov & Hutter 2017).

    Args:    step: 1 to n_steps."""
    if step <= n_warmup:
        return peak * step / n_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
