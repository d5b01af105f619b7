"""Judges of digits and of speakers: longer than in notebook 02, at several speeds, and unsure of noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.checkpoint import Checkpoints
from course_lib.datasets import BatchIndices, Clips, load_clips
from course_lib.features import AudioConfig, clip_log_mels, log_mel, to_unit
from course_lib.losses import unsure_divergence
from course_lib.metrics import inception_score
from course_lib.models.classifier import DigitClassifier, vary_mels
from course_lib.profiles import current_device, current_profile
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.speech import waves_at_speeds
from course_lib.training import fit
from course_lib.vocoder import vocode

SPEEDS = (0.88, 0.94, 1.06, 1.12)  # tape speeds: longer and deeper, shorter and higher voices than the set holds
SAME_VOICE_SPEEDS = (0.98, 1.02)  # who speaks is still the same
NOISE_CLIPS = 16  # a batch, beside 64 of speech
NOISE_WEIGHT = 0.3


def train_judge(dataset: str, checkpoints: Checkpoints, seed: int = 0, reads: str = "digits") -> Made:
    """A judge of generated sounds: sure of speech, vocoded speech included, and unsure of noise.

    Args:    reads: "digits" (what is said), or "speakers" (who says it)."""
    cfg, device, profile = AudioConfig(), current_device(), current_profile()
    speeds, n_long = (SPEEDS, 4000) if reads == "digits" else (SAME_VOICE_SPEEDS, 1500)
    n_steps = profile.pick(smoke=10, quick=n_long, full=n_long)
    clips = load_clips(dataset, device)
    train_set, test_set = clips.train, clips.test
    if profile.name == "smoke":
        train_set, test_set = train_set.select(torch.arange(32)), test_set.select(torch.arange(16))
    mels, labels = _speech_pool(train_set, cfg, speeds), _labels(train_set, reads)  # (V, N, M, L), (N,)
    n_versions, n_clips = mels.shape[:2]
    torch.manual_seed(seed)
    names = clips.digit_names if reads == "digits" else clips.speaker_names
    model = DigitClassifier(n_classes=len(names), n_mels=cfg.n_mels)
    rng = torch.Generator(device).manual_seed(seed)

    def batch_loss(model: DigitClassifier, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        speech = vary_mels(mels.flatten(0, 1)[index], rng)  # (B, M, L)
        logits = model(torch.cat([speech, noise_mels(NOISE_CLIPS, cfg, rng)]))  # (B + NOISE_CLIPS, C)
        return {
            "cross_entropy": F.cross_entropy(logits[: len(index)], labels[index % n_clips]),
            "unsure_of_noise": NOISE_WEIGHT * unsure_divergence(logits[len(index) :]),
        }

    history = fit(
        model,
        batch_loss,
        BatchIndices(n_versions * n_clips, 64, rng),
        n_steps=n_steps,
        learning_rate=3e-3,
        rng=rng,
        checkpoints=checkpoints,
    )
    return Made(model, record_of(dataset, history, seed, cfg, judge_metrics(model, test_set, cfg, reads)))


def _labels(clips: Clips, reads: str) -> Tensor:
    return clips.digits if reads == "digits" else clips.speakers


@torch.no_grad()
def judge_metrics(judge: DigitClassifier, test: Clips, cfg: AudioConfig, reads: str = "digits") -> dict[str, float]:
    """What to know of a judge before believing it: on real test speech, on the same vocoded, and on noise."""
    judge.eval()
    rng = torch.Generator(test.device).manual_seed(1)
    real = clip_log_mels(test, cfg)
    inputs = {"test": real, "vocoded": vocoded_mels(real, cfg), "noise": noise_mels(len(test), cfg, rng)}
    metrics = {}
    for name, mels in inputs.items():
        logits = judge(mels)  # (N, C)
        chances = logits.softmax(dim=1)
        metrics[f"{name}_accuracy"] = (chances.argmax(dim=1) == _labels(test, reads)).float().mean().item()
        metrics[f"{name}_confidence"] = chances.amax(dim=1).mean().item()
        metrics[f"{name}_inception_score"] = inception_score(logits)
    return {name: round(value, 4) for name, value in metrics.items()}


def vocoded_mels(mels: Tensor, cfg: AudioConfig) -> Tensor:
    """Through the vocoder and back, 100 clips at a time. (N, M, L) -> (N, M, L)."""
    return torch.cat([to_unit(log_mel(vocode(some, cfg), cfg), cfg) for some in mels.split(100)])


def noise_mels(n_clips: int, cfg: AudioConfig, rng: torch.Generator) -> Tensor:
    """Unit log-mels of what is no speech, (n_clips, M, L): half noise you could hear, half blotches from no sound.

    The noise is white to brown, quiet to loud, steady or swelling; the blotches are what an untrained generator draws.
    """
    n_heard = n_clips - n_clips // 2
    n_samples = cfg.hop_length * 64

    def draw(n: int, low: float, high: float) -> Tensor:  # (n, 1)
        return low + (high - low) * torch.rand(n, 1, generator=rng, device=rng.device)

    spec = torch.fft.rfft(torch.randn(n_heard, n_samples, generator=rng, device=rng.device))  # (n_heard, K)
    bins = torch.arange(spec.shape[1], device=rng.device).clamp_min(8)
    wave = torch.fft.irfft(spec * bins ** -draw(n_heard, 0.0, 1.5), n=n_samples)  # up to -9 dB an octave
    n_swells = int(torch.randint(2, 12, (1,), generator=rng, device=rng.device))
    swells = torch.rand(n_heard, 1, n_swells, generator=rng, device=rng.device)
    swells = (F.interpolate(swells, n_samples, mode="linear")[:, 0] * 3 - 1).clamp(0, 1)
    wave = torch.where(draw(n_heard, 0, 1) < 0.5, wave * swells, wave)
    wave = (wave / wave.std(dim=1, keepdim=True).clamp_min(1e-6) * 10 ** (draw(n_heard, -60, -12) / 20)).clamp(-1, 1)

    grain = torch.randint(2, 65, (2,), generator=rng, device=rng.device).tolist()  # from clouds to pixels
    blotches = torch.randn(n_clips // 2, 1, *grain, generator=rng, device=rng.device)
    blotches = F.interpolate(blotches, (cfg.n_mels, 64), mode="bilinear")[:, 0]
    contrast, level = draw(n_clips // 2, 0, 0.6)[..., None], draw(n_clips // 2, -1, 0.2)[..., None]
    return torch.cat([to_unit(log_mel(wave, cfg), cfg), (level + contrast * blotches).clamp(-1, 1)])


def _speech_pool(clips: Clips, cfg: AudioConfig, speeds: tuple[float, ...]) -> Tensor:
    """Each clip as recorded, vocoded, and at other speeds: (V, N, M, L)."""
    versions = [clip_log_mels(clips, cfg)]
    versions += [to_unit(log_mel(waves, cfg), cfg) for waves in waves_at_speeds(clips, speeds)]
    return torch.stack([*versions, vocoded_mels(versions[0], cfg), vocoded_mels(versions[1], cfg)])


JUDGE_RECIPES: dict[str, Recipe] = {
    "judge_fsdd": lambda checkpoints: train_judge("fsdd", checkpoints),
    "judge_bundled": lambda checkpoints: train_judge("bundled", checkpoints),
    "speaker_judge_fsdd": lambda checkpoints: train_judge("fsdd", checkpoints, reads="speakers"),
    "speaker_judge_bundled": lambda checkpoints: train_judge("bundled", checkpoints, reads="speakers"),
}
