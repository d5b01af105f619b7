"""How each pretrained model was made: `course train NAME` runs a recipe and writes data/pretrained/NAME.*.

Longer than what a learner waits for in a notebook, with the same classes and the same `fit`. A run that is
interrupted goes on where it was when the command is given again. One file a family of models.
"""

from __future__ import annotations

from pathlib import Path

from course_lib.recipes.autoencoders import AUTOENCODER_RECIPES
from course_lib.recipes.denoiser import DENOISER_RECIPES
from course_lib.recipes.gans import GAN_RECIPES
from course_lib.recipes.judge import JUDGE_RECIPES
from course_lib.recipes.record import LAST_STEP, Recipe
from course_lib.recipes.rnns import RNN_RECIPES
from course_lib.recipes.vaes import VAE_RECIPES
from course_lib.settings.profiles import current_profile, runs_dir
from course_lib.sound.audio import write_wave
from course_lib.sound.features import AudioConfig
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.pretrained import save_pretrained
from course_lib.training.storage import CheckpointError

RECIPES: dict[str, Recipe] = (
    JUDGE_RECIPES | AUTOENCODER_RECIPES | DENOISER_RECIPES | VAE_RECIPES | GAN_RECIPES | RNN_RECIPES
)


def train(name: str, folder: str | Path | None = None) -> Path:
    """Run one recipe and write its weights, its record and, of a model that speaks, a sample; return the weights' path.

    Args:   folder: data/pretrained unless given; at the smoke profile, which only shows that a recipe runs,
                runs/pretrained_smoke, so that no good weights are lost.
    Raises: CheckpointError if there is no such recipe."""
    if name not in RECIPES:
        raise CheckpointError(f"no recipe {name!r}: need one of {', '.join(sorted(RECIPES))}")
    profile = current_profile().name
    if folder is None and profile == "smoke":
        folder = runs_dir() / "pretrained_smoke"
    checkpoints = Checkpoints(runs_dir() / "recipes" / f"{name}_{profile}")
    made = RECIPES[name](checkpoints)
    path = save_pretrained(name, made.model, made.record, folder)
    for other, model in made.others.items():
        save_pretrained(f"{name}_{other}", model, made.record | {"chosen": LAST_STEP}, folder)
    if made.sample is not None:
        write_wave(path.with_suffix(".flac"), made.sample.cpu(), AudioConfig().sample_rate_hz)
    checkpoints.clear()  # the next time, it is trained afresh
    print(f"{path}: {made.record['metrics']}")
    return path
