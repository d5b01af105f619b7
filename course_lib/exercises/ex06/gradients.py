"""A probe for answers that are trained through."""

import torch


def call_and_differentiate(fn, inputs):
    """One call by name, and the gradients of the result's sum in logits, a weight matrix, or activations.

    Zeros where no gradient arrives, so that a detached answer is refused for its gradient, in words.
    """
    names = [name for name in ("real_logits", "fake_logits", "weight", "x") if torch.is_tensor(inputs.get(name))]
    leaves = [inputs[name].requires_grad_() for name in names]
    output = fn(**inputs)
    # A view of one number as a thousand million would take years to add up.
    if torch.is_tensor(output) and output.requires_grad and output.numel() < 1_000_000:
        gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    return {"output": output} | {f"gradient in {name}": part for name, part in zip(names, gradients, strict=True)}
