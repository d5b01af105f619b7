"""Exercise 09.3: one step of a GRU whose input part is already looked up."""

import torch
from torch import Tensor

from course_lib.exercises.framework import Exercise, WrongAnswer


def gru_step(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    """The next state, with the reset gate after the matrix, as in nn.GRU (Cho et al. 2014 has it before).

    Args:    gates_x: (B, 3H), the input's part of reset, update and candidate; state: (B, H);
             weight_hh: (3H, H); bias_hh: (3H,).
    Returns: (B, H)."""
    return _step(gates_x, state, weight_hh, bias_hh)


def _mix(update: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
    return (1 - update) * candidate + update * state


def _step(
    gates_x: Tensor,
    state: Tensor,
    weight_hh: Tensor,
    bias_hh: Tensor,
    order: tuple[int, int, int] = (0, 1, 2),  # where reset, update and candidate stand
    gate=torch.sigmoid,
    squash=torch.tanh,
    inside=lambda a, reset, c: a + reset * c,
    mix=_mix,
) -> Tensor:
    """The step, with places where a slip can be put in."""
    from_input = gates_x.unflatten(1, (3, -1)).unbind(dim=1)
    from_state = (state @ weight_hh.T + bias_hh).unflatten(1, (3, -1)).unbind(dim=1)
    reset, update = (gate(from_input[i] + from_state[i]) for i in order[:2])
    return mix(update, squash(inside(from_input[order[2]], reset, from_state[order[2]])), state)


def _draw_step(rng: torch.Generator, trial: int) -> dict:
    """Gates of all openings; one clip alone; gates shut and wide open (+-100) in the last trial."""
    n_clips, n_hidden = ((3, 4), (7, 2), (1, 6), (5, 3))[trial % 4]
    gates_x = 1.2 * torch.randn(n_clips, 3 * n_hidden, generator=rng)
    state = torch.tanh(1.5 * torch.randn(n_clips, n_hidden, generator=rng))
    weight_hh = 1.2 * torch.randn(3 * n_hidden, n_hidden, generator=rng)
    bias_hh = torch.randn(3 * n_hidden, generator=rng)
    bias_hh = bias_hh + 0.5 * torch.where(bias_hh < 0, -1.0, 1.0)
    if trial % 4 == 3:
        gates_x[0] = torch.tensor([100.0, -100, -100, -100, 100, -100, 100, -100, 100])
        gates_x[1, :3] = -100.0
    return {"gates_x": gates_x, "state": state, "weight_hh": weight_hh, "bias_hh": bias_hh}


def _slip(**slips):
    return lambda **inputs: _step(**inputs, **slips)


def _with_inside(inside):
    """A candidate of one's own: inside(a_n, reset, state, W_hn, b_hn) is what stands inside tanh."""

    def answer(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
        n = state.shape[1]

        def mine(a: Tensor, reset: Tensor, c: Tensor) -> Tensor:
            return inside(a, reset, state, weight_hh[2 * n :], bias_hh[2 * n :])

        return _step(gates_x, state, weight_hh, bias_hh, inside=mine)

    return answer


def _with(**changed):
    def answer(**inputs) -> Tensor:
        return _step(**{name: changed.get(name, lambda value: value)(value) for name, value in inputs.items()})

    return answer


def _interleaved(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    """Every third value a gate's, as reshape(B, H, 3) cuts."""
    n = state.shape[1]
    places = torch.arange(3 * n).view(n, 3).T.flatten()
    return _step(gates_x[:, places], state, weight_hh[places], bias_hh[places])


def _cut_across_clips(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    a, c = gates_x.chunk(3), (state @ weight_hh.T + bias_hh).chunk(3)
    return _mix(torch.sigmoid(a[1] + c[1]), torch.tanh(a[2] + torch.sigmoid(a[0] + c[0]) * c[2]), state)


def _bias_of_candidate_dropped(a: Tensor, reset: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return a + reset * (state @ weight.T)


def _tanh_by_exponentials(inside: Tensor) -> Tensor:
    return (inside.exp() - (-inside).exp()) / (inside.exp() + (-inside).exp())


def _tanh_by_one_exponential(inside: Tensor) -> Tensor:
    return ((2 * inside).exp() - 1) / ((2 * inside).exp() + 1)


def _in_place(gates_x: Tensor, state: Tensor, weight_hh: Tensor, bias_hh: Tensor) -> Tensor:
    return state.copy_(gru_step(gates_x, state, weight_hh, bias_hh))


GRU_STEP = Exercise(
    id="09.3",
    title="one step of a GRU",
    points=4,
    function="gru_step",
    draw=_draw_step,
    reference=gru_step,
    difficulty=3,
    minutes=15,
    hint="c = state @ weight_hh.T + bias_hh, (B, 3H); cut it and gates_x in three along dim=1: reset, update, "
    "candidate; r and z are sigmoids of sums; tanh(a_n + r * c_n); (1 - z) of that and z of the old state.",
    wrong_answers=(
        WrongAnswer(
            "gates swapped",
            _slip(order=(1, 0, 2)),
            "reset and update are swapped: nn.GRU's order is reset, update, candidate (other books begin with z).",
        ),
        WrongAnswer(
            "candidate first",
            _slip(order=(1, 2, 0)),
            "you take the first third for the candidate: the order is reset, update, candidate.",
        ),
        WrongAnswer(
            "candidate in the middle",
            _slip(order=(0, 2, 1)),
            "you take the second third for the candidate: the order is reset, update, candidate.",
        ),
        WrongAnswer(
            "every third value",
            _interleaved,
            "you give every third value to a gate: each gate is a block of H values side by side (chunk(3, dim=1)).",
        ),
        WrongAnswer(
            "mixed the other way",
            _slip(mix=lambda update, candidate, state: update * candidate + (1 - update) * state),
            "z and 1 - z are swapped: in nn.GRU an update gate of 1 *keeps* the old state (in some papers it is the "
            "other way round).",
        ),
        WrongAnswer(
            "reset of the state",
            _with_inside(lambda a, reset, state, weight, bias: a + (reset * state) @ weight.T + bias),
            "you reset the state *before* the matrix, as Cho's paper has it: nn.GRU multiplies afterwards, r * (W h + "
            "b), so that one matrix product serves all three.",
        ),
        WrongAnswer(
            "bias outside the reset",
            _with_inside(lambda a, reset, state, weight, bias: a + reset * (state @ weight.T) + bias),
            "the candidate's part of bias_hh belongs inside the product with r: r * (W h + b).",
        ),
        WrongAnswer(
            "candidate's bias forgotten",
            _with_inside(_bias_of_candidate_dropped),
            "bias_hh is missing in the candidate: r * (W h + b).",
        ),
        WrongAnswer(
            "input reset as well",
            _slip(inside=lambda a, reset, c: reset * (a + c)),
            "r closes the way of the *state* only: the input's part stands outside, a_n + r * c_n.",
        ),
        WrongAnswer(
            "input alone reset",
            _slip(inside=lambda a, reset, c: reset * a + c),
            "r is on the input's part: it belongs on the state's, a_n + r * c_n.",
        ),
        WrongAnswer(
            "never reset",
            _slip(inside=lambda a, reset, c: a + c),
            "the reset gate is not used: a_n + r * c_n.",
        ),
        WrongAnswer(
            "candidate without the state",
            _slip(inside=lambda a, reset, c: a),
            "the candidate hears nothing of the state: a_n + r * c_n.",
        ),
        WrongAnswer(
            "candidate without the input",
            _slip(inside=lambda a, reset, c: reset * c),
            "the candidate hears nothing of the input: a_n + r * c_n.",
        ),
        WrongAnswer(
            "reset outside tanh",
            lambda **inputs: _step(
                **inputs,
                inside=lambda a, reset, c: (a, reset, c),
                squash=lambda part: part[0].tanh() + part[1] * part[2].tanh(),
            ),
            "r times the state's part stands *inside* tanh, next to the input's: one tanh of the sum.",
        ),
        WrongAnswer("no bias", _with(bias_hh=torch.zeros_like), "bias_hh is missing: add it to W h."),
        WrongAnswer(
            "bias twice",
            _with(bias_hh=lambda bias: 2 * bias),
            "bias_hh comes in twice: once (gates_x has the input's bias in it already).",
        ),
        WrongAnswer(
            "no input",
            _with(gates_x=torch.zeros_like),
            "gates_x is not used: add the input's part to each third.",
        ),
        WrongAnswer(
            "no state in the gates",
            _with(weight_hh=torch.zeros_like),
            "the matrix does not come in: c is state @ weight_hh.T + bias_hh.",
        ),
        WrongAnswer(
            "not transposed",
            lambda gates_x, state, weight_hh, bias_hh: state @ weight_hh,
            "weight_hh is (3H, H), as nn.GRU stores it: with states as rows, state @ weight_hh.T.",
        ),
        WrongAnswer(
            "matrix first",
            lambda gates_x, state, weight_hh, bias_hh: weight_hh @ state,
            "the clips are rows of state (B, H), so the matrix stands behind: state @ weight_hh.T.",
        ),
        WrongAnswer(
            "blocks transposed",
            _with(weight_hh=lambda weight: weight.unflatten(0, (3, -1)).transpose(1, 2).flatten(0, 1)),
            "each block of weight_hh is turned round: with states as rows, state @ block.T.",
        ),
        WrongAnswer("tanh in the gates", _slip(gate=torch.tanh), "gates go from 0 to 1: sigmoid, not tanh."),
        WrongAnswer(
            "sigmoid for the candidate",
            _slip(squash=torch.sigmoid),
            "the candidate goes from -1 to 1: tanh, not the sigmoid.",
        ),
        WrongAnswer("candidate without tanh", _slip(squash=lambda value: value), "the candidate needs its tanh."),
        WrongAnswer(
            "candidate only",
            _slip(mix=lambda update, candidate, state: candidate),
            "that is the candidate: the update gate mixes it with the old state.",
        ),
        WrongAnswer(
            "cut across clips",
            _cut_across_clips,
            "chunk(3) cuts along the clips: the gates stand side by side, chunk(3, dim=1).",
        ),
        WrongAnswer(
            "old state added whole",
            _slip(mix=lambda update, candidate, state: (1 - update) * candidate + state),
            "the old state comes in whole: z of it.",
        ),
        WrongAnswer(
            "candidate added whole",
            _slip(mix=lambda update, candidate, state: candidate + update * state),
            "the candidate comes in whole: (1 - z) of it.",
        ),
        WrongAnswer(
            "old state forgotten",
            _slip(mix=lambda update, candidate, state: (1 - update) * candidate),
            "the old state's part is missing: + z times it.",
        ),
        WrongAnswer(
            "tanh by exponentials",
            _slip(squash=_tanh_by_exponentials),
            "NaN at +-100: exp(100) is infinite in float32, and infinity over infinity is NaN. torch.tanh.",
        ),
        WrongAnswer(
            "tanh by one exponential",
            _slip(squash=_tanh_by_one_exponential),
            "NaN at 100: exp(200) is infinite in float32, and infinity over infinity is NaN. torch.tanh.",
        ),
        WrongAnswer(
            "sigmoid by exponentials",
            _slip(gate=lambda inside: inside.exp() / (1 + inside.exp())),
            "NaN at 100: exp(100) is infinite in float32, and infinity over infinity is NaN. torch.sigmoid.",
        ),
        WrongAnswer(
            "state overwritten",
            _in_place,
            "the right values, but the caller's state is overwritten: others still need it, so return a new tensor.",
        ),
    ),
)
