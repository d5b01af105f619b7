import pytest
import torch
from torch import nn

from course_lib.models.layers.gru_by_hand import gru_over_time
from course_lib.models.mulaw_rnn import MuLawRNN


def case(n_steps=9, n_clips=4, n_hidden=5, n_in=3):
    torch.manual_seed(0)
    gru = nn.GRU(n_in, n_hidden).double()
    x, state = torch.randn(n_steps, n_clips, n_in).double(), torch.randn(n_clips, n_hidden).double()
    return gru, x, state


def by_hand(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    return gru_over_time(x @ weight_ih.T + bias_ih, state, weight_hh, bias_hh)


def test_states_are_those_of_the_library():
    gru, x, state = case()
    torch.testing.assert_close(by_hand(x, state, *gru.parameters()), gru(x, state.unsqueeze(0))[0])


def test_gradients_are_those_of_autograd_for_all_that_comes_in():
    gru, x, state = case()
    inputs = [x.requires_grad_(), state.requires_grad_(), *gru.parameters()]
    weights = torch.randn(9, 4, 5).double()
    hand = torch.autograd.grad((by_hand(*inputs) * weights).sum(), inputs)
    library = torch.autograd.grad((gru(x, state.unsqueeze(0))[0] * weights).sum(), inputs)
    for a, b in zip(hand, library, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_are_finite_differences():
    gates_x, state = torch.randn(4, 2, 9).double(), torch.randn(2, 3).double()
    weight, bias = torch.randn(9, 3).double(), torch.randn(9).double()
    inputs = tuple(value.requires_grad_() for value in (gates_x, state, weight, bias))
    assert torch.autograd.gradcheck(gru_over_time, inputs)


def test_a_slope_at_the_last_step_only_reaches_the_first_input():
    gates_x = torch.randn(6, 2, 9).requires_grad_()
    states = gru_over_time(gates_x, torch.zeros(2, 3), torch.randn(9, 3), torch.zeros(9))
    states[-1].sum().backward()
    assert bool((gates_x.grad.abs().amax(dim=(1, 2)) > 0).all())


def test_the_model_says_the_same_with_and_without_it():
    torch.manual_seed(0)
    model = MuLawRNN(3, 2, 11, n_in=6, n_hidden=7, n_condition=5, frame_length=4, sample_rate_hz=100, clip_s=0.36)
    duration_s, pitch_hz = torch.tensor([0.3, 0.2]), torch.tensor([90.0, 150.0])
    conditions = model.conditions(*torch.tensor([[0, 2], [1, 0]]), duration_s, pitch_hz)
    previous, state = torch.randint(11, (2, 13)), torch.randn(1, 2, 7)
    hand, state_by_hand = model(previous, conditions, state, start=8)
    with torch.no_grad():
        library, state_of_library = model(previous, conditions, state, start=8)
    torch.testing.assert_close(hand, library, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state_by_hand, state_of_library, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(6, 2, 8), (6, 3, 9), (6, 9)])
def test_shapes_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="need \\(T, B, 3H\\)"):
        gru_over_time(torch.zeros(shape), torch.zeros(2, 3), torch.zeros(9, 3), torch.zeros(9))
