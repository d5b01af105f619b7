"""The polyphase forms against torch's own convolutions: outputs, first and second gradients, and what falls back."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.models.layers.conditioning import bound_slopes
from course_lib.models.layers.phases import StridedConv1d, TransposedConv1d, conv_transposed, deal


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_dealing_by_hand():
    x = torch.arange(12).view(1, 2, 6)
    assert deal(x, 3).tolist() == [[[0, 3], [6, 9], [1, 4], [7, 10], [2, 5], [8, 11]]]
    assert deal(x.transpose(0, 1), 2, dim=0).tolist() == [[[0, 2, 4]], [[6, 8, 10]], [[1, 3, 5]], [[7, 9, 11]]]


# n_kernel, stride, samples in; the last two of each are computed as torch does it.
DOWN = [(24, 4, 44), (8, 4, 12), (4, 4, 20), (9, 3, 33), (2, 2, 6), (10, 4, 44), (24, 4, 45)]
UP = [(24, 4, 11), (8, 4, 1), (4, 4, 5), (9, 3, 7), (2, 2, 6), (10, 4, 11), (7, 3, 5)]


@pytest.mark.parametrize(
    ("kind", "n_kernel", "stride", "n_samples"), [("down", *sizes) for sizes in DOWN] + [("up", *sizes) for sizes in UP]
)
def test_they_are_torchs_convolutions(kind, n_kernel, stride, n_samples):
    torch.manual_seed(0)
    ours, theirs = (StridedConv1d, nn.Conv1d) if kind == "down" else (TransposedConv1d, nn.ConvTranspose1d)
    ours = ours(3, 5, n_kernel, stride).double()
    theirs = theirs(3, 5, n_kernel, stride, padding=(n_kernel - stride) // 2).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, n_samples, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    found, slopes = [], []
    for layer in (ours, theirs):
        y = layer(x)
        (slope,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        penalty = slope.square().sum()  # as R1 does: a gradient of a gradient
        found.append(y)
        slopes.append([slope, *torch.autograd.grad(penalty, [x, *layer.parameters()])])
    assert found[0].shape[:2] == (2, 5) and found[0].shape[2] == (
        n_samples * stride if kind == "up" else n_samples // stride
    )
    torch.testing.assert_close(*found, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(*slopes, atol=1e-10, rtol=1e-10)


def test_spectral_norm_bounds_the_same_weights():
    torch.manual_seed(0)
    net = nn.Sequential(StridedConv1d(3, 5, 8, 4))
    bound_slopes(net)
    for _ in range(40):
        net(torch.randn(2, 3, 16))
    assert torch.linalg.svdvals(net[0].weight.detach().flatten(1)).max().item() == pytest.approx(1, abs=1e-3)


def test_half_precision_stays_half():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert TransposedConv1d(3, 5, 8, 4)(torch.randn(2, 3, 6)).dtype == torch.bfloat16
        assert StridedConv1d(3, 5, 8, 4)(torch.randn(2, 3, 12)).dtype == torch.bfloat16


def test_a_click_becomes_the_kernel():
    weight = torch.arange(8.0).view(1, 1, 8)
    click = F.pad(torch.ones(1, 1, 1), (2, 2))
    assert conv_transposed(click, weight, torch.zeros(1), 4)[0, 0].tolist() == [0] * 6 + list(range(8)) + [0] * 6
