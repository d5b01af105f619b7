"""The judge: shapes, what must not matter to it, and that it learns."""

import pytest
import torch

from course_lib.models.classifier import DigitClassifier, vary_mels


def small(**changes) -> DigitClassifier:
    torch.manual_seed(3)
    settings = {"n_classes": 7, "n_mels": 32, "n_channels": (4, 6, 8, 10), "n_embed": 5} | changes
    return DigitClassifier(**settings).eval()


@pytest.mark.parametrize("n_frames", [1, 16, 33, 64, 100])
def test_shapes(n_frames):
    model, mel = small(), torch.rand(3, 32, n_frames) * 2 - 1
    assert model(mel).shape == (3, 7)
    assert model.embed(mel).shape == (3, 5)


def test_size_is_what_the_course_says():
    assert 250_000 < sum(p.numel() for p in DigitClassifier().parameters()) < 350_000


def test_logits_are_a_linear_reading_of_the_embedding():
    model, mel = small(), torch.rand(3, 32, 48) * 2 - 1
    torch.testing.assert_close(model.to_logits(model.embed(mel)), model(mel))


def test_clips_do_not_influence_each_other_once_trained():
    model, mel = small(), torch.rand(5, 32, 48) * 2 - 1
    torch.testing.assert_close(model(mel)[2:3], model(mel[2:3]), atol=1e-5, rtol=1e-4)


def test_time_does_not_matter_but_pitch_does():
    """A picture moved by a whole 16 frames inside silence scores the same; moved by 16 mels it does not."""
    model = small()
    with torch.no_grad():
        model.convolve[0].weight.mul_(100)  # fresh weights hardly look at the picture
    mel = torch.full((1, 32, 160), -1.0)
    mel[:, 8:16, 64:96] = torch.rand(1, 8, 32) * 2 - 1
    torch.testing.assert_close(model(mel.roll(16, dims=2)), model(mel), atol=1e-5, rtol=1e-4)
    assert (model(mel.roll(16, dims=1)) - model(mel)).abs().max() > 1e-2


def test_config_builds_the_same_model_again():
    model = small()
    twin = DigitClassifier(**model.config)
    twin.load_state_dict(model.state_dict())
    mel = torch.rand(2, 32, 20)
    assert torch.equal(twin.eval()(mel), model(mel))


@pytest.mark.parametrize("shape", [(2, 31, 64), (32, 64), (2, 1, 32, 64), (2, 32, 0)])
def test_refuses_other_pictures(shape):
    with pytest.raises(ValueError, match=r"got shape .*need \(B, 32, L\)"):
        small()(torch.zeros(shape))


@pytest.mark.parametrize("settings", [{"n_mels": 40}, {"n_channels": (4, 6, 8)}])
def test_refuses_sizes_that_cannot_be_halved(settings):
    with pytest.raises(ValueError, match="multiple of 16"):
        small(**settings)


def test_vary_moves_whole_pictures_and_fills_with_silence():
    mel = torch.rand(200, 5, 40)  # nowhere near silence
    same = {"gain": (0.0, 0.0), "noise": (-9.0, -9.0)}
    moved = vary_mels(mel, torch.Generator().manual_seed(0), n_earlier=3, n_later=6, **same)
    seen = set()
    for before, after in zip(mel, moved, strict=True):
        shifts = [s for s in range(-3, 7) if torch.equal(after[:, max(s, 0) : 40 + s], before[:, max(-s, 0) : 40 - s])]
        assert len(shifts) == 1
        seen |= set(shifts)
        silent = after[:, : shifts[0]] if shifts[0] >= 0 else after[:, shifts[0] :]
        assert (silent == -1).all()
    assert seen == set(range(-3, 7))


def test_vary_changes_level_and_covers_the_quiet_with_noise():
    mel = torch.full((50, 4, 30), -0.5)
    still = {"n_earlier": 0, "n_later": 0}
    louder = vary_mels(mel, torch.Generator().manual_seed(0), gain=(0.1, 0.3), noise=(-9.0, -9.0), **still)
    gains = louder[:, 0, 0] + 0.5
    torch.testing.assert_close(louder, (gains - 0.5)[:, None, None].expand_as(mel))
    assert 0.1 <= gains.min() < 0.15 and 0.25 < gains.max() <= 0.3
    noisy = vary_mels(mel, torch.Generator().manual_seed(0), gain=(0.0, 0.0), noise=(0.0, 0.0), **still)
    assert 0.08 < noisy.std() < 0.12 and noisy.min() >= -0.5 and noisy.mean().abs() < 0.02


def test_vary_is_a_matter_of_the_seed_and_leaves_its_input_alone():
    mel = torch.rand(6, 4, 30) * 2 - 1
    kept = mel.clone()
    one, two, other = (vary_mels(mel, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other) and torch.equal(mel, kept)
    assert one.abs().max() <= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_same_scores_on_cuda():
    model, mel = small(), torch.rand(3, 32, 48) * 2 - 1
    on_cpu = model(mel)
    torch.testing.assert_close(model.to("cuda")(mel.to("cuda")).cpu(), on_cpu, atol=1e-3, rtol=1e-3)
    assert vary_mels(mel.to("cuda"), torch.Generator().manual_seed(0)).device.type == "cuda"
