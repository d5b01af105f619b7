"""Keep trained weights safe: checkpoints to resume a training from, and pretrained weights with their record."""

import hashlib
import json
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from course_lib.training.storage import CheckpointError, from_content, plain, to_content, write_atomically

STALE_TEMP_S = 60.0  # a save takes milliseconds: an older temporary file belongs to a process that was killed


class Checkpoints:
    """The last few states of one training, in one folder.

    A state is a dict of tensors, numbers, strings, lists and dicts, nested in any way.

    Args:
        folder: one folder a training, e.g. runs_dir() / f"02_judge_{current_profile().name}"; made when needed.
        keep: how many of the latest checkpoints to keep.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        if keep < 1:
            raise ValueError(f"keep: got {keep}, need at least 1; 2 lets a damaged file fall back on the one before")
        self.folder = Path(folder)
        self.keep = keep

    def __repr__(self) -> str:
        return f"Checkpoints({str(self.folder)!r})"

    def paths(self) -> list[Path]:
        """The checkpoints on disk, oldest first."""
        return sorted(self.folder.glob("step_*.safetensors"))

    def save(self, step: int, state: dict) -> Path:
        """Write one checkpoint, then drop all but the last `keep`.

        Raises: CheckpointError if it can't be written (a full disk, say); the earlier ones stay usable."""
        path = self.folder / f"step_{step:09d}.safetensors"
        tensors, tree = _take_tensors({"step": step, **state})
        text = json.dumps(tree)
        content = to_content(tensors, {"tree": text, "digest": _content_digest(tensors, text)})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()
            write_atomically(path, content)
        except OSError as error:
            raise CheckpointError(
                f"could not write {path} ({len(content) / 1e6:.1f} MB): {error}. Earlier checkpoints are intact: "
                "free some space, then run the cell again to go on from the last one."
            ) from error
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> dict | None:
        """The newest state that is whole, or None; a damaged one is named in a printed line, and passed over."""
        self._remove_leftovers()
        for path in reversed(self.paths()):
            try:
                return read_state(path)
            except CheckpointError as error:
                print(f"Passing over a damaged checkpoint: {error}")
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

    Raises: CheckpointError if it is cut short, altered, or no checkpoint of this course."""
    try:
        tensors, metadata = from_content(path.read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path.name} is cut short or altered ({type(error).__name__}: {error})") from error
    if not {"tree", "digest"} <= metadata.keys():
        raise CheckpointError(f"{path.name} is altered, or no checkpoint of this course: it carries no digest")
    if metadata["digest"] != _content_digest(tensors, metadata["tree"]):
        raise CheckpointError(f"{path.name} is altered: its content does not match the digest inside it")
    return _put_tensors(json.loads(metadata["tree"]), tensors)


def describe_model(model: nn.Module) -> dict:
    """What a checkpoint remembers of the architecture: class, constructor arguments, shapes of the weights."""
    return {
        "class": type(model).__name__,
        "config": getattr(model, "config", {}),
        "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
    }


def refuse_other_run(found: dict, wanted: dict, checkpoints: Checkpoints) -> None:
    """Compare a checkpoint's settings with those of the run that would go on from it.

    Raises: CheckpointError that shows both, if they differ."""
    wanted = json.loads(json.dumps(wanted))  # as it would be read back: tuples become lists
    remedy = f"To start afresh, call {checkpoints}.clear() or use another folder; to go on, put the old settings back."
    if "model" not in found:
        raise CheckpointError(f"the checkpoint in {checkpoints.folder} was not written by fit(). {remedy}")
    if found["model"] != wanted["model"]:
        raise CheckpointError(
            f"the checkpoint in {checkpoints.folder} holds another architecture:\n"
            f"  checkpoint: {_architecture(found['model'], wanted['model'])}\n"
            f"  your model: {_architecture(wanted['model'], found['model'])}\n{remedy}"
        )
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    if changed:
        raise CheckpointError(
            f"the checkpoint in {checkpoints.folder} belongs to a run with other settings:\n"
            f"  checkpoint: {', '.join(f'{key}={found.get(key)}' for key in changed)}\n"
            f"  this run:   {', '.join(f'{key}={wanted[key]}' for key in changed)}\n{remedy}"
        )


def _architecture(one: dict, other: dict) -> str:
    arguments = ", ".join(f"{key}={value}" for key, value in one["config"].items())
    differ = [f"{name} {shape}" for name, shape in one["shapes"].items() if other["shapes"].get(name) != shape]
    return f"{one['class']}({arguments})" + (f"; weights that differ: {', '.join(differ[:4])}" if differ else "")


def _take_tensors(tree: object, path: str = "", tensors: dict[str, Tensor] | None = None) -> tuple[dict, object]:
    """Split a nested state into {path: tensor} and a JSON tree in which each tensor is replaced by its path."""
    tensors = {} if tensors is None else tensors
    if isinstance(tree, Tensor):
        tensors[path] = plain(tree)
        return tensors, {"__tensor__": path}
    if isinstance(tree, dict):
        for key in tree:
            if not isinstance(key, str):
                raise TypeError(f"state{path}: got the key {key!r}, need strings")
        return tensors, {key: _take_tensors(value, f"{path}.{key}", tensors)[1] for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return tensors, [_take_tensors(value, f"{path}.{i}", tensors)[1] for i, value in enumerate(tree)]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tensors, tree
    raise TypeError(f"state{path}: got a {type(tree).__name__}, need tensors, numbers, strings, lists or dicts")


def _put_tensors(tree: object, tensors: dict[str, Tensor]) -> object:
    """Inverse of _take_tensors; tuples come back as lists."""
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
