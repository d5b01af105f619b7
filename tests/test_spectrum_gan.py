"""The generator whose last layer is an inverse STFT, and the three critics that listen to it."""

import math

import pytest
import torch
from torch import nn

from course_lib.losses.adversarial import Dither, Game, TimeShift, discriminator_parts, generator_parts, r1_penalty
from course_lib.models.spectrum_gan import NARROW, SpectrumWaveGenerator, ThreeCritics
from course_lib.sound.features import log_mel, stft, to_unit

SMALL = {"n_samples": 2048, "n_channels": (24, 16, 12), "z_dim": 7, "n_digits": 3, "n_speakers": 2, "n_embed": 5}


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return SpectrumWaveGenerator(**SMALL)


def noise_and_labels(n_clips=4, seed=1):
    noise = torch.randn(n_clips, 7, generator=torch.Generator().manual_seed(seed))
    return noise, torch.arange(n_clips) % 3, torch.arange(n_clips) % 2


@pytest.mark.parametrize(("n_samples", "n_fft", "hop"), [(2048, 256, 64), (1920, 128, 32), (2000, 160, 40)])
def test_waves_have_the_length_that_was_asked_for_and_stay_in_range(n_samples, n_fft, hop):
    sizes = SMALL | {"n_samples": n_samples, "n_fft": n_fft, "hop_length": hop}
    model = SpectrumWaveGenerator(**sizes)
    with torch.no_grad():
        model.to_spectrum.bias[: 2 * (n_fft // 2 + 1)] = 50.0  # far too loud
    waves = model(*noise_and_labels())
    assert waves.shape == (4, n_samples) and waves.isfinite().all() and waves.abs().max() <= 1.0


def painted(generator, tone_log=-50.0, hiss_log=-50.0):
    """Silence everywhere, to be painted on; directions all (1, 0)."""
    n_bins = generator.spectrum.n_fft // 2 + 1
    direction = torch.zeros(1, 2, n_bins, generator.n_frames)
    direction[:, 0] = 1.0
    return *(torch.full((1, n_bins, generator.n_frames), level) for level in (tone_log, hiss_log)), direction


def test_a_still_direction_is_a_tone_at_the_middle_of_its_bin(generator):
    n_fft, bin_number = 256, 20
    tone_log, hiss_log, direction = painted(generator)
    tone_log[:, bin_number] = math.log(n_fft / 4 * 0.5)  # a Hann window of n_fft sums to n_fft / 2
    generator.paint = lambda *_: (tone_log, hiss_log, direction)
    wave = generator(torch.zeros(1, 7))[0, 256:-256]
    time_s = (torch.arange(256, 256 + len(wave))) / 8000
    # A window's tone fills three bins; of the middle one alone, istft leaves sum(w) / (2 * sum(w^2)) = 2 / 3.
    tone = 2 / 3 * 0.5 * torch.cos(2 * math.pi * bin_number * 8000 / n_fft * time_s)
    torch.testing.assert_close(wave, tone, atol=2e-3, rtol=0)


def test_the_length_of_a_direction_says_nothing(generator):
    tone_log, hiss_log, direction = painted(generator, tone_log=0.0)
    waves = []
    for scale in (1.0, 30.0):
        generator.paint = lambda *_, scale=scale: (tone_log, hiss_log, direction * scale)
        waves.append(generator(torch.zeros(1, 7)))
    torch.testing.assert_close(*waves, atol=1e-3, rtol=1e-2)


def test_tones_that_no_critic_could_hear_fade_faster_than_they_are_painted(generator):
    levels = []
    for tone_log in (-1.0, -3.0, -6.0):
        generator.paint = lambda *_, tone_log=tone_log: painted(generator, tone_log=tone_log)
        levels.append(generator(torch.zeros(1, 7)).square().mean().sqrt().log().item())
    assert levels[0] - levels[1] == pytest.approx(2.0 + math.log(2), abs=0.05)
    assert levels[1] - levels[2] > 10


def test_hiss_is_noise_as_loud_as_it_is_painted_and_another_for_another_input(generator):
    generator.paint = lambda *_: painted(generator, hiss_log=0.0)
    first, second = (generator(torch.randn(1, 7))[0] for _ in range(2))
    # White noise of standard deviation s has bins of power s^2 sum(w^2) = s^2 * 3 / 8 * n_fft: here, of power 1.
    assert first.std().item() == pytest.approx((8 / 3 / 256) ** 0.5, rel=0.6)  # 7 numbers, by chance
    correlation = (first * second).mean() / first.std() / second.std()
    assert abs(correlation.item()) < 0.98 and not torch.equal(first, second)
    spectrum = torch.fft.rfft(first).abs().square()[16:992].unflatten(0, (-1, 8)).mean(dim=1)
    assert spectrum.max() / spectrum.mean() < 8  # no line


def test_an_untrained_generator_is_quiet_but_not_silent(generator):
    waves = SpectrumWaveGenerator()(torch.randn(6, 100), torch.arange(6), torch.arange(6))
    assert -75 < 20 * waves.square().mean().sqrt().log10() < -30


def test_samples_follow_noise_digit_and_speaker(generator):
    generator.eval()
    noise, digits, speakers = noise_and_labels()
    base = generator(noise, digits, speakers)
    assert torch.equal(base, generator(noise, digits, speakers))
    for other in ((noise + 1, digits, speakers), (noise, (digits + 1) % 3, speakers), (noise, digits, 1 - speakers)):
        assert (generator(*other) - base).abs().amax(dim=1).min() > 1e-5


def test_every_weight_learns_and_half_precision_around_it_is_no_matter(generator):
    waves = generator(*noise_and_labels())
    waves.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in generator.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = generator(*noise_and_labels())
    assert rounded.dtype == torch.float32
    assert (rounded - waves).square().mean() < 0.05 * waves.square().mean()


def test_noise_of_another_length_is_refused(generator):
    with pytest.raises(ValueError, match=r"noise: got shape \(4, 9\)"):
        generator(torch.zeros(4, 9), *noise_and_labels()[1:])
    with pytest.raises(ValueError, match="got no labels"):
        generator(torch.zeros(4, 7))


@pytest.fixture
def critics():
    torch.manual_seed(0)
    sizes = {"n_digits": 3, "n_speakers": 2, "n_samples": 2048}
    return ThreeCritics(**sizes, n_wave_channels=(4, 6, 8), n_mel_channels=(6, 8), n_line_channels=(4, 6))


def test_each_critic_gives_its_own_score(critics):
    critics.eval()
    wave = 0.1 * torch.randn(5, 2048, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 1, 0, 1, 0])
    scores = critics(wave, *labels)
    assert scores.shape == (5, 3)
    torch.testing.assert_close(scores[:, 0], critics.of_wave(wave, *labels))
    unit_mel = to_unit(log_mel(wave, critics.cfg), critics.cfg)
    torch.testing.assert_close(scores[:, 1], critics.of_mel(unit_mel, *labels))


def test_narrow_bands_show_a_sine_at_its_level(critics):
    shown = []
    critics.of_lines.forward = lambda lines, *_: shown.append(lines) or lines.mean(dim=(1, 2))
    bin_number = 100
    sine = 0.1 * torch.sin(2 * math.pi * bin_number / NARROW * torch.arange(2048.0))[None]
    critics(sine, torch.tensor([0]), torch.tensor([0]))
    assert shown[0].shape == (1, NARROW // 2, 4)
    level_db = (shown[0][0, bin_number - 1, 2] + 1) / 2 * 90 - 90  # bin 0 is left out
    assert level_db.item() == pytest.approx(-20, abs=0.1) and shown[0][0, :, 2].argmax() == bin_number - 1
    assert stft(sine, critics.narrow).shape[1] == NARROW // 2 + 1


def test_the_spectra_s_critics_are_deaf_to_the_sign_and_the_wave_s_is_not(critics):
    critics.eval()
    wave = 0.1 * torch.randn(3, 2048, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0])
    change = (critics(wave, *labels) - critics(-wave, *labels)).abs().amax(dim=0)
    assert change[1:].max() < 1e-4 < change[0]


def test_all_critics_move_the_wave(critics):
    labels = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0])
    for critic in range(3):
        wave = (0.1 * torch.randn(3, 2048)).requires_grad_()
        critics(wave, *labels)[:, critic].sum().backward()
        assert wave.grad.abs().amax(dim=1).min() > 0 and wave.grad.isfinite().all()


def test_a_penalty_is_for_one_critic_at_a_time(critics):
    wave, labels = 0.1 * torch.randn(2, 2048), (torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"scores \(2, 3\), need \(B,\).*one at a time"):
        r1_penalty(critics, wave, labels)
    assert r1_penalty(critics.of_wave, wave, labels) > 0


@pytest.mark.parametrize("loss", ["hinge", "non_saturating", {"hinge": 1.0, "least_squares": 0.3}])
def test_the_loss_of_several_critics_is_the_mean_of_theirs(loss):
    rng = torch.Generator().manual_seed(4)
    real, fake = torch.randn(6, 2, generator=rng), torch.randn(6, 2, generator=rng)
    both = discriminator_parts(real, fake, loss) | generator_parts(fake, loss)
    alone = [discriminator_parts(real[:, c], fake[:, c], loss) | generator_parts(fake[:, c], loss) for c in (0, 1)]
    for name, value in both.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)
    with pytest.raises(ValueError, match=r"real_logits: got shape \(6, 2, 1\)"):
        discriminator_parts(real[..., None], fake, loss)


def test_dither_adds_noise_of_its_sigma_and_lets_gradients_pass():
    x = torch.zeros(40, 3000, requires_grad=True)
    seen = Dither(0.02)(x, torch.Generator().manual_seed(0))
    assert seen.std().item() == pytest.approx(0.02, rel=0.02)
    seen.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


def test_time_shift_moves_each_picture_as_a_whole_and_silence_moves_in():
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(60, 4, 11, generator=rng)
    seen = TimeShift(3)(x, rng)
    shifts = set()
    for before, after in zip(x, seen, strict=True):
        fits = [
            n
            for n in range(-3, 4)
            if torch.equal(after[:, max(n, 0) : 11 + min(n, 0)], before[:, max(-n, 0) : 11 - max(n, 0)])
        ]
        assert len(fits) == 1
        shifts.add(fits[0])
        outside = after[:, : fits[0]] if fits[0] > 0 else after[:, 11 + fits[0] :]
        assert (outside == -1).all()
    assert shifts == set(range(-3, 4))


def test_waves_are_shifted_too():
    rng = torch.Generator().manual_seed(0)
    wave = torch.rand(50, 9, generator=rng) + 1
    seen = TimeShift(2, silence=0.0)(wave, rng)
    assert {int((row == 0).sum()) for row in seen} == {0, 1, 2} and seen.shape == wave.shape


class Recorder(nn.Module):
    """A discriminator that keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.shown = []

    def forward(self, x):
        self.shown.append(x.detach())
        return self.weight * x.mean(dim=1)


def test_the_game_shows_the_discriminator_nothing_unaugmented():
    def mark(x, rng):
        return x + 100

    game = Game(lambda index: (torch.zeros(len(index), 5),), z_dim=5, augment=mark)
    seen, rng = Recorder(), torch.Generator().manual_seed(0)
    game.discriminator_parts(nn.Identity(), seen, torch.arange(4), rng, 1)
    game.generator_parts(nn.Identity(), seen, torch.arange(4), rng, 1)
    assert len(seen.shown) == 3 and all(x.mean() > 90 for x in seen.shown)


def test_a_checkpoint_remembers_the_augmentation():
    games = [Game(len, augment=augment).settings for augment in (None, TimeShift(2), TimeShift(3), Dither(0.1))]
    assert len({str(settings) for settings in games}) == 4
