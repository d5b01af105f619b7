"""A probe for answers that are trained through."""

import torch


def call_and_differentiate(fn, inputs):
    """One call by name, and the gradients of half the result's squares in what an encoder and a decoder give.

    Squares, since the gradient of a plain sum can be 1 whatever the inputs are. Zeros where no gradient arrives, so
    that a detached answer is refused for its gradient, in words.
    """
    names = [name for name in ("recon", "mu", "log_var", "kl") if name in inputs]
    leaves = [inputs[name].requires_grad_() for name in names]
    output = fn(**inputs)
    # A view of one number as a thousand million would take years to add up.
    if torch.is_tensor(output) and output.requires_grad and output.numel() < 1_000_000:
        half = (output * output.detach()).sum()
        gradients = torch.autograd.grad(half, leaves, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    return {"output": output} | {f"gradient in {name}": part for name, part in zip(names, gradients, strict=True)}
