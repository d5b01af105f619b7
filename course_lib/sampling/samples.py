"""Speaking sample by sample: the plain loop as everybody writes it first, and faster ones that draw the same samples.

All samplers take the same random numbers (draw_noise) and turn them into the same classes. "Same" has a limit: each
adds up in its own order, so that their logits differ by about 1e-6, and about once in a million draws two classes are
so nearly equal that this decides between them; from there on two samples differ for good.
Letters: B clips, T samples, L frames of conditions, C classes, H hidden.
Taught in: notebooks/09_sample_by_sample.ipynb
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_lib.models.mulaw_rnn import FoldedRNN, MuLawRNN
from course_lib.sampling.choosing import check_sizes, draw_noise, top_p_filter
from course_lib.sampling.folded import Place, advance_folded, refuse_nan, start
from course_lib.sound.features import mu_law_decode

N_TOGETHER = 16  # clips that speak draws at once: their noise takes 134 MB a second of sound

Sampler = Callable[..., Tensor]
Advance = Callable[..., tuple[Tensor, Place]]


@torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # a GPU's nn.GRU would round its products to 10 bits
@torch.no_grad()
def sample_plain(
    model: MuLawRNN,
    conditions: Tensor,
    noise: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prime: Tensor | None = None,
) -> Tensor:
    """One sample a step: embedding, nn.GRU, linear layer, softmax, draw; and the draw is fed back.

    Args:
        conditions: (B, L, n_in), from model.conditions.
        noise: (T, B, C) from draw_noise; T is how many samples are made.
        temperature, top_p: see choose.
        prime: (B, T0) int64, T0 <= T: the beginning, which is kept and continued; its share of the noise is not used.
    Returns: (B, T) int64 classes; features.mu_law_decode makes waves of them.
    Raises:  ValueError for sizes that do not fit, noise that is not above 0, or settings that mean nothing."""
    refuse_nan(model.parameters())
    check_sizes(len(conditions), model.config["n_classes"], noise, temperature, top_p, prime)
    classes = torch.empty(noise.shape[1], noise.shape[0], dtype=torch.int64, device=noise.device)  # (B, T)
    previous, state = torch.full_like(classes[:, :1], model.silence), None
    n_prime, n_frames = 0 if prime is None else prime.shape[1], conditions.shape[1]
    for t in range(len(noise)):
        frame = min(t // model.config["frame_length"], n_frames - 1)
        x = model.embed(previous) + conditions[:, frame : frame + 1]  # (B, 1, n_in)
        hidden, state = model.gru(x, state)  # (B, 1, H)
        logits = model.to_logits(hidden[:, 0])  # (B, C)
        if t < n_prime:
            previous = prime[:, t : t + 1]
        elif temperature == 0:
            previous = logits.argmax(dim=-1, keepdim=True)
        else:
            p = top_p_filter(logits / temperature, top_p).softmax(dim=-1)  # (B, C)
            previous = (p / noise[t]).argmax(dim=-1, keepdim=True)  # what torch.multinomial(p, 1) does
        classes[:, t : t + 1] = previous
    return classes


def sample_folded(
    model: MuLawRNN | FoldedRNN,
    conditions: Tensor | None,
    noise: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prime: Tensor | None = None,
) -> Tensor:
    """As sample_plain, with all products taken out of the loop but one a step. model may be folded: conditions=None."""
    return _sample(advance_folded, model, conditions, noise, temperature, top_p, prime)


def sample_compiled(
    model: MuLawRNN | FoldedRNN,
    conditions: Tensor | None,
    noise: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prime: Tensor | None = None,
) -> Tensor:
    """As sample_folded, the loop compiled by numba, clips shared out among torch.get_num_threads() threads. CPU only.

    The first call compiles, once a machine: some seconds.
    Raises: RuntimeError without numba; ValueError for tensors on a GPU."""
    return _sample(_advance_compiled, model, conditions, noise, temperature, top_p, prime)


def sample_cuda_graph(
    model: MuLawRNN | FoldedRNN,
    conditions: Tensor | None,
    noise: Tensor,
    temperature: float = 1.0,
    top_p: float = 1.0,
    prime: Tensor | None = None,
) -> Tensor:
    """As sample_folded, on a GPU: many steps are recorded once and replayed by one launch each time.

    Raises: RuntimeError without CUDA; ValueError for tensors elsewhere."""
    return _sample(_advance_graphed, model, conditions, noise, temperature, top_p, prime)


def fastest_sampler(device: torch.device | str) -> Sampler:
    """The sampler for a model on this device: CUDA graphs, the compiled loop, or what runs everywhere."""
    if torch.device(device).type == "cuda":
        return sample_cuda_graph
    has_numba = importlib.util.find_spec("numba") is not None
    return sample_compiled if torch.device(device).type == "cpu" and has_numba else sample_folded


def stream(
    model: MuLawRNN | FoldedRNN,
    conditions: Tensor | None,
    noise: Tensor,
    chunk: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    sampler: Sampler | None = None,
) -> Iterator[Tensor]:
    """Samples as they come, for a player that starts before the end: (B, chunk) int64 each, the last one shorter.

    Put together they are what the sampler (a fast one; the fastest unless given) draws at once.

    Raises: ValueError as sample_plain, or for a chunk below 1 or a sampler that can't go on."""
    advance = _ADVANCES.get(sampler or fastest_sampler(noise.device))
    if chunk < 1 or advance is None:
        names = ", ".join(each.__name__ for each in _ADVANCES)
        raise ValueError(f"got chunk={chunk}, sampler={sampler}; need at least 1 sample, and one of {names}")
    folded = _folded(model, conditions)
    check_sizes(len(folded.conditions), len(folded.table), noise, temperature, top_p, None)

    def chunks() -> Iterator[Tensor]:
        place = start(folded)
        for part in noise.split(chunk):
            classes, place = advance(folded, part, place, temperature, top_p)
            yield classes

    return chunks()


@torch.no_grad()
def speak(
    model: MuLawRNN,
    digits: Tensor,
    speakers: Tensor,
    rng: torch.Generator,
    temperature: float = 0.9,
    top_p: float = 1.0,
    duration_s: Tensor | None = None,
    pitch_hz: Tensor | None = None,
    sampler: Sampler | None = None,
    prime: Tensor | None = None,
    frames: Tensor | None = None,
) -> Tensor:
    """Labels to sound.

    Args:
        digits, speakers: (B,) int64.
        temperature, top_p: see choose.
        duration_s, pitch_hz: (B,); drawn as this speaker says this digit unless given.
        sampler: the fastest one for the model's device unless given. Clips are drawn N_TOGETHER at a time.
        prime: (B, T0) int64, classes to begin with.
        frames: (B, M, L) unit log-mels to be told, e.g. those that frames.draw_frames draws.
    Returns: waves (B, T) in [-1, 1], T = clip_s of the model; 0 from duration_s on."""
    device = model.to_logits.weight.device
    digits, speakers = digits.to(device), speakers.to(device)
    drawn_s, drawn_hz = model.draw_controls(digits, speakers, rng)
    duration_s = (drawn_s if duration_s is None else duration_s).to(device)
    pitch_hz = (drawn_hz if pitch_hz is None else pitch_hz).to(device)
    frames = None if frames is None else frames.to(device)
    conditions = model.conditions(digits, speakers, duration_s, pitch_hz, frames=frames)
    n_steps = round(model.config["clip_s"] * model.config["sample_rate_hz"])
    sampler, parts = sampler or fastest_sampler(device), []
    for first in range(0, len(conditions), N_TOGETHER):
        part = slice(first, first + N_TOGETHER)
        noise = draw_noise(n_steps, len(conditions[part]), model.config["n_classes"], rng).to(device)
        begun = None if prime is None else prime[part].to(device)
        parts.append(sampler(model, conditions[part], noise, temperature, top_p, begun))
    waves = mu_law_decode(torch.cat(parts), model.config["n_classes"])
    time_s = torch.arange(n_steps, device=device) / model.config["sample_rate_hz"]
    return waves * (time_s < duration_s.unsqueeze(1))


def _advance_compiled(folded: FoldedRNN, noise: Tensor, place: Place, *settings: object) -> tuple[Tensor, Place]:
    try:
        from course_lib.sampling.compiled import advance_compiled  # compiles, and numba is slow to import
    except ImportError as missing:
        raise RuntimeError(
            f"sample_compiled needs numba, which can't be imported: {missing}. librosa brings it: run `course doctor`. "
            "Meanwhile sample_folded draws the same samples"
        ) from missing
    return advance_compiled(folded, noise, place, *settings)


def _advance_graphed(folded: FoldedRNN, noise: Tensor, place: Place, *settings: object) -> tuple[Tensor, Place]:
    from course_lib.sampling.graph import advance_graphed

    return advance_graphed(folded, noise, place, *settings)


_ADVANCES: dict[Sampler, Advance] = {
    sample_folded: advance_folded,
    sample_compiled: _advance_compiled,
    sample_cuda_graph: _advance_graphed,
}


def _sample(
    advance: Advance,
    model: MuLawRNN | FoldedRNN,
    conditions: Tensor | None,
    noise: Tensor,
    temperature: float,
    top_p: float,
    prime: Tensor | None,
) -> Tensor:
    folded = _folded(model, conditions)
    check_sizes(len(folded.conditions), len(folded.table), noise, temperature, top_p, prime)
    return advance(folded, noise, start(folded), temperature, top_p, prime)[0]


def _folded(model: MuLawRNN | FoldedRNN, conditions: Tensor | None) -> FoldedRNN:
    if isinstance(model, FoldedRNN) != (conditions is None):
        raise ValueError(
            f"got a {type(model).__name__} and conditions {None if conditions is None else tuple(conditions.shape)}; "
            "need a model with its conditions, or a folded model, which holds them, with conditions=None"
        )
    folded = model if conditions is None else model.fold(conditions)
    refuse_nan(part for part in folded if isinstance(part, Tensor))
    return folded
