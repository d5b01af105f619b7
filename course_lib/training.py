"""The training loop of every notebook: five visible steps, on any device, that survives being killed.

`fit` is meant to be read. `_Books`, below it, keeps what surrounds the steps: history, progress bar, checkpoints.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from course_lib.checkpoint import Checkpoints, describe_model, refuse_other_run
from course_lib.parallel import average_gradients, make_accelerator, own_slice, share_weights
from course_lib.profiles import current_device

READ_EVERY = 20  # steps between reading losses off a GPU: each reading makes it wait for Python


@dataclass
class History:
    """What happened in a training, step by step."""

    parts: dict[str, list[float]] = field(default_factory=dict)  # a curve for each named part of the loss
    steps: list[int] = field(default_factory=list)  # 1, 2, ...: the x axis of the curves
    seconds: float = 0.0  # spent training, all resumptions together
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def steps_per_s(self) -> float:
        return len(self.steps) / self.seconds if self.seconds else 0.0

    @property
    def total(self) -> list[float]:
        """The loss that was minimised: the sum of the parts."""
        return [sum(values) for values in zip(*self.parts.values(), strict=True)]


class NonFiniteLoss(RuntimeError):
    """A part of the loss, or a weight, became infinite or NaN."""


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
    books = _Books(model, batches, rng, settings | {"clip_norm": clip_norm}, checkpoints, precision, device, progress)
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


def named_parts(parts: object) -> dict[str, Tensor]:
    """What batch_loss returned, if it is what it should be.

    Raises: TypeError if it is no dict of scalar tensors."""
    if not isinstance(parts, dict):
        raise TypeError(f"batch_loss returned a {type(parts).__name__}, need a dict such as {{'recon': loss.mean()}}")
    for name, value in parts.items():
        if not isinstance(value, Tensor) or value.ndim > 0:
            kind = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"batch_loss returned {name!r} of {kind}, need a tensor without axes; take its mean()")
    return parts


class _Books:
    """What one training must remember: where it runs, how far it is, what it has seen, where it is saved."""

    def __init__(self, model, batches, rng, settings, checkpoints, precision, device, progress):
        self.model, self.batches, self.rng, self.checkpoints = model, iter(batches), rng, checkpoints
        self.n_steps, self.n_done = settings["n_steps"], 0
        if self.n_steps < 1 or settings["n_warmup"] < 0:
            raise ValueError(f"got n_steps={self.n_steps}, n_warmup={settings['n_warmup']}; need at least 1 and 0")
        if checkpoints is not None and not hasattr(self.batches, "load_state_dict"):
            raise ValueError(
                f"batches: a {type(batches).__name__} can't be resumed; use datasets.BatchIndices, or checkpoints=None"
            )
        self.settings = settings | {
            "seed": rng.initial_seed(),
            "batch_size": getattr(batches, "batch_size", None),
            "n_clips": getattr(batches, "n_clips", None),
            "model": describe_model(model),
        }
        device = torch.device(device) if device is not None else current_device()
        found = checkpoints.latest() if checkpoints is not None else None
        if found is not None:
            refuse_other_run(found.get("settings", {}), self.settings, checkpoints)
            if precision == "auto" and found["device"] == device.type:
                precision = found["precision"]  # a second stopwatch must not change the arithmetic half-way
        self.accelerator, self.device, self.precision, why = make_accelerator(precision, device)
        model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
            fused=self.device.type in ("cpu", "cuda"),  # one pass over all weights
        )
        self.history = History(device=str(self.device), precision=self.precision)
        if found is not None:
            self._restore(found)
        share_weights(model, self.accelerator)
        alone = self.accelerator.num_processes == 1
        self.read_every = 1 if alone and self.device.type == "cpu" else READ_EVERY
        self.unread: list[tuple[int, dict[str, Tensor]]] = []  # losses still on the device
        self.is_main = self.accelerator.is_main_process
        self.progress = progress and self.is_main
        if self.progress:
            print(self._opening_line(why))

    # -- what the loop calls --------------------------------------------------------------------------------------

    def steps_to_do(self) -> Iterator[int]:
        from tqdm.auto import tqdm  # here: it brings the notebook widgets along

        self.seconds_before, self.started = self.history.seconds, time.perf_counter()
        self.saved_at = self.started
        quiet = not self.progress or self.n_done >= self.n_steps
        with tqdm(total=self.n_steps, initial=self.n_done, desc="training", unit="step", disable=quiet) as self.bar:
            yield from range(self.n_done + 1, self.n_steps + 1)

    def next_batch(self) -> Tensor:
        try:
            index = next(self.batches)
        except StopIteration:
            raise ValueError(
                f"batches ran out after {self.n_done} of {self.n_steps} steps; datasets.BatchIndices never does"
            ) from None
        return own_slice(index, self.accelerator).to(self.device, non_blocking=True)

    def note(self, step: int, parts: dict[str, Tensor]) -> None:
        self.n_done = step
        self.unread.append((step, {name: value.detach() for name, value in parts.items()}))
        before = self.history.parts or self.unread[0][1]
        if parts.keys() != before.keys():
            raise ValueError(
                f"batch_loss returned {list(parts)} at step {step}, but {list(before)} before: a part that "
                "plays no role in a step should be a zero"
            )
        if len(self.unread) >= self.read_every or step == self.n_steps:
            self._read_losses()

    def save_if_due(self, step: int, every_s: float, every_steps: int | None) -> None:
        if self.checkpoints is None:
            return
        if every_steps is not None:
            due = step % every_steps == 0
        else:
            due = not self.unread and time.perf_counter() - self.saved_at >= every_s
        if due or step == self.n_steps:
            self._save()

    def call(self, on_step: Callable[[int, nn.Module], None], step: int) -> None:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            on_step(step, self.model)
        self.model.train()  # it may have been put into eval mode to draw samples

    # -- losses ---------------------------------------------------------------------------------------------------

    def _read_losses(self) -> None:
        """Take the losses off the device, average them over processes, and stop if one is not a number."""
        names = list(self.unread[0][1])
        table = torch.stack([torch.stack([parts[name].float() for name in names]) for _, parts in self.unread])
        rows = self.accelerator.reduce(table, "mean").tolist()
        steps, self.unread = [step for step, _ in self.unread], []
        for step, row in zip(steps, rows, strict=True):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    self._stop(f"the loss part {name!r} became {value} at step {step}")
            for name, value in zip(names, row, strict=True):
                self.history.parts.setdefault(name, []).append(value)
            self.history.steps.append(step)
        self.history.seconds = self.seconds_before + time.perf_counter() - self.started
        self.bar.set_postfix(loss=f"{sum(rows[-1]):.3f}", refresh=False)
        self.bar.update(len(steps))

    def _stop(self, what: str) -> None:
        self.bar.close()
        kept = self.checkpoints.paths()[-1:] if self.checkpoints is not None else []
        kept_text = f"The last good checkpoint is kept: {kept[0]}." if kept else "There is no checkpoint yet."
        raise NonFiniteLoss(
            f"training stopped: {what} of {self.n_steps} (learning rate {self.settings['learning_rate']}, "
            f"{self.precision}). {kept_text} Make the model anew and try a learning rate ten times lower, clip_norm=1 "
            "or precision='fp32'; look for a log or a division that can meet 0, and for NaN in the features."
        )

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self.unread:
            self._read_losses()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                self._stop(f"the weight {name!r} is no longer finite after step {self.n_done}")
        if self.is_main:
            self.checkpoints.save(self.n_done, self._state())
        self.saved_at = time.perf_counter()

    def _state(self) -> dict:
        parts = {name: torch.tensor(values, dtype=torch.float64) for name, values in self.history.parts.items()}
        return {
            "settings": self.settings,
            "device": self.device.type,
            "precision": self.precision,
            "model": self.model.state_dict(),
            "optimizer": {str(key): value for key, value in self.optimizer.state_dict()["state"].items()},
            "batches": self.batches.state_dict(),
            "rng": self.rng.get_state(),
            "rng_device": self.rng.device.type,
            "torch_rng": torch.get_rng_state(),  # dropout draws from it
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "parts": parts,
            "seconds": self.history.seconds,
        }

    def _restore(self, found: dict) -> None:
        self.model.load_state_dict(found["model"])
        params = list(self.model.parameters())
        state = {
            # The moments in the weight's own memory layout: the fused step walks through all three side by side.
            int(key): {
                name: torch.empty_like(params[int(key)]).copy_(value) if value.ndim else value
                for name, value in moments.items()
            }
            for key, moments in found["optimizer"].items()
        }
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.batches.load_state_dict(found["batches"])
        if found["rng_device"] == self.rng.device.type:
            self.rng.set_state(found["rng"])
        torch.set_rng_state(found["torch_rng"])
        if found["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(found["cuda_rng"], self.device)
        self.n_done = found["step"]
        self.history.parts = {name: values.tolist() for name, values in found["parts"].items()}
        self.history.steps = list(range(1, self.n_done + 1))
        self.history.seconds = found["seconds"]

    def _opening_line(self, why: str) -> str:
        if self.n_done >= self.n_steps:
            return (
                f"Already trained: {self.n_done} steps in {self.history.seconds:.0f} s, read from "
                f"{self.checkpoints.folder}. To train afresh, call {self.checkpoints}.clear() first."
            )
        start = f"Resuming at step {self.n_done + 1}" if self.n_done else "Training"
        n = self.accelerator.num_processes
        return f"{start} on {self.device}{f', {n} processes,' if n > 1 else ''} in {self.precision} ({why})."
