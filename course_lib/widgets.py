"""Players side by side, and sliders: with a still picture where no slider can move.

Works in JupyterLab, in Colab and in static pages made by nbconvert. Sound and pictures lie inside the HTML itself, so
an executed notebook keeps them.
"""

from __future__ import annotations

import base64
import html
import importlib.util
import io
import os
import wave as wav_format
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from course_lib.audio import PCM_STEPS, peak_level_db, rms_level_db
from course_lib.features import AudioConfig, log_mel, to_unit
from course_lib.plots import COLOUR_MAP

MOST_SECONDS = 120.0  # in one table; at 8 kHz that is 2.6 MB of notebook
CELL = "padding:2px 10px;text-align:left;vertical-align:middle;"


def compare_sounds(sounds: Mapping[str, Tensor], rate_hz: int, cfg: AudioConfig | None = None) -> None:
    """Show one table with a player, the level and the length of each sound; levels are heard as they are.

    The notebook grows by 2.7 bytes a sample (16-bit wav in base64): 22 kB a clip of 8,192 samples.

    Args:    sounds: {label: wave (T,) or (1, T) in [-1, 1]}. Silent sounds are named so; so are those with |wave| > 1,
                     which are clipped to be played.
             cfg:    add a small log-mel picture of each (about 5 kB; brightest: cfg.top_db, black: cfg.floor_db).
    Raises:  ValueError, naming the label, for NaN, infinity or another shape; for no sounds, or too long ones."""
    from IPython.display import display

    if not isinstance(sounds, Mapping) or not sounds:
        raise ValueError(f"sounds: got {type(sounds).__name__} of nothing to hear; need {{'label': wave (T,), ...}}")
    waves = {str(label): _one_clip(str(label), wave) for label, wave in sounds.items()}
    total_s = sum(map(len, waves.values())) / rate_hz
    if total_s > MOST_SECONDS:
        raise ValueError(f"got {total_s:.0f} s of sound, at most {MOST_SECONDS:.0f} s fit; show fewer or shorter ones")
    if cfg is not None and cfg.sample_rate_hz != rate_hz:
        raise ValueError(f"got sounds at {rate_hz} Hz and a cfg for {cfg.sample_rate_hz} Hz; resample() the sounds")
    heads = ["Sound", "Listen", "Peak (dBFS)", "RMS (dBFS)", "Length (s)", *(["Log-mel"] if cfg else [])]
    head = "".join(f"<th style='{CELL}'>{text}</th>" for text in heads)
    rows = "".join(_row(label, wave, rate_hz, cfg) for label, wave in waves.items())
    text = "\n".join(
        f"{label}{_remark(wave)}: peak {float(peak_level_db(wave)):.1f} dBFS, {len(wave) / rate_hz:.2f} s"
        for label, wave in waves.items()
    )
    table = f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    display({"text/html": table, "text/plain": text}, raw=True)


def _row(label: str, wave: Tensor, rate_hz: int, cfg: AudioConfig | None) -> str:
    player = (
        f"<audio controls style='height:34px;width:240px' aria-label='{html.escape(label, quote=True)}'>"
        f"<source src='data:audio/wav;base64,{_to_wav(wave, rate_hz)}' type='audio/wav'></audio>"
    )
    cells = [
        f"<b>{html.escape(label)}</b>{_remark(wave)}",
        player,
        f"{float(peak_level_db(wave)):.1f}",
        f"{float(rms_level_db(wave)):.1f}",
        f"{len(wave) / rate_hz:.2f}",
    ]
    if cfg is not None:
        cells.append(
            f"<img alt='log-mel picture' style='height:56px;width:140px' src='data:image/png;base64,"
            f"{_to_png(to_unit(log_mel(wave, cfg), cfg))}'>"
        )
    return "<tr>" + "".join(f"<td style='{CELL}'>{cell}</td>" for cell in cells) + "</tr>"


def _remark(wave: Tensor) -> str:
    peak = float(wave.abs().max())
    return " (silent)" if peak < 0.5 / PCM_STEPS else f" (clipped: its peak is {peak:.2f})" if peak > 1 else ""


def _one_clip(label: str, wave: Tensor) -> Tensor:
    wave = torch.as_tensor(wave).detach().cpu()
    wave = wave[0] if wave.ndim == 2 and len(wave) == 1 else wave
    if wave.ndim != 1 or len(wave) == 0 or not wave.is_floating_point():
        raise ValueError(f"{label}: got {wave.dtype} {tuple(wave.shape)}, need one clip of floats (T,), e.g. waves[0]")
    if not torch.isfinite(wave).all():
        raise ValueError(f"{label}: the wave holds NaN or infinity; find where it came from before you listen to it")
    return wave.float()


def _to_wav(wave: Tensor, rate_hz: int) -> str:
    """A 16-bit wav file as base64 text; the same steps as audio.write_wave takes."""
    steps = (wave.double() * PCM_STEPS).round().clamp(-PCM_STEPS, PCM_STEPS - 1).to(torch.int16).numpy()
    file = io.BytesIO()
    with wav_format.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(int(rate_hz))
        wav.writeframes(steps.astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


def _to_png(unit_mel: Tensor) -> str:
    """A picture (M, L) in [-1, 1], one pixel a value, low frequencies at the bottom, as base64 text."""
    from matplotlib import image

    file = io.BytesIO()
    image.imsave(file, unit_mel.numpy(), vmin=-1, vmax=1, cmap=COLOUR_MAP, origin="lower", format="png")
    return base64.b64encode(file.getvalue()).decode()


def explore(draw: Callable[..., None], still: Mapping[str, Any], **controls: Any) -> None:
    """Draw with sliders and pickers; where none can work, draw once, with the values of `still`, and say so.

    Sliders draw when they are let go, not at each step of the way. An error in `draw` is shown where the picture would
    be; in a still picture, it stops the cell. COURSE_STILL=1 asks for that, as `course run` and CI do.

    Args:    draw: called as draw(**values); it shows (plt.show(), play(...)) whatever it wants to.
             still: {name: value} of every control; also where the sliders start.
             controls: name=(low, high, step), a list or dict of choices, True or False, a text, or an ipywidget.
    Raises:  ValueError if the names in still and controls differ."""
    if set(still) != set(controls):
        raise ValueError(
            f"still has {sorted(still)}, controls are {sorted(controls)}; give each control its still value"
        )
    if not _is_live():
        draw(**{name: still[name] for name in controls})
        values = ", ".join(f"{name} = {still[name]!r}" for name in controls)
        print(f"A still picture ({values}). Run this cell in JupyterLab or Colab to change these with sliders.")
        return
    import ipywidgets
    from IPython.display import display

    pickers = {}
    for name, choices in controls.items():
        pickers[name] = ipywidgets.interactive.widget_from_abbrev(choices, still[name])
        if pickers[name] is None:
            raise ValueError(f"{name}: can't make a slider or picker of {choices!r}; need (low, high, step) or a list")
        pickers[name].description = pickers[name].description or name
        if pickers[name].has_trait("continuous_update"):
            pickers[name].continuous_update = False
        pickers[name].style.description_width = "initial"
        if isinstance(choices, ipywidgets.Widget):
            pickers[name].value = still[name]
    display(ipywidgets.interactive(draw, **pickers))


def _is_live() -> bool:
    """Whether a kernel runs that can talk to sliders, and nobody asked for still pictures."""
    if os.environ.get("COURSE_STILL") == "1" or importlib.util.find_spec("ipywidgets") is None:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")
