"""Generators and discriminators of spectrograms: sizes, ranges, labels, and slopes that spectral norm bounds."""

import importlib

import pytest
import torch
from torch import nn

from course_lib.losses.adversarial import discriminator_parts
from course_lib.models.gan import ConvDiscriminator, ConvGenerator, DenseDiscriminator, DenseGenerator
from course_lib.models.layers.conditioning import Labels, Norm, Projection
from course_lib.models.wavegan import WaveDiscriminator, WaveGenerator
from course_lib.training.pretrained import MODEL_MODULES, load_pretrained, save_pretrained

RECORD = {"dataset": "none", "steps": 0, "train_seconds": 0.0, "device": "cpu", "seed": 0, "chosen": "", "metrics": {}}
LABELS = {"n_digits": 7, "n_speakers": 3}
PICTURE = {"n_mels": 24, "n_frames": 41}
WAVE = {"n_samples": 333, "n_channels": (4, 3, 5), "n_kernel": 8}
DIGITS, SPEAKERS = torch.tensor([0, 1, 2, 6, 4]), torch.tensor([0, 1, 2, 2, 1])
MAKERS = {
    "dense generator": (lambda: DenseGenerator(n_features=11, n_hidden=(9, 7), z_dim=6), (5, 6), (5, 11)),
    "dense discriminator": (lambda: DenseDiscriminator(n_features=11, n_hidden=(9, 7)), (5, 11), (5,)),
    "bounded dense discriminator": (lambda: DenseDiscriminator(11, (9, 7), spectral=True), (5, 11), (5,)),
    "generator": (lambda: ConvGenerator(6, **LABELS, n_embed=2, **PICTURE, n_channels=(8, 5, 4)), (5, 6), (5, 24, 41)),
    "discriminator": (
        lambda: ConvDiscriminator(**LABELS, **PICTURE, n_channels=(4, 5, 8), n_features=9), (5, 24, 41), (5,)
    ),
    "wave generator": (lambda: WaveGenerator(6, **LABELS, n_embed=2, **WAVE), (5, 6), (5, 333)),
    "wave discriminator": (lambda: WaveDiscriminator(**LABELS, **WAVE, n_features=9), (5, 333), (5,)),
}  # fmt: skip


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: str) -> tuple[nn.Module, torch.Tensor, tuple[torch.Tensor, ...]]:
    """A small model in eval mode, five inputs, and the labels it wants besides."""
    torch.manual_seed(3)
    maker, shape, _ = MAKERS[kind]
    return maker().eval(), torch.randn(shape, generator=seeded(4)), () if "dense" in kind else (DIGITS, SPEAKERS)


every_kind = pytest.mark.parametrize("kind", list(MAKERS))
conditional = pytest.mark.parametrize("kind", [kind for kind in MAKERS if "dense" not in kind])


@every_kind
def test_sizes_and_ranges(kind):
    model, x, labels = make(kind)
    out = model(x, *labels)
    assert out.shape == MAKERS[kind][2] and out.isfinite().all()
    if "generator" in kind and labels:
        assert model(50 * x, *labels).abs().max() <= 1 and out.std() > 0.01


@every_kind
def test_the_pretrained_round_trip(kind, tmp_path):
    model, x, labels = make(kind)
    model.train()
    model(x, *labels)  # power iterations and moving averages must come along
    model.eval()
    assert hasattr(importlib.import_module(MODEL_MODULES[type(model).__name__]), type(model).__name__)
    save_pretrained("it", model, RECORD, tmp_path)
    again, record = load_pretrained("it", folder=tmp_path)
    assert torch.equal(again(x, *labels), model(x, *labels)) and record["model"] == type(model).__name__


@every_kind
def test_every_weight_learns(kind):
    model, x, labels = make(kind)
    out = model.train()(x, *labels)
    (out * torch.randn(out.shape, generator=seeded(5))).sum().backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


@conditional
def test_every_clip_is_heard_with_its_own_labels(kind):
    model, x, labels = make(kind)
    before = model(x, *labels)
    for which in range(2):
        changed = [label.clone() for label in labels]
        changed[which][3] = 0
        differs = (model(x, *changed) - before).abs().reshape(5, -1).amax(dim=1) > 1e-6
        assert differs.tolist() == [False, False, False, True, False]


@conditional
def test_each_clip_is_made_by_itself(kind):
    model, x, labels = make(kind)
    alone = torch.cat([model(x[i : i + 1], *(label[i : i + 1] for label in labels)) for i in range(5)])
    torch.testing.assert_close(model(x, *labels), alone, atol=1e-5, rtol=1e-4)


@conditional
def test_without_labels(kind):
    model, x, labels = make(kind)
    config = model.config | {"n_digits": 0, "n_speakers": 0}
    free = type(model)(**config).eval()
    assert free(x).shape == MAKERS[kind][2]
    with pytest.raises(ValueError, match="got labels, need none"):
        free(x, *labels)
    with pytest.raises(ValueError, match="got no labels, need digits and speakers"):
        model(x)


@conditional
def test_refuses_other_labels(kind):
    model, x, (digits, speakers) = make(kind)
    with pytest.raises(ValueError, match="digits: got labels from 0 to 9, need 0 to 6"):
        model(x, digits.clone().index_fill_(0, torch.tensor([1]), 9), speakers)
    with pytest.raises(ValueError, match="got 4 labels for 5 clips"):
        model(x, digits[:4], speakers[:4])
    with pytest.raises(ValueError, match="need both 0"):
        type(model)(**model.config | {"n_speakers": 0})


@every_kind
def test_refuses_other_sizes(kind):
    model, x, labels = make(kind)
    with pytest.raises(ValueError, match="got shape"):
        model(x[..., :-1], *labels)
    with pytest.raises(ValueError, match="got shape"):
        model(x[0], *labels)


def test_the_defaults_fit_two_cores():
    sizes = [sum(p.numel() for p in model.parameters()) for model in (ConvGenerator(), ConvDiscriminator())]
    assert sizes == [601_665, 460_737]
    ladder = ConvGenerator(n_channels=(512, 256, 128, 64))
    assert ladder.from_noise.out_features == 512 * 4 * 4 and len(ladder.doublings) == 4


def test_a_picture_starts_as_near_silence():
    picture = ConvGenerator()(torch.randn(6, 100), torch.arange(6), torch.arange(6))
    assert picture.shape == (6, 64, 64) and -0.9 < picture.mean() < -0.5 and 0.1 < picture.std() < 0.5


@pytest.mark.parametrize("norm", ["none", "batch", "conditional"])
def test_norms(norm):
    torch.manual_seed(0)
    model = ConvGenerator(6, **LABELS, n_embed=2, **PICTURE, n_channels=(8, 5, 4), norm=norm)
    assert model(torch.randn(5, 6), DIGITS, SPEAKERS).shape == (5, 24, 41)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == (0 if norm == "none" else 3)


def test_a_conditional_norm_is_a_batch_norm_with_gains_of_its_own():
    norm, x, vectors = Norm(3, 2, "conditional", 2), torch.randn(5, 3, 4, 6), torch.randn(5, 2)
    plain = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, vectors), plain)
    nn.init.normal_(norm.to_gain.weight)
    gain, offset = norm.to_gain(vectors).chunk(2, dim=1)
    torch.testing.assert_close(norm(x, vectors), plain * (1 + gain[:, :, None, None]) + offset[:, :, None, None])


def test_norms_refuse():
    with pytest.raises(ValueError, match="need one of none, batch, conditional"):
        Norm(3, 1, "layer", 2)
    with pytest.raises(ValueError, match="needs labels"):
        Norm(3, 1, "conditional", 0)


def test_the_projection_by_hand():
    torch.manual_seed(0)
    project, features = Projection(4, **LABELS), torch.randn(5, 4)
    expected = [
        (project.to_score.weight[0] @ f + project.to_score.bias[0])
        + (project.labels.digit_embed.weight[d] + project.labels.speaker_embed.weight[s]) @ f
        for f, d, s in zip(features, DIGITS, SPEAKERS, strict=True)
    ]
    torch.testing.assert_close(project(features, DIGITS, SPEAKERS), torch.stack(expected))


def test_labels_join_the_noise():
    torch.manual_seed(0)
    labels, noise = Labels(7, 3, 2), torch.randn(5, 6)
    code, vectors = labels(noise, DIGITS, SPEAKERS)
    assert code.shape == (5, 10) and torch.equal(code[:, :6], noise) and torch.equal(code[:, 6:], vectors)
    assert torch.equal(vectors[3], torch.cat([labels.digit_embed.weight[6], labels.speaker_embed.weight[2]]))


# ---- spectral norm


def largest_singular_values(model: nn.Module) -> list[float]:
    return [
        torch.linalg.svdvals(layer.weight.detach().flatten(1)).max().item()
        for layer in model.modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding)
    ]


@pytest.mark.parametrize("kind", ["picture", "wave"])
def test_spectral_norm_bounds_the_singular_values_while_training(kind):
    torch.manual_seed(0)
    if kind == "picture":
        make_it, x = lambda on: ConvDiscriminator(**LABELS, **PICTURE, n_channels=(4, 5), spectral=on), (5, 24, 41)
    else:
        make_it, x = lambda on: WaveDiscriminator(**LABELS, **WAVE, spectral=on), (5, 333)
    found = {}
    for on in (False, True):
        model = make_it(on)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(30):
            real, fake = torch.randn(x), 0.1 * torch.randn(x)
            scores = (model(clips, DIGITS, SPEAKERS) for clips in (real, fake))
            loss = sum(discriminator_parts(*scores, "wasserstein").values())  # pulls the scores apart without end
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[on] = largest_singular_values(model)
    assert len(found[True]) == (6 if kind == "picture" else 7)
    assert max(found[True]) < 1.1 and min(found[True]) > 0.9 and max(found[False]) > 1.5


def test_a_bounded_discriminator_is_no_steeper_than_one():
    torch.manual_seed(0)
    critic = DenseDiscriminator(6, (9, 8, 7), spectral=True)
    for _ in range(50):
        critic(torch.randn(2, 6))
    a, b = 5 * torch.randn(300, 6), 5 * torch.randn(300, 6)
    assert ((critic(a) - critic(b)).abs() <= 1.001 * (a - b).norm(dim=1)).all()
