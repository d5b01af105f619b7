"""Waveforms: lengths, phases that are really shuffled, and up-sampling that leaves no buzz or a known one."""

import pytest
import torch
from torch import nn

from course_lib.models.wavegan import (
    UPSAMPLINGS,
    PhaseShuffle,
    WaveDiscriminator,
    WaveGenerator,
    phase_shuffle,
    shortened,
    upsampler,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- lengths


@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_a_clip_is_exactly_as_long_as_the_data(upsampling):
    torch.manual_seed(0)
    model = WaveGenerator(upsampling=upsampling)
    wave = model(torch.randn(3, 100), torch.tensor([9, 0, 4]), torch.tensor([5, 0, 2]))
    assert wave.shape == (3, 8192) and wave.abs().max() <= 1
    assert 0.01 < wave.std() < 0.3  # as quiet as speech at the start
    n_weights = 947_009 if upsampling == "smoothed" else 1_053_041  # the box is not learned; else all the same
    assert sum(p.numel() for p in model.parameters()) == n_weights
    assert WaveDiscriminator()(wave, torch.tensor([9, 0, 4]), torch.tensor([5, 0, 2])).shape == (3,)


@pytest.mark.parametrize(("n_samples", "stride", "n_layers", "left"), [(8192, 4, 5, 8), (333, 4, 3, 6), (64, 2, 6, 1)])
def test_what_is_left_of_a_wave(n_samples, stride, n_layers, left):
    assert shortened(n_samples, stride, n_layers) == left
    assert left * stride**n_layers >= n_samples > (left - 1) * stride**n_layers


def test_smoothing_the_kernel_is_stretching_to_the_nearest_neighbour():
    torch.manual_seed(0)
    smoothed = upsampler("smoothed", 3, 5, 24, 4)
    x = torch.randn(2, 3, 7)
    stretched = torch.nn.functional.pad(x.repeat_interleave(4, dim=2), (10, 10))
    short = smoothed.weight.flip(2).transpose(0, 1) * 4**0.5 / 4  # (5, 3, 21): a convolution's, and a mean of 4
    torch.testing.assert_close(smoothed(x), torch.nn.functional.conv1d(stretched, short, smoothed.bias))


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_constant_stays_constant_through_a_smoothed_kernel_only(stride):
    torch.manual_seed(0)
    ripples = {}
    for kind in ("smoothed", "transposed"):
        wave = upsampler(kind, 3, 2, 5 * stride + 2 * (stride % 2 == 0), stride)(torch.ones(1, 3, 40))
        ripples[kind] = wave[:, :, 10 * stride : -10 * stride].std(dim=2).max().item()
    assert ripples["smoothed"] < 1e-6 < 1e-2 < ripples["transposed"]


def test_refuses_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="need one of transposed, smoothed, nearest, linear"):
        WaveGenerator(upsampling="cubic")
    for build in (WaveGenerator, WaveDiscriminator):
        with pytest.raises(ValueError, match="n_kernel=25, stride=4; need n_kernel - stride even"):
            build(n_kernel=25)
        with pytest.raises(ValueError, match="0 samples"):
            build(n_samples=0)


# ---- phase shuffle


def shift_by_hand(clip: list[float], shift: int) -> list[float]:
    """Move to the right by shift, and let what is missing be what lies on the other side of the edge."""
    last = len(clip) - 1
    out = []
    for t in range(len(clip)):
        source = t - shift
        source = -source if source < 0 else source
        source = 2 * last - source if source > last else source
        out.append(clip[source])
    return out


@pytest.mark.parametrize("n", [1, 2, 5])
def test_phases_are_shifted_by_at_most_n_and_reflected(n):
    x = torch.randn(400, 3, 11, generator=seeded(0))
    shuffled = phase_shuffle(x, n, seeded(1))
    found = []
    for clip, moved in zip(x.tolist(), shuffled.tolist(), strict=True):
        fits = [s for s in range(-11, 12) if abs(s) < 11 and [shift_by_hand(c, s) for c in clip] == moved]
        assert len(fits) == 1  # all channels of a clip move together
        found += fits
    counts = [found.count(s) for s in range(-n, n + 1)]
    assert sum(counts) == 400  # never further than n
    assert min(counts) > 0.6 * 400 / (2 * n + 1)  # each shift as often as any other: it does run
    assert found[:20] != [found[0]] * 20  # each clip by its own amount


def test_a_shift_by_hand():
    assert shift_by_hand([1, 2, 3, 4, 5], 2) == [3, 2, 1, 2, 3] and shift_by_hand([1, 2, 3, 4, 5], -1) == [
        2,
        3,
        4,
        5,
        4,
    ]
    x = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]]).expand(60, 1, 5)
    rows = {tuple(row) for row in phase_shuffle(x, 1, seeded(0))[:, 0].tolist()}
    assert rows == {(1, 2, 3, 4, 5), (2, 1, 2, 3, 4), (2, 3, 4, 5, 4)}


def test_shuffling_follows_the_seed_and_passes_gradients():
    x = torch.randn(6, 2, 9, requires_grad=True)
    same, again, other = (phase_shuffle(x, 3, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(same, again) and not torch.equal(same, other)
    same.sum().backward()
    assert x.grad.sum().item() == pytest.approx(same.numel()) and phase_shuffle(x, 0) is x


@pytest.mark.parametrize(("shape", "n"), [((3, 5), 1), ((3, 2, 5), 5), ((3, 2, 5), -1)])
def test_shuffling_refuses(shape, n):
    with pytest.raises(ValueError, match="need .B, C, T., and n from 0 to T - 1"):
        phase_shuffle(torch.zeros(shape), n)


def test_the_discriminator_shuffles_while_training_and_only_then():
    torch.manual_seed(0)
    sizes = {"n_digits": 0, "n_speakers": 0, "n_samples": 300, "n_channels": (4, 5, 6), "n_kernel": 8}
    wave = torch.randn(4, 300)
    for n_shuffle, varies in ((2, True), (0, False)):
        critic = WaveDiscriminator(**sizes, n_shuffle=n_shuffle)
        assert sum(isinstance(layer, PhaseShuffle) for layer in critic.modules()) == 2
        assert torch.equal(critic(wave), critic(wave)) is not varies
        assert torch.equal(critic.eval()(wave), critic(wave))


# ---- up-sampling


@pytest.mark.parametrize("kind", UPSAMPLINGS)
@pytest.mark.parametrize(("n_kernel", "stride"), [(8, 4), (9, 3), (24, 4)])
def test_upsamplers_stretch_exactly(kind, n_kernel, stride):
    layer = upsampler(kind, 3, 5, n_kernel, stride)
    assert layer(torch.randn(2, 3, 7)).shape == (2, 5, 7 * stride)


def ripple(layer: nn.Module, stride: int) -> float:
    """How much a steady input comes out unsteady, at the phases of the stride, with equal weights."""
    for weight in layer.parameters():
        nn.init.ones_(weight) if weight.ndim > 1 else nn.init.zeros_(weight)
    inside = layer(torch.ones(1, 2, 40))[0, 0, 10 * stride : -10 * stride].detach()
    return ((inside.max() - inside.min()) / inside.mean()).item()


def test_a_kernel_that_is_no_multiple_of_the_stride_leaves_a_checkerboard():
    assert ripple(upsampler("transposed", 2, 3, 24, 4), 4) == pytest.approx(0, abs=1e-6)
    assert ripple(upsampler("transposed", 2, 3, 10, 4), 4) == pytest.approx(0.4)  # painted 3 or 2 times, 2.5 on average
    for kind in ("nearest", "linear"):
        assert ripple(upsampler(kind, 2, 3, 10, 4), 4) == pytest.approx(0, abs=1e-6)


def test_stretching_first_is_interpolation_then_convolution():
    x = torch.randn(2, 3, 7)
    nearest = upsampler("nearest", 3, 5, 8, 4)
    padded = nn.functional.pad(x.repeat_interleave(4, dim=2), (3, 4))
    torch.testing.assert_close(nearest(x), nn.functional.conv1d(padded, nearest[2].weight, nearest[2].bias))


def test_both_players_are_the_plain_networks_that_they_are_said_to_be():
    """Layer by layer with torch's own strided convolutions, of the same weights, by hand."""
    torch.manual_seed(0)
    sizes = {"n_digits": 0, "n_speakers": 0, "n_samples": 300, "n_kernel": 8}
    generator = WaveGenerator(5, **sizes, n_channels=(6, 4, 3)).eval()
    critic = WaveDiscriminator(**sizes, n_channels=(3, 4, 6), n_features=7).eval()
    noise = torch.randn(2, 5, generator=seeded(1))
    x = generator.from_noise(noise).view(2, 6, 5)
    for layer in generator.upsamplers:
        x = nn.functional.conv_transpose1d(x.relu(), layer.weight, layer.bias, stride=4, padding=2)
    wave = generator(noise)
    torch.testing.assert_close(wave, x[:, 0, :300].tanh())
    x = nn.functional.pad(wave[:, None], (0, 20))
    for layer in critic.convolve[::3]:
        x = nn.functional.leaky_relu(nn.functional.conv1d(x, layer.weight, layer.bias, stride=4, padding=2), 0.2)
    features = nn.functional.leaky_relu(critic.to_features(x.flatten(1)), 0.2)
    torch.testing.assert_close(critic(wave), critic.project.to_score(features)[:, 0])
