"""What a browser would get: sounds that decode to the same samples, escaped labels, sliders that draw once let go."""

from __future__ import annotations

import base64
import io
import math
import re
from types import SimpleNamespace

import IPython.display
import matplotlib

matplotlib.use("agg")

import nbclient
import nbformat
import numpy as np
import pytest
import soundfile
import torch
from matplotlib import image

from course_lib.showing import widgets
from course_lib.showing.widgets import LiveSamples, compare_sounds, explore
from course_lib.sound.audio import read_wave, write_wave
from course_lib.sound.features import AudioConfig, log_mel

RATE_HZ = 8000
TONE = 0.25 * torch.sin(2 * math.pi * 440 * torch.arange(2000) / RATE_HZ)


@pytest.fixture
def shown(monkeypatch) -> list:
    """What was displayed, in order."""
    seen: list = []
    monkeypatch.setattr(IPython.display, "display", lambda *things, **_: seen.extend(things))
    return seen


def decode(page: str, kind: str = "audio/wav") -> list[io.BytesIO]:
    return [io.BytesIO(base64.b64decode(text)) for text in re.findall(rf"data:{kind};base64,([^'\"]+)", page)]


# -- compare_sounds -------------------------------------------------------------------------------------------------


def test_the_players_hold_the_same_samples_at_the_same_level(shown):
    compare_sounds({"tone": TONE, "half": TONE[None] / 2}, RATE_HZ)
    files = decode(shown[0]["text/html"])
    assert len(shown) == 1 and len(files) == 2
    for file, wave in zip(files, (TONE, TONE / 2), strict=True):
        info = soundfile.info(file)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (RATE_HZ, 1, "PCM_16", 2000)
        file.seek(0)
        np.testing.assert_allclose(soundfile.read(file)[0], wave.numpy(), atol=0.5001 / 32768)  # not normalised


def test_a_player_plays_what_write_wave_writes(shown, tmp_path):
    full_scale = torch.tensor([1.0, -1.0, 0.5, 1 / 32768, 0.0])
    compare_sounds({"x": full_scale}, RATE_HZ)
    write_wave(tmp_path / "x.wav", full_scale, RATE_HZ)
    assert torch.equal(read_wave(decode(shown[0]["text/html"])[0])[0], read_wave(tmp_path / "x.wav")[0])


def test_levels_lengths_and_oddities_are_written_beside_the_player(shown):
    compare_sounds({"tone": TONE, "nothing": TONE * 0, "loud": TONE * 8, "edge": TONE * 4}, RATE_HZ)
    rows = shown[0]["text/html"].split("<tr>")[2:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert cells[0][0] == "<b>tone</b>" and cells[0][2:] == ["-12.0", "-15.1", "0.25"]
    assert cells[1][0] == "<b>nothing</b> (silent)" and cells[1][2:] == ["-inf", "-inf", "0.25"]
    assert cells[2][0] == "<b>loud</b> (clipped: its peak is 2.00)" and cells[2][2] == "6.0"
    assert cells[3][0] == "<b>edge</b>"  # a peak of 1 still fits
    loud = soundfile.read(decode(rows[2])[0])[0]
    assert loud.max() == 32767 / 32768 and loud.min() == -1  # clipped, not wrapped round
    assert "nothing (silent): peak -inf dBFS" in shown[0]["text/plain"]
    assert "<th" in shown[0]["text/html"] and "Peak (dBFS)" in shown[0]["text/html"]


def test_labels_cannot_become_html(shown):
    compare_sounds({"<img src=x onerror='alert(1)'> & \"more\"": TONE}, RATE_HZ)
    page = shown[0]["text/html"]
    assert "<img" not in page and "&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt; &amp; &quot;more&quot;" in page


def test_the_picture_is_the_log_mel_with_low_notes_at_the_bottom(shown):
    cfg = AudioConfig(n_mels=40)
    compare_sounds({"tone": TONE}, RATE_HZ, cfg)
    picture = image.imread(decode(shown[0]["text/html"], "image/png")[0])  # (M, L, 4), row 0 on top
    mel = log_mel(TONE, cfg)
    assert picture.shape[:2] == mel.shape
    brightness = picture[..., :3].sum(-1)[::-1]
    assert brightness[:, 8].argmax() == mel[:, 8].argmax() < 20


def test_a_clip_costs_at_most_27_kb_of_notebook(shown):
    noise = torch.rand(8192, generator=torch.Generator().manual_seed(0)) * 2 - 1
    compare_sounds({"a": noise}, RATE_HZ)
    assert len(shown[0]["text/html"]) < 8192 * 8 / 3 + 1200
    compare_sounds({"a": noise}, RATE_HZ, AudioConfig())
    assert len(shown[1]["text/html"]) - len(shown[0]["text/html"]) < 20_000


@pytest.mark.parametrize(
    ("sounds", "message"),
    [
        ({"ok": TONE, "broken": TONE * math.nan}, "broken: the wave holds NaN"),
        ({"loud": TONE / 0}, "loud: the wave holds NaN or infinity"),
        ({"batch": torch.zeros(2, 9)}, r"batch: got torch.float32 \(2, 9\), need one clip"),
        ({"whole": torch.zeros(9, dtype=torch.int64)}, "whole: got torch.int64"),
        ({"empty": torch.zeros(0)}, "empty: got"),
        ({}, "need {'label': wave"),
        ({"long": torch.zeros(RATE_HZ * 121)}, "got 121 s of sound, at most 120 s"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(sounds, message, shown):
    with pytest.raises(ValueError, match=message):
        compare_sounds(sounds, RATE_HZ)
    assert shown == []


def test_a_picture_made_for_another_rate_is_refused(shown):
    with pytest.raises(ValueError, match="16000 Hz and a cfg for 8000 Hz"):
        compare_sounds({"a": TONE}, 16_000, AudioConfig())


# -- LiveSamples ----------------------------------------------------------------------------------------------------


class Voice(torch.nn.Module):
    """Three clips of a tone as loud as it was told to be."""

    def __init__(self, level: float = 0.25):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(level))

    def forward(self) -> torch.Tensor:
        return self.level * TONE[None, :1000] * torch.tensor([[4.0], [2.0], [0.0]])


@pytest.fixture
def handle(monkeypatch) -> SimpleNamespace:
    """A kernel's display: what was shown first, and each update of it."""
    seen = SimpleNamespace(first=[], updates=[])

    def display(shown, **how):
        assert how == {"raw": True, "display_id": True}
        seen.first.append(shown)
        return SimpleNamespace(update=lambda shown, raw: seen.updates.append(shown))

    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setattr(IPython.display, "display", display)
    return seen


def test_live_samples_add_a_row_at_each_chosen_step_and_keep_the_others(handle):
    model, modes = Voice(), []

    def draw(voice):
        modes.append((voice.training, torch.is_grad_enabled()))
        return voice()

    live = LiveSamples(draw, RATE_HZ, at_steps=(1200, 2, 5), cfg=AudioConfig())
    for step in (1, 2, 3, 5, 1199, 1200):
        model.level.data.fill_(step / 2000)
        live(step, model)
    assert modes == [(False, False)] * 3 and model.training  # eval while drawing; left as it was
    assert len(handle.first) == 1 and len(handle.updates) == 2  # one output, updated
    last = handle.updates[-1]["text/html"]
    assert re.findall(r"<b>(step [0-9,]+)</b>", last) == ["step 2", "step 5", "step 1,200"]
    assert len(decode(last)) == len(decode(last, "image/png")) == 3 and "width:420px" in last
    played = soundfile.read(decode(last)[2])[0]
    assert played.shape == (3000,)  # the clips of a row, one after another
    np.testing.assert_allclose(played[:1000], 2.4 * TONE[:1000].numpy().clip(-1, 1), atol=1e-4)
    assert list(live.kept) == [2, 5, 1200] and live.kept[5].shape == (3, 1000)
    assert live.kept[5].abs().max() == pytest.approx(4 * 0.0025 * TONE[:1000].abs().max().item(), rel=1e-3)
    assert handle.updates[-1]["text/plain"].count("step") == 3


def test_live_samples_stop_a_training_early_rather_than_late(handle):
    too_long = LiveSamples(lambda _: torch.zeros(30, 4000), RATE_HZ, at_steps=range(1, 10))
    with pytest.raises(ValueError, match="got 135 s of sound"):
        too_long(1, Voice())
    with pytest.raises(ValueError, match="step 7: the wave holds NaN"):
        LiveSamples(lambda _: torch.full((2, 30), math.nan), RATE_HZ, [7])(7, Voice())
    with pytest.raises(ValueError, match=r"step 7: draw gave \(30,\), need waves"):
        LiveSamples(lambda _: torch.zeros(30), RATE_HZ, [7])(7, Voice())
    with pytest.raises(ValueError, match="got sounds at 16000 Hz and a cfg for 8000 Hz"):
        LiveSamples(lambda voice: voice(), 16_000, [1], AudioConfig())
    assert handle.first == []


def test_live_samples_in_a_script_say_one_line_a_row(capsys):
    live = LiveSamples(lambda voice: voice(), RATE_HZ, at_steps=[1, 2])
    live(1, Voice())
    live(2, Voice())
    lines = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in lines] == ["step 1:", "step 2:"]


def test_live_samples_in_a_real_kernel_while_a_model_trains():
    cells = [
        "import torch\nfrom torch import nn\nfrom course_lib.clips.clips import BatchIndices\n"
        "from course_lib.training.loops import fit\nfrom course_lib.showing.widgets import LiveSamples\n"
        "model = nn.Linear(3, 200)",
        "live = LiveSamples(lambda m: m(torch.eye(3)[:2]).tanh(), 8000, at_steps=(1, 4))\n"
        "def loss(m, index, rng):\n    return {'l': m(torch.randn(len(index), 3)).square().mean()}\n"
        "rng = torch.Generator().manual_seed(0)\n"
        "fit(model, loss, BatchIndices(9, 4, rng), n_steps=5, learning_rate=0.1, rng=rng, on_step=live,"
        " device='cpu', precision='fp32', progress=False); print(sorted(live.kept))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[1].outputs
    (table,) = [output.data["text/html"] for output in outputs if "data" in output]
    assert re.findall(r"<b>(step \d)</b>", table) == ["step 1", "step 4"] and len(decode(table)) == 2
    assert "[1, 4]" in str(outputs)


# -- explore --------------------------------------------------------------------------------------------------------


def test_a_still_picture_is_drawn_once_with_the_still_values_and_says_so(monkeypatch, shown, capsys):
    monkeypatch.setenv("COURSE_STILL", "1")
    calls = []
    explore(lambda **values: calls.append(values), {"n_bits": 4, "dither": True}, n_bits=(1, 16), dither=False)
    assert calls == [{"n_bits": 4, "dither": True}] and shown == []
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "n_bits = 4, dither = True" in lines[0] and "JupyterLab or Colab" in lines[0]


def test_without_a_kernel_the_picture_is_still(monkeypatch, shown, capsys):
    monkeypatch.delenv("COURSE_STILL", raising=False)
    calls = []
    explore(lambda **values: calls.append(values), {"n_bits": 4}, n_bits=(1, 16))
    assert calls == [{"n_bits": 4}] and shown == [] and "still picture" in capsys.readouterr().out


@pytest.mark.parametrize(("still", "is_live"), [("1", False), ("0", True), (None, True)])
def test_in_a_kernel_the_environment_decides(monkeypatch, still, is_live):
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=object()))
    monkeypatch.delenv("COURSE_STILL", raising=False)
    if still is not None:
        monkeypatch.setenv("COURSE_STILL", still)
    assert widgets._is_live() is is_live


def test_an_error_in_a_still_picture_stops_the_cell(monkeypatch):
    monkeypatch.setenv("COURSE_STILL", "1")
    with pytest.raises(ZeroDivisionError):
        explore(lambda n: 1 / n, {"n": 0}, n=(0, 3))


def test_live_sliders_start_at_the_still_values_and_draw_when_let_go(monkeypatch, shown):
    monkeypatch.setattr(widgets, "_is_live", lambda: True)
    calls = []
    explore(
        lambda **values: calls.append(values),
        {"n_bits": 4, "gain": 0.5, "kind": "b"},
        n_bits=(1, 16),
        gain=(0.0, 1.0, 0.1),
        kind=["a", "b", "c"],
    )
    assert calls == [{"n_bits": 4, "gain": 0.5, "kind": "b"}]
    sliders = {child.description: child for child in shown[0].children[:-1]}
    assert sliders["n_bits"].max == 16 and sliders["gain"].step == 0.1 and sliders["kind"].options == ("a", "b", "c")
    assert sliders["n_bits"].continuous_update is False and sliders["gain"].continuous_update is False
    sliders["n_bits"].value = 9
    assert calls[1:] == [{"n_bits": 9, "gain": 0.5, "kind": "b"}]


def test_names_that_do_not_agree_and_controls_that_cannot_be_made_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"still has \['n_bit'\], controls are \['n_bits'\]"):
        explore(lambda **_: None, {"n_bit": 4}, n_bits=(1, 16))
    monkeypatch.setattr(widgets, "_is_live", lambda: True)
    with pytest.raises(ValueError, match="n_bits: can't make a slider"):
        explore(lambda **_: None, {"n_bits": 4}, n_bits=object())


def test_in_a_real_kernel_both_modes_do_as_they_say():
    cells = [
        "import os, torch; os.environ['COURSE_STILL'] = '0'\n"
        "from course_lib.showing.widgets import compare_sounds, explore",
        "explore(lambda n: print('drawn with', n), {'n': 2}, n=(0, 3))",
        "explore(lambda n: print(1 / n), {'n': 0}, n=(0, 3))",  # the error is shown; the cell goes on
        "os.environ['COURSE_STILL'] = '1'; explore(lambda n: print('drawn with', n), {'n': 2}, n=(0, 3))",
        "compare_sounds({'a': torch.zeros(8)}, 8000)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    live, broken, still, sounds = (cell.outputs for cell in notebook.cells[1:])
    assert ["application/vnd.jupyter.widget-view+json" in output.data for output in live] == [True]
    assert "drawn with 2" not in str(live)  # it stands in the slider's own output
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state.values()
    drawn = [str(state.state.outputs) for state in states if state.model_name == "OutputModel"]
    assert len(drawn) == 2 and "drawn with 2" in drawn[0] and "ZeroDivisionError" in drawn[1]
    assert len(broken) == 1
    assert "".join(output.text for output in still).startswith("drawn with 2\nA still picture (n = 2).")
    assert "data:audio/wav;base64," in sounds[0].data["text/html"] and "silent" in sounds[0].data["text/plain"]
