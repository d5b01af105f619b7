"""The judge of raw waves: shapes, what it refuses, and that what must not matter is all that is varied."""

import pytest
import torch

from course_lib.models.wave_classifier import WaveClassifier, vary_waves


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> WaveClassifier:
    torch.manual_seed(0)
    return WaveClassifier(n_classes=7, n_channels=(3, 4, 5), n_first=5, kernel_size=3, n_embed=6).eval()


def test_shapes_with_another_size_on_every_axis():
    model = small()
    for n_samples in (1, 63, 640, 8192):
        waves = torch.randn(2, n_samples, generator=rng())
        assert model.embed(waves).shape == (2, 6) and model(waves).shape == (2, 7)
    assert WaveClassifier(**model.config).state_dict().keys() == model.state_dict().keys()
    with pytest.raises(ValueError, match=r"got shape \(2, 64, 64\), need \(B, T\): samples, not pictures"):
        model(torch.zeros(2, 64, 64))
    with pytest.raises(ValueError, match="n_first=4.*need odd sizes"):
        WaveClassifier(n_first=4)


def test_one_clip_is_read_alike_alone_and_in_company():
    model, waves = small(), torch.randn(5, 900, generator=rng())
    torch.testing.assert_close(model(waves)[3:4], model(waves[3:4]))


def test_a_word_later_by_whole_moments_is_the_same_word():
    """The largest over all moments is kept, so when it was said does not count; a moment is 4 * 4 * 4 samples."""
    model, word = small(), torch.zeros(1, 1280)
    word[0, 320:640] = torch.randn(320, generator=rng())
    torch.testing.assert_close(model(word), model(word.roll(64 * 5, dims=1)))


def test_gradients_reach_every_weight():
    model = small().train()
    model(torch.randn(4, 300, generator=rng())).square().sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in model.parameters())


def test_varied_waves_are_the_same_words_moved_scaled_turned_over_and_noisy():
    waves = torch.zeros(40, 500)
    waves[:, 100:110] = 0.5
    still = dict(gain_db=(0.0, 0.0), noise_db=(-200.0, -200.0), tilt=(0.0, 0.0))
    moved = vary_waves(waves, rng(), most_earlier=30, most_later=50, **still)
    starts = moved.abs().gt(0.1).float().argmax(dim=1) - 100
    assert starts.min() >= -30 and starts.max() <= 50 and len(starts.unique()) > 10
    assert torch.equal(moved.abs().amax(1).round(decimals=4), torch.full((40,), 0.5))
    signs = torch.sign(moved[torch.arange(40), starts + 100])
    assert 5 < int((signs < 0).sum()) < 35
    louder = vary_waves(waves, rng(), most_earlier=0, most_later=0, **still | {"gain_db": (6.0, 6.0)})
    torch.testing.assert_close(louder.abs().amax(1), torch.full((40,), 0.5 * 10**0.3), atol=1e-4, rtol=0)
    noisy = vary_waves(torch.zeros(9, 4000), rng(), gain_db=(0.0, 0.0), noise_db=(-40.0, -40.0))
    torch.testing.assert_close(noisy.square().mean().sqrt(), torch.tensor(0.01), atol=3e-4, rtol=0)
    tilted = vary_waves(waves, rng(), most_earlier=0, most_later=0, **still | {"tilt": (0.6, 0.6)})
    scale = (1 + 0.36 - 0.96) ** 0.5  # by hand: 0.5, then 0.5 - 0.6 * 0.5 nine times, then -0.6 * 0.5
    wanted = torch.tensor([0.5, 0.2, 0.2, -0.3]) / scale
    torch.testing.assert_close(tilted[0, [100, 101, 109, 110]] * tilted[0, 100].sign(), wanted, atol=1e-5, rtol=0)
    assert torch.equal(vary_waves(waves, rng(3)), vary_waves(waves, rng(3)))
    assert vary_waves(waves * 2, rng(1)).abs().max() <= 1
