"""Exercise 08.2: back-propagation through time, by hand."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def bptt_gradient(x: Tensor, w: float, u: float, slopes: Tensor) -> Tensor:
    """d loss / d w of h_t = tanh(w h_{t-1} + u x_t), h_0 = 0, by two runs, forwards and backwards (Werbos 1990).

    Args:    x: (T,); w, u: numbers; slopes: (T,), the loss's own slope at each h_t.
    Returns: scalar."""
    return _backwards(x, w, u, slopes)


def _states(x: Tensor, w: float, u: float) -> list[Tensor]:
    """h_0 = 0, h_1, ..., h_T."""
    states = [torch.zeros(())]
    for value in x:
        states.append(torch.tanh(w * states[-1] + u * value))
    return states


def _backwards(
    x: Tensor,
    w: float,
    u: float,
    slopes: Tensor,
    bend=lambda h: 1 - h**2,  # of tanh, by its own value
    at=1,  # whose value: 1 the state after step t, 0 the one before
    join=lambda slope, back, bend: (slope + back) * bend,
    back=lambda delta, w, bend: w * delta,  # what reaches a state from the step after it
    times=lambda states, t, x: states[t],  # what w is multiplied by at step t + 1
    order=reversed,
    total=sum,
) -> Tensor:
    """The two runs, with places where a slip can be put in. delta: d loss / d (what stands inside tanh)."""
    states, delta, parts = _states(x, w, u), torch.zeros(()), []
    for t in order(range(len(x))):
        delta = join(slopes[t], back(delta, w, bend(states[t])), bend(states[t + at]))
        parts.append(delta * times(states, t, x))
    return total(parts)


def call_without_autograd(fn, inputs):
    """One call by name, where no operation is recorded."""
    with torch.inference_mode():
        return {"output": fn(**inputs)}


def _draw_run(rng: torch.Generator, trial: int) -> dict:
    """w of both signs, above 1, and 0; one step only (nothing to learn: h_0 = 0); a loss of the last state only."""
    n_steps = (5, 7, 4, 1, 6, 3)[trial % 6]
    w = (0.8, -0.9, 0.0, 0.7, 1.3, -1.4)[trial % 6] * (0.9 + 0.2 * torch.rand((), generator=rng).item())
    x = torch.randn(n_steps, generator=rng)
    x = torch.where(x.abs() < 0.3, x.sign() * 0.3 + x, x)
    slopes = torch.randn(n_steps, generator=rng)
    slopes = slopes + 0.5 * torch.where(slopes < 0, -1.0, 1.0)
    if trial % 6 == 4:
        slopes[:-1] = 0.0
    u = (0.9, 0.6, -1.1, 0.8, 0.5, 1.2)[trial % 6]
    return {"x": x, "w": w, "u": u, "slopes": slopes}


def _slip(**slips):
    return lambda x, w, u, slopes: _backwards(x, w, u, slopes, **slips)


def _with_slopes(change):
    return lambda x, w, u, slopes: _backwards(x, w, u, change(slopes))


def _only_last(slopes: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(slopes[:-1]), slopes[-1:]])


def _by_autograd(x: Tensor, w: float, u: float, slopes: Tensor) -> Tensor:
    leaf = torch.tensor(w, requires_grad=True)
    states = torch.stack(_states(x, leaf, u)[1:])
    return torch.autograd.grad((states * slopes).sum(), leaf)[0]


def _by_power(x: Tensor, w: float, u: float, slopes: Tensor) -> Tensor:
    """Products of w (1 - h^2) over all steps, parted by division: nothing is left of it at w = 0."""
    states = torch.stack(_states(x, w, u))
    gains = (w * (1 - states[1:] ** 2)).cumprod(0)
    total = torch.zeros(())
    for t in range(len(x)):
        total = total + slopes[t] * (gains[t] / gains[: t + 1] * (1 - states[1 : t + 2] ** 2) * states[: t + 1]).sum()
    return total


BPTT_GRADIENT = Exercise(
    id="08.2",
    title="back through time, by hand",
    points=4,
    function="bptt_gradient",
    draw=_draw_run,
    reference=bptt_gradient,
    probe=call_without_autograd,
    n_trials=6,
    difficulty=3,
    minutes=15,
    hint="keep h_0 = 0, h_1, ..., h_T; then from the last step to the first: delta = (slopes[t] + w * delta of the "
    "step after) * (1 - h_t^2), and add delta * h_{t-1}, the state *before* step t.",
    wrong_answers=(
        WrongAnswer(
            "tanh's derivative forgotten",
            _slip(bend=lambda h: torch.ones(())),
            "tanh has a derivative, too: times 1 - h_t^2 at every step on the way back.",
        ),
        WrongAnswer(
            "derivative not squared",
            _slip(bend=lambda h: 1 - h),
            "the derivative of tanh is 1 - h^2: the state is squared.",
        ),
        WrongAnswer(
            "derivative of the sigmoid",
            _slip(bend=lambda h: h * (1 - h)),
            "h (1 - h) belongs to the sigmoid: tanh has 1 - h^2.",
        ),
        WrongAnswer(
            "tanh twice",
            _slip(bend=lambda h: 1 - torch.tanh(h) ** 2),
            "the states are tanh of something already: its derivative is 1 - h_t^2, with no second tanh.",
        ),
        WrongAnswer(
            "derivative of the step before",
            _slip(at=0),
            "step t's tanh has its derivative by what came *out* of it, 1 - h_t^2: yours is of the state before.",
        ),
        WrongAnswer(
            "derivative not passed on",
            _slip(
                join=lambda slope, back, bend: slope + back,
                times=lambda states, t, x: states[t] * (1 - states[t + 1] ** 2),
            ),
            "what goes back has passed tanh as well: 1 - h_t^2 belongs to delta itself, not to each step's part alone.",
        ),
        WrongAnswer(
            "derivative twice",
            _slip(back=lambda delta, w, bend: w * delta * bend),
            "you bend twice on the way back: 1 - h_t^2 once for each tanh that is passed.",
        ),
        WrongAnswer(
            "only the last slope",
            _with_slopes(_only_last),
            "only the last state's slope comes in: the loss pushes at *every* state, slopes[t] joins at step t.",
        ),
        WrongAnswer(
            "only the last step",
            _slip(total=lambda parts: parts[0]),
            "that is the last step alone: w is used at every step, and each use adds its part.",
        ),
        WrongAnswer(
            "cut after one step",
            _slip(back=lambda delta, w, bend: 0.0),
            "nothing comes back from later steps (each state held constant, detached): a state pushes the next through "
            "w.",
        ),
        WrongAnswer(
            "w forgotten on the way back",
            _slip(back=lambda delta, w, bend: delta),
            "what comes back from the step after passes through w: times w.",
        ),
        WrongAnswer(
            "u on the way back",
            lambda x, w, u, slopes: _backwards(x, w, u, slopes, back=lambda delta, w, bend: u * delta),
            "states are joined by w, not by u: what comes back is times w.",
        ),
        WrongAnswer(
            "absolute w",
            _slip(back=lambda delta, w, bend: abs(w) * delta),
            "a negative w turns the sign of what comes back: no absolute value.",
        ),
        WrongAnswer(
            "times the state itself",
            _slip(times=lambda states, t, x: states[t + 1]),
            "delta times h_t: w multiplies the state *before*, h_{t-1} (0 at the first step).",
        ),
        WrongAnswer(
            "last state before the first",
            _slip(times=lambda states, t, x: states[t] if t else states[-1]),
            "index -1 is Python's *last* state: before the first stands h_0 = 0.",
        ),
        WrongAnswer(
            "gradient in u",
            _slip(times=lambda states, t, x: x[t]),
            "that is d loss / d u: the gradient in w has h_{t-1} where that has x_t.",
        ),
        WrongAnswer(
            "not times the state",
            _slip(times=lambda states, t, x: 1.0),
            "that is the gradient in a bias: each step's part is times h_{t-1}, which w multiplies.",
        ),
        WrongAnswer(
            "slope after tanh",
            _slip(join=lambda slope, back, bend: slope + back * bend),
            "the loss's slope is at h_t, *outside* tanh: add slopes[t] first, then times 1 - h_t^2.",
        ),
        WrongAnswer(
            "forwards",
            _slip(order=list),
            "that recursion runs from the first step to the last: slopes flow from the last step back.",
        ),
        WrongAnswer(
            "slopes in reverse",
            _with_slopes(lambda slopes: slopes.flip(0)),
            "the slopes meet the states in reversed order: slopes[t] belongs to the state after x[t].",
        ),
        WrongAnswer(
            "slope one step late",
            _with_slopes(lambda slopes: torch.cat([slopes[1:], torch.zeros(1)])),
            "slopes[t] is one step off: slopes[0] belongs to the first state *after* h_0.",
        ),
        WrongAnswer(
            "sign",
            lambda **inputs: -bptt_gradient(**inputs),
            "the sign is turned round: the gradient itself, not the step against it.",
        ),
        WrongAnswer(
            "mean",
            lambda x, **others: bptt_gradient(x, **others) / len(x),
            "you divide by T: every use of w adds its part, so the sum.",
        ),
        WrongAnswer(
            "step by step",
            _slip(total=lambda parts: torch.stack(parts[::-1])),
            "those are the parts of each step: their sum.",
        ),
        WrongAnswer(
            "divided by w",
            _by_power,
            "NaN at w = 0: you divide a product of w (1 - h^2) by another. Run back step by step instead.",
        ),
        WrongAnswer(
            "autograd",
            _by_autograd,
            "autograd records nothing here: run back through the steps yourself, slope by slope.",
        ),
    ),
)
