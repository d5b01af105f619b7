"""A probe for answers that are trained through."""

import torch


def call_and_differentiate(fn, inputs):
    """One call by name, and the gradients of the result's sum in what an encoder and a decoder give.

    Zeros where no gradient arrives, so that a detached answer is refused for its gradient, in words.
    """
    names = [name for name in ("recon", "mu", "log_var", "kl") if name in inputs]
    leaves = [inputs[name].requires_grad_() for name in names]
    output = fn(**inputs)
    if isinstance(output, torch.Tensor) and output.requires_grad:
        gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    return {"output": output} | {f"gradient in {name}": part for name, part in zip(names, gradients, strict=True)}
