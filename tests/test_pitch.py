import pytest
import torch

from course_lib.sound.pitch import HIGHEST_HZ, LOWEST_HZ, median_pitch_hz


def voice(pitch_hz, n_samples=6000, rate_hz=8000):
    """Harmonics that fall off, as those of a voice do: (T,)."""
    t = torch.arange(n_samples) / rate_hz
    return sum(0.3 / k * torch.sin(2 * torch.pi * k * pitch_hz * t) for k in range(1, 8))


@pytest.mark.parametrize("pitch_hz", [85.0, 120.0, 210.0, 330.0])
def test_a_tone_with_harmonics_has_the_pitch_of_its_lowest(pitch_hz):
    found = median_pitch_hz(voice(pitch_hz).unsqueeze(0), torch.tensor([6000]), 8000)
    assert float(found) == pytest.approx(pitch_hz, rel=0.02)


def test_another_rate_changes_nothing():
    found = median_pitch_hz(voice(120.0, 12_000, 16_000).unsqueeze(0), torch.tensor([12_000]), 16_000)
    assert float(found) == pytest.approx(120, rel=0.02)


def test_the_loud_part_decides_and_what_follows_the_recording_does_not_count():
    wave = torch.cat([voice(200.0, 3000), 0.02 * voice(90.0, 3000)])
    after = torch.cat([voice(200.0, 3000), voice(90.0, 5000)])
    assert float(median_pitch_hz(wave.unsqueeze(0), torch.tensor([6000]), 8000)) == pytest.approx(200, rel=0.03)
    assert float(median_pitch_hz(after.unsqueeze(0), torch.tensor([3000]), 8000)) == pytest.approx(200, rel=0.03)


def test_silence_gets_some_number_too():
    found = median_pitch_hz(torch.zeros(2, 4000), torch.tensor([4000, 1]), 8000)
    assert found.shape == (2,) and bool(((found >= LOWEST_HZ - 1) & (found <= HIGHEST_HZ + 1)).all())


@pytest.mark.parametrize("n_valid", [torch.tensor([5]), torch.tensor([0, 3]), torch.tensor([3, 4001])])
def test_counts_that_do_not_fit_are_refused(n_valid):
    with pytest.raises(ValueError, match="counts in 1 to T"):
        median_pitch_hz(torch.zeros(2, 4000), n_valid, 8000)
