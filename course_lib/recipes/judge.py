"""Judges of digits and of speakers: longer than in notebook 02, at several speeds, and unsure of noise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import BatchIndices, Clips
from course_lib.clips.loading import load_clips
from course_lib.judging.distances import inception_score
from course_lib.judging.metrics import resynthesised
from course_lib.losses.variational import unsure_divergence
from course_lib.models.classifier import DigitClassifier, vary_mels
from course_lib.models.wave_classifier import WaveClassifier, vary_waves
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.speech import smaller, waves_at_speeds
from course_lib.settings.profiles import current_device, current_profile
from course_lib.sound.features import AudioConfig, log_mel, to_unit
from course_lib.sound.vocoder import vocode
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit

SPEEDS = (0.88, 0.94, 1.06, 1.12)  # tape speeds: longer and deeper, shorter and higher voices than the set holds
WAVE_SPEEDS = (0.84, 0.88, 0.92, 0.96, 1.04, 1.08, 1.12, 1.16)
SAME_VOICE_SPEEDS = (0.98, 1.02)  # who speaks is still the same
NOISE_CLIPS = 16  # a batch, beside 64 of speech
NOISE_WEIGHT = 0.3


def train_judge(dataset: str, checkpoints: Checkpoints, seed: int = 0, reads: str = "digits") -> Made:
    """A judge of generated sounds: sure of speech, vocoded speech included, and unsure of noise.

    Args:    reads: "digits" (what is said), or "speakers" (who says it)."""
    cfg, device, profile = AudioConfig(), current_device(), current_profile()
    speeds, n_long = (SPEEDS, 4000) if reads == "digits" else (SAME_VOICE_SPEEDS, 1500)
    n_steps = profile.pick(smoke=10, quick=n_long, full=n_long)
    clips = smaller(load_clips(dataset, device))
    train_set, test_set = clips.train, clips.test
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


def train_wave_judge(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """A judge of digits that hears waves: recorded ones at several speeds, none that went through a vocoder."""
    device, profile = current_device(), current_profile()
    clips = smaller(load_clips(dataset, device))
    train = clips.train
    waves = torch.cat([train.waves, *waves_at_speeds(train, WAVE_SPEEDS)])  # (V * N, T)
    torch.manual_seed(seed)
    model = WaveClassifier(n_classes=len(clips.digit_names), dropout=0.4)
    rng = torch.Generator(device).manual_seed(seed)

    def batch_loss(model: WaveClassifier, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        noise = noise_waves(NOISE_CLIPS, waves.shape[1], rng)
        logits = model(torch.cat([vary_waves(waves[index], rng), noise]))  # (B + NOISE_CLIPS, C)
        return {
            "cross_entropy": F.cross_entropy(logits[: len(index)], train.digits[index % len(train)]),
            "unsure_of_noise": NOISE_WEIGHT * unsure_divergence(logits[len(index) :]),
        }

    history = fit(
        model,
        batch_loss,
        BatchIndices(len(waves), 64, rng),
        n_steps=profile.pick(smoke=10, quick=4000, full=4000),
        learning_rate=3e-3,
        rng=rng,
        checkpoints=checkpoints,
    )
    cfg = AudioConfig()
    return Made(model, record_of(dataset, history, seed, cfg, wave_judge_metrics(model, clips.test, cfg)))


def wave_judge_metrics(judge: WaveClassifier, test: Clips, cfg: AudioConfig) -> dict[str, float]:
    """The same as judge_metrics, of a judge that hears waves."""
    rng = torch.Generator(test.device).manual_seed(1)
    inputs = {"test": test.waves, "vocoded": resynthesised(test, cfg)}
    inputs["noise"] = noise_waves(len(test), test.waves.shape[1], rng)
    return _judge_metrics(judge, inputs, test.digits)


def _labels(clips: Clips, reads: str) -> Tensor:
    return clips.digits if reads == "digits" else clips.speakers


@torch.no_grad()
def judge_metrics(judge: DigitClassifier, test: Clips, cfg: AudioConfig, reads: str = "digits") -> dict[str, float]:
    """What to know of a judge before believing it: on real test speech, on the same vocoded, and on noise."""
    rng = torch.Generator(test.device).manual_seed(1)
    real = clip_log_mels(test, cfg)
    inputs = {"test": real, "vocoded": vocoded_mels(real, cfg), "noise": noise_mels(len(test), cfg, rng)}
    return _judge_metrics(judge, inputs, _labels(test, reads))


@torch.no_grad()
def _judge_metrics(judge: nn.Module, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, float]:
    judge.eval()
    metrics = {}
    for name, clips in inputs.items():
        logits = judge(clips)  # (N, C)
        chances = logits.softmax(dim=1)
        metrics[f"{name}_accuracy"] = (chances.argmax(dim=1) == labels).float().mean().item()
        metrics[f"{name}_confidence"] = chances.amax(dim=1).mean().item()
        metrics[f"{name}_inception_score"] = inception_score(logits)
    return {name: round(value, 4) for name, value in metrics.items()}


def vocoded_mels(mels: Tensor, cfg: AudioConfig) -> Tensor:
    """Through the vocoder and back, 100 clips at a time. (N, M, L) -> (N, M, L)."""
    return torch.cat([to_unit(log_mel(vocode(some, cfg), cfg), cfg) for some in mels.split(100)])


def noise_waves(n_clips: int, n_samples: int, rng: torch.Generator) -> Tensor:
    """Noise that is no speech: white to brown, quiet to loud, steady or swelling. (n_clips, n_samples) in [-1, 1]."""
    spec = torch.fft.rfft(torch.randn(n_clips, n_samples, generator=rng, device=rng.device))  # (B, K)
    bins = torch.arange(spec.shape[1], device=rng.device).clamp_min(8)
    wave = torch.fft.irfft(spec * bins ** -_draw(n_clips, 0.0, 1.5, rng), n=n_samples)  # up to -9 dB an octave
    n_swells = int(torch.randint(2, 12, (1,), generator=rng, device=rng.device))
    swells = torch.rand(n_clips, 1, n_swells, generator=rng, device=rng.device)
    swells = (F.interpolate(swells, n_samples, mode="linear")[:, 0] * 3 - 1).clamp(0, 1)
    wave = torch.where(_draw(n_clips, 0, 1, rng) < 0.5, wave * swells, wave)
    level = 10 ** (_draw(n_clips, -60, -12, rng) / 20)
    return (wave / wave.std(dim=1, keepdim=True).clamp_min(1e-6) * level).clamp(-1, 1)


def _draw(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:  # (n, 1)
    return low + (high - low) * torch.rand(n, 1, generator=rng, device=rng.device)


def noise_mels(n_clips: int, cfg: AudioConfig, rng: torch.Generator) -> Tensor:
    """Unit log-mels of what is no speech, (n_clips, M, L): half noise_waves, half blotches from no sound.

    The blotches are what an untrained generator draws."""
    wave = noise_waves(n_clips - n_clips // 2, cfg.hop_length * 64, rng)
    grain = torch.randint(2, 65, (2,), generator=rng, device=rng.device).tolist()  # from clouds to pixels
    blotches = torch.randn(n_clips // 2, 1, *grain, generator=rng, device=rng.device)
    blotches = F.interpolate(blotches, (cfg.n_mels, 64), mode="bilinear")[:, 0]
    contrast, level = _draw(n_clips // 2, 0, 0.6, rng)[..., None], _draw(n_clips // 2, -1, 0.2, rng)[..., None]
    return torch.cat([to_unit(log_mel(wave, cfg), cfg), (level + contrast * blotches).clamp(-1, 1)])


def _speech_pool(clips: Clips, cfg: AudioConfig, speeds: tuple[float, ...]) -> Tensor:
    """Each clip as recorded, vocoded, and at other speeds: (V, N, M, L)."""
    versions = [clip_log_mels(clips, cfg)]
    versions += [to_unit(log_mel(waves, cfg), cfg) for waves in waves_at_speeds(clips, speeds)]
    return torch.stack([*versions, vocoded_mels(versions[0], cfg), vocoded_mels(versions[1], cfg)])


JUDGE_RECIPES: dict[str, Recipe] = {
    "judge_fsdd": lambda checkpoints: train_judge("fsdd", checkpoints),
    "judge_bundled": lambda checkpoints: train_judge("bundled", checkpoints),
    "judge_wave_fsdd": lambda checkpoints: train_wave_judge("fsdd", checkpoints),
    "speaker_judge_fsdd": lambda checkpoints: train_judge("fsdd", checkpoints, reads="speakers"),
    "speaker_judge_bundled": lambda checkpoints: train_judge("bundled", checkpoints, reads="speakers"),
}
