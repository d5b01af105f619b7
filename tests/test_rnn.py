"""Recurrent networks against the library's cells, gradients against finite differences, and what they may not see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from course_lib.models.rnn import (
    ElmanRNN,
    GatedRNN,
    gru_gates,
    scale_spectral_radius,
    state_jacobian_norms,
    trainable_without_gradient,
)

BOTH = [(ElmanRNN, nn.RNN), (GatedRNN, nn.GRU)]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(ours: type, theirs: type, n_in: int = 3, n_hidden: int = 5) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    library = theirs(n_in, n_hidden, batch_first=True).double()
    written = ours(n_in, n_hidden).double()
    written.load_state_dict(library.state_dict())
    return written, library


# -- equal to the library -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
@pytest.mark.parametrize("with_state", [False, True])
def test_outputs_states_and_all_gradients_are_the_librarys(ours, theirs, with_state):
    written, library = pair(ours, theirs)
    x, state = draw(2, 7, 3), draw(2, 5, seed=1) if with_state else None
    weigh, weigh_last = draw(2, 7, 5, seed=2), draw(2, 5, seed=3)  # a slope of its own for each output
    found = []
    for model in (written, library):
        x_in = x.clone().requires_grad_()
        state_in = None if state is None else state.clone().requires_grad_()
        first = state_in if model is written or state_in is None else state_in[None]
        outputs, last = model(x_in, first)
        last = last.reshape(2, 5)
        ((outputs * weigh).sum() + (last * weigh_last).sum()).backward()
        grads = {name: p.grad for name, p in model.named_parameters()} | {"x": x_in.grad}
        if state_in is not None:
            grads["state"] = state_in.grad
        found.append((outputs.detach(), last.detach(), grads))
    torch.testing.assert_close(found[0], found[1])
    assert found[0][0].shape == (2, 7, 5) and torch.equal(found[0][0][:, -1], found[0][1])


@pytest.mark.parametrize(("ours", "theirs"), BOTH)
def test_it_starts_from_the_same_law_as_the_library(ours, theirs):
    written, library = ours(30, 64), theirs(30, 64)
    assert [n for n, _ in written.named_parameters()] == [n for n, _ in library.named_parameters()]
    for name, values in written.named_parameters():
        assert values.abs().max() <= 1 / 8 and values.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.15), name


def test_one_elman_step_by_hand():
    rnn = ElmanRNN(1, 1).double()
    for name, value in (("weight_ih_l0", 2.0), ("weight_hh_l0", -0.5), ("bias_ih_l0", 0.1), ("bias_hh_l0", 0.2)):
        nn.init.constant_(getattr(rnn, name), value)
    outputs, state = rnn(torch.tensor([[[0.4], [-1.0]]]).double())
    first = math.tanh(0.8 + 0.3)
    expected = [first, math.tanh(-2 - 0.5 * first + 0.3)]
    assert outputs.flatten().tolist() == pytest.approx(expected) and state.item() == pytest.approx(expected[1])


def test_a_gru_whose_update_gate_is_shut_keeps_its_state_for_ever():
    gru = GatedRNN(3, 5)
    nn.init.constant_(gru.bias_ih_l0[5:10], 50.0)  # the second block is the update gate's
    state = draw(2, 5).float()
    outputs, last = gru(10 * draw(2, 40, 3).float().clamp(-1, 1), state)
    torch.testing.assert_close(outputs, state[:, None].expand(2, 40, 5))
    torch.testing.assert_close(last, state)
    nn.init.constant_(gru.bias_ih_l0[5:10], -50.0)  # now nothing is kept: only the candidate counts
    gates = gru_gates(gru, draw(2, 7, 3).float(), state)
    torch.testing.assert_close(gates.state, gates.candidate)


@pytest.mark.parametrize("ours", [ElmanRNN, GatedRNN])
def test_gradients_are_those_of_finite_differences(ours):
    torch.manual_seed(1)
    model = ours(2, 3).double()
    names = [name for name, _ in model.named_parameters()]

    def last_states(x, state, *values):
        outputs, last = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x, state))
        return outputs.square().sum(dim=(1, 2)), last

    inputs = [draw(2, 4, 2), draw(2, 3, seed=1), *(p.detach().clone() for p in model.parameters())]
    assert torch.autograd.gradcheck(last_states, [value.requires_grad_() for value in inputs])


@pytest.mark.parametrize("ours", [ElmanRNN, GatedRNN])
def test_what_comes_later_changes_nothing_before_it(ours):
    torch.manual_seed(0)
    model, x = ours(3, 5).double(), draw(2, 9, 3)
    for t in (0, 4, 8):
        changed = x.clone()
        changed[:, t] += 1
        same = (model(changed)[0] == model(x)[0]).all(dim=2)  # (B, T)
        assert same[:, :t].all() and not same[:, t:].any()


@pytest.mark.parametrize("ours", [ElmanRNN, GatedRNN])
def test_the_state_carries_all_of_the_past_and_clips_do_not_mix(ours):
    torch.manual_seed(0)
    model, x = ours(3, 5).double(), draw(2, 9, 3)
    whole, last = model(x)
    first, state = model(x[:, :4])
    rest, end = model(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)
    torch.testing.assert_close(end, last)
    torch.testing.assert_close(model(x[1:])[0], whole[1:])


# -- gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"batch_first": True}, {"batch_first": False}, {"bias": False}])
def test_gates_are_those_of_the_library(settings):
    torch.manual_seed(0)
    gru, x, state = nn.GRU(3, 5, **settings).double(), draw(2, 7, 3), draw(1, 2, 5, seed=1)
    gates = gru_gates(gru, x, state)
    states = gru(x, state)[0] if gru.batch_first else gru(x.transpose(0, 1), state)[0].transpose(0, 1)
    torch.testing.assert_close(gates.state, states)
    before = torch.cat([state[0][:, None], states[:, :-1]], dim=1)  # (B, T, H)
    torch.testing.assert_close(gates.state, gates.update * before + (1 - gates.update) * gates.candidate)
    assert all(values.shape == (2, 7, 5) for values in gates)
    for gate in (gates.reset, gates.update):
        assert gate.min() > 0 and gate.max() < 1
    rows = slice(0, 5)  # the reset gate of the first step, from the equation
    by_hand = x[:, 0] @ gru.weight_ih_l0[rows].T + state[0] @ gru.weight_hh_l0[rows].T
    if gru.bias:
        by_hand = by_hand + gru.bias_ih_l0[rows] + gru.bias_hh_l0[rows]
    torch.testing.assert_close(gates.reset[:, 0], torch.sigmoid(by_hand))


def test_gates_refuse():
    for gru in (nn.GRU(3, 5, num_layers=2), nn.GRU(3, 5, bidirectional=True)):
        with pytest.raises(ValueError, match="need one layer, one direction"):
            gru_gates(gru, torch.zeros(2, 7, 3))
    with pytest.raises(ValueError, match=r"x: got shape \(2, 3\), need \(B, T, 3\)"):
        gru_gates(nn.GRU(3, 5), torch.zeros(2, 3))


@pytest.mark.parametrize("ours", [ElmanRNN, GatedRNN])
def test_networks_refuse(ours):
    with pytest.raises(ValueError, match=r"need \(B, T, 3\)"):
        ours(3, 5)(torch.zeros(2, 7, 4))
    with pytest.raises(ValueError, match=r"need \(B, T, 3\), T at least 1"):
        ours(3, 5)(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match=r"state: got shape \(3, 5\), need \(2, 5\)"):
        ours(3, 5)(torch.zeros(2, 7, 3), torch.zeros(3, 5))
    with pytest.raises(ValueError, match="at least 1 of each"):
        ours(0, 5)


# -- how far a state reaches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.0, 0.3, 1.0, 1.7])
def test_the_spectral_radius_is_what_was_asked_for(radius):
    weight = draw(6, 6)
    scaled = scale_spectral_radius(weight, radius)
    found = torch.linalg.eigvals(scaled).abs().max().item()
    assert found == pytest.approx(radius, abs=1e-9)
    torch.testing.assert_close(scaled * weight[0, 0], weight * scaled[0, 0])  # only a factor
    turn = torch.tensor([[0.0, -3.0], [3.0, 0.0]])  # no real eigenvalue; both have size 3
    torch.testing.assert_close(scale_spectral_radius(turn, 0.6), turn / 5)


def test_the_spectral_radius_refuses():
    with pytest.raises(ValueError, match=r"got shape \(2, 3\), need \(H, H\)"):
        scale_spectral_radius(torch.zeros(2, 3), 1.0)
    with pytest.raises(ValueError, match="radius: got -1"):
        scale_spectral_radius(torch.eye(2), -1)
    for nilpotent in (torch.zeros(3, 3), torch.diag(torch.ones(3), 1)):
        with pytest.raises(ValueError, match="all eigenvalues"):
            scale_spectral_radius(nilpotent, 1.0)


def test_jacobian_norms_are_those_of_autograds_whole_jacobian():
    torch.manual_seed(0)
    rnn, x = ElmanRNN(3, 5).double(), draw(1, 7, 3)
    rnn.weight_hh_l0.data = scale_spectral_radius(rnn.weight_hh_l0.data, 1.2)
    norms = state_jacobian_norms(rnn, x)
    states = rnn(x)[0][0].detach()  # (T, H)
    for t in range(6):
        whole = torch.autograd.functional.jacobian(lambda state, t=t: rnn(x[:, t + 1 :], state)[1][0], states[t][None])
        assert norms[t].item() == pytest.approx(torch.linalg.svdvals(whole[:, 0])[0].item())
    assert norms.shape == (7,) and norms[6] == 1 and not norms.requires_grad


def test_norms_fall_or_grow_with_the_radius_where_tanh_is_straight():
    """With tiny states tanh is the identity, and a symmetric W_hh multiplies by its radius at each step, exactly."""
    rnn = ElmanRNN(3, 5).double()
    for values in rnn.parameters():
        nn.init.zeros_(values)
    for radius in (0.5, 1.0, 1.4):
        rnn.weight_hh_l0.data = scale_spectral_radius(draw(5, 5) + draw(5, 5).T, radius)
        norms = state_jacobian_norms(rnn, torch.zeros(1, 20, 3).double())
        torch.testing.assert_close(norms, radius ** torch.arange(19, -1, -1, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"need \(1, T, I\)"):
        state_jacobian_norms(rnn, torch.zeros(2, 20, 3).double())


# -- weights that never learn ---------------------------------------------------------------------------------------


class ForgetsItsCell(nn.Module):
    """The mistake of a tutorial: one cell is declared, another is used."""

    def __init__(self) -> None:
        super().__init__()
        self.declared, self.used, self.head = ElmanRNN(3, 5), nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2)
        self.frozen = nn.Parameter(torch.zeros(2), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.used(x)[0][:, -1]) + self.frozen


def test_parameters_outside_the_loss_are_named():
    model = ForgetsItsCell()
    with pytest.raises(ValueError, match="call loss.backward"):
        trainable_without_gradient(model)
    model(torch.ones(2, 4, 3)).sum().backward()
    forgotten = [f"declared.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert trainable_without_gradient(model) == forgotten
    assert trainable_without_gradient(model.used) == []


def test_a_gradient_of_zero_is_a_gradient():
    """Only what no path leads to counts: a rectifier that is shut has a slope of 0, and may open again."""
    layer = nn.Linear(3, 2)
    (0 * layer(torch.ones(1, 3))).sum().backward()
    assert trainable_without_gradient(layer) == []
