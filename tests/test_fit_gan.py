"""fit_gan: the two turns it takes, the average it keeps, the alarms it raises, and what it does when killed."""

import copy
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from course_lib.clips.clips import BatchIndices
from course_lib.losses.adversarial import Dither, Game
from course_lib.models.gan import ConvDiscriminator, ConvGenerator, DenseDiscriminator, DenseGenerator
from course_lib.models.wavegan import WaveDiscriminator, WaveGenerator
from course_lib.training import bookkeeping
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.history import NonFiniteLoss
from course_lib.training.loops import fit_gan, learning_rate_at
from course_lib.training.players import GameOver, Watch
from course_lib.training.storage import CheckpointError

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(7)) * torch.tensor([1.0, 0.3, 2.0]) + 0.5
MELS = torch.rand(24, 12, 20, generator=torch.Generator().manual_seed(8)) * 2 - 1
TOY = Game(lambda index: (ROWS[index],), z_dim=4, loss="non_saturating")
PICTURES = Game(lambda index: (MELS[index], index % 7, index % 3), z_dim=5, r1=0.5, r1_every=3, gradient_penalty=1.0)


def toy_players() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return DenseGenerator(n_features=3, n_hidden=(7,), z_dim=4), DenseDiscriminator(n_features=3, n_hidden=(6,))


def fit_toy(players: tuple[nn.Module, nn.Module] | None = None, game: Game = TOY, **changes):
    """Train two small players in fp32; returns both, the generator's average and the history."""
    generator, critic = toy_players() if players is None else players
    settings = {"n_steps": 12, "learning_rate": 0.01, "precision": "fp32", "progress": False, "device": "cpu"} | changes
    batches = settings.pop("batches", BatchIndices(40, 8, torch.Generator().manual_seed(0)))
    rng = settings.pop("rng", torch.Generator().manual_seed(1))
    return generator, critic, *fit_gan(generator, critic, game, batches, rng=rng, **settings)


def fit_pictures(**changes):
    """Everything that must be remembered: batch norm, spectral norm, dropout, labels, both penalties, readings."""
    torch.manual_seed(0)
    sizes = {"n_digits": 7, "n_speakers": 3, "n_mels": 12, "n_frames": 20}
    generator = ConvGenerator(z_dim=5, **sizes, n_embed=2, n_channels=(6, 4))
    critic = ConvDiscriminator(**sizes, n_channels=(4, 6), n_features=5)
    critic.convolve.append(nn.Dropout(0.1))
    batches = BatchIndices(24, 5, torch.Generator().manual_seed(2))
    watch = Watch(every=2, patience=1, most_wins=0.5)
    return fit_toy((generator, critic), PICTURES, batches=batches, n_critic=2, **{"watch": watch} | changes)


def fit_waves(**changes):
    """What draws besides: the critic's phase shuffle from torch's own generator, dither from the game's."""
    torch.manual_seed(0)
    sizes = {"n_digits": 7, "n_speakers": 3, "n_samples": 240, "n_kernel": 8}
    generator = WaveGenerator(z_dim=5, **sizes, n_embed=2, n_channels=(6, 4), upsampling="smoothed", norm="batch")
    critic = WaveDiscriminator(**sizes, n_channels=(4, 6), n_features=5, n_shuffle=2, spectral=True)
    game = Game(lambda index: (MELS.flatten(1)[index], index % 7, index % 3), z_dim=5, augment=Dither(0.1), r1=0.5)
    batches = BatchIndices(24, 5, torch.Generator().manual_seed(2))
    return fit_toy((generator, critic), game, batches=batches, **{"watch": Watch(every=2)} | changes)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


# ---- the turns


@pytest.mark.parametrize(("n_critic", "clip_norm"), [(1, None), (3, 0.1)])
def test_fit_gan_is_the_textbook_loop(n_critic, clip_norm):
    """The same as two plain Adams, in turns, with an average of weights done by hand."""
    settings = {"learning_rate": (0.01, 0.03), "n_critic": n_critic, "clip_norm": clip_norm, "average_decay": 0.6}
    generator, critic, average, history = fit_toy(**settings)
    g, d = toy_players()
    g_adam = torch.optim.Adam(g.parameters(), lr=0.01, betas=(0.5, 0.99))
    d_adam = torch.optim.Adam(d.parameters(), lr=0.03, betas=(0.5, 0.99))
    batches, rng = BatchIndices(40, 8, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    mean, fooled = copy.deepcopy(g), []
    for step in range(1, 13):
        for _ in range(n_critic):
            real = ROWS[next(batches)]
            with torch.no_grad():
                fake = g(torch.randn(8, 4, generator=rng))
            loss = -(d(real).sigmoid().log().mean() + (1 - d(fake).sigmoid()).log().mean())
            d_adam.zero_grad()
            loss.backward()
            if clip_norm:
                nn.utils.clip_grad_norm_(d.parameters(), clip_norm)
            d_adam.step()
        loss = -d(g(torch.randn(8, 4, generator=rng))).sigmoid().log().mean()
        g_adam.zero_grad()
        loss.backward()
        if clip_norm:
            nn.utils.clip_grad_norm_(g.parameters(), clip_norm)
        g_adam.step()
        fooled.append(loss.item())
        keep = min(0.6, step / (step + 10))
        for slow, fast in zip(mean.parameters(), g.parameters(), strict=True):
            slow.data = keep * slow.data + (1 - keep) * fast.data
    assert history.parts["g_fool"] == pytest.approx(fooled, rel=1e-3)
    assert list(history.parts) == ["d_real", "d_fake", "g_fool"] and history.steps == list(range(1, 13))
    for mine, theirs in ((generator, g), (critic, d), (average, mean)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-3)
    assert not (generator.training or critic.training or average.training)


def test_no_gradient_crosses_to_the_other_player():
    """Even where a game forgets to detach: neither loss reaches the other's weights, nor are those frozen for good."""

    class Careless(Game):
        def discriminator_parts(self, generator, discriminator, index, rng, step):
            assert not any(weight.requires_grad for weight in generator.parameters())
            fake = generator(torch.randn(8, 4, generator=rng))
            return {"gap": (discriminator(fake) - discriminator(ROWS[index])).mean()}

        def generator_parts(self, generator, discriminator, index, rng, step):
            assert all(weight.grad is not None for weight in discriminator.parameters() if weight.ndim > 1)
            before.append([weight.grad.clone() for weight in discriminator.parameters()])
            assert not any(weight.requires_grad for weight in discriminator.parameters())
            return super().generator_parts(generator, discriminator, index, rng, step)

    def after(step, average):
        now = [weight.grad for weight in critic.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(before[-1], now, strict=True))  # the generator's turn added none

    before: list = []
    generator, critic = toy_players()
    critic.requires_grad_(True)
    fit_toy((generator, critic), Careless(TOY.clips_at, z_dim=4), on_step=after, watch=None)
    assert len(before) == 12 and all(weight.requires_grad for weight in [*generator.parameters(), *critic.parameters()])


def test_learning_rates():
    seen = []
    init = bookkeeping.Books.note

    def spy(self, step, parts):
        seen.append([group["lr"] for optimizer in self.optimizers.values() for group in optimizer.param_groups])
        init(self, step, parts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bookkeeping.Books, "note", spy)
        fit_toy(learning_rate=(0.01, 0.04), n_warmup=4)
        assert seen == [pytest.approx([0.01 * min(1, s / 4), 0.04 * min(1, s / 4)]) for s in range(1, 13)]
        seen.clear()
        fit_toy(learning_rate=0.02, n_warmup=3, anneal=True)
        assert seen == [pytest.approx([learning_rate_at(s, 12, 3, 0.02)] * 2) for s in range(1, 13)]


def test_it_learns_a_distribution():
    generator, _, average, history = fit_toy(n_steps=400, learning_rate=0.005, average_decay=0.98)
    assert (history.precision, len(history.steps)) == ("fp32", 400)
    fakes = average(torch.randn(2000, 4, generator=torch.Generator().manual_seed(3)))
    assert (fakes.mean(dim=0) - ROWS.mean(dim=0)).abs().max() < 0.5
    start, _ = toy_players()
    far = (start(torch.randn(2000, 4)).mean(dim=0) - ROWS.mean(dim=0)).norm()
    assert (fakes.mean(dim=0) - ROWS.mean(dim=0)).norm() < 0.7 * far


@pytest.mark.parametrize(
    "changes", [{"n_critic": 0}, {"average_decay": 1.0}, {"learning_rate": (0.1, 0.1, 0.1)}, {"n_steps": 0}]
)
def test_refuses(changes):
    with pytest.raises(ValueError, match="need one rate or|n_steps=0"):
        fit_toy(**changes)


def test_refuses_losses_without_names():
    class Nameless(Game):
        def generator_parts(self, *args):
            return torch.tensor(1.0)

    with pytest.raises(TypeError, match="returned a Tensor, need a dict"):
        fit_toy(game=Nameless(TOY.clips_at, z_dim=4))


# ---- the average


def test_without_an_average_it_is_the_generator():
    generator, _, average, _ = fit_toy(average_decay=0.0)
    assert_same_weights(generator, average)
    assert not any(weight.requires_grad for weight in average.parameters())


# ---- the watch


@pytest.mark.parametrize("stop", [False, True])
def test_a_discriminator_that_has_won_is_named(stop, capsys):
    """It learns fast, the generator does not at all."""
    settings = {"n_steps": 60, "learning_rate": (0.0, 0.05), "watch": Watch(every=5, patience=2, stop=stop)}
    far = replace(TOY, clips_at=lambda index: (ROWS[index] + 9,))
    if stop:
        with pytest.raises(GameOver, match="training stopped at step .* of 60: the discriminator has won"):
            fit_toy(game=far, **settings)
        return
    history = fit_toy(game=far, progress=True, **settings)[3]
    ((step, text),) = history.alarms
    assert text.startswith("the discriminator has won") and step in history.readings["step"]
    assert history.readings["step"] == list(range(5, 61, 5)) and history.readings["wins"][-1] > 0.995
    assert f"Step {step}: the discriminator has won" in capsys.readouterr().out


def test_a_collapsed_generator_is_named():
    generator, critic = toy_players()
    with torch.no_grad():
        generator.layers[0].weight.zero_()  # deaf to its noise
    watch = Watch(every=3, patience=2, least_diversity=0.05)
    history = fit_toy((generator, critic), learning_rate=(0.0, 0.001), watch=watch)[3]
    ((step, text),) = history.alarms
    assert step == 6 and "diversity has collapsed" in text and max(history.readings["diversity"]) < 1e-3


def test_a_good_game_raises_no_alarm():
    history = fit_toy(n_steps=60, watch=Watch(every=5, patience=2))[3]
    assert history.alarms == [] and history.readings["diversity"][-1] > 0.2 and max(history.readings["wins"]) < 0.995


def test_watching_disturbs_nothing():
    def peek(step, average):
        assert not average.training
        torch.randn(step)

    watched, unwatched = fit_pictures(on_step=peek), fit_pictures(watch=None)
    for a, b in zip(watched[:3], unwatched[:3], strict=True):
        assert_same_weights(a, b)
    assert watched[3].parts == unwatched[3].parts and unwatched[3].readings == {}
    assert watched[3].alarms[0][0] == 2


def test_a_game_that_was_stopped_keeps_its_last_checkpoint_and_stops_again(tmp_path):
    far = replace(TOY, clips_at=lambda index: (ROWS[index] + 9,))
    settings = {"n_steps": 60, "learning_rate": (0.0, 0.05), "watch": Watch(every=5, patience=2, stop=True)}
    steps = []
    for _ in range(2):
        with pytest.raises(GameOver) as over:
            fit_toy(game=far, checkpoints=Checkpoints(tmp_path), save_every_steps=3, **settings)
        steps.append(int(str(over.value).split("step ")[1].split()[0]))
        kept = Checkpoints(tmp_path).latest()
        assert kept["step"] == (steps[-1] - 1) // 3 * 3  # the alarm comes before the save of its own step
    assert steps[0] == steps[1]  # going on from the checkpoint, the same is seen again


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_weight_that_is_not_a_number_is_never_saved(tmp_path, player):
    """Even where every loss looks well: the spoiled weight plays no part in them."""
    generator, critic = toy_players()
    idle = {"generator": generator, "discriminator": critic}[player]
    idle.register_parameter("idle", nn.Parameter(torch.zeros(2)))

    def spoil(step, average):
        if step == 8:
            idle.idle.data[1] = math.inf

    with pytest.raises(NonFiniteLoss, match=f"the weight '{player}.idle' is no longer finite.*step_000000006"):
        fit_toy((generator, critic), checkpoints=Checkpoints(tmp_path), save_every_steps=3, on_step=spoil)
    kept = Checkpoints(tmp_path).latest()
    assert kept["step"] == 6 and all(value.isfinite().all() for value in kept["model"].values())


@pytest.mark.parametrize("turn", ["discriminator", "generator"])
def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path, turn):
    class Spoiled(Game):
        def discriminator_parts(self, *args):
            parts = super().discriminator_parts(*args)
            return {k: v * (math.nan if turn == "discriminator" and args[-1] == 8 else 1) for k, v in parts.items()}

        def generator_parts(self, *args):
            parts = super().generator_parts(*args)
            return {k: v * (math.inf if turn == "generator" and args[-1] == 8 else 1) for k, v in parts.items()}

    part = "d_real' became nan" if turn == "discriminator" else "g_fool' became inf"
    with pytest.raises(NonFiniteLoss, match=f"{part} at step 8 of 12.*step_000000006"):
        fit_toy(game=Spoiled(TOY.clips_at, z_dim=4), checkpoints=Checkpoints(tmp_path), save_every_steps=3)
    kept = Checkpoints(tmp_path).latest()
    assert kept["step"] == 6 and all(value.isfinite().all() for value in kept["model"].values())


# ---- resuming


class Interrupted(Exception):
    pass


@pytest.mark.parametrize(
    ("fitter", "name"), [(fit_toy, "fp32"), (fit_pictures, "fp32"), (fit_pictures, "bf16"), (fit_waves, "fp32")]
)
def test_an_interrupted_training_ends_bitwise_where_it_would_have(tmp_path, fitter, name, capsys):
    def interrupt(step, average):
        if step == stop_after:
            raise Interrupted

    stop_after, settings = 0, {"precision": name, "save_every_steps": 3, "progress": True}
    *expected, history = fitter(**settings)
    for at in (2, 4, 5, 11):  # before the first save, after saves, and again before the next one
        stop_after = at
        with pytest.raises(Interrupted):
            fitter(checkpoints=Checkpoints(tmp_path), on_step=interrupt, **settings)
    capsys.readouterr()
    *resumed, found = fitter(checkpoints=Checkpoints(tmp_path), **settings)
    assert capsys.readouterr().out.startswith("Resuming at step 10 on cpu")
    for a, b in zip(resumed, expected, strict=True):
        assert_same_weights(a, b)
    for field in ("parts", "steps", "readings", "alarms"):
        assert getattr(found, field) == getattr(history, field), field
    again = fitter(checkpoints=Checkpoints(tmp_path), **settings)  # finished: returns at once
    assert "Already trained: 12 steps" in capsys.readouterr().out and not again[2].training
    assert_same_weights(again[2], expected[2])


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_fit_gan import Checkpoints, fit_pictures

def kill(step, average):
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

fit_pictures(checkpoints=Checkpoints(sys.argv[2]), save_every_steps=2, on_step=kill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill")
def test_killed_it_goes_on_to_bitwise_the_same(tmp_path):
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Checkpoints(tmp_path).latest()["step"] == 6
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        expected, resumed = fit_pictures(), fit_pictures(checkpoints=Checkpoints(tmp_path), save_every_steps=2)
    finally:
        torch.set_num_threads(n_threads)
    for a, b in zip(resumed[:3], expected[:3], strict=True):
        assert_same_weights(a, b)
    assert resumed[3].parts == expected[3].parts and resumed[3].readings == expected[3].readings


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"learning_rate": (0.01, 0.02)}, "learning_rate=[0.01, 0.01] learning_rate=[0.01, 0.02]"),
        ({"n_critic": 2}, "n_critic=1 n_critic=2"),
        ({"average_decay": 0.5}, "average_decay=0.999 average_decay=0.5"),
        ({"game": replace(TOY, loss="hinge")}, "'loss': 'non_saturating' 'loss': 'hinge'"),
        ({"game": replace(TOY, r1=1.0)}, "'r1': 0.0 'r1': 1.0"),
        ({"watch": None}, "'every': 50 watch=None"),
    ],
)
def test_other_settings_are_refused_with_both(tmp_path, changes, differ):
    fit_toy(checkpoints=Checkpoints(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        fit_toy(checkpoints=Checkpoints(tmp_path), **changes)
    assert all(part in str(refused.value) for part in differ.split()) and "start afresh" in str(refused.value)


def test_other_players_are_refused(tmp_path):
    fit_toy(checkpoints=Checkpoints(tmp_path))
    with pytest.raises(CheckpointError, match="another architecture"):
        fit_toy((toy_players()[0], DenseDiscriminator(3, (9,))), checkpoints=Checkpoints(tmp_path))


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@needs_cuda
def test_cuda_plays():
    on_gpu = Game(lambda index: (MELS.to(index.device)[index], index % 7, index % 3), z_dim=5, r1=0.5, r1_every=3)
    sizes = {"n_digits": 7, "n_speakers": 3, "n_mels": 12, "n_frames": 20}
    players = ConvGenerator(z_dim=5, **sizes, n_channels=(6, 4)), ConvDiscriminator(**sizes, n_channels=(4, 6))
    batches, watch = BatchIndices(24, 5, torch.Generator().manual_seed(2)), Watch(every=5)
    _, _, average, history = fit_toy(
        players, on_gpu, batches=batches, n_steps=45, device="cuda", precision="bf16", watch=watch
    )
    assert next(average.parameters()).is_cuda and len(history.steps) == 45 and len(history.readings["wins"]) == 9
