"""VAEs: the draw and its gradients against torch.distributions, sizes, and what a condition changes."""

import importlib

import pytest
import torch
from torch.distributions import Normal

from course_lib.losses.variational import elbo_parts
from course_lib.models.vae import LOG_VAR_LIMIT, ConditionalVAE, ConvVAE, DenseVAE, RecurrentVAE, reparameterise
from course_lib.training.pretrained import MODEL_MODULES, load_pretrained, save_pretrained

RECORD = {"dataset": "none", "steps": 0, "train_seconds": 0.0, "device": "cpu", "seed": 0, "chosen": "", "metrics": {}}
PICTURE = {"n_mels": 24, "n_frames": 41, "n_channels": (3, 4, 6)}
MAKERS = {
    "dense": lambda: DenseVAE(n_features=11, n_hidden=(9, 7), z_dim=5),
    "conv": lambda: ConvVAE(z_dim=5, **PICTURE),
    "conditional": lambda: ConditionalVAE(z_dim=5, n_digits=7, n_speakers=3, n_embed=2, **PICTURE),
    "recurrent": lambda: RecurrentVAE(z_dim=5, n_hidden=8, **PICTURE),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: str) -> tuple[torch.nn.Module, torch.Tensor, tuple[torch.Tensor, ...]]:
    """A small model in eval mode, six inputs, and the labels it wants besides."""
    torch.manual_seed(3)
    model = MAKERS[kind]().eval()
    x = torch.rand((6, 11) if kind == "dense" else (6, 24, 41), generator=seeded(4)) * 2 - 1
    labels = (torch.tensor([0, 1, 2, 6, 4, 5]), torch.tensor([0, 1, 2, 2, 1, 0])) if kind == "conditional" else ()
    return model, x, labels


every_kind = pytest.mark.parametrize("kind", list(MAKERS))


# ---- the draw


def test_the_draw_has_the_distribution_asked_for():
    mu, log_var = torch.tensor([[-2.0, 0.0, 5.0]]), torch.tensor([[0.0, -3.0, 2.0]])
    z = reparameterise(mu.expand(100_000, -1), log_var.expand(100_000, -1), seeded(0))
    std = (0.5 * log_var[0]).exp()
    assert ((z.mean(dim=0) - mu[0]).abs() < 4 * std / 100_000**0.5).all()  # four standard errors
    torch.testing.assert_close(z.std(dim=0), std, rtol=0.01, atol=0)
    assert z.T.corrcoef().fill_diagonal_(0).abs().max() < 0.015


def test_a_tiny_variance_gives_the_mean():
    mu = torch.randn(4, 3)
    torch.testing.assert_close(reparameterise(mu, torch.full((4, 3), -60.0), seeded(0)), mu)


def test_draw_and_gradients_are_those_of_torch_distributions():
    mu, log_var = (torch.randn(4, 3, generator=seeded(s)).requires_grad_() for s in (1, 2))
    z = reparameterise(mu, log_var, seeded(7))
    ours = torch.autograd.grad(z.pow(3).sum(), (mu, log_var))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)  # rsample takes no generator
        peer = Normal(mu, (0.5 * log_var).exp()).rsample()
    torch.testing.assert_close(z, peer)
    torch.testing.assert_close(ours, torch.autograd.grad(peer.pow(3).sum(), (mu, log_var)))


def test_the_gradient_is_that_of_the_expectation():
    """E z^2 = mu^2 + var: its gradient is 2 mu to the mean, var to the log variance."""
    mu = torch.tensor([[1.5]]).expand(200_000, 1).requires_grad_()
    log_var = torch.tensor([[-0.7]]).expand(200_000, 1).requires_grad_()
    for_mu, for_log_var = torch.autograd.grad(reparameterise(mu, log_var, seeded(0)).square().sum(), (mu, log_var))
    assert for_mu.mean().item() == pytest.approx(3.0, abs=0.02)
    assert for_log_var.mean().item() == pytest.approx(torch.tensor(-0.7).exp().item(), abs=0.02)


def test_the_draw_is_a_matter_of_the_seed_and_of_nothing_else():
    mu, log_var = torch.zeros(4, 3), torch.zeros(4, 3)
    torch.manual_seed(0)
    one = reparameterise(mu, log_var, seeded(1))
    torch.manual_seed(5)
    assert torch.equal(reparameterise(mu, log_var, seeded(1)), one)
    assert not torch.equal(reparameterise(mu, log_var, seeded(2)), one)
    rng = seeded(1)
    assert not torch.equal(reparameterise(mu, log_var, rng), reparameterise(mu, log_var, rng))


def test_the_draw_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"mu of shape \(4, 3\), log_var of \(4, 1\)"):
        reparameterise(torch.zeros(4, 3), torch.zeros(4, 1), seeded(0))


# ---- models


@every_kind
def test_shapes(kind):
    model, x, labels = make(kind)
    recon, mu, log_var = model(x, *labels, seeded(0))
    assert recon.shape == x.shape and mu.shape == log_var.shape == (6, 5)
    again = model.encode(x, *labels)
    torch.testing.assert_close((mu, log_var), again)
    z = reparameterise(mu, log_var, seeded(0))
    torch.testing.assert_close(model.decode(z, *labels), recon)


@pytest.mark.parametrize("kind", ["conv", "conditional", "recurrent"])
@pytest.mark.parametrize(("n_mels", "n_frames"), [(24, 40), (25, 33), (31, 7)])
def test_any_size_of_picture(kind, n_mels, n_frames, monkeypatch):
    monkeypatch.setitem(PICTURE, "n_mels", n_mels)
    monkeypatch.setitem(PICTURE, "n_frames", n_frames)
    model, _, labels = make(kind)
    assert model(torch.zeros(6, n_mels, n_frames), *labels, seeded(0))[0].shape == (6, n_mels, n_frames)


def test_the_default_is_small_enough_to_ship():
    assert sum(p.numel() for p in ConditionalVAE().parameters()) <= 1_200_000
    state = ConditionalVAE().state_dict()
    assert sum(value.numel() * value.element_size() for value in state.values()) < 4_990_000


@every_kind
def test_both_parts_of_the_loss_reach_the_encoder_and_only_one_the_decoder(kind):
    model, x, labels = make(kind)
    parts = elbo_parts(x, *model(x, *labels, seeded(0)))
    encoder = list(model.encoder.parameters())
    decoder = [p for name, p in model.named_parameters() if not name.startswith(("encoder", "digit", "speaker"))]
    for part in parts.values():
        grads = torch.autograd.grad(part, encoder, retain_graph=True)
        assert all(grad.abs().max() > 0 for grad in grads)
    assert all(grad.abs().max() > 0 for grad in torch.autograd.grad(parts["recon"], decoder, retain_graph=True))
    assert set(torch.autograd.grad(parts["kl"], decoder, allow_unused=True)) == {None}


@every_kind
def test_a_draw_without_gradient_leaves_the_encoder_untaught(kind):
    """What the bug hunt of notebook 04 does: detach z, and reconstruction no longer reaches the encoder."""
    model, x, labels = make(kind)
    mu, log_var = model.encode(x, *labels)
    recon = model.decode(reparameterise(mu, log_var, seeded(0)).detach(), *labels)
    part = elbo_parts(x, recon, mu, log_var)["recon"]
    assert set(torch.autograd.grad(part, list(model.encoder.parameters()), allow_unused=True)) == {None}


@every_kind
def test_log_variances_stay_within_their_limits(kind):
    model, x, labels = make(kind)
    last = model.encoder[-1] if kind == "dense" else model.encoder.to_out
    with torch.no_grad():
        last.bias[5:] = torch.tensor([1e4, -1e4, 0.0, 1e4, -1e4])
    recon, mu, log_var = model(x, *labels, seeded(0))
    assert log_var.abs().max() == LOG_VAR_LIMIT and mu.abs().max() < 100
    assert all(value.isfinite() for value in elbo_parts(x, recon, mu, log_var).values())


@every_kind
def test_posteriors_are_float32_under_bf16(kind):
    model, x, labels = make(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recon, mu, log_var = model(x, *labels, seeded(0))
        parts = elbo_parts(x, recon, mu, log_var)
    assert mu.dtype == log_var.dtype == torch.float32 and {part.dtype for part in parts.values()} == {torch.float32}
    exact = model(x, *labels, seeded(0))
    torch.testing.assert_close(recon.float(), exact[0], atol=0.05, rtol=0.05)


@every_kind
def test_no_output_is_bounded(kind):
    model, _, labels = make(kind)
    assert model.decode(1e3 * torch.randn(6, 5, generator=seeded(0)), *labels).abs().max() > 1


@every_kind
def test_wrong_inputs_are_refused(kind):
    model, x, labels = make(kind)
    with pytest.raises(ValueError, match=r"got shape .*need \(B, "):
        model.encode(x[:, :-1], *labels)
    with pytest.raises(ValueError, match=r"got shape \(6, 4\), need \(B, 5\)"):
        model.decode(torch.zeros(6, 4), *labels)


@every_kind
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    model, x, labels = make(kind)
    save_pretrained("some", model, RECORD, tmp_path)
    twin, record = load_pretrained("some", folder=tmp_path)
    assert type(twin) is type(model) and record["config"] == model.config
    assert torch.equal(twin(x, *labels, seeded(0))[0], model(x, *labels, seeded(0))[0])


@every_kind
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_same_on_cuda(kind):
    model, x, labels = make(kind)
    on_cpu = model(x, *labels, seeded(0))
    on_gpu = model.to("cuda")(x.to("cuda"), *(label.to("cuda") for label in labels), seeded(0))  # a CPU rng serves too
    for ours, theirs in zip(on_gpu, on_cpu, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-3, rtol=1e-3)


# ---- the condition


def test_pictures_change_with_the_condition_and_only_then():
    model, _, _ = make("conditional")
    z = torch.randn(1, 5, generator=seeded(0)).expand(21, -1)
    digits, speakers = torch.arange(21) % 7, torch.arange(21) // 7  # all pairs
    pictures = model.decode(z, digits, speakers)
    assert torch.equal(model.decode(z, digits, speakers), pictures)
    torch.testing.assert_close(model.decode(z.flip(0), digits.flip(0), speakers.flip(0)).flip(0), pictures)
    apart = torch.cdist(pictures.flatten(1), pictures.flatten(1)) + 1e9 * torch.eye(21)
    assert apart.min() > 1e-3  # all 21 differ


def test_a_clips_label_is_its_own():
    """Changing the third clip's labels changes the third clip, and no other."""
    model, x, (digits, speakers) = make("conditional")
    for changed in ((digits.clone(), speakers), (digits, speakers.clone())):
        next(new for new, old in zip(changed, (digits, speakers), strict=True) if new is not old)[2] = 1
        before, after = model.encode(x, digits, speakers)[0], model.encode(x, *changed)[0]
        assert ((before - after).abs().amax(dim=1) > 1e-5).tolist() == [i == 2 for i in range(6)]
        z = torch.ones(6, 5)
        before, after = model.decode(z, digits, speakers), model.decode(z, *changed)
        assert ((before - after).abs().amax(dim=(1, 2)) > 1e-5).tolist() == [i == 2 for i in range(6)]


def test_labels_that_the_model_does_not_know_are_refused():
    model, x, (digits, speakers) = make("conditional")
    with pytest.raises(ValueError, match=r"digits: got labels from 0 to 7, need 0 to 6.*n_digits="):
        model.encode(x, digits.where(digits != 6, 7), speakers)
    with pytest.raises(ValueError, match=r"speakers: got labels from -1 to 2, need 0 to 2"):
        model.decode(torch.zeros(6, 5), digits, speakers.where(speakers != 1, -1))
    with pytest.raises(ValueError, match=r"digits \(6,\), speakers \(5,\)"):
        model.encode(x, digits, speakers[:5])


def test_what_was_measured_of_the_decoder_travels_with_the_weights(tmp_path):
    model, _, _ = make("conditional")
    model.sigma.copy_(torch.rand(24, 41, generator=seeded(0)))
    save_pretrained("some", model, RECORD, tmp_path)
    assert torch.equal(load_pretrained("some", folder=tmp_path)[0].sigma, model.sigma)


@pytest.mark.parametrize(("name", "module"), MODEL_MODULES.items())
def test_every_model_that_can_be_loaded_is_where_it_is_said_to_be(name, module):
    found = getattr(importlib.import_module(module), name)
    assert issubclass(found, torch.nn.Module) and found.__module__ == module


# ---- the recurrent decoder


def test_the_recurrent_decoder_is_a_loop_over_frames():
    model, _, _ = make("recurrent")
    z = torch.randn(6, 5, generator=seeded(0))
    cell = torch.nn.GRUCell(5, 8)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in model.gru.state_dict().items()})
    state, frames = torch.tanh(model.to_state(z)), []
    for _ in range(41):
        state = cell(z, state)
        frames.append(model.to_frame(state))
    torch.testing.assert_close(model.decode(z), torch.stack(frames, dim=2), atol=1e-5, rtol=1e-4)
