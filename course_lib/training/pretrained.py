"""Pretrained weights, each beside a record of how it was made: data/pretrained/NAME.safetensors and NAME.json."""

import hashlib
import importlib
import json
from pathlib import Path

import torch
from torch import nn

from course_lib.settings.profiles import bundled_dir
from course_lib.training.storage import CheckpointError, from_content, plain, to_content, write_atomically

MAX_BYTES = 5_000_000
MODEL_MODULES = {  # class name -> where it is
    "DigitClassifier": "course_lib.models.classifier",
    "WaveClassifier": "course_lib.models.wave_classifier",
    "LinearAutoencoder": "course_lib.models.autoencoder",
    "DenseAutoencoder": "course_lib.models.autoencoder",
    "ConvAutoencoder": "course_lib.models.autoencoder",
    "PrincipalAutoencoder": "course_lib.models.principal",
    "DenseVAE": "course_lib.models.vae",
    "ConvVAE": "course_lib.models.vae",
    "ConditionalVAE": "course_lib.models.vae",
    "RecurrentVAE": "course_lib.models.vae",
    "DenseGenerator": "course_lib.models.gan",
    "DenseDiscriminator": "course_lib.models.gan",
    "ConvGenerator": "course_lib.models.gan",
    "ConvDiscriminator": "course_lib.models.gan",
    "WaveGenerator": "course_lib.models.wavegan",
    "WaveDiscriminator": "course_lib.models.wavegan",
    "SpectrumWaveGenerator": "course_lib.models.spectrum_gan",
    "ThreeCritics": "course_lib.models.spectrum_gan",
    "MelRNN": "course_lib.models.mel_rnn",
    "MuLawRNN": "course_lib.models.mulaw_rnn",
    "LatentGaussians": "course_lib.models.layers.latents",
}
RECORD_FIELDS = ("dataset", "steps", "train_seconds", "device", "seed", "chosen", "metrics")


def save_pretrained(name: str, model: nn.Module, record: dict, folder: str | Path | None = None) -> Path:
    """Write the weights and their record.

    Args:
        record: dataset, steps, train_seconds, device, seed, chosen, metrics; model, params, config, digest are added.
        folder: data/pretrained unless given.
    Returns: the path of the weights.
    Raises:  ValueError if the record lacks a field, or the weights are larger than 5 MB."""
    missing = [key for key in RECORD_FIELDS if key not in record]
    if missing:
        raise ValueError(f"record of {name} lacks {', '.join(missing)}; add them, so that others can repeat it")
    content = to_content({key: plain(value) for key, value in model.state_dict().items()})
    if len(content) > MAX_BYTES:
        raise ValueError(f"{name}: {len(content):,} bytes, the limit is {MAX_BYTES:,}; make the model smaller")
    full = {
        "model": type(model).__name__,
        **record,
        "params": sum(p.numel() for p in model.parameters()),
        "config": model.config,
        "digest": _digest(content),
    }
    path = _folder(folder) / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    write_atomically(path.with_suffix(".json"), (json.dumps(full, indent=2) + "\n").encode())
    return path


def load_pretrained(
    name: str,
    device: str | torch.device = "cpu",
    model_class: type[nn.Module] | None = None,
    folder: str | Path | None = None,
) -> tuple[nn.Module, dict]:
    """Build the model that NAME's record describes, with its weights, in eval mode.

    Args:
        model_class: a class to build instead of course_lib's own, e.g. the one written in the notebook.
    Returns: the model on `device`, and the record.
    Raises:  CheckpointError if there is no such model, it is not what its record says, or the class does not fit."""
    path = _folder(folder) / f"{name}.safetensors"
    make_it = f"make it with `course train {name.removesuffix('_discriminator')}`"  # with its generator
    if not path.is_file() or not path.with_suffix(".json").is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.json"))) or "none"
        raise CheckpointError(f"no pretrained model {name!r} (there are: {known}); {make_it}")
    again = f"get it again (`git checkout -- data/pretrained`, or reinstall), or {make_it}"
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        wanted, class_name, config = record["digest"], record["model"], record["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{name}.json can't be read ({type(error).__name__}: {error}); {again}") from error
    content = path.read_bytes()
    if _digest(content) != wanted:
        raise CheckpointError(
            f"{path.name} is not the file that its record describes: got {_digest(content)}, need {wanted}; {again}"
        )
    if model_class is None:
        if class_name not in MODEL_MODULES:
            raise CheckpointError(f"{name} is a {class_name}, which course_lib does not have; pass model_class=...")
        model_class = getattr(importlib.import_module(MODEL_MODULES[class_name]), class_name)
    try:
        model = model_class(**config)
        model.load_state_dict(from_content(content)[0])
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"{name} does not fit {model_class.__name__}(**{config}): {error}") from error
    return model.to(device).eval(), record


def _folder(folder: str | Path | None) -> Path:
    return Path(folder) if folder is not None else bundled_dir() / "pretrained"


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
