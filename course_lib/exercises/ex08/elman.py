"""Exercise 08.1: a recurrent network from its equation."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def elman_forward(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """h_t = tanh(W_xh x_t + W_hh h_{t-1} + b) from a state of zeros (Elman 1990).

    Args:    x: (B, T, I); weight_xh: (H, I); weight_hh: (H, H); bias: (H,).
    Returns: (B, T, H), with gradients to all four."""
    return _run(x, weight_xh, weight_hh, bias)


def _run(x, weight_xh, weight_hh, bias, squash=torch.tanh, start=0.0, pass_on=lambda h: h):
    """The network, with places where a slip can be put in."""
    states, h = [], torch.full((len(x), len(bias)), start)
    for step in x.unbind(dim=1):
        h = squash(step @ weight_xh.T + pass_on(h) @ weight_hh.T + bias)
        states.append(h)
    return torch.stack(states, dim=1)


def call_and_differentiate(fn, inputs):
    """One call by name, and the gradients of the states' sum in all four inputs.

    Zeros where no gradient arrives, so that a detached answer is refused for its gradient, in words.
    """
    names = ("x", "weight_xh", "weight_hh", "bias")
    leaves = [inputs[name].requires_grad_() for name in names]
    output = fn(**inputs)
    # A view of one number as a thousand million would take years to add up.
    if torch.is_tensor(output) and output.requires_grad and output.numel() < 1_000_000:
        gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True, materialize_grads=True)
    else:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    return {"output": output} | {f"gradient in {name}": part for name, part in zip(names, gradients, strict=True)}


def _draw_network(rng: torch.Generator, trial: int) -> dict:
    """Neither flat nor dead: the state of the first step still matters at the last. One batch of a single clip."""
    n_clips, n_steps, n_in, n_hidden = ((3, 6, 4, 5), (4, 2, 6, 3), (1, 5, 6, 2), (6, 5, 2, 4))[trial % 4]
    x = torch.randn(n_clips, n_steps, n_in, generator=rng)
    weight_xh = 0.6 * torch.randn(n_hidden, n_in, generator=rng) / n_in**0.5
    weight_hh = torch.zeros(n_hidden, n_hidden)
    while (weight_hh - weight_hh.T).abs().max() < 0.3:  # symmetric: its transpose would do
        weight_hh = torch.linalg.qr(torch.randn(n_hidden, n_hidden, generator=rng))[0].roll(1, dims=0)
    weight_hh = weight_hh * (0.9 + 0.4 * torch.rand(n_hidden, generator=rng))
    bias = 0.2 + 0.3 * torch.rand(n_hidden, generator=rng)
    return {"x": x, "weight_xh": weight_xh, "weight_hh": weight_hh, "bias": bias}


def _with(**changed):
    """Right but for inputs that are changed beforehand, by functions of each."""

    def answer(**inputs) -> Tensor:
        return _run(**{name: changed.get(name, lambda value: value)(value) for name, value in inputs.items()})

    return answer


def _slip(**slips):
    return lambda **inputs: _run(**inputs, **slips)


def _of_states(change):
    return lambda **inputs: change(_run(**inputs))


def _before_tanh(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    return _run(x, weight_xh, weight_hh, bias, squash=lambda inside: inside).tanh()


def _tanh_of_state_only(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    states, h = [], torch.zeros(len(x), len(bias))
    for step in x.unbind(dim=1):
        h = step @ weight_xh.T + torch.tanh(h @ weight_hh.T) + bias
        states.append(h)
    return torch.stack(states, dim=1)


def _carried_over(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    """All clips as one long one."""
    return _run(x.flatten(0, 1)[None], weight_xh, weight_hh, bias).reshape(len(x), -1, len(bias))


def _in_place(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    states = torch.zeros(*x.shape[:2], len(bias))
    for t in range(x.shape[1]):
        before = states[:, t - 1] if t else torch.zeros(len(x), len(bias))
        states[:, t] = torch.tanh(x[:, t] @ weight_xh.T + before @ weight_hh.T + bias)
    return states


def _into_the_state(x: Tensor, weight_xh: Tensor, weight_hh: Tensor, bias: Tensor) -> Tensor:
    h = torch.zeros(len(x), len(bias))
    for step in x.unbind(dim=1):
        h[:] = torch.tanh(step @ weight_xh.T + h @ weight_hh.T + bias)
    return h


def _shifted(states: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)


ELMAN_FORWARD = Exercise(
    id="08.1",
    title="a recurrent network from its equation",
    points=2,
    function="elman_forward",
    draw=_draw_network,
    reference=elman_forward,
    probe=call_and_differentiate,
    atol=5e-5,
    rtol=5e-5,
    difficulty=1,
    minutes=8,
    hint="one state (B, H) of zeros; for each t: state = tanh(x[:, t] @ weight_xh.T + state @ weight_hh.T + bias), "
    "a new tensor each time, kept in a list; torch.stack(list, dim=1) at the end.",
    wrong_answers=(
        WrongAnswer(
            "state matrix transposed",
            _with(weight_hh=lambda weight: weight.T),
            "you multiply by W_hh the wrong way round, and being square it does not complain: with states as rows, "
            "h @ weight_hh.T.",
        ),
        WrongAnswer(
            "input matrix not transposed",
            lambda x, weight_xh, **others: x[:, 0] @ weight_xh,
            "weight_xh is (H, I), as nn.RNN stores it: with inputs as rows, x[:, t] @ weight_xh.T.",
        ),
        WrongAnswer(
            "no memory",
            _slip(pass_on=torch.zeros_like),
            "no step hears of the one before: give each new state to the next step.",
        ),
        WrongAnswer("no bias", _with(bias=torch.zeros_like), "the bias is missing, inside tanh: + bias at every step."),
        WrongAnswer(
            "bias twice",
            _with(bias=lambda bias: 2 * bias),
            "the bias comes in twice (nn.RNN has two of them; here there is one): once a step.",
        ),
        WrongAnswer(
            "no tanh",
            _slip(squash=lambda inside: inside),
            "there is no tanh: without it the whole network is one linear map.",
        ),
        WrongAnswer("sigmoid", _slip(squash=torch.sigmoid), "tanh, from -1 to 1, not the sigmoid."),
        WrongAnswer("relu", _slip(squash=torch.relu), "tanh, as in the equation, not relu."),
        WrongAnswer(
            "tanh of the outputs only",
            _before_tanh,
            "you pass on what stands *inside* tanh: the next step takes tanh of it, the state itself.",
        ),
        WrongAnswer(
            "tanh of the state only",
            _tanh_of_state_only,
            "tanh goes around the whole sum, the input's part and the bias too.",
        ),
        WrongAnswer(
            "bias outside tanh",
            lambda bias, **others: _run(**others, bias=0 * bias, squash=lambda inside: inside.tanh() + bias),
            "the bias stands outside tanh: inside, with the two products.",
        ),
        WrongAnswer("starts from ones", _slip(start=1.0), "the state before the first step is zeros, not ones."),
        WrongAnswer(
            "last state",
            _of_states(lambda states: states[:, -1]),
            "that is the last state: all of them are asked for, (B, T, H).",
        ),
        WrongAnswer(
            "time first",
            _of_states(lambda states: states.transpose(0, 1)),
            "time is the first axis: stack along dim=1.",
        ),
        WrongAnswer(
            "reshaped",
            _of_states(lambda states: states.transpose(0, 1).reshape(states.shape)),
            "reshape mixes clips and steps up: stack along dim=1, or transpose.",
        ),
        WrongAnswer(
            "one step late",
            _of_states(_shifted),
            "one step late: the first output is the state *after* the first input.",
        ),
        WrongAnswer(
            "with the zeros",
            _of_states(lambda states: torch.cat([torch.zeros_like(states[:, :1]), states], dim=1)),
            "T + 1 states: leave the zeros out that it starts from.",
        ),
        WrongAnswer(
            "steps along the batch",
            lambda x, **weights: _run(x.transpose(0, 1), **weights).transpose(0, 1),
            "you walk along the clips: time is axis 1 (x[:, t], or batch_first=True).",
        ),
        WrongAnswer(
            "carried over between clips",
            _carried_over,
            "the last state of one clip starts the next: each begins from zeros.",
        ),
        WrongAnswer(
            "backwards",
            lambda x, **weights: _run(x.flip(1), **weights).flip(1),
            "you run from the last step to the first: from the first on.",
        ),
        WrongAnswer(
            "states detached",
            _slip(pass_on=lambda h: h.detach()),
            "right states, but gradients end after one step: the state is passed on detached (detach, .data).",
        ),
        WrongAnswer(
            "no gradient",
            _of_states(lambda states: states.detach()),
            "right states, but no gradient comes through (detach, .data, no_grad or torch.tensor): nothing would be "
            "learnt.",
        ),
        WrongAnswer(
            "written where it is read",
            _in_place,
            "you write into the tensor from which you read the state before, and autograd needs that as it was: keep "
            "the states in a list, torch.stack at the end.",
        ),
        WrongAnswer(
            "written into the state",
            _into_the_state,
            "you write each state over the one before (h[:] = ...), and autograd needs that as it was: h = ... makes a "
            "new one.",
        ),
        WrongAnswer(
            "weights copied",
            lambda x, **weights: _run(x, **{name: part.detach() for name, part in weights.items()}),
            "right states, but no gradient reaches the weights: .data and nn.Parameter make copies without a past.",
        ),
        WrongAnswer(
            "list",
            _of_states(lambda states: list(states.unbind(dim=1))),
            "that is a list of T states: torch.stack(list, dim=1).",
        ),
        WrongAnswer(
            "numpy",
            lambda x, **weights: torch.as_tensor(x.numpy()),
            "numpy keeps no track of gradients: stay in torch.",
        ),
    ),
)
