"""Autoencoders: PCA and angles against scikit-learn and scipy, sizes, odd ones too, and what must not matter."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA
from torch.nn import functional as F

from course_lib.models.autoencoder import (
    ConvAutoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseAutoencoder,
    LinearAutoencoder,
    halved_size,
)
from course_lib.models.layers import subspaces
from course_lib.models.layers.subspaces import pca, principal_angles_deg
from course_lib.training.pretrained import load_pretrained, save_pretrained

RECORD = {"dataset": "none", "steps": 0, "train_seconds": 0.0, "device": "cpu", "seed": 0, "chosen": "", "metrics": {}}
SMALL = {"z_dim": 5, "n_mels": 24, "n_frames": 40, "n_channels": (3, 4, 6)}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def correlated(n_rows: int, n_features: int, seed: int = 0) -> torch.Tensor:
    """Rows that vary more in some directions than in others, around a mean that is not 0."""
    x = torch.randn(n_rows, n_features, generator=seeded(seed)) * 0.8 ** torch.arange(n_features)
    return x @ torch.randn(n_features, n_features, generator=seeded(seed + 1)) + torch.arange(n_features) / 3


# ---- PCA


@pytest.mark.parametrize(("n_rows", "n_features", "z_dim"), [(90, 7, 3), (12, 31, 4), (9, 9, 8), (30, 6, 6)])
def test_pca_agrees_with_scikit_learn(n_rows, n_features, z_dim):
    x = correlated(n_rows, n_features)
    mean, basis = pca(x, z_dim)
    peer = PCA(z_dim, svd_solver="full").fit(x.double().numpy())
    assert mean.shape == (n_features,) and basis.shape == (n_features, z_dim) and basis.dtype == x.dtype
    np.testing.assert_allclose(mean, peer.mean_, atol=1e-5)
    signs = np.sign((peer.components_ * basis.T.numpy()).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(basis.T, peer.components_ * signs, atol=1e-5)
    torch.testing.assert_close(basis.T @ basis, torch.eye(z_dim), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n_rows", "n_features"), [(150, 130), (130, 150)])
def test_pca_of_much_data_computes_the_same_directions_from_few_eigenvectors(n_rows, n_features, monkeypatch):
    x = correlated(n_rows, n_features).double()
    _, full = pca(x, 5)
    monkeypatch.setattr(subspaces, "MANY", 100)
    monkeypatch.setattr(torch.linalg, "eigh", None)  # would be called for all eigenvectors
    _, some = pca(x, 5)
    torch.testing.assert_close(some, full, atol=1e-8, rtol=0)
    assert torch.equal(some, pca(x, 5)[1])


def test_no_direction_varies_more_than_the_first():
    x = correlated(200, 8)
    mean, basis = pca(x, 8)
    variances = ((x - mean) @ basis).var(dim=0)
    assert (variances.diff() < 0).all()
    others = F.normalize(torch.randn(8, 500, generator=seeded(3)), dim=0)
    assert (((x - mean) @ others).var(dim=0) <= variances[0]).all()


def test_pca_makes_the_same_choice_of_signs_everywhere():
    x = correlated(60, 7)
    _, basis = pca(x, 4)
    torch.testing.assert_close(pca(x.flip(0), 4)[1], basis, atol=1e-5, rtol=0)
    assert (basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)) > 0).all()


@pytest.mark.parametrize(("shape", "z_dim"), [((20, 6), 0), ((20, 6), 7), ((5, 9), 5), ((3, 4, 5), 2)])
def test_pca_refuses_what_it_cannot_do(shape, z_dim):
    with pytest.raises(ValueError, match=r"pca: got x of shape .*min\(N - 1, D\)"):
        pca(torch.randn(shape), z_dim)


# ---- angles


@pytest.mark.parametrize(("n_features", "z_dim"), [(9, 4), (5, 5), (6, 4), (11, 1)])
def test_angles_agree_with_scipy(n_features, z_dim):
    a, b = (torch.randn(n_features, z_dim, generator=seeded(seed), dtype=torch.float64) for seed in (0, 1))
    angles = principal_angles_deg(a, b)
    np.testing.assert_allclose(angles, np.sort(np.rad2deg(subspace_angles(a.numpy(), b.numpy()))), atol=1e-6)
    assert angles.shape == (z_dim,) and (angles.diff() >= 0).all()


def test_angles_worked_by_hand():
    flat = torch.eye(5)[:, :2]  # the plane of the first two axes
    torch.testing.assert_close(principal_angles_deg(flat, torch.eye(5)[:, 2:4]), torch.tensor([90.0, 90.0]))
    turn = math.radians(30)
    tilted = torch.tensor([[7.0, 0.0], [0.0, math.cos(turn)], [0.0, math.sin(turn)], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(principal_angles_deg(flat, tilted), torch.tensor([0.0, 30.0]), atol=1e-5, rtol=1e-6)


def test_angles_are_of_subspaces_not_of_bases_and_small_ones_count():
    a = torch.randn(8, 3, generator=seeded(0), dtype=torch.float64)
    mixed = a @ torch.tensor([[2.0, 1, 0], [0, -3, 1], [0, 0, 0.1]], dtype=torch.float64)
    assert principal_angles_deg(a, mixed).max() < 1e-12
    tiny_rad = 1e-9  # its cosine is 1 in float64
    x, y = torch.eye(4, dtype=torch.float64)[:, :1], torch.eye(4, dtype=torch.float64)[:, 1:2]
    angle = principal_angles_deg(x, x + tiny_rad * y)
    torch.testing.assert_close(angle, torch.tensor([math.degrees(tiny_rad)], dtype=torch.float64), rtol=1e-6, atol=0)


def test_angles_refuse_other_shapes_and_dependent_columns():
    a = torch.randn(6, 2)
    for other in (torch.randn(6, 3), torch.randn(2, 6), torch.randn(6)):
        with pytest.raises(ValueError, match=r"need \(D, Z\) twice"):
            principal_angles_deg(a, other)
    with pytest.raises(ValueError, match=r"transpose"):
        principal_angles_deg(a.T, a.T)
    with pytest.raises(ValueError, match=r"basis_b: some of its 2 columns depend"):
        principal_angles_deg(a, torch.stack([a[:, 0], 2 * a[:, 0]], dim=1))


# ---- dense


def test_a_trained_linear_autoencoder_spans_the_subspace_of_pca_but_not_its_basis():
    x = correlated(300, 6) / 5
    mean, basis = pca(x, 2)
    torch.manual_seed(0)
    model = LinearAutoencoder(n_features=6, z_dim=2)
    start = principal_angles_deg(basis, model.decoder.weight.detach())
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(x)[0] - x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    decoder = model.decoder.weight.detach()
    assert start.max() > 20 and principal_angles_deg(basis, decoder).max() < 0.5
    by_pca = (x - mean) @ basis @ basis.T + mean
    torch.testing.assert_close(model(x)[0].detach(), by_pca, atol=2e-2, rtol=0)
    gram = F.normalize(decoder, dim=0).T @ F.normalize(decoder, dim=0)
    assert gram[0, 1].abs() > 1e-3  # its columns need not be perpendicular


@pytest.mark.parametrize(
    "model",
    [LinearAutoencoder(n_features=11, z_dim=3), DenseAutoencoder(n_features=11, n_hidden=(9, 7), z_dim=3)],
    ids=["linear", "dense"],
)
def test_rows_in_rows_out(model):
    x = torch.randn(4, 11)
    recon, z = model(x)
    assert recon.shape == (4, 11) and z.shape == (4, 3)
    assert torch.equal(model.encode(x), z) and torch.equal(model.decode(z), recon)
    for wrong in (torch.zeros(4, 3), torch.zeros(11), torch.zeros(2, 4, 11)):
        with pytest.raises(ValueError, match=r"x: got shape .*need \(B, 11\)"):
            model(wrong)
    with pytest.raises(ValueError, match=r"z: got shape \(4, 11\), need \(B, 3\)"):
        model.decode(x)


def test_the_dense_layers_are_those_of_its_name():
    model = DenseAutoencoder()
    sizes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert sizes == [(128, 80), (64, 128), (8, 64), (64, 8), (128, 64), (80, 128)]


# ---- convolutional


@pytest.mark.parametrize("n_mels", [24, 25, 31, 1])
@pytest.mark.parametrize("n_frames", [40, 33, 41, 47, 7])
def test_any_size_comes_back(n_mels, n_frames):
    torch.manual_seed(0)
    model = ConvAutoencoder(z_dim=5, n_mels=n_mels, n_frames=n_frames, n_channels=(3, 4, 6)).eval()
    recon, z = model(torch.rand(2, n_mels, n_frames) * 2 - 1)
    assert recon.shape == (2, n_mels, n_frames) and z.shape == (2, 5)


@pytest.mark.parametrize(("n_mels", "n_frames"), [(24, 41), (25, 40), (31, 47)])
def test_every_pixel_of_an_odd_picture_is_seen_and_painted(n_mels, n_frames):
    torch.manual_seed(0)
    model = ConvAutoencoder(z_dim=5, n_mels=n_mels, n_frames=n_frames, n_channels=(3, 4, 6)).eval()
    mel = (torch.rand(1, n_mels, n_frames) * 2 - 1).requires_grad_()
    model.encode(mel).square().sum().backward()
    assert (mel.grad != 0).all()
    drawn = model.decode(torch.randn(300, 5, generator=seeded(1))).detach()
    assert (drawn.std(dim=0) > 0).all()


def test_sizes_are_halved_and_rounded_up():
    assert halved_size(64, 64, 4) == (4, 4)
    assert halved_size(65, 48, 4) == (5, 3)  # 65, 33, 17, 9, 5
    assert halved_size(1, 7, 3) == (1, 1)
    for wrong in ((0, 8, 2), (8, 0, 2), (8, 8, 0)):
        with pytest.raises(ValueError, match="at least 1 each"):
            halved_size(*wrong)


def test_sizes_that_can_be_halved_see_no_filling():
    """At 64 x 64 the encoder is its convolutions and its linear layer, nothing else."""
    torch.manual_seed(0)
    encoder = ConvEncoder(7, n_channels=(3, 4, 6, 8)).eval()
    mel = torch.rand(2, 64, 64) * 2 - 1
    torch.testing.assert_close(encoder(mel), encoder.to_out(encoder.convolve(mel[:, None]).flatten(1)))


def test_odd_sizes_are_filled_with_silence():
    torch.manual_seed(0)
    odd = ConvEncoder(7, n_mels=21, n_frames=30, n_channels=(3, 4, 6)).eval()
    even = ConvEncoder(7, n_mels=24, n_frames=32, n_channels=(3, 4, 6)).eval()
    even.load_state_dict(odd.state_dict())
    mel = torch.rand(2, 21, 30) * 2 - 1
    torch.testing.assert_close(odd(mel), even(F.pad(mel, (0, 2, 0, 3), value=-1.0)))


def test_a_flat_code_is_painted_without_a_checkerboard():
    """Each pixel inside is reached by equally many kernel positions; with kernels of 3, every other one by two."""

    def painted(kernel: int, padding: int) -> torch.Tensor:
        row = F.conv_transpose1d(torch.ones(1, 1, 20), torch.ones(1, 1, kernel), stride=2, padding=padding)
        return row[0, 0, 4:-4]

    decoder = ConvDecoder(5, n_channels=(6, 4))
    (kernel, *_), (padding, *_) = decoder.paint[-1].kernel_size, decoder.paint[-1].padding
    assert decoder.paint[-1].stride == (2, 2) and painted(kernel, padding).unique().tolist() == [2.0]
    assert painted(3, 1).unique().tolist() == [1.0, 2.0]


def test_the_output_is_not_bounded():
    torch.manual_seed(0)
    model = ConvAutoencoder(**SMALL).eval()
    assert model.decode(1e3 * torch.randn(9, 5)).abs().max() > 1


def test_clips_do_not_influence_each_other_not_even_in_training():
    torch.manual_seed(0)
    model = ConvAutoencoder(**SMALL).train()
    mel = torch.rand(6, 24, 40) * 2 - 1
    for together, alone in zip(model(mel), model(mel[2:3]), strict=True):
        torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-4)


def test_a_condition_reaches_the_code_and_must_be_given():
    torch.manual_seed(0)
    encoder = ConvEncoder(5, n_mels=24, n_frames=40, n_channels=(3, 4, 6), n_condition=7).eval()
    mel = torch.rand(2, 24, 40) * 2 - 1
    one, other = encoder(mel, torch.zeros(2, 7)), encoder(mel, torch.eye(2, 7))
    assert one.shape == (2, 5) and ((one - other).abs().amax(dim=1) > 1e-3).all()
    for wrong in (None, torch.zeros(2, 6)):
        with pytest.raises(ValueError, match=r"condition: got . numbers a clip, need 7"):
            encoder(mel, wrong)
    with pytest.raises(ValueError, match=r"condition: got 3 numbers a clip, need 0"):
        ConvEncoder(5, n_mels=24, n_frames=40)(mel, torch.zeros(2, 3))


@pytest.mark.parametrize("shape", [(2, 40, 24), (24, 40), (2, 1, 24, 40), (2, 24, 39)])
def test_refuses_other_pictures_and_codes(shape):
    model = ConvAutoencoder(**SMALL)
    with pytest.raises(ValueError, match=r"got shape .*need \(B, 24, 40\).*n_mels="):
        model(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"code: got shape \(2, 4\), need \(B, 5\)"):
        model.decode(torch.zeros(2, 4))


def test_kernels_are_kept_in_the_fast_memory_layout():
    model = ConvAutoencoder(**SMALL)
    kernels = [p for p in model.parameters() if p.ndim == 4 and p.shape[1] > 1]
    assert len(kernels) >= 4
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (LinearAutoencoder(n_features=11, z_dim=3), (2, 11)),
        (DenseAutoencoder(n_features=11, n_hidden=(9, 7), z_dim=3), (2, 11)),
        (ConvAutoencoder(**SMALL), (2, 24, 40)),
    ],
    ids=["linear", "dense", "conv"],
)
def test_saved_and_loaded_it_is_the_same(model, shape, tmp_path):
    x = torch.rand(shape) * 2 - 1
    save_pretrained("some", model.eval(), RECORD, tmp_path)
    twin, record = load_pretrained("some", folder=tmp_path)
    assert type(twin) is type(model) and record["config"] == model.config
    assert torch.equal(twin(x)[0], model(x)[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_same_on_cuda():
    model, mel = ConvAutoencoder(**SMALL).eval(), torch.rand(3, 24, 40) * 2 - 1
    on_cpu = model(mel)[0]
    torch.testing.assert_close(model.to("cuda")(mel.to("cuda"))[0].cpu(), on_cpu, atol=1e-3, rtol=1e-3)
    x = correlated(90, 7)
    torch.testing.assert_close(pca(x.to("cuda"), 3)[1].cpu(), pca(x, 3)[1], atol=1e-4, rtol=0)
