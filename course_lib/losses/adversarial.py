"""The rules of the game between generator and discriminator: losses as named parts, penalties, whose turn it is.

All losses take logits, never probabilities: a sigmoid before them would squash the gradient twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Name -> what the logit of a real clip costs, of a fake one, of a fake one on the generator's turn. (B,) -> (B,)
TERMS: dict[str, tuple[Callable[[Tensor], Tensor], ...]] = {
    # -log D(x), -log(1 - D(G(z))); the generator minimises log(1 - D(G(z))), which is flat where it loses.
    "saturating": (lambda r: F.softplus(-r), F.softplus, lambda f: -F.softplus(f)),
    # The same discriminator; the generator minimises -log D(G(z)) (Goodfellow et al. 2014, section 3).
    "non_saturating": (lambda r: F.softplus(-r), F.softplus, lambda f: F.softplus(-f)),
    # Real is 1, fake is 0 (Mao et al. 2017).
    "least_squares": (lambda r: 0.5 * (r - 1) ** 2, lambda f: 0.5 * f**2, lambda f: 0.5 * (f - 1) ** 2),
    # No more to gain beyond a margin of 1 (Lim & Ye 2017).
    "hinge": (lambda r: F.relu(1 - r), lambda f: F.relu(1 + f), lambda f: -f),
    # Difference of means: a distance if the discriminator's slope is bounded (Arjovsky et al. 2017).
    "wasserstein": (lambda r: -r, lambda f: f, lambda f: -f),
}


def discriminator_parts(real_logits: Tensor, fake_logits: Tensor, loss: str | Mapping[str, float]) -> dict[str, Tensor]:
    """What the discriminator minimises.

    Args:
        real_logits, fake_logits: (B,) scores, without a sigmoid; (B, C) of C critics, whose mean counts.
        loss: a name in TERMS; or weights of several, {"non_saturating": 1, "least_squares": 0.5}.
    Returns: {"real": scalar, "fake": scalar}; of several losses, each named "hinge_real" and so on.
    Raises:  ValueError for an unknown loss, or logits with more axes.

    Taught in: notebooks/06_gans_on_spectrograms.ipynb
    """
    parts = {}
    for prefix, weight, terms in _chosen(loss):
        for name, term, logits in (("real", terms[0], real_logits), ("fake", terms[1], fake_logits)):
            parts[prefix + name] = weight * term(_checked(name, logits)).mean()
    return parts


def generator_parts(fake_logits: Tensor, loss: str | Mapping[str, float]) -> dict[str, Tensor]:
    """What the generator minimises: {"fool": scalar}. Arguments and errors as in discriminator_parts."""
    return {
        f"{prefix}fool": weight * terms[2](_checked("fake", fake_logits)).mean()
        for prefix, weight, terms in _chosen(loss)
    }


def optimal_discriminator(p_real: Tensor, p_fake: Tensor) -> Tensor:
    """The probability of "real" that no discriminator can better, where the densities are known.

    p / (p + q), for cross-entropy (Goodfellow et al. 2014, proposition 1).

    Args:    p_real, p_fake: densities at the same points, >= 0, any shape; not both 0."""
    return p_real / (p_real + p_fake)


def gradient_penalty(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    condition: tuple[Tensor, ...] = (),
    *,
    rng: torch.Generator,
) -> Tensor:
    """(|slope| - 1)^2 between real and fake clips, each pair at its own random point (WGAN-GP, Gulrajani et al. 2017).

    Args:
        real, fake: (B, ...), of the same shape; no gradient reaches the generator.
        condition: what the discriminator is told besides, e.g. (digits, speakers).
    Returns: scalar, the mean over clips, without a weight (10 is usual); its gradient goes to the discriminator.
    Raises:  ValueError for different shapes.

    Taught in: notebooks/07_gans_on_waveforms.ipynb
    """
    if real.shape != fake.shape or real.ndim < 2:
        raise ValueError(f"got real {tuple(real.shape)}, fake {tuple(fake.shape)}; need the same shape, (B, ...)")
    where = torch.rand(len(real), generator=rng, device=rng.device).to(real)
    where = where.view(-1, *[1] * (real.ndim - 1))  # (B, 1, ...)
    between = real.detach() + where * (fake.detach() - real.detach())
    # The slope of a square root is infinite at 0: a flat discriminator must not end the training.
    slope = (squared_slopes(discriminator, between, condition) + 1e-12).sqrt()  # (B,)
    return (slope - 1).square().mean()


def r1_penalty(discriminator: nn.Module, real: Tensor, condition: tuple[Tensor, ...] = ()) -> Tensor:
    """Half the mean squared slope at real clips: 0.5 * E |grad D(x)|^2 (Mescheder et al. 2018).

    Args:    as in gradient_penalty.
    Returns: scalar, without a weight. It may be asked for every k-th step only, k times as strong (Karras et al. 2020).

    Taught in: notebooks/07_gans_on_waveforms.ipynb
    """
    return 0.5 * squared_slopes(discriminator, real.detach(), condition).mean()


def squared_slopes(discriminator: nn.Module, x: Tensor, condition: tuple[Tensor, ...] = ()) -> Tensor:
    """|d score / d clip|^2 of each clip, in full precision, with a graph to the discriminator's weights. -> (B,)"""
    with torch.autocast(x.device.type, enabled=False):  # squares of slopes of slopes: 8 bits are too few
        x = x.to(torch.promote_types(x.dtype, torch.float32)).requires_grad_()
        scores = discriminator(x, *condition)  # (B,)
        if scores.ndim != 1:
            raise ValueError(
                f"the discriminator gives scores {tuple(scores.shape)}, need (B,): the slope of several critics' sum "
                "says little of each; penalise one at a time: r1_penalty(critics.of_wave, real, (digits, speakers))"
            )
        # A clip's score depends on that clip alone, so the gradient of the sum holds each clip's own.
        (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1)


@dataclass(frozen=True)
class Dither:
    """Noise on every clip that the discriminator sees, real or fake (Soenderby et al. 2017, instance noise).

    Recorded clips end in digital zeros, which no network can paint: they would give away every fake.

    Args:    sigma: standard deviation; of waves, 0.003 is -50 dBFS."""

    sigma: float

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:  # (B, ...)
        return x + self.sigma * torch.randn(x.shape, generator=rng, device=rng.device).to(x)


@dataclass(frozen=True)
class TimeShift:
    """Every clip that the discriminator sees, real or fake, moved in time by its own amount; silence moves in.

    A discriminator that has seen 2,400 clips a hundred times knows them by heart; moved, they stay new for longer, and
    since fakes are moved too, the generator does not learn to move (differentiable augmentation, Zhao et al. 2020).

    Args:
        n_most: largest shift, either way, in frames of pictures or samples of waves.
        silence: what moves in: -1 in unit-scaled pictures, 0 in waves.
    """

    n_most: int
    silence: float = -1.0

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:  # (B, M, L) or (B, T)
        n = self.n_most
        one_a_clip = (len(x), *[1] * (x.ndim - 1))
        shift = torch.randint(-n, n + 1, one_a_clip, generator=rng, device=rng.device).to(x.device)
        source = torch.arange(x.shape[-1], device=x.device) + n - shift  # (B, ..., L)
        return F.pad(x, (n, n), value=self.silence).gather(-1, source.expand_as(x))


@dataclass(frozen=True)
class Game:
    """The usual game, for training.fit_gan; override a method to change the rules."""

    clips_at: Callable[[Tensor], tuple[Tensor, ...]]  # index (B,) -> real (B, ...), then what both players are told
    z_dim: int = 100
    loss: str | Mapping[str, float] = "hinge"
    gradient_penalty: float = 0.0  # weight of gradient_penalty, at each step
    r1: float = 0.0  # weight of r1_penalty
    r1_every: int = 16  # steps between R1 penalties, each r1_every times as strong
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None  # of all that the discriminator sees: TimeShift

    def __post_init__(self) -> None:
        _chosen(self.loss)
        if min(self.gradient_penalty, self.r1) < 0 or self.r1_every < 1 or self.z_dim < 1:
            raise ValueError(f"got {self.settings}; need weights >= 0, r1_every and z_dim >= 1")

    @property
    def settings(self) -> dict:
        """What a checkpoint remembers of the rules."""
        loss = self.loss if isinstance(self.loss, str) else dict(self.loss)
        rules = {"rules": type(self).__name__, "z_dim": self.z_dim, "loss": loss}
        rules |= {"gradient_penalty": self.gradient_penalty, "r1": self.r1, "r1_every": self.r1_every}
        return rules | {"augment": repr(self.augment)}

    def draw(self, generator: nn.Module, like: Tensor, condition: tuple[Tensor, ...], rng: torch.Generator) -> Tensor:
        """As many fakes as there are clips in `like`, from fresh noise."""
        noise = torch.randn(len(like), self.z_dim, generator=rng, device=rng.device).to(like)  # (B, Z)
        return generator(noise, *condition)

    def seen(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """What the discriminator is shown of clips, real or fake: gradients pass."""
        return x if self.augment is None else self.augment(x, rng)

    def discriminator_parts(
        self, generator: nn.Module, discriminator: nn.Module, index: Tensor, rng: torch.Generator, step: int
    ) -> dict[str, Tensor]:
        """The discriminator's turn: (B,) indices -> its loss in named parts, with no way back to the generator."""
        real, *told = self.clips_at(index)
        fake = self.draw(generator, real, tuple(told), rng).detach()
        real, fake = self.seen(real, rng), self.seen(fake, rng)
        parts = discriminator_parts(discriminator(real, *told), discriminator(fake, *told), self.loss)
        if self.gradient_penalty:
            slope = gradient_penalty(discriminator, real, fake.to(real.dtype), tuple(told), rng=rng)
            parts["gradient_penalty"] = self.gradient_penalty * slope
        if self.r1:
            due = step % self.r1_every == 0
            slope = r1_penalty(discriminator, real, tuple(told)) if due else real.new_zeros(())
            parts["r1"] = self.r1 * self.r1_every * slope
        return parts

    def generator_parts(
        self, generator: nn.Module, discriminator: nn.Module, index: Tensor, rng: torch.Generator, step: int
    ) -> dict[str, Tensor]:
        """The generator's turn: fresh fakes for the same labels -> its loss in named parts."""
        real, *told = self.clips_at(index)
        fake = self.seen(self.draw(generator, real, tuple(told), rng), rng)
        return generator_parts(discriminator(fake, *told), self.loss)


def _chosen(loss: str | Mapping[str, float]) -> list[tuple[str, float, tuple[Callable[[Tensor], Tensor], ...]]]:
    """Prefix of the parts' names, weight, terms."""
    weights = {loss: 1.0} if isinstance(loss, str) else dict(loss)
    unknown = [name for name in weights if name not in TERMS]
    if unknown or not weights:
        raise ValueError(f"loss: got {loss!r}, need one of {', '.join(TERMS)}, or weights of some of them")
    return [("" if isinstance(loss, str) else f"{name}_", weight, TERMS[name]) for name, weight in weights.items()]


def _checked(name: str, logits: Tensor) -> Tensor:
    """The logits in float32 at least, if there is one a clip (and critic)."""
    if logits.ndim not in (1, 2) or logits.shape[1:] == (1,):  # (B, 1) beside (B,) would be broadcast to (B, B)
        raise ValueError(
            f"{name}_logits: got shape {tuple(logits.shape)}, need (B,): one score a clip, no sigmoid; or (B, C) of C "
            "critics"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
