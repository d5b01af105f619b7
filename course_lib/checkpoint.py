"""Keep trained weights safe: checkpoints to resume from, and pretrained weights that carry their own record.

Everything is stored as safetensors and JSON. Nothing is unpickled, so a file from someone else can't run code here.
"""
import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from course_lib.profiles import bundled_dir

MAX_PRETRAINED_BYTES = 5_000_000
MODEL_CLASSES = {"DigitClassifier": "course_lib.models.classifier"}  # class name -> module that holds it
STALE_TEMP_S = 60.0  # a save takes milliseconds: a temporary file older than this belongs to a killed process


class CheckpointError(RuntimeError):
    """A file of weights can't be used; the message says why and what to do."""


class Checkpoints:
    """The last few states of one training, in one folder.

    Args:
        folder: made if missing; use one folder a training, e.g. runs_dir() / "01_judge".
        keep: how many of the latest checkpoints to keep.

    A state is a dict of tensors, numbers, strings, lists and dicts, nested as you like.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep: got {keep}, need at least 1; 2 lets a damaged file fall back on the one before")
        self.folder = Path(folder)
        self.keep = keep

    def __repr__(self) -> str:
        return f"Checkpoints({str(self.folder)!r}, keep={self.keep})"

    def paths(self) -> list[Path]:
        """The checkpoints on disk, oldest first."""
        return sorted(self.folder.glob("step_*.safetensors"))

    def save(self, step: int, state: dict) -> Path:
        """Write one checkpoint, whole or not at all, then drop all but the last `keep`.

        Raises: CheckpointError if the disk is full or can't be written; what was there before stays usable."""
        path = self.folder / f"step_{step:09d}.safetensors"
        tensors, tree = _take_tensors({"step": step, **state})
        metadata = {"tree": json.dumps(tree), "digest": _content_digest(tensors, json.dumps(tree))}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda temp: save_file(tensors, temp, metadata))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path.name} could not be written in {self.folder}: {error}. Earlier checkpoints are intact: "
                "free some space, then run the cell again to continue from the last one."
            ) from error
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        self._remove_leftovers()
        return path

    def latest(self) -> dict | None:
        """The newest state that is whole, or None. A damaged file is named in a printed line and the one before used."""
        self._remove_leftovers()
        for path in reversed(self.paths()):
            try:
                return read_state(path)
            except CheckpointError as error:
                print(f"Skipped a damaged checkpoint: {error}")
        return None

    def clear(self) -> None:
        """Forget this training: the next one starts from step 0."""
        for path in self.paths():
            path.unlink(missing_ok=True)
        self._remove_leftovers(older_than_s=0.0)

    def _remove_leftovers(self, older_than_s: float = STALE_TEMP_S) -> None:
        for temp in self.folder.glob(".step_*.tmp"):
            try:
                if time.time() - temp.stat().st_mtime >= older_than_s:
                    temp.unlink()
            except FileNotFoundError:  # another process was quicker
                continue


def read_state(path: Path) -> dict:
    """Read one checkpoint file.

    Raises: CheckpointError if it is cut short, altered, or not a checkpoint of this course."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} is cut short or altered ({error})") from error
    if "tree" not in metadata or metadata.get("digest") != _content_digest(tensors, metadata["tree"]):
        raise CheckpointError(f"{path.name} is altered: its content does not match the digest inside it")
    return _put_tensors(json.loads(metadata["tree"]), tensors)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place: readers see the old file or the new."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temp)
        with open(temp, "rb+") as file:
            os.fsync(file.fileno())  # the content must be on disk before the name points to it
        os.replace(temp, path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name, too, must survive a power cut
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def describe_model(model: nn.Module) -> dict:
    """What a checkpoint remembers of the architecture: class, constructor arguments, weight shapes."""
    return {
        "class": type(model).__name__,
        "config": json.loads(json.dumps(getattr(model, "config", {}))),  # as it will be read back: tuples are lists
        "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
    }


def refuse_other_run(found: dict, wanted: dict, checkpoints: Checkpoints) -> None:
    """Compare the settings of a checkpoint with those of the run that is to go on from it.

    Raises: CheckpointError that shows both, if they differ."""
    wanted = json.loads(json.dumps(wanted))
    afresh = f"To start afresh call {checkpoints}.clear(), or use another folder; to go on, restore the old settings."
    if found["model"] != wanted["model"]:
        raise CheckpointError(
            f"the checkpoint in {checkpoints.folder} holds another architecture:\n"
            f"  checkpoint: {_architecture(found['model'], wanted['model'])}\n"
            f"  your model: {_architecture(wanted['model'], found['model'])}\n{afresh}"
        )
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    if changed:
        raise CheckpointError(
            f"the checkpoint in {checkpoints.folder} belongs to a run with other settings:\n"
            f"  checkpoint: {', '.join(f'{key}={found.get(key)}' for key in changed)}\n"
            f"  this run:   {', '.join(f'{key}={wanted[key]}' for key in changed)}\n{afresh}"
        )


def _architecture(one: dict, other: dict) -> str:
    text = f"{one['class']}({', '.join(f'{key}={value}' for key, value in one['config'].items())})"
    differ = [f"{name} {shape}" for name, shape in one["shapes"].items() if other["shapes"].get(name) != shape]
    return text + (f", weights that differ: {', '.join(differ[:4])}" if differ else "")


def save_pretrained(name: str, model: nn.Module, record: dict, folder: Path | None = None) -> Path:
    """Write folder/NAME.safetensors and its record, folder/NAME.json.

    Args:
        record: dataset, steps, train_seconds, device, seed, metrics; model, params, config and digest are added.
        folder: the course's data/pretrained unless given.

    Raises: ValueError if the record lacks a field, or the weights are larger than 5 MB."""
    missing = {"dataset", "steps", "train_seconds", "device", "seed", "metrics"} - record.keys()
    if missing:
        raise ValueError(f"record of {name}: lacks {', '.join(sorted(missing))}; add them, so that anyone can repeat it")
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    n_bytes = sum(t.numel() * t.element_size() for t in tensors.values())
    if n_bytes > MAX_PRETRAINED_BYTES:
        raise ValueError(f"{name}: {n_bytes:,} bytes of weights, at most {MAX_PRETRAINED_BYTES:,}; make the model smaller")
    folder = Path(folder) if folder else bundled_dir() / "pretrained"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    write_atomically(path, lambda temp: save_file(tensors, temp))
    full = {
        "model": type(model).__name__,
        **record,
        "params": sum(p.numel() for p in model.parameters()),
        "config": model.config,
        "digest": _file_digest(path),
    }
    text = json.dumps(full, indent=2) + "\n"
    write_atomically(path.with_suffix(".json"), lambda temp: temp.write_text(text, encoding="utf-8"))
    return path


def load_pretrained(
    name: str,
    device: str | torch.device = "cpu",
    model_class: type[nn.Module] | None = None,
    folder: Path | None = None,
) -> tuple[nn.Module, dict]:
    """Build the model that NAME's record describes, with its weights, in eval mode.

    Args:
        model_class: a class to build instead of course_lib's own, e.g. the one you wrote in the notebook.
    Returns: the model on `device`, and the record as a dict.
    Raises:  CheckpointError if there is no such model, its digest is wrong, or the class does not fit."""
    folder = Path(folder) if folder else bundled_dir() / "pretrained"
    path = folder / f"{name}.safetensors"
    if not path.exists() or not path.with_suffix(".json").exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise CheckpointError(f"no pretrained model {name!r} (there are: {known}); make it with `course train {name}`")
    record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    digest = _file_digest(path)
    if digest != record["digest"]:
        raise CheckpointError(
            f"{path.name} is not the file its record describes: got {digest}, need {record['digest']}; "
            f"get it again (`git checkout -- data/pretrained`, or reinstall), or make it anew with `course train {name}`"
        )
    if model_class is None:
        model_class = getattr(importlib.import_module(MODEL_CLASSES[record["model"]]), record["model"])
    model = model_class(**record["config"])
    with safe_open(path, framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{name} does not fit {model_class.__name__}(**{record['config']}): {error}") from error
    return model.to(device).eval(), record


def _take_tensors(tree: object, path: str = "", tensors: dict[str, Tensor] | None = None) -> tuple[dict, object]:
    """Split a nested state into {path: tensor} and a JSON tree in which each tensor is replaced by its path."""
    tensors = {} if tensors is None else tensors
    if isinstance(tree, Tensor):
        tensors[path] = tree.detach().cpu().contiguous().clone()  # a clone: safetensors refuses shared memory
        return tensors, {"__tensor__": path}
    if isinstance(tree, dict):
        bad = [key for key in tree if not isinstance(key, str)]
        if bad:
            raise TypeError(f"state at {path or 'the top'}: key {bad[0]!r} is not a string")
        return tensors, {key: _take_tensors(value, f"{path}.{key}", tensors)[1] for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return tensors, [_take_tensors(value, f"{path}.{i}", tensors)[1] for i, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tensors, tree
    raise TypeError(f"state at {path}: got {type(tree).__name__}, can keep tensors, numbers, strings, lists and dicts")


def _put_tensors(tree: object, tensors: dict[str, Tensor]) -> object:
    if isinstance(tree, dict):
        if set(tree) == {"__tensor__"}:
            return tensors[tree["__tensor__"]]
        return {key: _put_tensors(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_put_tensors(value, tensors) for value in tree]
    return tree


def _content_digest(tensors: dict[str, Tensor], tree: str) -> str:
    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
