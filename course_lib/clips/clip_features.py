"""Features of whole data sets, computed once and kept with the clips.

Letters: N clips, M mels, L frames.
Taught in: notebooks/01_sound_as_data.ipynb
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.clips.clips import Clips
from course_lib.sound.features import AudioConfig, log_mel, to_unit


def clip_log_mels(clips: Clips, cfg: AudioConfig) -> Tensor:
    """Unit-scaled log-mels of all clips, (N, M, L), computed once per cfg and kept on the clips' device."""
    if clips.sample_rate_hz != cfg.sample_rate_hz:
        raise ValueError(
            f"got clips at {clips.sample_rate_hz} Hz, but the AudioConfig says {cfg.sample_rate_hz} Hz; "
            "resample() the clips, or make an AudioConfig for their rate"
        )

    def compute(clips: Clips) -> Tensor:
        # Batches bound the memory; a cached tensor must stay usable in autograd, so never an inference tensor.
        with torch.inference_mode(False), torch.no_grad():
            return torch.cat([to_unit(log_mel(waves, cfg), cfg) for waves in clips.waves.split(256)])

    return clips.feature(("log_mel", cfg), compute)
