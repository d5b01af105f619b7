"""Checkpoints and pretrained weights: nothing is lost, nothing damaged is used, nothing is unpickled."""

import errno
import json
import os
import pickle
import random
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

from course_lib.models.classifier import DigitClassifier
from course_lib.training import storage
from course_lib.training.checkpoint import Checkpoints, describe_model, read_state, refuse_other_run
from course_lib.training.pretrained import load_pretrained, save_pretrained
from course_lib.training.storage import CheckpointError

RECORD = {"dataset": "fsdd", "steps": 5, "train_seconds": 1.5, "device": "cpu"}

RECORD |= {"seed": 0, "chosen": "", "metrics": {"accuracy": 0.5}}


def a_state() -> dict:
    torch.manual_seed(0)
    return {
        "model": {"conv.weight": torch.randn(4, 3, 2, 5).to(memory_format=torch.channels_last)},
        "half": torch.randn(3).bfloat16(),
        "counts": [torch.tensor(7), torch.zeros(0, 2), torch.tensor([True, False])],
        "rng": torch.Generator().manual_seed(1).get_state(),
        "settings": {"rate": 0.1, "name": "ä", "none": None, "list": [1, [2.5, "x"]], "big": 2**60 + 1},
    }


def assert_same(a: object, b: object) -> None:
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b)
    else:
        assert a == b


def test_what_is_saved_is_read(tmp_path):
    kept = Checkpoints(tmp_path / "new" / "folder")
    assert kept.latest() is None
    kept.save(3, a_state())
    assert_same(kept.latest(), {"step": 3, **a_state()})


def test_tensors_that_share_memory_and_tuples_are_kept(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    Checkpoints(tmp_path).save(1, {"a": weight, "b": weight.t(), "c": (weight[0], 1)})
    found = Checkpoints(tmp_path).latest()
    for got, expected in ((found["a"], weight), (found["b"], weight.t()), (found["c"][0], weight[0])):
        assert torch.equal(got, expected)


def test_the_last_two_are_kept(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    for step in (9, 10, 11, 100):
        kept.save(step, {"x": torch.tensor(step)})
    assert [int(path.stem.removeprefix("step_")) for path in kept.paths()] == [11, 100]
    assert int(kept.latest()["x"]) == 100
    kept.clear()
    assert kept.latest() is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("state", [{"f": print}, {1: 2}, {"a": {"b": [object()]}}])
def test_refuses_what_only_pickle_could_keep(tmp_path, state):
    with pytest.raises(TypeError, match="state.*need"):
        Checkpoints(tmp_path).save(1, state)
    assert not list(tmp_path.iterdir())


# -- damage -----------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed(tmp_path):
    path = Checkpoints(tmp_path).save(3, a_state())
    content, dice = bytearray(path.read_bytes()), random.Random(0)
    n_header = 8 + int.from_bytes(content[:8], "little")
    places = [*range(n_header), *dice.sample(range(n_header, len(content)), 200), len(content) - 1]
    for place in places:
        bit = 1 << dice.randrange(8)
        content[place] ^= bit
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="step_000000003.safetensors is"):
            read_state(path)
        content[place] ^= bit
    path.write_bytes(content)
    assert_same(read_state(path), {"step": 3, **a_state()})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.7, 0.9999])
def test_a_cut_file_is_named_and_the_one_before_used(tmp_path, capsys, share):
    kept = Checkpoints(tmp_path)
    kept.save(1, {"x": torch.ones(100)})
    path = kept.save(2, {"x": torch.ones(100)})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert kept.latest()["step"] == 1
    said = capsys.readouterr().out
    assert "step_000000002.safetensors is cut short or altered" in said and "000001" not in said


def test_where_all_are_damaged_there_is_none(tmp_path, capsys):
    kept = Checkpoints(tmp_path)
    for step in (1, 2):
        kept.save(step, {"x": torch.ones(3)}).write_bytes(b"")
    assert kept.latest() is None
    assert capsys.readouterr().out.count("damaged") == 2


class Trap:
    def __reduce__(self):
        return (os._exit, (1,))


def test_a_pickle_is_refused_and_not_run(tmp_path, capsys):
    (tmp_path / "step_000000001.safetensors").write_bytes(pickle.dumps(Trap()))
    assert Checkpoints(tmp_path).latest() is None
    assert "damaged" in capsys.readouterr().out


def test_other_safetensors_files_are_refused(tmp_path):
    path = tmp_path / "step_000000001.safetensors"
    path.write_bytes(storage.to_content({"x": torch.ones(2)}))
    with pytest.raises(CheckpointError, match="no checkpoint of this course"):
        read_state(path)


# -- failing writes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch, call):
    kept = Checkpoints(tmp_path)
    kept.save(1, {"x": torch.ones(3)})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, call, full)
    with pytest.raises(CheckpointError, match="No space left.*Earlier checkpoints are intact.*free some space"):
        kept.save(2, {"x": torch.ones(3)})
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001.safetensors"]
    assert kept.latest()["step"] == 1


FULL_DISK = """
import resource, sys, torch
from course_lib.training.checkpoint import Checkpoints
kept = Checkpoints(sys.argv[1])
kept.save(1, {"x": torch.ones(100)})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
kept.save(2, {"x": torch.ones(10_000)})
"""


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_file_that_no_longer_fits(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1 and "CheckpointError: could not write" in done.stderr, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001.safetensors"]
    assert Checkpoints(tmp_path).latest()["step"] == 1


def test_leftovers_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path):
    old, new = tmp_path / ".step_000000004.safetensors.77.tmp", tmp_path / ".step_000000005.safetensors.78.tmp"
    for temp in (old, new):
        temp.write_bytes(b"half a checkpoint")
    os.utime(old, (time.time() - 3600,) * 2)
    kept = Checkpoints(tmp_path)
    assert kept.latest() is None
    assert not old.exists() and new.exists()
    kept.clear()
    assert not new.exists()


# -- other architectures and settings ---------------------------------------------------------------------------------


def settings_of(model: nn.Module, **changes) -> dict:
    return {"n_steps": 10, "seed": 0, "model": describe_model(model)} | changes


def test_another_architecture_is_refused_with_both_configs(tmp_path):
    one, other = (DigitClassifier(n_mels=16, n_channels=(2, 2, 2, 2), n_embed=n) for n in (3, 4))
    refuse_other_run(settings_of(one), settings_of(one), Checkpoints(tmp_path))
    with pytest.raises(CheckpointError) as refused:
        refuse_other_run(settings_of(one), settings_of(other), Checkpoints(tmp_path))
    said = str(refused.value)
    assert "n_embed=3" in said and "n_embed=4" in said and "to_embed.weight [3, 2]" in said and ".clear()" in said


def test_classes_without_config_are_told_apart_by_their_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"weights that differ: weight \[2, 3\].*\n.*weight \[2, 4\]"):
        refuse_other_run(settings_of(nn.Linear(3, 2)), settings_of(nn.Linear(4, 2)), Checkpoints(tmp_path))


def test_other_settings_are_refused_with_both(tmp_path):
    model = nn.Linear(3, 2)
    with pytest.raises(CheckpointError, match="checkpoint: n_steps=10\n  this run:   n_steps=20\n.*start afresh"):
        refuse_other_run(settings_of(model), settings_of(model, n_steps=20), Checkpoints(tmp_path))


# -- pretrained -------------------------------------------------------------------------------------------------------


@pytest.fixture
def judge() -> DigitClassifier:
    torch.manual_seed(1)
    return DigitClassifier(n_mels=16, n_channels=(2, 3, 4, 5), n_embed=6)


def test_pretrained_weights_come_back_with_their_record(tmp_path, judge):
    path = save_pretrained("judge_x", judge, RECORD, tmp_path)
    loaded, record = load_pretrained("judge_x", folder=tmp_path)
    assert not loaded.training and type(loaded) is DigitClassifier
    assert_same(dict(loaded.state_dict()), dict(judge.state_dict()))
    assert RECORD.items() <= record.items()
    assert record["params"] == sum(p.numel() for p in judge.parameters()) and record["config"] == judge.config
    assert record["model"] == "DigitClassifier" and record["digest"].startswith("sha256:")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["judge_x.json", "judge_x.safetensors"] and path.exists()


def test_a_learners_own_class_takes_the_weights(tmp_path, judge):
    save_pretrained("judge_x", judge, RECORD, tmp_path)
    own = type("MyJudge", (DigitClassifier,), {})
    assert type(load_pretrained("judge_x", model_class=own, folder=tmp_path)[0]) is own
    with pytest.raises(CheckpointError, match="does not fit Linear"):
        load_pretrained("judge_x", model_class=nn.Linear, folder=tmp_path)


def test_altered_weights_are_refused(tmp_path, judge):
    path = save_pretrained("judge_x", judge, RECORD, tmp_path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file that its record describes.*course train judge_x"):
        load_pretrained("judge_x", folder=tmp_path)


def test_unknown_names_list_the_known(tmp_path, judge):
    save_pretrained("judge_x", judge, RECORD, tmp_path)
    with pytest.raises(CheckpointError, match=r"'judge_y' \(there are: judge_x\).*course train judge_y"):
        load_pretrained("judge_y", folder=tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"digest": "x", "model": "Other"'])
def test_broken_records_are_refused(tmp_path, judge, text):
    save_pretrained("judge_x", judge, RECORD, tmp_path).with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="judge_x.json can't be read"):
        load_pretrained("judge_x", folder=tmp_path)


def test_a_class_that_the_course_lacks_is_asked_for(tmp_path, judge):
    path = save_pretrained("judge_x", judge, RECORD, tmp_path).with_suffix(".json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "os.system"}))
    with pytest.raises(CheckpointError, match="pass model_class"):
        load_pretrained("judge_x", folder=tmp_path)


def test_incomplete_records_and_large_models_are_refused(tmp_path, judge):
    with pytest.raises(ValueError, match="lacks seed, metrics"):
        save_pretrained("x", judge, {k: v for k, v in RECORD.items() if k not in ("seed", "metrics")}, tmp_path)
    large = nn.Linear(1000, 1300)
    large.config = {}
    with pytest.raises(ValueError, match="the limit is 5,000,000"):
        save_pretrained("x", large, RECORD, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_weights_saved_from_cuda_load_on_the_cpu_and_back(tmp_path, judge):
    save_pretrained("judge_x", judge.to("cuda"), RECORD, tmp_path)
    on_cpu, on_gpu = (load_pretrained("judge_x", device, folder=tmp_path)[0] for device in ("cpu", "cuda"))
    assert on_cpu.to_logits.weight.device.type == "cpu" and on_gpu.to_logits.weight.device.type == "cuda"
    assert torch.equal(on_cpu.to_logits.weight, judge.to_logits.weight.cpu())
    Checkpoints(tmp_path / "c").save(1, {"model": judge.state_dict()})
    assert Checkpoints(tmp_path / "c").latest()["model"]["to_logits.weight"].device.type == "cpu"
