"""What surrounds the steps of a training: device and precision, history, progress bar, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.settings.profiles import current_device
from course_lib.training.checkpoint import describe_model, refuse_other_run
from course_lib.training.history import History, NonFiniteLoss
from course_lib.training.moments import BestMoment
from course_lib.training.parallel import make_accelerator, own_slice, share_weights
from course_lib.training.precision import choose_threads

LONG_TRAINING = 100  # steps from which on it pays to ask how many threads are best
READ_EVERY = 20  # steps between reading losses off a GPU: each reading makes it wait for Python


class Books:
    """What one training must remember: where it runs, how far it is, what it has seen, where it is saved."""

    def __init__(self, model, batches, rng, settings, checkpoints, precision, device, progress, best=None):
        self.model, self.batches, self.rng, self.checkpoints = model, iter(batches), rng, checkpoints
        self.best: BestMoment | None = best
        self.n_steps, self.n_done = settings["n_steps"], 0
        if self.n_steps < 1 or settings["n_warmup"] < 0:
            raise ValueError(f"got n_steps={self.n_steps}, n_warmup={settings['n_warmup']}; need at least 1 and 0")
        if checkpoints is not None and not hasattr(self.batches, "load_state_dict"):
            raise ValueError(
                f"batches: a {type(batches).__name__} can't be resumed; use clips.BatchIndices, or checkpoints=None"
            )
        self.settings = settings | {
            "seed": rng.initial_seed(),
            "batch_size": getattr(batches, "batch_size", None),
            "n_clips": getattr(batches, "n_clips", None),
            "model": describe_model(model),
        }
        if best is not None:
            self.settings["best"] = best.settings
        device = torch.device(device) if device is not None else current_device()
        found = checkpoints.latest() if checkpoints is not None else None
        if found is not None:
            refuse_other_run(found.get("settings", {}), self.settings, checkpoints)
            if precision == "auto" and found["device"] == device.type:
                precision = found["precision"]  # a second stopwatch must not change the arithmetic half-way
        self.n_threads = self.all_threads = torch.get_num_threads()
        if found is not None:
            self.n_threads = min(found["n_threads"], self.all_threads)  # more threads would add up in another order
        elif device.type == "cpu" and self.n_steps >= LONG_TRAINING:
            self.n_threads = choose_threads()
        self.accelerator, self.device, self.precision, why = make_accelerator(precision, device, self.n_threads)
        model.to(self.device)
        self.optimizers = self._make_optimizers()
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

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The only one, if there is only one."""
        (optimizer,) = self.optimizers.values()
        return optimizer

    def _make_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"": self._adamw(self.model, self.settings["learning_rate"])}

    def _adamw(self, model: nn.Module, learning_rate: float, **more: object) -> torch.optim.AdamW:
        fused = self.device.type in ("cpu", "cuda")  # one pass over all weights
        decay = self.settings["weight_decay"]
        return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=decay, fused=fused, **more)

    # -- what the loop calls --------------------------------------------------------------------------------------

    def __enter__(self) -> Books:
        from tqdm.auto import tqdm  # here: it brings the notebook widgets along

        quiet = not self.progress or self.n_done >= self.n_steps
        self.bar = tqdm(total=self.n_steps, initial=self.n_done, desc="training", unit="step", disable=quiet)
        self.seconds_before, self.started = self.history.seconds, time.perf_counter()
        self.saved_at = self.started
        torch.set_num_threads(self.n_threads)
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.all_threads)
        self.bar.close()

    def steps_to_do(self) -> range:
        return range(self.n_done + 1, self.n_steps + 1)

    def next_batch(self) -> Tensor:
        try:
            index = next(self.batches)
        except StopIteration:
            raise ValueError(
                f"batches ran out after {self.n_done} of {self.n_steps} steps; clips.BatchIndices never does"
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

    def look_if_due(self, step: int) -> None:
        if self.best is not None and self.best.is_due(step, self.n_steps):
            self.call(self.best.look, step)

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
        self.bar.set_postfix(self._bar_text(dict(zip(names, rows[-1], strict=True))), refresh=False)
        self.bar.update(len(steps))

    def _bar_text(self, row: dict[str, float]) -> dict[str, str]:
        return {"loss": f"{sum(row.values()):.3f}"}

    def _stop(self, what: str) -> None:
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
            "n_threads": self.n_threads,
            "model": self.model.state_dict(),
            "optimizer": {
                f"{name}{key}": value
                for name, optimizer in self.optimizers.items()
                for key, value in optimizer.state_dict()["state"].items()
            },
            "batches": self.batches.state_dict(),
            "rng": self.rng.get_state(),
            "rng_device": self.rng.device.type,
            "torch_rng": torch.get_rng_state(),  # dropout draws from it
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "parts": parts,
            "seconds": self.history.seconds,
            "best": None if self.best is None else self.best.state_dict(),
        }

    def _restore(self, found: dict) -> None:
        self.model.load_state_dict(found["model"])
        for name, optimizer in self.optimizers.items():
            _restore_moments(optimizer, name, found["optimizer"])
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
        if self.best is not None:
            self.best.load_state_dict(found["best"])

    def _opening_line(self, why: str) -> str:
        if self.n_done >= self.n_steps:
            return (
                f"Already trained: {self.n_done} steps in {self.history.seconds:.0f} s, read from "
                f"{self.checkpoints.folder}. To train afresh, call {self.checkpoints}.clear() first."
            )
        start, n = f"Resuming at step {self.n_done + 1}" if self.n_done else "Training", self.accelerator.num_processes
        processes = f", {n} processes," if n > 1 else ""
        busy = " One thread, since the machine is busy." if self.n_threads < self.all_threads else ""
        return f"{start} on {self.device}{processes} in {self.precision} ({why}).{busy}"


def _restore_moments(optimizer: torch.optim.Optimizer, name: str, saved: dict[str, dict]) -> None:
    """Put back what an optimizer remembered of its weights; saved: {name + number of the weight: moments}."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    state = {
        # The moments in the weight's own memory layout: the fused step walks through all three side by side.
        i: {
            key: torch.empty_like(param).copy_(value) if value.ndim else value
            for key, value in saved[f"{name}{i}"].items()
        }
        for i, param in enumerate(params)
        if f"{name}{i}" in saved
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
