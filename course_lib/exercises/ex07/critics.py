"""Critics for the exercises on penalties: drawn as a table, made into a module by the probe, afresh for every call."""

import torch
from torch import Tensor


def draw_critic(n_units: int, x: Tensor, rng: torch.Generator) -> Tensor:
    """A critic of waves (B, T) as (n_units, T + 2): a unit's weights, its bias, and what it counts in the score.

    score = sum of counts * relu(weights . x + bias)^2. Each clip of x has a slope of its own, 1 on average and neither
    near 0 nor steep; but a silent one has none, as no unit is awake.
    """
    is_silent = (x == 0).all(dim=1)
    for _ in range(1000):
        table = torch.randn(n_units, x.shape[1] + 2, generator=rng)
        table[:, :-2] *= x.shape[1] ** -0.5
        if is_silent.any():
            table[:, -2] = -0.1 - 0.2 * table[:, -2].abs()
        slopes = _slopes(table, x[~is_silent])
        table[:, -1] /= slopes.mean()
        slopes = slopes / slopes.mean()
        if slopes.min() > 0.2 and slopes.max() < 3 and slopes.std() > 0.2:
            break
    return table


def _slopes(table: Tensor, x: Tensor) -> Tensor:
    """(B,), by the chain rule."""
    awake = torch.relu(x @ table[:, :-2].T + table[:, -2])  # (B, n_units)
    return (2 * awake * table[:, -1] @ table[:, :-2]).norm(dim=1)


def as_by_backward(critic: torch.nn.Module, x: Tensor) -> None:
    """Add to the critic's .grad, as critic(x).sum().backward() does, which would warn of reference cycles."""
    weights = list(critic.parameters())
    for weight, gradient in zip(weights, torch.autograd.grad(critic(x).sum(), weights), strict=True):
        weight.grad += gradient


def call_with_critic(fn, inputs):
    """One call with a module made of the critic's table: result, gradients in the critic, what became of .grad.

    Zeros where no gradient arrives, so that a detached answer is refused for its gradient, in words.
    """

    class Critic(torch.nn.Module):
        def __init__(self, table):
            super().__init__()
            self.weights = torch.nn.Parameter(table[:, :-2].clone())  # (n_units, T)
            self.biases = torch.nn.Parameter(table[:, -2].clone())
            self.counts = torch.nn.Parameter(table[:, -1].clone())

        def forward(self, x):  # (B, T)
            return torch.relu(x @ self.weights.T + self.biases).square() @ self.counts  # (B,)

    critic = Critic(inputs["critic"])
    names, weights = zip(*critic.named_parameters(), strict=True)
    for weight in weights:
        weight.grad = torch.ones_like(weight)  # as another loss may have left it
    output = fn(**{**inputs, "critic": critic})
    n_changed = sum(weight.grad is None or not torch.equal(weight.grad, torch.ones_like(weight)) for weight in weights)
    if torch.is_tensor(output) and output.requires_grad and output.numel() < 1_000_000:
        gradients = torch.autograd.grad(output.sum(), weights, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(weight) for weight in weights]
    parts = {f"gradient in critic.{name}": part for name, part in zip(names, gradients, strict=True)}
    return {"output": output} | parts | {"tensors whose .grad was changed": n_changed}
