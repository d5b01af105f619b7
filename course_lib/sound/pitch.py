"""How high a voice is: the median fundamental frequency of a clip."""

from __future__ import annotations

import torch
from torch import Tensor

LOWEST_HZ, HIGHEST_HZ = 60.0, 400.0  # of speaking voices
FRAME_S, HOP_S = 0.064, 0.016  # a frame holds nearly four periods of the lowest
LOUD_SHARE = 0.4  # of a clip's frames: the loudest are vowels, which have a pitch


def median_pitch_hz(waves: Tensor, n_valid: Tensor, rate_hz: int) -> Tensor:
    """The median pitch over the loudest frames of each clip, by YIN (de Cheveigne & Kawahara 2002; librosa's).

    Args:
        waves: (B, T) in [-1, 1]; n_valid: (B,) int64, samples that belong to the recording.
    Returns: (B,) float32 in LOWEST_HZ to HIGHEST_HZ; a clip without any pitch gets some number there too.
    Raises:  ValueError for other shapes, or a count outside 1 to T.
    """
    import librosa

    if waves.ndim != 2 or n_valid.shape != (len(waves),) or not 1 <= n_valid.min() <= n_valid.max() <= waves.shape[1]:
        raise ValueError(
            f"got waves {tuple(waves.shape)}, n_valid {tuple(n_valid.shape)}; need (B, T), and (B,) counts in 1 to T"
        )
    frame_length, hop_length = round(FRAME_S * rate_hz), round(HOP_S * rate_hz)
    found = []
    for rows, counts in zip(waves.split(256), n_valid.split(256), strict=True):
        numbers = rows.cpu().numpy()
        pitch = librosa.yin(
            numbers, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, sr=rate_hz, frame_length=frame_length, hop_length=hop_length
        )
        level = librosa.feature.rms(y=numbers, frame_length=frame_length, hop_length=hop_length)[:, 0]
        pitch, level = torch.from_numpy(pitch).float(), torch.from_numpy(level).float()  # (B, L)
        inside = torch.arange(pitch.shape[1]) * hop_length < counts.cpu().unsqueeze(1)
        n_loud = (LOUD_SHARE * inside.sum(dim=1)).ceil().long().clamp(min=1)
        ranks = torch.where(inside, level, -1.0).argsort(dim=1, descending=True).argsort(dim=1)
        loud = ranks < n_loud.unsqueeze(1)  # (B, L)
        found.append(torch.where(loud, pitch, torch.nan).nanmedian(dim=1).values)
    return torch.cat(found).to(waves.device)
