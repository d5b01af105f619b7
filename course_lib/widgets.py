"""Players side by side, and sliders with a still picture where none can run. First version."""

from __future__ import annotations

import base64
import html
import io
import wave as wav_file

import torch
from torch import Tensor

from course_lib.audio import PCM_STEPS


def compare_sounds(sounds: dict[str, Tensor], rate_hz: int, cfg=None) -> None:
    """One table: label, player, level and length of each sound."""
    from IPython.display import HTML, display

    rows = ""
    for label, sound in sounds.items():
        sound = torch.as_tensor(sound).detach().cpu().float().reshape(-1)
        if not torch.isfinite(sound).all():
            raise ValueError(f"{label}: the wave holds NaN or infinity; find where it came from before you listen")
        level = 20 * torch.log10(sound.abs().max())
        rows += (
            f"<tr><td>{html.escape(label)}</td><td><audio controls src='{_wav_uri(sound, rate_hz)}'></audio></td>"
            f"<td>{level:.1f} dB</td><td>{len(sound) / rate_hz:.2f} s</td></tr>"
        )
    display(HTML(f"<table>{rows}</table>"))


def _wav_uri(sound: Tensor, rate_hz: int) -> str:
    steps = (sound.double() * PCM_STEPS).round().clamp(-PCM_STEPS, PCM_STEPS - 1).to(torch.int16)
    buffer = io.BytesIO()
    with wav_file.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(rate_hz))
        file.writeframes(steps.numpy().tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()


def explore(draw, still: dict, **controls) -> None:
    """Draw with sliders where they work; else draw `still`."""
    import os

    if os.environ.get("COURSE_STILL") == "1":
        draw(**still)
        print("A still picture: open the notebook in a live Jupyter to move the sliders.")
        return
    import ipywidgets
    from IPython.display import display

    display(ipywidgets.interactive(draw, **controls))
