"""The training loop of every notebook: five visible steps, on any device, that survives being killed.

`fit` is meant to be read. What surrounds the five steps (`_Run`) keeps the books: device and precision, several
processes, history, progress bar, checkpoints.
"""
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.checkpoint import CheckpointError, Checkpoints, describe_model, refuse_other_run
from course_lib.precision import choose_precision
from course_lib.profiles import current_device

READ_EVERY = 20  # steps between reading losses off a GPU: each reading makes the GPU wait for Python


@dataclass
class History:
    """What happened in a training, step by step."""

    parts: dict[str, list[float]] = field(default_factory=dict)  # one curve a named loss part
    steps: list[int] = field(default_factory=list)  # 1, 2, ...: the x axis of the curves
    seconds: float = 0.0  # spent training, over all resumptions
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
    """A loss or a weight became infinite or NaN."""


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
        batch_loss: (model, index (B,), rng) -> named loss parts, scalars; their sum is minimised.
        batches: gives (B,) index tensors, e.g. datasets.BatchIndices.
        n_steps: steps in all, those done before an interruption included.
        learning_rate: the peak; it is reached after n_warmup steps (default: a twentieth of all) and falls to 0.
        rng: handed to batch_loss for all it draws.
        clip_norm: longest gradient allowed.
        checkpoints: save here, and if there is a checkpoint, go on from it. On the CPU the result is bitwise what
            it would have been without the interruption.
        save_every_s, save_every_steps: save after so many seconds, or (if given) steps instead.
        precision: "fp32", "bf16", or "auto": bf16 where it is measurably faster.
        on_step: called as on_step(step, model) after each step; what it draws does not disturb the training.
    Returns: the history of all steps.
    Raises:
        NonFiniteLoss: a loss or weight is no longer a number; the last good checkpoint is kept.
        CheckpointError: the checkpoint belongs to another run or model, or can't be written.
    """
    n_warmup = max(1, n_steps // 20) if n_warmup is None else n_warmup
    settings = {
        "n_steps": n_steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "n_warmup": n_warmup,
        "clip_norm": clip_norm,
        "seed": rng.initial_seed(),
        "batch_size": getattr(batches, "batch_size", None),
        "n_clips": getattr(batches, "n_clips", None),
    }
    run = _Run(model, batches, rng, settings, checkpoints, precision, device, progress)
    optimizer = run.optimizer
    model.train()
    for step in run.steps_to_do():
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, n_steps, n_warmup, learning_rate)
        index = run.next_batch()  # (B,)
        with run.accelerator.autocast():
            parts = batch_loss(model, index, rng)  # 1. the named loss parts of one batch
        optimizer.zero_grad()  # 2. forget the last gradient
        run.accelerator.backward(sum(parts.values()))  # 3. the gradient of the parts' sum
        run.average_gradients()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip_norm)  # 4. shorten it if it is too long
        optimizer.step()  # 5. one step downhill
        run.note(step, parts)
        run.save_if_due(step, save_every_s, save_every_steps)
        if on_step is not None:
            run.call(on_step, step)
    run.finish()
    model.eval()
    return run.history


def learning_rate_at(step: int, n_steps: int, n_warmup: int, peak: float) -> float:
    """Rise in a straight line for n_warmup steps, then fall along half a cosine to 0 (Loshchilov & Hutter 2017)."""
    if step <= n_warmup:
        return peak * step / n_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / max(1, n_steps - n_warmup)))


class _Run:
    """The books of one training: where it runs, how far it is, what it has seen."""

    def __init__(self, model, batches, rng, settings, checkpoints, precision, device, progress):
        self.model, self.batches, self.rng, self.checkpoints = model, iter(batches), rng, checkpoints
        self.settings = settings | {"model": describe_model(model)}
        self.n_steps = settings["n_steps"]
        if self.n_steps < 1:
            raise ValueError(f"n_steps: got {self.n_steps}, need at least 1")
        if checkpoints is not None and not hasattr(batches, "load_state_dict"):
            raise ValueError(
                f"batches: {type(batches).__name__} can't be resumed; pass datasets.BatchIndices, or checkpoints=None"
            )
        device = torch.device(device) if device is not None else current_device()
        found = self._find_checkpoint()
        if found and precision == "auto" and torch.device(found["device"]).type == device.type:
            precision = found["precision"]  # a second stopwatch reading must not change the arithmetic half-way
        self.precision, why = choose_precision(precision, device)
        self.accelerator = _accelerator(self.precision, device)
        self.device = self.accelerator.device if self.accelerator.num_processes > 1 else device
        self.is_main = self.accelerator.is_main_process
        self.read_every = 1 if self.device.type == "cpu" and self.accelerator.num_processes == 1 else READ_EVERY
        model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings["learning_rate"], weight_decay=settings["weight_decay"], fused=True
        )
        self.history = History(device=str(self.device), precision=self.precision)
        self.n_done = 0
        self.unread: list[tuple[int, dict[str, Tensor]]] = []
        if found:
            self._restore(found)
        self._share_weights()
        self.progress = progress and self.is_main
        if self.progress:
            print(self._opening_line(why))
        self.bar = None

    # -- the loop's own calls ------------------------------------------------------------------------------------

    def steps_to_do(self) -> Iterator[int]:
        todo = range(self.n_done + 1, self.n_steps + 1)
        self.bar = tqdm(
            total=self.n_steps, initial=self.n_done, unit="step", disable=not self.progress or not todo, desc="training"
        )
        self.started = self.saved_at = time.perf_counter()
        self.seconds_before = self.history.seconds
        return iter(todo)

    def next_batch(self) -> Tensor:
        """This process's slice of the next batch; all processes draw the same batches."""
        index = next(self.batches).to(self.device, non_blocking=True)
        n, rank = self.accelerator.num_processes, self.accelerator.process_index
        if len(index) % n:
            raise ValueError(
                f"a batch of {len(index)} clips can't be shared evenly by {n} processes; "
                f"use a batch size of {len(index) // n * n or n} or {(len(index) // n + 1) * n}"
            )
        return index.chunk(n)[rank]

    def average_gradients(self) -> None:
        """Each process saw a slice of the batch: the mean of their gradients is the gradient of the whole batch's mean."""
        if self.accelerator.num_processes == 1:
            return
        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = self.accelerator.reduce(torch.cat([g.reshape(-1) for g in grads]), "mean")
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))

    def note(self, step: int, parts: dict[str, Tensor]) -> None:
        self.n_done = step
        self.unread.append((step, {name: value.detach() for name, value in parts.items()}))
        if len(self.unread) >= self.read_every or step == self.n_steps:
            self._read_losses()

    def save_if_due(self, step: int, every_s: float, every_steps: int | None) -> None:
        if self.checkpoints is None:
            return
        if every_steps is not None:
            due = step % every_steps == 0
        else:  # only where the losses have been read, so that all processes keep in step
            due = not self.unread and time.perf_counter() - self.saved_at >= every_s
        if due or step == self.n_steps:
            self._save()

    def call(self, on_step, step: int) -> None:
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            on_step(step, self.model)
        self.model.train()

    def finish(self) -> None:
        self.bar.close()
        self.accelerator.wait_for_everyone()

    # -- behind the scenes ---------------------------------------------------------------------------------------

    def _read_losses(self) -> None:
        """Take the waiting losses off the device, average them over processes, and stop if one is not a number."""
        names = list(self.unread[0][1])
        table = torch.stack([torch.stack([parts[name].float() for name in names]) for _, parts in self.unread])
        table = self.accelerator.reduce(table, "mean").tolist()
        steps, self.unread = [step for step, _ in self.unread], []
        for step, row in zip(steps, table, strict=True):
            for name, value in zip(names, row, strict=True):
                if not math.isfinite(value):
                    self._stop(f"the loss part {name!r} became {value} at step {step}")
                self.history.parts.setdefault(name, []).append(value)
            self.history.steps.append(step)
        self.history.seconds = self.seconds_before + time.perf_counter() - self.started
        self.bar.set_postfix(loss=f"{sum(table[-1]):.3f}", refresh=False)
        self.bar.update(len(steps))

    def _stop(self, what: str) -> None:
        self.bar.close()
        kept = self.checkpoints.paths() if self.checkpoints is not None else []
        kept_text = f"The last good checkpoint is kept: {kept[-1]}." if kept else "There is no checkpoint to go back to."
        raise NonFiniteLoss(
            f"training stopped: {what} of {self.n_steps} (learning rate {self.settings['learning_rate']}, "
            f"{self.precision}). {kept_text} Try a learning rate ten times lower, clip_norm=1.0, or precision='fp32'; "
            "look for a log or a division that can meet 0, and for NaN in the features."
        )

    def _find_checkpoint(self) -> dict | None:
        found = self.checkpoints.latest() if self.checkpoints is not None else None
        if found:
            refuse_other_run(found["settings"], self.settings, self.checkpoints)
        return found

    def _save(self) -> None:
        if self.unread:
            self._read_losses()
        for name, value in self.model.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                self._stop(f"the weight {name!r} is no longer a number after step {self.n_done}")
        if self.is_main:
            self.checkpoints.save(self.n_done, self._state())
        self.saved_at = time.perf_counter()

    def _state(self) -> dict:
        optimizer = self.optimizer.state_dict()["state"]
        parts = {name: torch.tensor(values, dtype=torch.float64) for name, values in self.history.parts.items()}
        return {
            "settings": self.settings,
            "device": self.device.type,
            "precision": self.precision,
            "model": self.model.state_dict(),
            "optimizer": {str(key): value for key, value in optimizer.items()},
            "rng": self.rng.get_state(),
            "rng_device": self.rng.device.type,
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "batches": self.batches.state_dict(),
            "parts": parts,
            "seconds": self.history.seconds,
        }

    def _restore(self, found: dict) -> None:
        self.model.load_state_dict(found["model"])
        params = list(self.model.parameters())
        state = {}
        for key, slots in found["optimizer"].items():
            # In the weight's own memory layout: the fused step walks through weights and moments side by side.
            state[int(key)] = {
                name: torch.empty_like(params[int(key)]).copy_(value) if value.ndim else value
                for name, value in slots.items()
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

    def _share_weights(self) -> None:
        """All processes start from the main one's weights, however each was seeded."""
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            with torch.no_grad():
                for tensor in self.model.state_dict().values():
                    tensor.copy_(broadcast(tensor))

    def _opening_line(self, why: str) -> str:
        if self.n_done >= self.n_steps:
            return (
                f"Already trained: {self.n_done} steps in {self.history.seconds:.0f} s, loaded from "
                f"{self.checkpoints.folder}. To train afresh, call {self.checkpoints}.clear() first."
            )
        start = f"Resuming at step {self.n_done + 1}" if self.n_done else "Training"
        n = self.accelerator.num_processes
        shared = f" in {n} processes" if n > 1 else ""
        return f"{start} on {self.device}{shared} in {self.precision} ({why})."


def _accelerator(precision: str, device: torch.device):
    """An Accelerator for this precision and device.

    accelerate keeps its choice for the life of the process; a notebook may train in fp32 here and bf16 there, so it
    is made to forget the last one (its process group, if any, stays)."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    alone = PartialState._shared_state == {} or PartialState().num_processes == 1
    AcceleratorState._reset_state(reset_partial_state=alone)
    return Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=device.type == "cpu")
