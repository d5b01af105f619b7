"""GANs of notebooks 06 and 07: conditional ones, of spectrograms and of waves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.adversarial import Dither, Game, TimeShift
from course_lib.checkpoint import Checkpoints
from course_lib.clips import Clips
from course_lib.datasets import BatchIndices, load_clips
from course_lib.faults import stride_buzz_db
from course_lib.features import AudioConfig, clip_log_mels
from course_lib.models.gan import ConvDiscriminator, ConvGenerator
from course_lib.models.spectrum_gan import SpectrumWaveGenerator, ThreeCritics
from course_lib.profiles import current_device, current_profile
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.scores import spoken_scores
from course_lib.recipes.speech import smaller
from course_lib.training import fit_gan
from course_lib.vocoder import vocode

BATCH = 16  # small batches and many steps: at equal seconds, 32 clips a step came to 0.86 judged right, 16 to 0.96
SETTINGS = {"learning_rate": 1e-3, "betas": (0.0, 0.99), "n_warmup": 20, "precision": "fp32"}
SHIFT_FRAMES = 2  # 32 ms
DITHER = 0.0003  # of waves: -70 dBFS


def train_cgan(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Noise, digit and speaker in, log-mel out: notebook 06's, for longer."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    digits, speakers, n_clips = clips.train.digits, clips.train.speakers, len(clips.train)
    mels = clip_log_mels(clips.train, cfg)
    torch.manual_seed(seed)
    labels = {"n_digits": len(clips.digit_names), "n_speakers": len(clips.speaker_names)}
    generator, discriminator = ConvGenerator(**labels), ConvDiscriminator(**labels)
    rng = torch.Generator(clips.device).manual_seed(seed)
    game = Game(lambda index: (mels[index], digits[index], speakers[index]), augment=TimeShift(SHIFT_FRAMES))
    average, history = fit_gan(
        generator,
        discriminator,
        game,
        BatchIndices(n_clips, BATCH, rng),
        # Along the way the Frechet ratio wanders: 1.30 after 4,700 steps, 1.17 after 7,400, 1.57 at the end; at a
        # constant rate 1.87 after 8,000.
        n_steps=profile.pick(smoke=10, quick=20_000, full=20_000),
        anneal=True,
        average_decay=0.999,
        rng=rng,
        checkpoints=checkpoints,
        **SETTINGS,
    )
    scores, sample = gan_scores(lambda *x: vocode(average(*x).clamp(-1, 1), cfg), game.z_dim, clips, cfg)
    return Made(average, record_of(dataset, history, seed, cfg, scores), sample, {"discriminator": discriminator})


def train_cwavegan(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Noise, digit and speaker in, waveform out, no vocoder: notebook 07's, for longer."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    waves, digits, speakers = clips.train.waves, clips.train.digits, clips.train.speakers
    torch.manual_seed(seed)
    sizes = {"n_digits": len(clips.digit_names), "n_speakers": len(clips.speaker_names), "n_samples": waves.shape[1]}
    generator, critics = SpectrumWaveGenerator(**sizes), ThreeCritics(**sizes)
    rng = torch.Generator(clips.device).manual_seed(seed)
    game = Game(lambda index: (waves[index], digits[index], speakers[index]), augment=Dither(DITHER))
    average, history = fit_gan(
        generator,
        critics,
        game,
        BatchIndices(len(waves), BATCH, rng),
        # Lines that buzz fade slowly: 5.9 dB after 2,200 steps, 3.2 after 4,400, 1.7 after 7,000. Variety and Frechet
        # ratio were best at 4,400. With waves shifted as pictures are, 6,000 steps: 2.31, 3.5 dB, variety the same.
        n_steps=profile.pick(smoke=10, quick=9000, full=9000),
        average_decay=0.999,
        anneal=True,
        rng=rng,
        checkpoints=checkpoints,
        **SETTINGS,
    )
    scores, sample = gan_scores(average, game.z_dim, clips, cfg)
    return Made(average, record_of(dataset, history, seed, cfg, scores), sample, {"discriminator": critics})


def gan_scores(
    speak: Callable[[Tensor, Tensor, Tensor], Tensor], z_dim: int, clips: Clips, cfg: AudioConfig
) -> tuple[dict[str, float], Tensor]:
    """spoken_scores, and how loud a generator's tones are.     speak: noise (B, Z), digits, speakers (B,) -> (B, T)."""
    sets = []

    def speak_from_noise(digits: Tensor, speakers: Tensor, rng: torch.Generator) -> Tensor:
        noise = torch.randn(len(digits), z_dim, generator=rng, device=rng.device)
        parts = zip(noise.split(50), digits.split(50), speakers.split(50), strict=True)
        sets.append(torch.cat([speak(*part) for part in parts]))
        return sets[-1]

    scores, sample = spoken_scores(speak_from_noise, clips, cfg)
    scores["stride_buzz_db"] = stride_buzz_db(torch.cat(sets), clips.train.waves, cfg.sample_rate_hz)
    return scores, sample


GAN_RECIPES: dict[str, Recipe] = {
    "cgan": lambda checkpoints: train_cgan("fsdd", checkpoints),
    "cwavegan": lambda checkpoints: train_cwavegan("fsdd", checkpoints),
}
