"""A judge that nobody here trained: PocketSphinx listens for one of ten English digits.

Its acoustic model comes with its wheel (continuous US English at 16 kHz), so it needs no network. It has never heard
the course's data, so a generator can please our own judge by tricks and still not be understood here. It is not
perfect on real telephone-band speech either: always show its figure on real clips beside the one on samples.
PocketSphinx is optional (the extra `judge`): without it, recogniser_available() is False.     Used in: notebooks 01, 10
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.clips.clips import DIGIT_NAMES
from course_lib.sound.audio import resample

NOTHING_HEARD = -1
RATE_HZ = 16_000  # of PocketSphinx's acoustic model
PEAK = 0.5  # all clips are heard at one level: -6 dB
SILENT_PEAK = 1e-3  # clips under -60 dB are not turned up to be heard
PAD_S = 0.2  # silence before and after, so that a word has an edge
GRAMMAR = f"#JSGF V1.0; grammar digits; public <digit> = {' | '.join(DIGIT_NAMES)};"
# Cepstral mean of speech through this front end (the mean over 300 FSDD training takes). Setting it before each clip
# does two things: a clip's verdict does not depend on the clips before it (PocketSphinx would otherwise adapt), and
# noise, which a mean of its own would make look like speech, is rejected.
CEPSTRAL_MEAN = "52.4,24.0,-33.0,43.3,-27.4,8.2,-9.8,-14.1,9.7,-15.1,6.4,-6.7,-1.0"


class MissingRecogniser(RuntimeError):
    """PocketSphinx is not installed."""


def recogniser_available() -> bool:
    """Whether recognise_digits can run here."""
    return importlib.util.find_spec("pocketsphinx") is not None


def recognise_digits(waves: Tensor, rate_hz: int) -> Tensor:
    """Write down the digit that PocketSphinx hears in each clip.

    Args:    waves: (B, T) or (T,) float in [-1, 1]; the level does not matter.
    Returns: (B,) int64 on the CPU: 0 to 9, or -1 where no digit was heard (silence, noise).
    Raises:  MissingRecogniser if PocketSphinx is not installed; ValueError for NaN or another shape."""
    waves = torch.as_tensor(waves).detach().cpu().float()
    waves = waves[None] if waves.ndim == 1 else waves
    if waves.ndim != 2 or waves.shape[1] == 0:
        raise ValueError(f"waves: got shape {tuple(waves.shape)}, need (B, T), e.g. clips.waves[:10]")
    if not torch.isfinite(waves).all():
        raise ValueError("waves: NaN or infinity; find where it came from before you judge the sound")
    if len(waves) == 0:
        return torch.zeros(0, dtype=torch.int64)
    peaks = waves.abs().amax(dim=1, keepdim=True)  # (B, 1)
    at_one_level = waves * torch.where(peaks < SILENT_PEAK, 0, PEAK / peaks)
    pad = round(PAD_S * RATE_HZ)
    padded = F.pad(resample(at_one_level, rate_hz, RATE_HZ), (pad, pad)).clamp(-1, 1)  # (B, T')
    decoder = _decoder()
    return torch.tensor([_hear(decoder, pcm) for pcm in (padded * 32_767).to(torch.int16)], dtype=torch.int64)


def _hear(decoder, pcm: Tensor) -> int:
    if not pcm.any():
        return NOTHING_HEARD
    decoder.set_cmn(CEPSTRAL_MEAN)
    decoder.start_utt()
    # full_utt would use each clip's own mean instead.
    decoder.process_raw(pcm.numpy().tobytes(), no_search=False, full_utt=False)
    decoder.end_utt()
    heard = decoder.hyp()
    return DIGIT_NAMES.index(heard.hypstr) if heard is not None and heard.hypstr in DIGIT_NAMES else NOTHING_HEARD


@lru_cache(maxsize=1)
def _decoder():
    """One decoder for the whole session: reading its model takes longer than hearing a clip."""
    if not recogniser_available():
        raise MissingRecogniser("PocketSphinx (the extra `judge`) is not installed; run: pip install pocketsphinx")
    import pocketsphinx

    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("digits", GRAMMAR)
    decoder.activate_search("digits")
    return decoder
