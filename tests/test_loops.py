"""fit: the steps it takes, what it does when killed, interrupted, misled or spread over processes."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.clips.clips import BatchIndices
from course_lib.models.classifier import DigitClassifier, vary_mels
from course_lib.training import bookkeeping, precision
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.history import NonFiniteLoss
from course_lib.training.loops import fit, learning_rate_at
from course_lib.training.storage import CheckpointError

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(7))
Y = X[:, :2].cumsum(dim=1) * 0.7 + 0.1


def line_parts(model: nn.Module, index: torch.Tensor, rng: torch.Generator) -> dict[str, torch.Tensor]:
    guess = model(X[index])
    return {"first": (guess[:, 0] - Y[index, 0]).square().mean(), "second": (guess[:, 1] - Y[index, 1]).abs().mean()}


def fit_line(seed: int = 0, batch_loss=line_parts, model: nn.Module | None = None, **changes):
    """Train a small model in fp32; returns it and the history."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)) if model is None else model
    settings = {"n_steps": 12, "learning_rate": 0.02, "precision": "fp32", "progress": False, "device": "cpu"} | changes
    batches = settings.pop("batches", BatchIndices(40, 8, torch.Generator().manual_seed(seed)))
    rng = settings.pop("rng", torch.Generator().manual_seed(seed + 1))
    return model, fit(model, batch_loss, batches, rng=rng, **settings)


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


# -- the steps --------------------------------------------------------------------------------------------------------


def test_rate_rises_then_falls_along_a_cosine():
    rates = [learning_rate_at(step, 12, 4, 0.8) for step in range(1, 13)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[7] == pytest.approx(0.4) and rates[11] == pytest.approx(0.0)
    assert rates[5] == pytest.approx(0.4 * (1 + math.cos(math.pi / 4)))
    assert learning_rate_at(1, 1, 1, 0.8) == 0.8 and learning_rate_at(5, 5, 0, 0.8) == pytest.approx(0.0)


@pytest.mark.parametrize("clip_norm", [None, 0.3])
def test_fit_is_the_textbook_loop(clip_norm):
    """The same as plain AdamW with torch's own schedules, step by step."""
    model, history = fit_line(clip_norm=clip_norm, n_warmup=3, weight_decay=0.1)
    torch.manual_seed(0)
    twin = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=0.02, weight_decay=0.1, fused=False)
    rise = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: (i + 1) / 3)
    totals, batches = [], BatchIndices(40, 8, torch.Generator().manual_seed(0))
    for step in range(1, 13):
        if step == 4:
            optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["initial_lr"] = 0.02
            fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
            fall.step()
        loss = sum(line_parts(twin, next(batches), None).values())
        optimizer.zero_grad()
        loss.backward()
        if clip_norm:
            nn.utils.clip_grad_norm_(twin.parameters(), clip_norm)
        optimizer.step()
        (rise if step < 4 else fall).step()
        totals.append(loss.item())
    assert history.total == pytest.approx(totals, rel=1e-4)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_history_holds_every_part_of_every_step():
    model, history = fit_line(n_steps=30)
    assert list(history.parts) == ["first", "second"] and history.steps == list(range(1, 31))
    assert all(len(values) == 30 for values in history.parts.values())
    assert history.total[3] == history.parts["first"][3] + history.parts["second"][3]
    assert sum(history.total[-5:]) < 0.7 * sum(history.total[:5])
    assert history.seconds > 0 and history.steps_per_s == 30 / history.seconds
    assert (history.device, history.precision) == ("cpu", "fp32") and not model.training


def test_channels_last_weights_take_the_same_steps():
    """The fused step walks through memory: weights, gradients and moments must be laid out alike."""

    def picture_parts(model, index, rng):
        return {"loss": model(X[index].reshape(-1, 1, 2, 3)).square().mean()}

    fitted = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 2, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 2)).to(memory_format=layout)
        fitted.append(fit_line(batch_loss=picture_parts, model=model)[0])
    for a, b in zip(fitted[0].parameters(), fitted[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_on_step_sees_each_step_and_disturbs_nothing():
    seen = []

    def peek(step, model):
        seen.append(step)
        model.eval()
        torch.randn(step)

    def noisy_parts(model, index, rng):
        assert model.training
        return line_parts(model, index, rng) | {"noise": torch.rand(()) * model[0].bias.square().sum()}

    watched, unwatched = (fit_line(batch_loss=noisy_parts, on_step=on_step)[0] for on_step in (peek, None))
    assert seen == list(range(1, 13))
    assert_same_weights(watched, unwatched)


def test_losses_may_be_read_late(monkeypatch):
    """As on a GPU, where they are read every few steps: the same history."""
    init = bookkeeping.Books.__init__

    def late(self, *args):
        init(self, *args)
        self.read_every = 5

    _, expected = fit_line()
    monkeypatch.setattr(bookkeeping.Books, "__init__", late)
    assert fit_line()[1].parts == expected.parts


def test_says_what_it_does_or_nothing(capfd):
    fit_line(progress=True)
    said = capfd.readouterr()
    assert said.out.startswith("Training on cpu in fp32 (as asked).") and "12/12" in said.err and "loss=" in said.err
    fit_line()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_steps": 0}, "n_steps=0"),
        ({"precision": "fp16"}, "need one of auto, fp32, bf16"),
        ({"batches": iter([torch.arange(3)] * 5)}, "batches ran out after 5 of 12 steps"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        fit_line(**changes)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (torch.tensor(1.0), "returned a Tensor, need a dict"),
        ({"recon": torch.ones(3)}, r"'recon' of shape \(3,\), need a tensor without axes"),
        ({"recon": 1.5}, "'recon' of float"),
    ],
)
def test_refuses_losses_without_names_or_means(parts, message):
    with pytest.raises(TypeError, match=message):
        fit_line(batch_loss=lambda *_: parts)


def test_refuses_parts_that_come_and_go():
    def parts(model, index, rng):
        steps.append(1)
        return line_parts(model, index, rng) | ({"late": X[0, 0]} if len(steps) > 4 else {})

    steps = []
    with pytest.raises(ValueError, match=r"\['first', 'second', 'late'\] at step 5, but \['first', 'second'\] before"):
        fit_line(batch_loss=parts)


def test_refuses_a_checkpoint_of_another_kind(tmp_path):
    Checkpoints(tmp_path).save(3, {"x": torch.ones(2)})
    with pytest.raises(CheckpointError, match="was not written by fit"):
        fit_line(checkpoints=Checkpoints(tmp_path))


def test_refuses_to_checkpoint_batches_that_cannot_be_resumed(tmp_path):
    with pytest.raises(ValueError, match="can't be resumed; use clips.BatchIndices"):
        fit_line(batches=iter([torch.arange(3)] * 50), checkpoints=Checkpoints(tmp_path))


# -- precision --------------------------------------------------------------------------------------------------------


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_fp32():
    kinds = set()

    def parts(model, index, rng):
        kinds.add(model(X[index]).dtype)
        return line_parts(model, index, rng)

    for name, kind in (("bf16", torch.bfloat16), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        kinds.clear()
        model, history = fit_line(batch_loss=parts, precision=name)
        assert kinds == {kind} and history.precision == name and model[0].weight.dtype == torch.float32


@pytest.mark.parametrize(("speedup", "chosen"), [(2.0, "bf16"), (1.05, "fp32"), (0.4, "fp32")])
def test_auto_takes_bf16_where_it_is_clearly_faster(monkeypatch, speedup, chosen, capsys):
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_: speedup)
    assert fit_line(precision="auto", progress=True)[1].precision == chosen
    assert f"in {chosen} (bf16 runs at {speedup:.1f} x" in capsys.readouterr().out


def test_threads_that_wait_for_each_other_are_left_out(monkeypatch, capsys):
    """On a busy machine one thread is faster; afterwards torch has all of them again, even if the training fails."""
    threads = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    for slow, expected in ((2, 1), (1, 2)):
        monkeypatch.setattr(precision, "_seconds", lambda *_, slow=slow: 0.1 if threads[-1] == slow else 0.01)
        assert precision.choose_threads() == expected and threads[-1] == 2

    def fails(step, model):
        assert threads[-1] == 1
        raise Interrupted

    monkeypatch.setattr(bookkeeping, "choose_threads", lambda: 1)
    with pytest.raises(Interrupted):
        fit_line(n_steps=bookkeeping.LONG_TRAINING, on_step=fails, progress=True)
    assert threads[-1] == 2 and "One thread, since the machine is busy." in capsys.readouterr().out
    fit_line(on_step=lambda *_: threads.append(7) if threads[-1] != 2 else None)  # a short one does not ask
    assert 7 not in threads


def test_a_resumed_training_uses_as_many_threads_as_before(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(bookkeeping, "choose_threads", lambda: 1)
    fit_line(n_steps=100, checkpoints=Checkpoints(tmp_path))
    monkeypatch.setattr(bookkeeping, "choose_threads", lambda: 2)
    fit_line(n_steps=100, checkpoints=Checkpoints(tmp_path))
    assert used == [1, 2, 1, 2]


def test_the_probe_measures_once_and_draws_nothing():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    precision.bf16_speedup.cache_clear()
    first = precision.bf16_speedup("cpu", 1)
    assert torch.equal(torch.rand(3), expected)
    assert 0 < first < 100 and precision.bf16_speedup("cpu", 1) == first


# -- resuming ---------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def judge_parts(model, index, rng):
    mels = torch.randn(24, 16, 20, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    return {"loss": F.cross_entropy(model(vary_mels(mels[index], rng)), index % 10)}


def fit_judge(**changes):
    """A model with dropout, batch norm and channels-last weights, on data varied by rng."""
    torch.manual_seed(0)
    model = DigitClassifier(n_mels=16, n_channels=(4, 6, 8, 10), n_embed=8)
    batches = BatchIndices(24, 7, torch.Generator().manual_seed(2))
    return fit_line(model=model, batch_loss=judge_parts, batches=batches, **changes)


@pytest.mark.parametrize("fitter", [fit_line, fit_judge])
@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_an_interrupted_training_ends_bitwise_where_it_would_have(tmp_path, fitter, name, capsys):
    def interrupt(step, model):
        if step == stop_after:
            raise Interrupted

    stop_after = 0
    settings = {"precision": name, "save_every_steps": 3, "progress": True}
    expected, history = fitter(**settings)
    for at in (2, 4, 5, 11):  # before the first save, after saves, and again before the next one
        stop_after = at
        with pytest.raises(Interrupted):
            fitter(checkpoints=Checkpoints(tmp_path), on_step=interrupt, **settings)
    capsys.readouterr()
    resumed, found = fitter(checkpoints=Checkpoints(tmp_path), **settings)
    assert capsys.readouterr().out.startswith("Resuming at step 10 on cpu")
    assert_same_weights(resumed, expected)
    assert found.parts == history.parts and found.steps == history.steps


def test_rng_shared_by_batches_and_losses_resumes_too(tmp_path):
    def settings(**more):
        rng = torch.Generator().manual_seed(9)
        return {"rng": rng, "batches": BatchIndices(40, 8, rng), "save_every_steps": 2} | more

    def drawn_parts(model, index, rng):
        return {"loss": (model(X[index]) - torch.randn(8, 2, generator=rng)).square().mean()}

    def interrupt(step, model):
        if step == 5:
            raise Interrupted

    expected, _ = fit_line(batch_loss=drawn_parts, **settings())
    with pytest.raises(Interrupted):
        fit_line(batch_loss=drawn_parts, **settings(checkpoints=Checkpoints(tmp_path), on_step=interrupt))
    assert_same_weights(fit_line(batch_loss=drawn_parts, **settings(checkpoints=Checkpoints(tmp_path)))[0], expected)


def test_a_finished_training_returns_at_once(tmp_path, capsys):
    expected, history = fit_line(checkpoints=Checkpoints(tmp_path))

    def never(*_):
        raise AssertionError("trained again")

    again, found = fit_line(checkpoints=Checkpoints(tmp_path), batch_loss=never, progress=True)
    assert_same_weights(again, expected)
    assert (found.parts, found.steps, found.seconds) == (history.parts, history.steps, history.seconds)
    said = capsys.readouterr().out
    assert "Already trained: 12 steps" in said and ".clear()" in said and not again.training


def test_auto_stays_with_the_precision_it_began_in(tmp_path, monkeypatch):
    speeds = iter([2.0, 0.5])
    monkeypatch.setattr(precision, "bf16_speedup", lambda *_: next(speeds))
    for _ in range(2):
        history = fit_line(precision="auto", checkpoints=Checkpoints(tmp_path))[1]
        assert history.precision == "bf16"


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"n_steps": 20}, "n_steps=12 n_steps=20"),
        ({"learning_rate": 0.5}, "learning_rate=0.02 learning_rate=0.5"),
        ({"clip_norm": 2.0}, "clip_norm=None clip_norm=2.0"),
        ({"seed": 3}, "seed=1 seed=4"),
        ({"batches": BatchIndices(40, 9, torch.Generator())}, "batch_size=8 batch_size=9"),
        ({"batches": BatchIndices(39, 8, torch.Generator())}, "n_clips=40 n_clips=39"),
    ],
)
def test_other_settings_are_refused_with_both(tmp_path, changes, differ):
    fit_line(checkpoints=Checkpoints(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        fit_line(checkpoints=Checkpoints(tmp_path), **changes)
    assert all(part in str(refused.value) for part in differ.split()) and "start afresh" in str(refused.value)


def test_another_model_is_refused_with_both(tmp_path):
    fit_line(checkpoints=Checkpoints(tmp_path))
    with pytest.raises(CheckpointError, match=r"another architecture(.|\n)*0.weight \[5, 6\](.|\n)*0.weight \[9, 6\]"):
        fit_line(checkpoints=Checkpoints(tmp_path), model=nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)))


def test_saves_by_the_clock(tmp_path):
    saved = []

    class Spy(Checkpoints):
        def save(self, step, state):
            saved.append(step)
            return super().save(step, state)

    fit_line(checkpoints=Spy(tmp_path), save_every_s=0.0)
    assert saved == list(range(1, 13))
    saved.clear()
    fit_line(checkpoints=Spy(tmp_path / "b"), save_every_s=3600.0)
    assert saved == [12]


# -- numbers that are none --------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path):
    def parts(model, index, rng):
        parts_here["step"] += 1
        good = line_parts(model, index, rng)
        return good if parts_here["step"] < 8 else good | {"second": good["second"] * math.inf}

    parts_here = {"step": 0}
    with pytest.raises(NonFiniteLoss, match="'second' became inf at step 8 of 12.*step_000000006") as stopped:
        fit_line(batch_loss=parts, checkpoints=Checkpoints(tmp_path), save_every_steps=3)
    assert "learning rate ten times lower" in str(stopped.value)
    kept = Checkpoints(tmp_path).latest()
    assert kept["step"] == 6 and all(value.isfinite().all() for value in kept["model"].values())


@pytest.mark.parametrize("every", [1, 4])
def test_spoiled_weights_are_never_saved(tmp_path, every):
    """The loss of step 8 is finite, its gradient is not (the slope of a square root at 0)."""

    def parts(model, index, rng):
        parts_here["step"] += 1
        good = line_parts(model, index, rng)
        return good | {"root": (model[0].bias.sum() * 0).sqrt() if parts_here["step"] == 8 else X[0, 0]}

    parts_here = {"step": 0}
    with pytest.raises(NonFiniteLoss, match="weight '0.bias' is no longer finite after step 8"):
        fit_line(batch_loss=parts, checkpoints=Checkpoints(tmp_path), save_every_steps=every)
    kept = Checkpoints(tmp_path).latest()
    assert kept["step"] == 8 - every and all(value.isfinite().all() for value in kept["model"].values())


# -- killed -----------------------------------------------------------------------------------------------------------

KILLS = """
# Fork a training, kill it at a random moment, and again, until one comes through. Forks, since importing torch and
# making the first optimiser and accelerator take seconds: that is done once, here.
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)  # a pool of threads would not survive the fork
sys.path.insert(0, sys.argv[1])
from test_loops import Checkpoints, fit_judge
from course_lib.training.parallel import make_accelerator
torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
make_accelerator("fp32", torch.device("cpu"), 1)

def fork(folder):
    child = os.fork()
    if child == 0:
        try:
            fit_judge(n_steps=40, checkpoints=Checkpoints(folder), save_every_steps=1)
            os._exit(0)
        finally:
            os._exit(1)
    return child

def follow(child, seconds, until_saving=False):  # the exit status, or None if it is still running by then
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if until_saving and list(killed.glob(".*.tmp")):
            return None
        if not until_saving:
            time.sleep(0.0005)

whole, killed = (Path(sys.argv[2]) / name for name in ("whole", "killed"))
started = time.monotonic()
assert follow(fork(whole), 60) == 0
longest_s = (time.monotonic() - started) / 3
dice, n_kills, n_torn, status = random.Random(1), 0, 0, None
while status is None:
    child = fork(killed)
    status = follow(child, dice.uniform(0, longest_s))
    if status is None and n_kills % 2:  # every other time wait on, until a checkpoint is half written
        status = follow(child, 60, until_saving=True)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        n_kills += 1
        torn = list(killed.glob(".*.tmp"))
        n_torn += bool(torn)
        for temp in torn:
            temp.unlink()  # so that it is counted once
        longest_s *= 1.02  # on a machine that has become slow, it must come through one day
    elif status == 0 and (n_kills < 10 or n_torn < 2):  # it got away too easily: once more, from the start
        Checkpoints(killed).clear()
        longest_s, n_kills, n_torn, status = longest_s / 2, 0, 0, None
assert status == 0
print(n_kills, n_torn)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_again_and_again_it_ends_bitwise_where_it_would_have(tmp_path):
    command = [sys.executable, "-c", KILLS, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    n_kills, n_torn = map(int, done.stdout.split()[-2:])
    print(f"{n_kills} kills, {n_torn} of them while a checkpoint was being written")
    whole, killed = (Checkpoints(tmp_path / name).latest() for name in ("whole", "killed"))
    assert whole["step"] == killed["step"] == 40
    assert n_kills >= 10 and n_torn >= 2
    flat_whole, flat_killed = _flatten(whole), _flatten(killed)
    assert flat_whole.keys() == flat_killed.keys() and len(flat_whole) > 60
    for key in flat_whole.keys() - {".seconds"}:
        same = flat_whole[key] == flat_killed[key]
        assert same.all() if isinstance(same, torch.Tensor) else same, key


def _flatten(tree: object, path: str = "") -> dict:
    if isinstance(tree, dict | list):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {key: value for name, branch in items for key, value in _flatten(branch, f"{path}.{name}").items()}
    return {path: tree}


# -- several processes ------------------------------------------------------------------------------------------------

TWO = """
import os, sys
sys.path.insert(0, sys.argv[1])
import torch
from torch import nn
from test_loops import BatchIndices, Checkpoints, fit_line

rank = int(os.environ["RANK"])
torch.manual_seed(rank)  # other weights in each process: the main one's count
model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
_, history = fit_line(model=model, n_steps=25, checkpoints=Checkpoints(sys.argv[2] + "/saved"), progress=True)
torch.save((history.parts, model.state_dict()), f"{sys.argv[2]}/{rank}.pt")
try:
    fit_line(batches=BatchIndices(40, 9, torch.Generator().manual_seed(0)))
except ValueError as error:
    print("refused:", error)
"""


def test_two_processes_take_the_steps_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = tmp_path / "job.py"
    script.write_text(TWO)
    # Not --cpu, with which accelerate starts two processes only through MPI; the script itself asks for the CPU.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    command += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", f"--main_process_port={port}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(script), str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, timeout=120, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    model, history = fit_line(n_steps=25)
    for rank in (0, 1):
        parts, weights = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert parts.keys() == history.parts.keys()
        for name in parts:
            assert parts[name] == pytest.approx(history.parts[name], rel=1e-3, abs=1e-5)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(weights[name], value, atol=1e-4, rtol=1e-3)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["step_000000025.safetensors"]
    assert done.stdout.count("Training on cpu, 2 processes, in fp32") == 1 and done.stderr.count("25/25") >= 1
    assert done.stdout.count("a batch of 9 can't be shared evenly by 2 processes; use a batch of 8 or 10") == 2


# -- imports and GPUs -------------------------------------------------------------------------------------------------


def test_importing_it_brings_no_more_than_torch_along():
    slow = "accelerate ipywidgets transformers torchvision librosa"
    code = f"import sys, course_lib.training.loops; print([m for m in '{slow}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@needs_cuda
@pytest.mark.parametrize("name", ["bf16", "auto"])
def test_cuda_learns(name):
    def parts(model, index, rng):
        return {"loss": (model(X.to("cuda")[index]) - Y.to("cuda")[index]).square().mean()}

    model, history = fit_line(batch_loss=parts, n_steps=90, precision=name, device="cuda")
    assert model[0].weight.device.type == "cuda" and len(history.steps) == 90 and history.device.startswith("cuda")
    assert sum(history.total[-10:]) < 0.5 * sum(history.total[:10])
    assert fit_line()[1].device == "cpu"  # and back


@needs_cuda
def test_cuda_resumes_close_to_where_it_would_have_been(tmp_path):
    def parts(model, index, rng):
        return {"loss": (F.dropout(model(X.to("cuda")[index]), 0.1) - Y.to("cuda")[index]).square().mean()}

    def interrupt(step, model):
        if step == 31:
            raise Interrupted

    settings = {"batch_loss": parts, "n_steps": 45, "precision": "bf16", "device": "cuda", "save_every_steps": 10}
    expected, history = fit_line(**settings)
    with pytest.raises(Interrupted):
        fit_line(checkpoints=Checkpoints(tmp_path), on_step=interrupt, **settings)
    resumed, found = fit_line(checkpoints=Checkpoints(tmp_path), **settings)
    assert found.total == pytest.approx(history.total, rel=0.02)
    for a, b in zip(resumed.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=5e-3, rtol=0.02)


@needs_cuda
def test_cuda_names_the_step_although_losses_are_read_late():
    def parts(model, index, rng):
        counted["n"] += 1
        return {"loss": model(X.to("cuda")[index]).square().mean() * (math.nan if counted["n"] == 13 else 1.0)}

    counted = {"n": 0}
    with pytest.raises(NonFiniteLoss, match="became nan at step 13 of 45"):
        fit_line(batch_loss=parts, n_steps=45, device="cuda")
