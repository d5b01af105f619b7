"""The denoising autoencoder of notebook 03: noisy pictures in, clean ones out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.clips.clips import BatchIndices, Clips
from course_lib.clips.loading import load_clips
from course_lib.judging.distances import mel_cepstral_distance
from course_lib.judging.metrics import balanced_rows, judged_accuracy, load_judge
from course_lib.models.principal import PrincipalAutoencoder
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.speech import smaller, waves_at_speeds
from course_lib.settings.profiles import current_device, current_profile
from course_lib.sound.effects import mix_at_snr
from course_lib.sound.enhancement import babble_noise, coloured_noise, spectral_subtraction
from course_lib.sound.features import AudioConfig, from_unit, log_mel, to_unit
from course_lib.sound.vocoder import vocode
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit
from course_lib.training.moments import BestMoment

SPEEDS = (0.9, 0.95, 1.05, 1.1)  # five times as many voices: with those of the set alone it learns its clips by heart
SNR_RANGE_DB = (-5.0, 20.0)
TEST_SNR_DB = 5.0
N_NOISES = 1000  # of each kind


def train_denoiser(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Steady noise and babble, -5 to 20 dB, drawn anew in each step."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    waves, n_valid = _at_all_speeds(clips.train)
    mels = to_unit(log_mel(waves, cfg), cfg)
    n_samples, n_noises = waves.shape[1], profile.pick(smoke=20, quick=N_NOISES, full=N_NOISES)
    torch.manual_seed(seed)
    model = PrincipalAutoencoder(z_dim=128, n_principal=128, n_hidden=(256,), n_channels=(32, 64, 96, 128))
    model.start_at(mels if profile.name == "smoke" else mels[: len(clips.train)])
    rng = torch.Generator(clips.device).manual_seed(seed)
    pool = torch.cat([coloured_noise(n_noises, rng), babble_noise(clips.train.waves, n_noises, rng)])

    def batch_loss(model: PrincipalAutoencoder, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(len(pool), index.shape, generator=rng, device=rng.device)
        shift = int(torch.randint(n_samples, (1,), generator=rng, device=rng.device))
        low, high = SNR_RANGE_DB
        snr_db = low + (high - low) * torch.rand(len(index), generator=rng, device=rng.device)
        noisy = mix_at_snr(
            waves[index], pool[rows].roll(shift, dims=1), _while_spoken(snr_db, n_valid[index], n_samples)
        )
        recon, _ = model(to_unit(log_mel(noisy, cfg), cfg))
        return {"log_error": (recon.float() - mels[index]).square().mean().log()}

    noisy, clean = noisy_clips(clips.validation, torch.Generator(clips.device).manual_seed(2))
    noisy_mels, clean_mels = (to_unit(log_mel(waves, cfg), cfg) for waves in (noisy, clean))

    def error(model: PrincipalAutoencoder) -> float:
        return F.mse_loss(model(noisy_mels)[0].float(), clean_mels).item()

    best = BestMoment(error, every=250, name=f"validation squared error at {TEST_SNR_DB:.0f} dB")
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(waves), 64, rng),
        n_steps=profile.pick(smoke=10, quick=5000, full=5000),
        learning_rate=2e-3,
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    metrics, sample = denoiser_scores(model, clips, cfg)
    return Made(model, record_of(dataset, history, seed, cfg, metrics, str(best)), sample)


def noisy_clips(part: Clips, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up to 120 clips at 5 dB, first in white noise, then in babble, and the same clean: (2 B, T) each."""
    some = part.select(balanced_rows(part, min(len(part), 120)))
    white = torch.randn(some.waves.shape, generator=rng, device=rng.device)
    noises = torch.cat([white, babble_noise(some.waves, len(some), rng)])
    speech = some.waves.repeat(2, 1)
    snr_db = _while_spoken(torch.full((len(speech),), TEST_SNR_DB), some.n_valid.repeat(2), speech.shape[1])
    return mix_at_snr(speech, noises, snr_db), speech


@torch.no_grad()
def denoiser_scores(model: PrincipalAutoencoder, clips: Clips, cfg: AudioConfig) -> tuple[dict[str, float], Tensor]:
    """At 5 dB, beside subtraction that is told the true noise: means over white noise and babble of test clips.

    Also a test clip in babble, and the same cleaned, in a row: (T,)."""
    noisy, speech = noisy_clips(clips.test, torch.Generator(clips.device).manual_seed(1))
    n_test = len(speech) // 2
    digits = clips.test.digits[balanced_rows(clips.test, n_test)].repeat(2)
    cleaned = {
        "denoised": vocode(model(to_unit(log_mel(noisy, cfg), cfg))[0].clamp(-1, 1), cfg),
        "spectral_subtraction": spectral_subtraction(noisy, noisy - speech, cfg),
    }
    judge, clean_db, metrics = load_judge(clips.dataset, clips.device, cfg), log_mel(speech, cfg), {}
    for name, waves in cleaned.items():
        heard = to_unit(log_mel(waves, cfg), cfg)
        metrics[f"{name}_judged"] = judged_accuracy(judge, heard, digits)
        metrics[f"{name}_mcd_db"] = mel_cepstral_distance(from_unit(heard, cfg), clean_db).mean().item()
    return metrics, torch.cat([noisy[n_test], cleaned["denoised"][n_test]]).clamp(-1, 1)


def _while_spoken(snr_db: Tensor, n_valid: Tensor, n_samples: int) -> Tensor:
    """The ratio over the whole clip, padding included, at which the ratio over the spoken part is snr_db. (B,)"""
    return snr_db.to(n_valid.device) + 10 * torch.log10(n_valid / n_samples)


def _at_all_speeds(clips: Clips) -> tuple[Tensor, Tensor]:
    """The clips as recorded, then slower and faster: waves (V * N, T), spoken samples (V * N,)."""
    n_samples = clips.waves.shape[1]
    waves = [clips.waves, *waves_at_speeds(clips, SPEEDS)]
    n_valid = [clips.n_valid, *((clips.n_valid / speed).long().clamp_max(n_samples) for speed in SPEEDS)]
    return torch.cat(waves), torch.cat(n_valid)


DENOISER_RECIPES: dict[str, Recipe] = {"denoiser": lambda checkpoints: train_denoiser("fsdd", checkpoints)}
