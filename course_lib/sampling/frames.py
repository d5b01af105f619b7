"""Speaking frame by frame: each frame is drawn from the mixture that the network says of it, and fed back.

Letters: B clips, M mels, L frames, P principal coordinates.
Taught in: notebooks/08_a_network_that_remembers.ipynb
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.models.mel_rnn import SILENT, FrameMixture, MelRNN


def draw_components(said: FrameMixture, rng: torch.Generator, temperature: float) -> Tensor:
    """One frame from each clip's mixture at the last step: (B, P). At temperature 0, the likeliest component's mean."""
    log_weights, rows = said.log_weights[:, -1], torch.arange(len(said.means), device=said.means.device)
    if temperature == 0:
        return said.means[rows, -1, log_weights.argmax(dim=1)]
    probabilities = (log_weights / temperature).softmax(dim=1)
    component = torch.multinomial(probabilities.to(rng.device), 1, generator=rng).squeeze(1).to(rows.device)
    mean, sigma = said.means[rows, -1, component], said.sigmas[rows, -1, component]  # (B, P)
    return mean + temperature * sigma * torch.randn(mean.shape, generator=rng, device=rng.device).to(mean)


@torch.no_grad()
def draw_frames(
    model: MelRNN,
    digits: Tensor,
    speakers: Tensor,
    rng: torch.Generator,
    temperature: float = 0.45,
    prime: Tensor | None = None,
    n_frames: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Free running: each frame is drawn, and fed back as the next one's past, until the network says that it is over.

    Args:
        digits, speakers: (B,) int64.
        temperature: 1 draws as the mixture says; below, spreads shrink and likely components become likelier; 0 is
            their very mean.
        prime: (B, M, L0) unit log-mel of a clip's start to go on from, L0 < n_frames; it is kept in the picture.
        n_frames: of the picture; the model's own unless given.
    Returns: unit log-mels (B, M, L), silent (-1) after each clip's end, and where that is: (B,) int64 in 1 to L.
    Raises:  ValueError for a temperature below 0, unknown labels, or a prime that leaves nothing to say."""
    n_frames = model.config["n_frames"] if n_frames is None else n_frames
    n_primed = 0 if prime is None else prime.shape[2]
    if not temperature >= 0 or not 0 <= n_primed < n_frames:
        raise ValueError(
            f"got temperature={temperature}, a prime of {n_primed} frames, n_frames={n_frames}; need 0 or more, and "
            "fewer primed frames than n_frames"
        )
    silence = model.silent_frame().expand(len(digits), 1, -1)  # (B, 1, P)
    fed = silence if prime is None else torch.cat([silence, model.coordinates(prime)], dim=1)  # (B, L0 + 1, P)
    frames, state = list(fed[:, 1:].unbind(dim=1)), None
    n_said = torch.full((len(digits),), n_frames, device=digits.device)
    for index in range(n_primed, n_frames):
        said = model(fed, digits, speakers, state)
        frame, state = draw_components(said, rng, temperature), said.state
        frames.append(frame)
        chance = torch.sigmoid(said.stop_logits[:, -1])
        draws = torch.rand(chance.shape, generator=rng, device=rng.device).to(chance)
        stops = chance > (draws if temperature > 0 else 0.5)
        n_said = torch.where(stops & (n_said == n_frames), index + 1, n_said)
        if bool((n_said <= index + 1).all()):
            break
        fed = frame.unsqueeze(1)
    pictures = model.pictures(torch.stack(frames, dim=1), rng if temperature > 0 else None)  # (B, M, up to L)
    pictures = F.pad(pictures, (0, n_frames - pictures.shape[2]), value=SILENT)
    spoken = torch.arange(n_frames, device=n_said.device) < n_said.unsqueeze(1)  # (B, L)
    return torch.where(spoken.unsqueeze(1), pictures, torch.full_like(pictures, SILENT)), n_said
