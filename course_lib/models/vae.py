"""Variational autoencoders: an encoder that answers with a Gaussian for each clip, and a decoder to sample from.

Kingma & Welling 2014; Rezende et al. 2014. `encode` gives mean and log variance of q(z | x), `forward` draws from it.
"""

import torch
from torch import Tensor, nn

from course_lib.models.autoencoder import ConvDecoder, ConvEncoder, check_rows, dense_stack
from course_lib.models.layers.conditioning import check_labels

LOG_VAR_LIMIT = 12.0  # exp overflows float16 at 11.1 and float32 at 88.7: a wild first step must not end the training


def reparameterise(mu: Tensor, log_var: Tensor, rng: torch.Generator) -> Tensor:
    """Draw z from N(mu, exp(log_var)) so that gradients pass through to mu and log_var.

    The randomness is drawn first, from a distribution that has no parameters; then it is moved and stretched.

    Args:    mu, log_var: (B, Z).
    Returns: z (B, Z).

    Taught in: notebooks/04_vaes.ipynb
    """
    if mu.shape != log_var.shape:
        raise ValueError(f"got mu of shape {tuple(mu.shape)}, log_var of {tuple(log_var.shape)}; need the same shape")
    noise = torch.randn(mu.shape, generator=rng, device=rng.device).to(mu)
    return mu + torch.exp(0.5 * log_var) * noise


def split_posterior(out: Tensor) -> tuple[Tensor, Tensor]:
    """What an encoder gave, (B, 2 Z), as mu and log_var (B, Z) each, in float32 at least, log_var within +-12."""
    mu, log_var = out.to(torch.promote_types(out.dtype, torch.float32)).chunk(2, dim=1)
    return mu, log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT)


class DenseVAE(nn.Module):
    """One mel frame at a time: 80 -> 128 -> 64 -> z -> 64 -> 128 -> 80.

    Args:
        n_features: mels of a frame.
        n_hidden: sizes of the layers between, on the way in; the way out mirrors them.
        z_dim: length of the code.
    """

    def __init__(self, n_features: int = 80, n_hidden: tuple[int, ...] = (128, 64), z_dim: int = 32):
        super().__init__()
        self.config = {"n_features": n_features, "n_hidden": list(n_hidden), "z_dim": z_dim}
        self.encoder = dense_stack((n_features, *n_hidden, 2 * z_dim))
        self.decoder = dense_stack((z_dim, *reversed(n_hidden), n_features))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (B, n_features)
        return split_posterior(self.encoder(check_rows("x", x, self.config["n_features"])))  # (B, Z) each

    def decode(self, z: Tensor) -> Tensor:  # (B, Z)
        return self.decoder(check_rows("z", z, self.config["z_dim"]))  # (B, n_features)

    def forward(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(B, n_features) -> recon (B, n_features) from one draw of z, mu (B, Z), log_var (B, Z)."""
        mu, log_var = self.encode(x)
        return self.decode(reparameterise(mu, log_var, rng)), mu, log_var


class ConvVAE(nn.Module):
    """Whole clips: the networks of ConvAutoencoder, but twice as many numbers come out of the encoder.

    Args:
        z_dim: length of the code.
        n_mels, n_frames: size of the pictures.
        n_channels: channels after each halving; the decoder has them in reverse.
    """

    def __init__(
        self, z_dim: int = 32, n_mels: int = 64, n_frames: int = 64, n_channels: tuple[int, ...] = (32, 64, 96, 128)
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_mels": n_mels, "n_frames": n_frames, "n_channels": list(n_channels)}
        self.encoder = ConvEncoder(2 * z_dim, n_mels, n_frames, tuple(n_channels))
        self.decoder = ConvDecoder(z_dim, n_mels, n_frames, tuple(n_channels)[::-1])

    def encode(self, unit_mel: Tensor) -> tuple[Tensor, Tensor]:  # (B, M, L)
        return split_posterior(self.encoder(unit_mel))  # (B, Z) each

    def decode(self, z: Tensor) -> Tensor:  # (B, Z)
        return self.decoder(z)  # (B, M, L)

    def forward(self, unit_mel: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(B, M, L) -> recon (B, M, L) from one draw of z, mu (B, Z), log_var (B, Z)."""
        mu, log_var = self.encode(unit_mel)
        return self.decode(reparameterise(mu, log_var, rng)), mu, log_var


class ConditionalVAE(nn.Module):
    """A VAE that is told digit and speaker, so that z is left with how they were said (Sohn et al. 2015).

    Each digit and each speaker has a learned vector; both join what the encoder saw, and z on its way to the decoder.

    Args:
        z_dim: length of the code.
        n_digits, n_speakers: how many there are.
        n_embed: length of each learned vector.
        n_mels, n_frames: size of the pictures.
        n_channels: channels after each halving; the decoder has them in reverse.
    """

    def __init__(
        self,
        z_dim: int = 32,
        n_digits: int = 10,
        n_speakers: int = 6,
        n_embed: int = 32,
        n_mels: int = 64,
        n_frames: int = 64,
        n_channels: tuple[int, ...] = (32, 64, 96, 128),
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_digits": n_digits, "n_speakers": n_speakers, "n_embed": n_embed}
        self.config |= {"n_mels": n_mels, "n_frames": n_frames, "n_channels": list(n_channels)}
        # Per pixel, what the decoder leaves over; sampling.fit_sigma measures it after training. 0: nothing measured.
        self.register_buffer("sigma", torch.zeros(n_mels, n_frames))
        self.digit_embed = nn.Embedding(n_digits, n_embed)
        self.speaker_embed = nn.Embedding(n_speakers, n_embed)
        self.encoder = ConvEncoder(2 * z_dim, n_mels, n_frames, tuple(n_channels), n_condition=2 * n_embed)
        self.decoder = ConvDecoder(z_dim + 2 * n_embed, n_mels, n_frames, tuple(n_channels)[::-1])

    def condition(self, digits: Tensor, speakers: Tensor) -> Tensor:
        """(B,) int64 each -> (B, 2 * n_embed)."""
        check_labels(digits, speakers, self.config["n_digits"], self.config["n_speakers"])
        return torch.cat([self.digit_embed(digits), self.speaker_embed(speakers)], dim=1)

    def encode(self, unit_mel: Tensor, digits: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, L) with (B,) int64 twice -> mu, log_var (B, Z) each."""
        return split_posterior(self.encoder(unit_mel, self.condition(digits, speakers)))

    def decode(self, z: Tensor, digits: Tensor, speakers: Tensor) -> Tensor:
        """(B, Z) with (B,) int64 twice -> (B, M, L)."""
        check_rows("z", z, self.config["z_dim"])
        return self.decoder(torch.cat([z, self.condition(digits, speakers)], dim=1))

    def forward(
        self, unit_mel: Tensor, digits: Tensor, speakers: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, M, L) with (B,) int64 twice -> recon (B, M, L) from one draw of z, mu (B, Z), log_var (B, Z)."""
        mu, log_var = self.encode(unit_mel, digits, speakers)
        return self.decode(reparameterise(mu, log_var, rng), digits, speakers), mu, log_var


class RecurrentVAE(nn.Module):
    """A VAE whose decoder writes the picture frame by frame: z sets a GRU's first state, and is its input throughout.

    The GRU never sees a frame, neither a true one nor its own: what it writes can come from z alone, so it can't learn
    to do without z (the collapse of Bowman et al. 2016).

    Args:
        z_dim: length of the code.
        n_mels, n_frames: size of the pictures.
        n_hidden: length of the GRU's state.
        n_channels: channels of the encoder after each halving.
    """

    def __init__(
        self,
        z_dim: int = 32,
        n_mels: int = 64,
        n_frames: int = 64,
        n_hidden: int = 128,
        n_channels: tuple[int, ...] = (32, 64, 96, 128),
    ):
        super().__init__()
        self.config = {"z_dim": z_dim, "n_mels": n_mels, "n_frames": n_frames, "n_hidden": n_hidden}
        self.config |= {"n_channels": list(n_channels)}
        self.encoder = ConvEncoder(2 * z_dim, n_mels, n_frames, tuple(n_channels))
        self.to_state = nn.Linear(z_dim, n_hidden)
        self.gru = nn.GRU(z_dim, n_hidden, batch_first=True)
        self.to_frame = nn.Linear(n_hidden, n_mels)

    def encode(self, unit_mel: Tensor) -> tuple[Tensor, Tensor]:  # (B, M, L)
        return split_posterior(self.encoder(unit_mel))  # (B, Z) each

    def decode(self, z: Tensor) -> Tensor:  # (B, Z)
        check_rows("z", z, self.config["z_dim"])
        first = torch.tanh(self.to_state(z)).unsqueeze(0)  # (1, B, H): states lie in [-1, 1]
        states, _ = self.gru(z.unsqueeze(1).expand(-1, self.config["n_frames"], -1), first.to(z.dtype))  # (B, L, H)
        return self.to_frame(states).transpose(1, 2)  # (B, M, L)

    def forward(self, unit_mel: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(B, M, L) -> recon (B, M, L) from one draw of z, mu (B, Z), log_var (B, Z)."""
        mu, log_var = self.encode(unit_mel)
        return self.decode(reparameterise(mu, log_var, rng)), mu, log_var
