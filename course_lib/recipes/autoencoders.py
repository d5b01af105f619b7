"""Autoencoders of notebook 03: of frames, of whole clips, and one that takes noise away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import BatchIndices
from course_lib.clips.loading import load_clips
from course_lib.judging.distances import mel_cepstral_distance
from course_lib.judging.metrics import judged_accuracy, load_judge
from course_lib.models.autoencoder import ConvAutoencoder, DenseAutoencoder
from course_lib.recipes.frames import FRAME_CONFIG, frames_of, resynthesise_frames
from course_lib.recipes.judge import vocoded_mels
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.speech import one_of_each_digit, smaller
from course_lib.settings.profiles import current_device, current_profile
from course_lib.sound.features import AudioConfig, from_unit
from course_lib.sound.vocoder import vocode
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit
from course_lib.training.moments import BestMoment


def train_frame_autoencoder(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """80 -> 8 -> 80, one mel frame at a time."""
    clips = smaller(load_clips(dataset, current_device()))
    frames = frames_of(clips.train)  # (N, 80)
    torch.manual_seed(seed)
    model = DenseAutoencoder()
    rng = torch.Generator(clips.device).manual_seed(seed)

    def batch_loss(model: DenseAutoencoder, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        x = frames[index]
        return {"squared_error": F.mse_loss(model(x)[0], x)}

    best = best_by_squared_error(frames_of(clips.validation), every=500)
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(frames), 512, rng),
        n_steps=current_profile().pick(smoke=10, quick=8000, full=8000),
        learning_rate=2e-3,
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    judged, wave = resynthesise_frames(lambda x: model(x)[0], clips)
    return Made(model, record_of(dataset, history, seed, FRAME_CONFIG, {"judged": judged}, str(best)), wave)


def best_by_squared_error(x: Tensor, every: int) -> BestMoment:
    """The moment at which validation frames or pictures, x (N, ...), are rebuilt best."""

    def score(model: DenseAutoencoder | ConvAutoencoder) -> float:
        return sum((model(part)[0].float() - part).square().sum().item() for part in x.split(4096)) / x.numel()

    return BestMoment(score, every=every, name="validation squared error")


def train_conv_autoencoder(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """A whole clip through 32 numbers."""
    cfg = AudioConfig()
    clips = smaller(load_clips(dataset, current_device()))
    train_mels, test = clip_log_mels(clips.train, cfg), clips.test
    torch.manual_seed(seed)
    model = ConvAutoencoder()
    rng = torch.Generator(clips.device).manual_seed(seed)

    def batch_loss(model: ConvAutoencoder, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        x = train_mels[index]
        return {"log_error": F.mse_loss(model(x)[0].float(), x).log()}  # so that steps don't fade as the error shrinks

    best = best_by_squared_error(clip_log_mels(clips.validation, cfg), every=250)
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(train_mels), 64, rng),
        n_steps=current_profile().pick(smoke=10, quick=2500, full=2500),
        learning_rate=4e-3,
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    x = clip_log_mels(test, cfg)
    with torch.no_grad():
        recon = model(x)[0].clamp(-1, 1)
    metrics = {
        "judged": judged_accuracy(load_judge(dataset, clips.device, cfg), vocoded_mels(recon, cfg), test.digits),
        "mcd_db": mel_cepstral_distance(from_unit(x, cfg), from_unit(recon, cfg)).mean().item(),
    }
    wave = vocode(recon[one_of_each_digit(test)], cfg).flatten()
    return Made(model, record_of(dataset, history, seed, cfg, metrics, str(best)), wave)


AUTOENCODER_RECIPES: dict[str, Recipe] = {
    "frame_ae": lambda checkpoints: train_frame_autoencoder("fsdd", checkpoints),
    "conv_ae": lambda checkpoints: train_conv_autoencoder("fsdd", checkpoints),
}
