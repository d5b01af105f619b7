"""Losses against hand-worked cases and independent references."""

import math

import torch
from torch import nn

from course_lib.losses import classification_parts, unsure_divergence


def test_cross_entropy_is_the_mean_of_minus_log_chance():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0], [math.log(4.0), 0.0]])  # chances of class 1: 3/4, 1/2, 1/5
    parts = classification_parts(nn.Identity(), logits, torch.tensor([1, 1, 0]))
    assert list(parts) == ["cross_entropy"]
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(4 / 5)) / 3
    torch.testing.assert_close(parts["cross_entropy"], torch.tensor(expected))


def test_a_judge_that_is_sure_and_right_loses_nothing():
    """With label smoothing this would stay above 0."""
    parts = classification_parts(nn.Identity(), torch.tensor([[90.0, 0.0, 0.0]]), torch.tensor([0]))
    assert float(parts["cross_entropy"]) < 1e-6


def test_unsure_divergence_is_kl_from_uniform():
    torch.manual_seed(0)
    logits = torch.randn(6, 4, dtype=torch.float64)
    uniform = torch.distributions.Categorical(torch.full((6, 4), 0.25, dtype=torch.float64))
    reference = torch.distributions.kl_divergence(uniform, torch.distributions.Categorical(logits=logits)).mean()
    torch.testing.assert_close(unsure_divergence(logits), reference)
    torch.testing.assert_close(unsure_divergence(torch.full((3, 5), 7.0)), torch.tensor(0.0), atol=1e-6, rtol=0)
