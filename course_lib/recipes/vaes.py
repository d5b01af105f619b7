"""VAEs of notebooks 04 and 05: of frames, and the conditional one of whole clips with the Gaussians to draw from."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import BatchIndices, Clips
from course_lib.clips.loading import load_clips
from course_lib.losses.variational import elbo, elbo_parts, iwae_bound, log_importance_weights
from course_lib.models.layers.latents import LatentGaussians
from course_lib.models.vae import ConditionalVAE, DenseVAE, reparameterise
from course_lib.recipes.frames import FRAME_CONFIG, frames_of, resynthesise_frames
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.scores import Speak, best_by_ratio, choose, spoken_scores
from course_lib.recipes.speech import smaller, waves_at_speeds
from course_lib.sampling.codes import draw_observation, fit_latent_gaussians, fit_sigma
from course_lib.settings.profiles import current_device, current_profile
from course_lib.sound.features import AudioConfig, log_mel, to_unit
from course_lib.sound.vocoder import vocode
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.history import History
from course_lib.training.loops import fit
from course_lib.training.moments import BestMoment
from course_lib.training.pretrained import load_pretrained

# Without these it learns its clips by heart: 4,000 steps gave more than 6,400 nats on them and 4,077 on unheard clips,
# 1,200 steps 4,708. With them, 3,000 steps give 5,105 on unheard clips.
SPEEDS = (0.94, 0.97, 1.03, 1.06)  # small enough for a voice to stay the same person's
GAIN = 0.03  # standard deviation, of a scale on which 1 is 45 dB
LATENT_TEMPERATURE = 0.9  # while training; a fitted Gaussian reaches further than its clips
LATENT_TEMPERATURES = (0.8, 0.9, 1.0)  # of the best moment's samples, one of these is chosen
N_DRAWS = 64  # of z a clip, for the importance-weighted bound


def train_frame_vae(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """80 -> 32 -> 80, one mel frame at a time."""
    clips = smaller(load_clips(dataset, current_device()))
    frames = frames_of(clips.train)  # (N, 80)
    torch.manual_seed(seed)
    model = DenseVAE()
    rng = torch.Generator(clips.device).manual_seed(seed)

    def batch_loss(model: DenseVAE, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        x = frames[index]
        return elbo_parts(x, *model(x, rng))

    unheard = frames_of(clips.validation)

    def validation_loss(model: DenseVAE) -> float:
        rng = torch.Generator(clips.device).manual_seed(seed)
        return sum(elbo_parts(unheard, *model(unheard, rng)).values()).item()

    best = BestMoment(validation_loss, every=1000, name="validation loss (nats a frame, less the ELBO)")
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(frames), 512, rng),
        n_steps=current_profile().pick(smoke=10, quick=12_000, full=12_000),
        learning_rate=2e-3,
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    judged, wave = resynthesise_frames(lambda x: model.decode(model.encode(x)[0]), clips)
    return Made(model, record_of(dataset, history, seed, FRAME_CONFIG, {"judged": judged}, str(best)), wave)


def train_cvae(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Digit and speaker in, words that nobody said out."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    train_mels, digits, speakers = clip_log_mels(clips.train, cfg), clips.train.digits, clips.train.speakers
    pool, n_clips = mels_at_speeds(clips.train, cfg), len(clips.train)  # (V * N, M, L)
    torch.manual_seed(seed)
    model = ConditionalVAE(n_digits=len(clips.digit_names), n_speakers=len(clips.speaker_names))
    rng = torch.Generator(clips.device).manual_seed(seed)

    def batch_loss(model: ConditionalVAE, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        x = vary_gain(pool[index], rng)
        return elbo_parts(x, *model(x, digits[index % n_clips], speakers[index % n_clips], rng))

    def as_it_speaks(model: ConditionalVAE) -> Speak:
        mu, _ = model.encode(train_mels, digits, speakers)
        model.sigma.copy_(fit_sigma(train_mels, model.decode(mu, digits, speakers)))  # no part in training
        return speaker_of(model, clips, cfg)

    best = best_by_ratio(as_it_speaks, clips, cfg, every=250)
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(pool), 64, rng),
        n_steps=profile.pick(smoke=10, quick=3000, full=3000),
        learning_rate=2e-3,
        precision="fp32",  # in bf16, pictures are painted in steps of a tenth of sigma
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    temperature = choose(lambda value: speaker_of(model, clips, cfg, value), LATENT_TEMPERATURES, clips, cfg)
    scores, sample = spoken_scores(speaker_of(model, clips, cfg, temperature), clips, cfg)
    scores |= elbo_scores(model, clips.test, cfg)
    chosen = f"{best}; temperature of codes {temperature} of {LATENT_TEMPERATURES} by the same"
    return Made(model, record_of(dataset, history, seed, cfg, scores, chosen), sample)


def fit_cvae_latents(dataset: str, _: Checkpoints) -> Made:
    """The Gaussians to draw cvae's codes from, kept because fitting them needs the clips, which a user may not have."""
    cfg, started_s = AudioConfig(), time.monotonic()
    clips = load_clips(dataset, current_device())
    model, cvae_record = load_pretrained("cvae", clips.device)
    latents = latents_of(model, clips, cfg)
    history = History(seconds=time.monotonic() - started_s, device=str(clips.device))
    metrics = {"judged": cvae_record["metrics"]["judged"]}
    chosen = "nothing: fitted to the training clips"
    record = record_of(dataset, history, cvae_record["seed"], cfg, metrics, chosen)
    return Made(latents, record | {"fitted_to": cvae_record["digest"]})


def mels_at_speeds(clips: Clips, cfg: AudioConfig) -> Tensor:
    """The clips as recorded, then a little slower and faster: (V * N, M, L)."""
    changed = (to_unit(log_mel(waves, cfg), cfg) for waves in waves_at_speeds(clips, SPEEDS))
    return torch.cat([clip_log_mels(clips, cfg), *changed])


def vary_gain(unit_mel: Tensor, rng: torch.Generator) -> Tensor:
    """Each clip a little louder or softer; silence stays silence. (B, M, L)"""
    gain = GAIN * torch.randn(len(unit_mel), 1, 1, generator=rng, device=rng.device)
    return torch.where(unit_mel > -1, (unit_mel + gain).clamp(-1, 1), unit_mel)


@torch.no_grad()
def latents_of(model: ConditionalVAE, clips: Clips, cfg: AudioConfig) -> LatentGaussians:
    """Where the encoder puts the training clips of each digit and speaker."""
    train = clips.train
    mu, log_var = model.encode(clip_log_mels(train, cfg), train.digits, train.speakers)
    n_digits, n_speakers = len(clips.digit_names), len(clips.speaker_names)
    return fit_latent_gaussians(mu, log_var, train.digits, train.speakers, n_digits, n_speakers)


def speaker_of(model: ConditionalVAE, clips: Clips, cfg: AudioConfig, temperature: float = LATENT_TEMPERATURE) -> Speak:
    """How a conditional VAE speaks: codes from Gaussians fitted to training clips, and a little noise in pictures."""
    latents = latents_of(model, clips, cfg)

    def speak(digits: Tensor, speakers: Tensor, rng: torch.Generator) -> Tensor:
        z = latents.draw(digits, speakers, rng, temperature=temperature)
        pictures = model.decode(z, digits, speakers)  # (B, M, L): means of p(x | z)
        return vocode(draw_observation(pictures, model.sigma, rng).clamp(-1, 1), cfg)

    return speak


@torch.no_grad()
def elbo_scores(model: ConditionalVAE, test: Clips, cfg: AudioConfig) -> dict[str, float]:
    """Bounds on log p(x) of unheard clips, in nats a clip, with one sigma for all values."""
    x, rng = clip_log_mels(test, cfg), torch.Generator(test.device).manual_seed(2)
    mu, log_var = model.encode(x, test.digits, test.speakers)
    sigma = model.sigma.square().mean().sqrt()
    bounds, log_weights = [], []
    for _ in range(N_DRAWS):
        z = reparameterise(mu, log_var, rng)
        recon = model.decode(z, test.digits, test.speakers)
        bounds.append(elbo(x, recon, mu, log_var, sigma).mean())
        log_weights.append(log_importance_weights(x, recon, z, mu, log_var, sigma))
    return {
        "elbo_nats": torch.stack(bounds).mean().item(),
        "iwae_nats": iwae_bound(torch.stack(log_weights)).mean().item(),
    }


VAE_RECIPES: dict[str, Recipe] = {
    "frame_vae": lambda checkpoints: train_frame_vae("fsdd", checkpoints),
    "cvae": lambda checkpoints: train_cvae("fsdd", checkpoints),
    "cvae_latents": lambda checkpoints: fit_cvae_latents("fsdd", checkpoints),  # after cvae
}
