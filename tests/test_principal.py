"""The autoencoder in principal coordinates: what PCA does there, against scikit-learn; sizes, gradients, storage."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from course_lib.models.principal import PrincipalAutoencoder
from course_lib.training.pretrained import load_pretrained, save_pretrained

SIZE = {"z_dim": 3, "n_principal": 5, "n_hidden": (7, 4), "n_mels": 6, "n_frames": 9}


def pictures(n_clips: int = 40, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    shapes = torch.randn(8, 6, 9, generator=rng) * torch.linspace(2, 0.1, 8)[:, None, None]
    weights = torch.randn(n_clips, 8, generator=rng)
    return torch.einsum("nk,kml->nml", weights, shapes) - 0.7


def model() -> PrincipalAutoencoder:
    torch.manual_seed(1)
    return PrincipalAutoencoder(**SIZE).start_at(pictures())


def test_shapes_of_picture_and_code():
    net, x = model(), pictures(11, seed=2)
    recon, z = net(x)
    assert recon.shape == (11, 6, 9) and z.shape == (11, 3)
    torch.testing.assert_close(net.encode(x), z)
    torch.testing.assert_close(net.decode(z), recon)


def test_without_the_network_it_is_scikit_learns_pca():
    net, x = model(), pictures(11, seed=2)
    theirs = PCA(5).fit(pictures().flatten(1).numpy())
    wanted = torch.from_numpy(theirs.inverse_transform(theirs.transform(x.flatten(1).numpy()))).view_as(x)
    net.encoder, net.decoder = torch.nn.Identity(), torch.nn.Identity()
    net.config["z_dim"] = 5
    torch.testing.assert_close(net(x)[0], wanted, atol=1e-4, rtol=0)


def test_the_coordinates_it_learns_among_have_unit_power():
    net = model()
    net.encoder = torch.nn.Identity()
    torch.testing.assert_close(net.encode(pictures()).square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_only_the_network_between_is_trained():
    net, x = model(), pictures()
    before = {name: value.clone() for name, value in net.named_buffers()}
    (net(x)[0] - x).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    optimizer = torch.optim.Adam(net.parameters())
    optimizer.step()
    assert set(before) == {"mean", "basis", "spread"}
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_it_learns_what_pca_of_equal_length_cannot():
    """Points on a circle in some plane: one number tells where, on no straight line."""
    angle = torch.rand(300, generator=torch.Generator().manual_seed(0)) * 5
    plane = torch.linalg.qr(torch.randn(54, 2, generator=torch.Generator().manual_seed(1))).Q
    x = (torch.stack([angle.cos(), angle.sin()], 1) @ plane.T).view(300, 6, 9)
    torch.manual_seed(0)
    net = PrincipalAutoencoder(z_dim=1, n_principal=2, n_hidden=(32, 16), n_mels=6, n_frames=9).start_at(x)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(400):
        loss = (net(x)[0] - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pca_error = PCA(1).fit(x.flatten(1)).noise_variance_ * 53 / 54
    assert loss < 0.2 * pca_error


def test_with_channels_the_encoder_sees_what_the_coordinates_leave_out():
    torch.manual_seed(1)
    net = PrincipalAutoencoder(**SIZE, n_channels=(4, 6)).start_at(pictures())
    x = pictures(2, seed=3)
    hidden = torch.randn(6, 9)
    hidden = hidden.flatten() - net.basis @ (net.basis.T @ hidden.flatten())  # at right angles to all coordinates
    other = x + hidden.view(6, 9)
    assert net(x)[0].shape == (2, 6, 9) and net.encode(x).shape == (2, 3)
    assert not torch.allclose(net.encode(x), net.encode(other), atol=1e-3)
    torch.testing.assert_close(model().encode(x), model().encode(other), atol=1e-4, rtol=0)  # the dense one does not
    inside = (net(other)[0].flatten(1) - net.mean) @ net.basis @ net.basis.T + net.mean
    torch.testing.assert_close(inside, net(other)[0].flatten(1), atol=1e-4, rtol=0)  # what comes out is principal


def test_start_like_shares_the_basis_and_nothing_else():
    net = model()
    torch.manual_seed(9)
    again = PrincipalAutoencoder(**SIZE | {"z_dim": 2}).start_like(net)
    assert all(torch.equal(value, getattr(net, name)) for name, value in again.named_buffers())
    net.basis.zero_()
    assert again.basis.abs().max() > 0  # a copy
    with pytest.raises(RuntimeError):
        PrincipalAutoencoder(**SIZE | {"n_principal": 6}).start_like(net)


def test_its_basis_is_stored_with_the_weights(tmp_path):
    net, x = model(), pictures(11, seed=2)
    record = {"dataset": "none", "steps": 0, "train_seconds": 0.0, "device": "cpu"}
    record |= {"seed": 1, "chosen": "", "metrics": {}}
    save_pretrained("p", net, record, tmp_path)
    again, _ = load_pretrained("p", model_class=PrincipalAutoencoder, folder=tmp_path)
    torch.testing.assert_close(again(x)[0], net(x)[0])


def test_it_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match=r"need \(B, 6, 9\)"):
        model()(torch.zeros(2, 9, 6))
    with pytest.raises(ValueError, match=r"need \(B, 3\)"):
        model().decode(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="z_dim <= n_principal"):
        PrincipalAutoencoder(z_dim=9, n_principal=5)
    with pytest.raises(ValueError, match="z_dim=5"):
        PrincipalAutoencoder(**SIZE).start_at(pictures(4))  # too few clips for five directions
