"""Noise to waveform by way of a spectrum: the generator's last layer is an inverse STFT; three critics listen.

A ladder of transposed convolutions (wavegan.WaveGenerator) has to learn what oscillation is before it can say anything.
Here the network only says how much of each frequency there is, and with what phase; making waves of that is no matter
of learning (Kaneko et al. 2022, iSTFTNet; Siuzdak 2023, Vocos; Engel et al. 2019, GANSynth).
Measured on FSDD, one core, the same critics: after 60 s of training, 0.66 of the words are judged rightly, of the
ladder's 0.10; after 240 s, 0.34 of the ladder's.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.autoencoder import check_rows, keep_scale
from course_lib.models.gan import ConvDiscriminator
from course_lib.models.layers.conditioning import Labels, Norm
from course_lib.models.wavegan import WaveDiscriminator
from course_lib.sound.features import AudioConfig, istft, log_mel, stft, to_unit

QUIET_LOG = -3.0  # log-magnitude that an untrained network paints: waves of about -55 dBFS
LOUDEST_LOG = 4.0  # a full-scale sine has log(n_fft / 4), a little more
GATE = 4.0  # how steeply tones fade below QUIET_LOG
NOISE_SEED = 0
NARROW = 1024  # samples of the critics' longest window: bands 8 Hz apart


class SpectrumWaveGenerator(nn.Module):
    """Noise to waveform: convolutions over time paint magnitudes and phases of frames, an inverse STFT does the rest.

    Each frequency gets a tone and some noise (Serra & Smith 1990): a vowel hums, an "s" hisses. Magnitudes of both are
    painted as logarithms, so that a step of the optimizer is as large, in dB, for a whisper as for a vowel. The tone's
    phase is painted as a direction (a, b), relative to a sine at the middle of its bin that runs on from frame to
    frame: a steady tone is a direction that turns slowly or not at all. The hiss is the input noise itself, spread over
    the whole clip by a fixed random matrix and then coloured. Tones fade out below QUIET_LOG: what is too soft for the
    critics to hear would otherwise stand still, and that is a buzz; with tones alone, lines stood 17 dB high.

    Args:
        z_dim: length of the noise.
        n_digits, n_speakers: how many labels; 0 for both: an unconditional generator.
        n_embed: length of each label's vector.
        n_samples: length of the waves, a multiple of hop_length.
        n_channels: channels before each up-sampling, which makes four frames of one, and before the last layer.
        n_fft: window and transform length in samples.     hop_length: samples from frame to frame.
        norm: before each of these layers: "none", "batch" or "conditional".
    """

    def __init__(
        self,
        z_dim: int = 100,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_embed: int = 16,
        n_samples: int = 8192,
        n_channels: tuple[int, ...] = (256, 192, 160),
        n_fft: int = 256,
        hop_length: int = 64,
        norm: str = "batch",
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_digits": n_digits, "n_speakers": n_speakers, "n_embed": n_embed}
        self.config |= {"n_samples": n_samples, "n_channels": list(n_channels), "n_fft": n_fft}
        self.config |= {"hop_length": hop_length, "norm": norm}
        self.spectrum = AudioConfig(n_fft=n_fft, win_length=n_fft, hop_length=hop_length, n_mels=20)
        n_bins, self.n_frames = n_fft // 2 + 1, math.ceil(n_samples / hop_length)
        self.labels = Labels(n_digits, n_speakers, n_embed)
        self.n_first = math.ceil(self.n_frames / 4 ** (len(n_channels) - 1))
        self.from_noise = nn.Linear(z_dim + self.labels.n_out, n_channels[0] * self.n_first)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose1d(n_in, n_out, 8, stride=4, padding=2)
            for n_in, n_out in zip(n_channels, n_channels[1:], strict=False)
        )
        self.norms = nn.ModuleList(Norm(n, 1, norm, self.labels.n_out) for n in n_channels)
        self.to_spectrum = nn.Conv1d(n_channels[-1], 4 * n_bins, 3, padding=1)
        keep_scale(self, followed_by_silu=True)
        with torch.no_grad():
            self.to_spectrum.weight[: 2 * n_bins] *= 0.3  # magnitudes start alike, phases do not
            self.to_spectrum.bias[: 2 * n_bins] = QUIET_LOG
        turns = torch.arange(n_bins)[:, None] * torch.arange(self.n_frames) * hop_length / n_fft
        self.register_buffer("middle_phase", 2 * math.pi * (turns % 1), persistent=False)  # (K, L)
        rng = torch.Generator().manual_seed(NOISE_SEED)
        hisses = stft(torch.randn(z_dim, self.n_frames * hop_length, generator=rng), self.spectrum)  # (Z, K, L)
        level = hisses.abs().square().mean().sqrt() * math.sqrt(z_dim)  # of the sum of z_dim of them
        self.register_buffer("hisses", torch.view_as_real(hisses / level).flatten(1), persistent=False)

    def forward(self, noise: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, Z), and (B,) int64 twice if there are labels -> waves (B, T) within [-1, 1].

        Raises: ValueError for noise of another length, or labels the generator was not built for."""
        tone_log, hiss_log, direction = self.paint(noise, digits, speakers)
        # In full precision, whatever surrounds it: complex numbers have no bf16.
        with torch.autocast(noise.device.type, enabled=False):
            middle = torch.polar(torch.ones_like(self.middle_phase), self.middle_phase)  # (K, L)
            length = direction.square().sum(dim=1).add(1e-4).sqrt()  # (B, K, L)
            phase = torch.complex(*(direction / length[:, None]).unbind(dim=1)) * middle
            tone = tone_log.clamp_max(LOUDEST_LOG).exp() * torch.sigmoid(GATE * (tone_log - QUIET_LOG)) * phase
            white = (noise.float() @ self.hisses).unflatten(1, (*self.middle_phase.shape, 2))  # (B, K, L, 2)
            hiss = hiss_log.clamp_max(LOUDEST_LOG).exp() * torch.view_as_complex(white)
            return istft(tone + hiss, self.spectrum, self.config["n_samples"]).clamp(-1, 1)  # (B, T)

    def paint(self, noise: Tensor, digits: Tensor | None, speakers: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """What the network itself says: log-magnitudes of tones and of hiss, (B, K, L) each, and tones' directions.

        Directions: (B, 2, K, L), of any length but 0."""
        check_rows("noise", noise, self.config["z_dim"])
        code, vectors = self.labels(noise, digits, speakers)
        x = self.from_noise(code).unflatten(1, (-1, self.n_first))  # (B, C, L')
        for norm, upsample in zip(self.norms, self.upsamplers, strict=False):
            x = upsample(F.relu(norm(x, vectors)))
        x = self.to_spectrum(F.relu(self.norms[-1](x, vectors)))[:, :, : self.n_frames].float()
        tone_log, hiss_log, *direction = x.unflatten(1, (4, -1)).unbind(dim=1)
        return tone_log, hiss_log, torch.stack(direction, dim=1)


class ThreeCritics(nn.Module):
    """Critics of the wave, of its log-mel, and of its spectrum in narrow bands: three scores a clip.

    The log-mel's knows at once how words look, which the wave's takes long to find out; the wave's hears phases, to
    which the others are blind; the narrow bands' sees a steady line where a mel band is too wide to show it (critics of
    several resolutions: Kong et al. 2020, HiFi-GAN; Jang et al. 2021, UnivNet).

    Args:
        n_digits, n_speakers: how many labels; 0 for both: unconditional critics.
        n_samples: length of the waves.
        n_wave_channels, n_mel_channels, n_line_channels: channels after each convolution of the three.
        n_shuffle: of the wave's critic's phase shuffle.
        spectral: bound each layer's largest singular value by 1, in all.
    """

    def __init__(
        self,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_samples: int = 8192,
        n_wave_channels: tuple[int, ...] = (8, 16, 32, 64, 128),
        n_mel_channels: tuple[int, ...] = (32, 64, 96, 128),
        n_line_channels: tuple[int, ...] = (8, 16, 32, 64),
        n_shuffle: int = 2,
        spectral: bool = True,
    ):
        super().__init__()
        self.config = {"n_digits": n_digits, "n_speakers": n_speakers, "n_samples": n_samples}
        channels = {"wave": n_wave_channels, "mel": n_mel_channels, "line": n_line_channels}
        self.config |= {f"n_{name}_channels": list(sizes) for name, sizes in channels.items()}
        self.config |= {"n_shuffle": n_shuffle, "spectral": spectral}
        labels = {"n_digits": n_digits, "n_speakers": n_speakers, "spectral": spectral}
        self.cfg = AudioConfig()
        self.narrow = AudioConfig(n_fft=NARROW, win_length=NARROW, hop_length=NARROW // 2)
        self.of_wave = WaveDiscriminator(
            n_samples=n_samples, n_channels=tuple(n_wave_channels), n_shuffle=n_shuffle, **labels
        )
        n_frames = n_samples // self.cfg.hop_length
        self.of_mel = ConvDiscriminator(
            n_mels=self.cfg.n_mels, n_frames=n_frames, n_channels=tuple(n_mel_channels), **labels
        )
        n_frames = n_samples // self.narrow.hop_length
        self.of_lines = ConvDiscriminator(
            n_mels=NARROW // 2, n_frames=n_frames, n_channels=tuple(n_line_channels), **labels
        )

    def forward(self, wave: Tensor, digits: Tensor | None = None, speakers: Tensor | None = None) -> Tensor:
        """(B, T), and (B,) int64 twice if there are labels -> (B, 3) logits: of wave, of log-mel, of narrow bands."""
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave.float()
            unit_mel = to_unit(log_mel(wave, self.cfg), self.cfg)  # (B, M, L)
            power = torch.view_as_real(stft(wave, self.narrow)).square().sum(dim=3)[:, 1:] * (4 / NARROW) ** 2
            lines = to_unit(10 * torch.log10(power + 10 ** (self.cfg.floor_db / 10)), self.cfg)  # (B, K - 1, L)
        scores = (
            self.of_wave(wave, digits, speakers),
            self.of_mel(unit_mel, digits, speakers),
            self.of_lines(lines, digits, speakers),
        )
        return torch.stack([score.float() for score in scores], dim=1)  # (B, 3)
