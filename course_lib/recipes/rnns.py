"""Recurrent networks of notebooks 08 and 09: one draws mel frames, the other samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.clips.clip_features import clip_log_mels
from course_lib.clips.clips import BatchIndices, Clips
from course_lib.clips.loading import load_clips
from course_lib.clips.streams import ClipStreams
from course_lib.judging.bits import model_bits, table_bits
from course_lib.judging.metrics import balanced_rows
from course_lib.losses.teacher_forcing import mel_rnn_parts, mulaw_rnn_parts, shifted
from course_lib.models.mel_rnn import MelRNN, frames_of_speech
from course_lib.models.mulaw_rnn import MuLawRNN, standardise_controls
from course_lib.recipes.record import Made, Recipe, record_of
from course_lib.recipes.scores import Speak, best_by_ratio, choose, spoken_scores
from course_lib.recipes.speech import smaller
from course_lib.recipes.vaes import SPEEDS, mels_at_speeds, vary_gain
from course_lib.sampling.codes import fit_latent_gaussians
from course_lib.sampling.frames import draw_frames
from course_lib.sampling.samples import speak
from course_lib.settings.profiles import current_device, current_profile
from course_lib.sound.features import AudioConfig, mu_law_encode
from course_lib.sound.linear_prediction import linear_prediction_bits
from course_lib.sound.pitch import median_pitch_hz
from course_lib.sound.vocoder import vocode
from course_lib.training.checkpoint import Checkpoints
from course_lib.training.loops import fit
from course_lib.training.pretrained import load_pretrained

MEL_TEMPERATURE = 0.45  # while training; of the best moment's samples, one of these is chosen
MEL_TEMPERATURES = (0.35, 0.45, 0.55)
MULAW_TEMPERATURE = 0.95
# Chunks of 32 ms hold two or more periods of any voice. 64 streams: 4.37 bits after 300 s, 24: 4.31 after 200.
N_STREAMS, CHUNK = 24, 256
UNTOLD = 3  # every third clip is never told its frames: the network has to do without them, too
TEST_CHUNK = 1024


def train_melrnn(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Digit and speaker in, frame after frame out: notebook 08's, for longer, with the voices at five speeds."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    train = clips.train
    pool, n_clips = mels_at_speeds(train, cfg), len(train)  # (V * N, M, L)
    n_samples = torch.cat([(train.n_valid / speed).ceil().long() for speed in (1.0, *SPEEDS)])
    n_frames = frames_of_speech(n_samples, cfg.hop_length, pool.shape[2])  # (V * N,)
    torch.manual_seed(seed)
    model = MelRNN(len(clips.digit_names), len(clips.speaker_names)).to(clips.device)
    model.start_at(clip_log_mels(train, cfg), n_frames[:n_clips])
    rng = torch.Generator(clips.device).manual_seed(seed)

    def batch_loss(model: MelRNN, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        rows = index % n_clips
        unit_mel = vary_gain(pool[index], rng)
        return mel_rnn_parts(model, unit_mel, n_frames[index], train.digits[rows], train.speakers[rows], rng)


    def speaker_of(model: MelRNN, temperature: float = MEL_TEMPERATURE) -> Speak:
        return lambda *asked: vocode(draw_frames(model, *asked, temperature=temperature)[0], cfg)

    best = best_by_ratio(speaker_of, clips, cfg, every=1000)
    history = fit(
        model,
        batch_loss,
        BatchIndices(len(pool), 16, rng),
        n_steps=profile.pick(smoke=10, quick=10_000, full=10_000),
        learning_rate=4e-3,
        clip_norm=1.0,
        precision="fp32",
        rng=rng,
        checkpoints=checkpoints,
        best=best,
    )
    best.put_into(model)
    temperature = choose(lambda value: speaker_of(model, value), MEL_TEMPERATURES, clips, cfg)
    scores, sample = spoken_scores(speaker_of(model, temperature), clips, cfg)
    chosen = f"{best}; temperature {temperature} of {MEL_TEMPERATURES} by the same"
    return Made(model, record_of(dataset, history, seed, cfg, scores, chosen), sample)


def train_mulaw_rnn(dataset: str, checkpoints: Checkpoints, seed: int = 0) -> Made:
    """Digit, speaker, duration and pitch in, and mel frames for two clips of three; sample after sample out.

    In the end it is told the frames that melrnn draws: one network decides what is said, the other how it sounds."""
    cfg, profile = AudioConfig(), current_profile()
    clips = smaller(load_clips(dataset, current_device()))
    train = clips.train
    duration_s, pitch_hz = controls_of(train)
    torch.manual_seed(seed)
    model = MuLawRNN(len(clips.digit_names), len(clips.speaker_names)).to(clips.device)
    fit_controls(model, duration_s, pitch_hz, train.digits, train.speakers)
    rng = torch.Generator(clips.device).manual_seed(seed)
    streams = ClipStreams(train.n_valid, N_STREAMS, CHUNK, model.config["n_hidden"], rng)
    history = fit(
        model,
        stream_loss(streams, train, duration_s, pitch_hz, model.silence),
        streams,
        n_steps=profile.pick(smoke=10, quick=26_000, full=26_000),
        learning_rate=3e-3,
        n_warmup=50,
        clip_norm=1.0,
        precision="fp32",
        rng=rng,
        checkpoints=checkpoints,
    )
    mel_model, mel_record = load_pretrained("melrnn", clips.device)

    def speak_in_two_steps(digits: Tensor, speakers: Tensor, rng: torch.Generator) -> Tensor:
        frames, n_frames = draw_frames(mel_model, digits, speakers, rng, MEL_TEMPERATURE)
        duration_s = (n_frames * cfg.hop_length / cfg.sample_rate_hz).clamp(max=model.config["clip_s"])
        return speak(model, digits, speakers, rng, MULAW_TEMPERATURE, duration_s=duration_s, frames=frames)

    scores, sample = spoken_scores(speak_in_two_steps, clips, cfg)
    alone, _ = spoken_scores(lambda *asked: speak(model, *asked, temperature=1.0), clips, cfg)
    scores |= {f"{name}_without_frames": alone[name] for name in ("judged", "inception", "frechet_ratio")}
    record = record_of(dataset, history, seed, cfg, bits_scores(model, clips) | scores)
    return Made(model, record | {"frames_from": mel_record["digest"]}, sample)


def controls_of(clips: Clips) -> tuple[Tensor, Tensor]:
    """How long each clip is, and how high its voice: duration_s (N,), pitch_hz (N,), measured once a set."""
    measure = lambda clips: median_pitch_hz(clips.waves, clips.n_valid, clips.sample_rate_hz)  # noqa: E731
    return clips.n_valid / clips.sample_rate_hz, clips.feature(("median_pitch_hz",), measure)


def fit_controls(model: MuLawRNN, duration_s: Tensor, pitch_hz: Tensor, digits: Tensor, speakers: Tensor) -> None:
    """Fit the Gaussians that a model draws durations and pitches from, where nobody sets them."""
    n_digits, n_speakers = model.config["n_digits"], model.config["n_speakers"]
    controls = standardise_controls(duration_s, pitch_hz)  # (N, 2)
    found = fit_latent_gaussians(controls, None, digits, speakers, n_digits, n_speakers)
    model.controls.load_state_dict(found.state_dict())


def stream_loss(
    streams: ClipStreams, clips: Clips, duration_s: Tensor, pitch_hz: Tensor, silence: int
) -> Callable[[MuLawRNN, Tensor, torch.Generator], dict[str, Tensor]]:
    """What fit needs: the bits of the next chunk of each stream, each from the state that the one before has left."""
    classes = mu_law_encode(clips.waves)  # (N, T)
    previous = shifted(classes, silence)
    mels = clip_log_mels(clips, AudioConfig())  # (N, M, L)

    def batch_loss(model: MuLawRNN, index: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        rows, starts = index.unbind(dim=1)  # (B,) each
        labels = clips.digits[rows], clips.speakers[rows]
        told = {"frames": mels[rows], "is_told": rows % UNTOLD != 0}
        conditions = model.conditions(*labels, duration_s[rows], pitch_hz[rows], **told)
        (now, inside), (before, _) = streams.samples(classes, index), streams.samples(previous, index)
        parts, state = mulaw_rnn_parts(model, before, now, inside, conditions, streams.carried(index), starts)
        streams.carry(state)
        return parts

    return batch_loss


@torch.no_grad()
def heldout_bits(model: MuLawRNN, clips: Clips, with_frames: bool = False) -> float:
    """Bits a sample of these clips, each heard from its start to its end, without or with its mel frames told."""
    duration_s, pitch_hz = controls_of(clips)
    mels = clip_log_mels(clips, AudioConfig()) if with_frames else None
    classes = mu_law_encode(clips.waves)
    previous, costs, n_samples = shifted(classes, model.silence), 0.0, int(clips.n_valid.sum())
    for rows in torch.arange(len(clips), device=clips.device).split(100):
        labels, frames = (clips.digits[rows], clips.speakers[rows]), None if mels is None else mels[rows]
        conditions = model.conditions(*labels, duration_s[rows], pitch_hz[rows], frames=frames)
        state, n_valid = None, clips.n_valid[rows]
        for start in range(0, int(n_valid.max()), TEST_CHUNK):
            chunk = slice(start, start + TEST_CHUNK)
            logits, state = model(previous[rows, chunk], conditions, state, start)
            left = (n_valid - start).clamp(0, logits.shape[1])
            if left.any():
                costs += model_bits(logits, classes[rows, chunk], left) * int(left.sum())
    return costs / n_samples


def bits_scores(model: MuLawRNN, clips: Clips) -> dict[str, float]:
    """Bits a sample on unheard clips: the model's, beside those of predictors that anybody can write down."""
    train, test = clips.train, clips.test
    classes = [mu_law_encode(train.waves), train.n_valid, mu_law_encode(test.waves), test.n_valid]
    waves = (train.waves, train.n_valid, test.waves, test.n_valid)
    return {
        "bits_per_sample": heldout_bits(model, test),
        "bits_per_sample_given_frames": heldout_bits(model, test, with_frames=True),
        "bits_per_sample_of_train": heldout_bits(model, train.select(balanced_rows(train, min(300, len(train))))),
        "linear_prediction_bits_per_sample": linear_prediction_bits(*waves),
        "order_0_bits_per_sample": table_bits(*classes, order=0),
        "order_2_bits_per_sample": table_bits(*classes, order=2),
    }


RNN_RECIPES: dict[str, Recipe] = {
    "melrnn": lambda checkpoints: train_melrnn("fsdd", checkpoints),
    "mulaw_rnn": lambda checkpoints: train_mulaw_rnn("fsdd", checkpoints),  # after melrnn
}
