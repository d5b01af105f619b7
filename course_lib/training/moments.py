"""The best moment of a training: scored on the validation set at intervals, its weights kept beside the last ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.training.storage import plain


class BestMoment:
    """Which step of a training was the best, and the weights it had.

    Longer is not always better, and the last step is a choice like any other. Handed to `fit` or `fit_gan` as `best`,
    it is asked every so many steps, and after the last one; checkpoints keep it, so that a resumed training forgets no
    moment. The model itself stays as the last step left it, until `put_into`.

    Args:
        score: model -> a number, measured on the validation set, never on the test set. It is called in eval mode,
            without gradients; what it draws from torch's own generators does not disturb the training.
        every: steps between two moments.
        largest: whether a larger score is better; a distance is better the smaller it is.
        name: of the score, for the record, e.g. "validation Frechet ratio".
    """

    def __init__(self, score: Callable[[nn.Module], float], *, every: int, name: str, largest: bool = False):
        if every < 1:
            raise ValueError(f"every: got {every}, need at least 1 step between two moments")
        self.score, self.every, self.name, self.largest = score, every, name, largest
        self.steps: list[int] = []
        self.scores: list[float] = []  # NaN counts as worse than any number
        self.weights: dict[str, Tensor] | None = None

    @property
    def settings(self) -> dict:
        """What a checkpoint must agree with."""
        return {"every": self.every, "largest": self.largest, "name": self.name}

    @property
    def step(self) -> int:
        """The best moment's step, the earliest of equal ones.

        Raises: ValueError if there was none."""
        return self.steps[self._best()]

    @property
    def best_score(self) -> float:
        """The best moment's score."""
        return self.scores[self._best()]

    def __str__(self) -> str:
        return (
            f"best of {len(self.steps)} moments by {self.name}, at step {self.step:,} "
            f"({self.best_score:.4g}; the last, at step {self.steps[-1]:,}: {self.scores[-1]:.4g})"
        )

    def is_due(self, step: int, n_steps: int) -> bool:
        return step % self.every == 0 or step == n_steps

    @torch.no_grad()
    def look(self, step: int, model: nn.Module) -> None:
        """Score the model as it is; keep its weights if no moment before was as good."""
        was_training = model.training
        model.eval()
        value = float(self.score(model))
        model.train(was_training)
        self.steps.append(step)
        self.scores.append(value)
        if self.step == step and not math.isnan(value):
            self.weights = {name: plain(tensor) for name, tensor in model.state_dict().items()}

    def put_into(self, model: nn.Module) -> None:
        """Give the model the best moment's weights, and put it in eval mode.

        Raises: ValueError if there was no moment, or none whose score is a number."""
        if self.weights is None:
            raise ValueError(f"{self.name}: no moment had a score that is a number; look at the loss")
        model.load_state_dict(self.weights)
        model.eval()

    def state_dict(self) -> dict:
        return {"steps": self.steps, "scores": self.scores, "weights": self.weights}

    def load_state_dict(self, state: dict) -> None:
        self.steps, self.scores, self.weights = list(state["steps"]), list(state["scores"]), state["weights"]

    def _best(self) -> int:
        if not self.scores:
            raise ValueError(f"{self.name}: no moment yet; pass this as best=... to fit() or fit_gan()")
        sign = 1 if self.largest else -1
        return max(range(len(self.scores)), key=lambda i: (not math.isnan(self.scores[i]), sign * self.scores[i], -i))
