"""Players side by side, samples while a model trains, and sliders: with a still picture where no slider can move.

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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.showing.plots import COLOUR_MAP
from course_lib.sound.audio import PCM_STEPS, peak_level_db, rms_level_db
from course_lib.sound.features import AudioConfig, log_mel, to_unit

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
    _refuse_too_much(sum(map(len, waves.values())) / rate_hz)
    _refuse_another_rate(rate_hz, cfg)
    rows = [_row(label, wave, rate_hz, cfg) for label, wave in waves.items()]
    display(_table(waves, rows, rate_hz, cfg), raw=True)


class LiveSamples:
    """What a model sounds like while it trains, for fit's and fit_gan's on_step: a row a step in one growing table.

    Rows that are there stay, also if the training is interrupted. A training that goes on from a checkpoint draws the
    rows that are still to come; one that was finished draws none.

    Args:
        draw: model -> waves (n, T) in [-1, 1], from the same noise each time, so that rows can be compared; called in
            eval mode and without gradients. The n clips are played one after another.
        rate_hz: samples a second.
        at_steps: at which steps; the sound of all rows together, at most MOST_SECONDS.
        cfg: add a log-mel picture of each row.
    """

    def __init__(
        self,
        draw: Callable[[nn.Module], Tensor],
        rate_hz: int,
        at_steps: Sequence[int],
        cfg: AudioConfig | None = None,
    ):
        _refuse_another_rate(rate_hz, cfg)
        self.draw, self.rate_hz, self.at_steps, self.cfg = draw, rate_hz, sorted(set(at_steps)), cfg
        self.kept: dict[int, Tensor] = {}  # step -> (n, T), on the CPU
        self._rows: dict[int, str] = {}
        self._handle = None  # of the display that grows

    def __call__(self, step: int, model: nn.Module) -> None:
        """Draw, if it is time to. Raises: ValueError for waves that can't be played, naming the step."""
        if step not in self.at_steps:
            return
        was_training = model.training
        with torch.no_grad():
            waves = self.draw(model.eval())
        model.train(was_training)
        if waves.ndim != 2:
            raise ValueError(f"step {step}: draw gave {tuple(waves.shape)}, need waves (n, T)")
        _refuse_too_much(waves.numel() * len(self.at_steps) / self.rate_hz)
        label, width_px = f"step {step:,}", min(140 * len(waves), 560)
        self._rows[step] = _row(label, _one_clip(label, waves.flatten()), self.rate_hz, self.cfg, width_px)
        self.kept[step] = waves.detach().float().cpu()
        self._show()

    def _show(self) -> None:
        from IPython import display, get_ipython

        waves = {f"step {step:,}": waves.flatten() for step, waves in self.kept.items()}
        shown = _table(waves, list(self._rows.values()), self.rate_hz, self.cfg)
        if get_ipython() is None:  # a script: nobody to play to
            print(shown["text/plain"].splitlines()[-1])
        elif self._handle is None:
            self._handle = display.display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


def _refuse_too_much(total_s: float) -> None:
    if total_s > MOST_SECONDS:
        raise ValueError(f"got {total_s:.0f} s of sound, at most {MOST_SECONDS:.0f} s fit; show fewer or shorter ones")


def _refuse_another_rate(rate_hz: int, cfg: AudioConfig | None) -> None:
    if cfg is not None and cfg.sample_rate_hz != rate_hz:
        raise ValueError(f"got sounds at {rate_hz} Hz and a cfg for {cfg.sample_rate_hz} Hz; resample() the sounds")


def _table(waves: Mapping[str, Tensor], rows: list[str], rate_hz: int, cfg: AudioConfig | None) -> dict[str, str]:
    """The rows as HTML, and what there is to hear as text."""
    heads = ["Sound", "Listen", "Peak (dBFS)", "RMS (dBFS)", "Length (s)", *(["Log-mel"] if cfg else [])]
    head = "".join(f"<th style='{CELL}'>{text}</th>" for text in heads)
    text = "\n".join(
        f"{label}{_remark(wave)}: peak {float(peak_level_db(wave)):.1f} dBFS, {len(wave) / rate_hz:.2f} s"
        for label, wave in waves.items()
    )
    table = f"<table style='border-collapse:collapse'><thead><tr>{head}</tr></thead>"
    return {"text/html": f"{table}<tbody>{''.join(rows)}</tbody></table>", "text/plain": text}


def _row(label: str, wave: Tensor, rate_hz: int, cfg: AudioConfig | None, width_px: int = 140) -> str:
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
            f"<img alt='log-mel picture' style='height:56px;width:{width_px}px' src='data:image/png;base64,"
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
