"""Every picture names its axes and units, puts things where they are, and refuses what it cannot show."""

from __future__ import annotations

import math

import matplotlib

matplotlib.use("agg")

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from course_lib.showing.charts import (
    show_bars,
    show_confusion,
    show_embedding,
    show_game,
    show_history,
    show_kl_per_dim,
)
from course_lib.showing.plots import (
    show_filterbank,
    show_grid,
    show_magnitude_spectrum,
    show_mel,
    show_spectrogram,
    show_staircase,
    show_wave,
)
from course_lib.sound.features import AudioConfig, log_mel, mel_filterbank, stft, to_unit
from course_lib.training.history import History

RATE_HZ = 8000
CFG = AudioConfig(n_mels=40)
TONE = 0.5 * torch.sin(2 * math.pi * 1000 * torch.arange(5000) / RATE_HZ)
CLICK = torch.zeros(5000)
CLICK[2560] = 1.0  # 0.32 s: the centre of frame 20
HISTORY = History(parts={"recon": [4.0, 2.0, 3.0, 1.0], "kl_to_prior": [0.1, 0.2, 0.3, 0.4]}, steps=[1, 2, 3, 4])


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def power_db(wave: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(stft(wave, CFG).abs().square() + 1e-9)


DRAWN = {
    "Time (s)|Amplitude": lambda ax=None: show_wave(TONE, RATE_HZ, ax),
    "Frequency (Hz)|Level (dB)": lambda ax=None: show_magnitude_spectrum(TONE, RATE_HZ, ax),
    "Time (s)|Frequency (kHz)": lambda ax=None: show_spectrogram(power_db(TONE), CFG, ax),
    "Time (s)|Frequency (kHz), mel": lambda ax=None: show_mel(log_mel(TONE, CFG), CFG, ax),
    "Frequency (Hz)|Weight": lambda ax=None: show_filterbank(mel_filterbank(CFG), CFG, ax),
    "Amplitude in|Amplitude out": lambda ax=None: show_staircase(torch.round, ax),
    "Step|Loss": lambda ax=None: show_history(HISTORY, ax),
    "Read as|Meant": lambda ax=None: show_confusion(torch.eye(3), ["a", "b", "c"], ax),
    "First dimension|Second dimension": lambda ax=None: show_embedding(torch.rand(9, 2), torch.arange(9) % 3, None, ax),
    "Judged right (%)|": lambda ax=None: show_bars({"VAE": 94.0}, {"real": 100.0}, "Judged right (%)", ax),
}


@pytest.mark.parametrize("axis_labels", DRAWN)
def test_each_picture_labels_its_axes_and_draws_where_it_is_told(axis_labels, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_: pytest.fail("only notebooks call plt.show()"))
    ax = DRAWN[axis_labels]()
    assert [ax.get_xlabel(), ax.get_ylabel()] == axis_labels.split("|")
    figure, given = plt.subplots()
    assert DRAWN[axis_labels](given) is given and given.has_data()
    assert len(plt.get_fignums()) == 2  # its own, and the one given: no third
    figure.draw_without_rendering()
    texts = [*given.get_xticklabels(), *given.get_yticklabels(), given.xaxis.label, *given.texts]
    assert min(text.get_fontsize() for text in texts) >= 8


def test_colour_bars_name_their_unit():
    for draw in (lambda: show_mel(log_mel(TONE, CFG), CFG), lambda: show_spectrogram(power_db(TONE), CFG)):
        assert [ax.get_ylabel() for ax in draw().figure.axes][1:] == ["Level (dB)"]
    assert len(show_mel(log_mel(TONE, CFG), CFG, colorbar=False).figure.axes) == 1


def test_wave_spectrogram_and_mel_agree_on_time():
    for draw in (show_spectrogram, show_mel):
        picture = power_db(CLICK) if draw is show_spectrogram else log_mel(CLICK, CFG)
        image = draw(picture, CFG).images[0]
        left, right, *_ = image.get_extent()
        loudest = int(picture.amax(0).argmax())
        n_frames = picture.shape[1]
        assert left + (loudest + 0.5) * (right - left) / n_frames == pytest.approx(0.32)
    line = show_wave(CLICK, RATE_HZ).lines[0]
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(0.32)


def test_frequencies_stand_where_the_axis_says():
    line = show_magnitude_spectrum(TONE, RATE_HZ).lines[0]
    peak = int(np.argmax(line.get_ydata()))
    assert line.get_xdata()[peak] == pytest.approx(1000) and line.get_ydata()[peak] == pytest.approx(-6.02, abs=0.1)
    picture = power_db(TONE)
    _, _, low, high = show_spectrogram(picture, CFG).images[0].get_extent()
    row = int(picture[:, 20].argmax())
    assert low + (row + 0.5) * (high - low) / len(picture) == pytest.approx(1.0)
    mel = log_mel(TONE, CFG)
    ax = show_mel(mel, CFG)
    ticks = dict(zip((text.get_text() for text in ax.get_yticklabels()), ax.get_yticks(), strict=True))
    assert abs(ticks["1"] - int(mel[:, 20].argmax())) <= 0.5 and abs(ticks["0"] + 1) < 1e-6


def test_scaled_pictures_are_shown_in_db():
    mel = log_mel(TONE, CFG)
    shown = [show_mel(picture, CFG).images[0] for picture in (mel, to_unit(mel, CFG), to_unit(mel, CFG) * 1.2)]
    np.testing.assert_allclose(shown[0].get_array(), shown[1].get_array(), atol=1e-3)
    assert all(image.get_clim() == (CFG.floor_db, CFG.top_db) for image in shown)
    assert shown[2].get_array().max() > shown[1].get_array().max()  # a little outside [-1, 1] is still a unit picture
    assert show_mel(torch.zeros(40, 9), CFG, unit=False).images[0].get_array().max() == 0


def test_two_waves_share_axes_without_cutting_either_off():
    ax = show_wave(TONE, RATE_HZ, label="tone")
    show_wave(0.2 * TONE[:100], RATE_HZ, ax, label="short")
    assert ax.get_xlim() == (0, 5000 / RATE_HZ) and ax.get_ylim()[1] > 0.5
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["tone", "short"]
    assert len({line.get_color() for line in ax.lines}) == 2
    assert ax.lines[0].get_marker() == "None" and ax.lines[1].get_marker() == "o"  # single samples as dots


def test_history_shows_each_part_and_its_running_mean():
    ax = show_history(HISTORY, smooth=2)
    means = {line.get_label(): line.get_ydata() for line in ax.lines if not line.get_label().startswith("_")}
    assert means["recon"].tolist() == [4, 3, 2.5, 2] and set(means) == {"recon", "kl to prior"}
    assert len(ax.lines) == 4 and ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
    assert show_history(HISTORY, log=True).get_yscale() == "log"
    raw = show_history({"loss": [3.0, 1.0]}).lines
    assert len(raw) == 1 and raw[0].get_xdata().tolist() == [1, 2] and raw[0].get_ydata().tolist() == [3, 1]
    with pytest.raises(ValueError, match="at least one step"):
        show_history(History())


def test_confusion_counts_stand_in_their_row_and_column():
    matrix = torch.tensor([[7, 0, 1], [0, 9, 2]])  # a third column: nothing heard
    ax = show_confusion(matrix, ["yes", "no"])
    assert {(text.get_position(), text.get_text()) for text in ax.texts} == {
        ((0, 0), "7"), ((2, 0), "1"), ((1, 1), "9"), ((2, 1), "2")
    }  # fmt: skip
    assert [text.get_text() for text in ax.get_xticklabels()] == ["yes", "no", "none"]
    assert ax.images[0].get_array()[0, 0] == pytest.approx(7 / 8)
    with pytest.raises(ValueError, match="one row and one column"):
        show_confusion(matrix, ["a", "b", "c"])


def test_grid_shows_every_clip_on_one_scale_and_hides_empty_places():
    mels = torch.stack([log_mel(TONE * level, CFG) for level in (1, 0.1, 0.01)])
    axes = show_grid(mels, CFG, titles=["loud", "quiet", "quieter"], n_columns=2)
    assert axes.shape == (2, 2) and [ax.get_visible() for ax in axes.flat] == [True, True, True, False]
    assert [ax.get_title() for ax in axes.flat[:3]] == ["loud", "quiet", "quieter"]
    assert len({ax.images[0].get_clim() for ax in axes.flat[:3]}) == 1
    np.testing.assert_allclose(axes[1, 0].images[0].get_array(), mels[2], rtol=1e-5)
    figure = axes[0, 0].figure
    assert figure.get_supxlabel() == "Time (s)" and figure.get_supylabel().startswith("Frequency (kHz)")
    with pytest.raises(ValueError, match="2 titles for 3 pictures"):
        show_grid(mels, CFG, titles=["a", "b"])


def test_embedding_names_groups_where_there_is_room():
    apart = torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    assert {text.get_text() for text in show_embedding(apart, torch.tensor([0, 1]), ["zero", "one"]).texts} == {
        "zero",
        "one",
    }
    crowded = torch.tensor([[0.0, 0.0], [0.01, 0.0], [9.0, 9.0]])
    ax = show_embedding(crowded, torch.tensor([0, 1, 2]), ["zero", "one", "two"])
    assert len(ax.texts) == 0 and len(ax.get_legend().get_texts()) == 3
    with pytest.raises(ValueError, match=r"need \(N, 2\)"):
        show_embedding(torch.rand(4, 3), torch.zeros(4))


def test_bars_show_values_anchors_and_what_was_not_measured():
    ax = show_bars({"VAE": 94.0, "GAN": None}, {"real": 100.0, "noise": 9.0}, "Judged right (%)")
    assert [text.get_text() for text in ax.texts] == ["94", "not measured"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["real: 100", "noise: 9"]
    assert [line.get_xdata()[0] for line in ax.lines] == [100, 9]
    assert ax.patches[0].get_width() == 94 and ax.get_ylim()[0] > ax.get_ylim()[1]  # the first stands on top


def test_kl_bars_stand_sorted_and_count_the_living():
    ax = show_kl_per_dim(torch.tensor([0.01, 2.0, 0.04, 0.5]))
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([2.0, 0.5, 0.04, 0.01])
    assert ax.texts[0].get_text() == "2 of 4 alive\n2.5 nats in all"
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert ax.get_ylim()[0] == 0
    low, high = plt.subplots(1, 2, sharey=True)[1]
    show_kl_per_dim(torch.tensor([1.0, 0.5]), low), show_kl_per_dim(torch.tensor([3.0, 0.5]), high)
    assert low.get_ylim()[1] > 3  # neighbours on one scale: none is cut off
    assert show_kl_per_dim(torch.tensor([0.01, 2.0]), alive_above=0.0).texts[0].get_text().startswith("2 of 2")


def test_staircase_is_what_comes_out():
    line = show_staircase(lambda x: (x * 2).round() / 2).lines[1]
    assert set(np.unique(np.abs(line.get_ydata()))) == {0, 0.5, 1}


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match=r"wave: got shape \(2, 9\).*wave\[0\]"):
        show_wave(torch.zeros(2, 9), RATE_HZ)
    with pytest.raises(ValueError, match="NaN"):
        show_wave(torch.tensor([0.0, math.nan]), RATE_HZ)
    with pytest.raises(ValueError, match="need 40 mel bands"):
        show_mel(torch.zeros(64, 9), CFG)
    with pytest.raises(ValueError, match="need 161 frequency bins.*show_mel"):
        show_spectrogram(torch.zeros(40, 9), CFG)
    assert show_wave(torch.zeros(300), RATE_HZ).get_ylim()[1] > 0  # silence is no error


GAME = History(
    parts={"d_real": [3.0, 2.0, 1.0, 0.5], "d_fake": [1.0, 1.0, 2.0, 0.0], "g_fool": [0.5, 0.6, 0.7, 0.8]},
    steps=[1, 2, 3, 4],
    readings={"step": [2, 4], "wins": [0.75, 1.0], "diversity": [0.9, 1.5]},
    alarms=[(4, "the discriminator has won: ...")],
)


def test_a_game_shows_each_players_loss_and_what_the_watch_read():
    losses, readings = show_game(GAME, smooth=1)
    drawn = {line.get_label(): line.get_ydata().tolist() for line in losses.lines}
    assert list(drawn) == ["discriminator", "generator"] and drawn["discriminator"] == [4.0, 3.0, 3.0, 0.5]
    assert drawn["generator"] == pytest.approx([0.5, 0.6, 0.7, 0.8])
    assert (losses.get_ylabel(), readings.get_xlabel(), readings.get_ylabel()) == ("Loss", "Step", "Reading")
    wins, even, diversity, as_real, alarm = readings.lines
    assert wins.get_label().startswith("wins (even: 0.5") and wins.get_xydata().tolist() == [[2, 0.75], [4, 1.0]]
    assert diversity.get_label().startswith("diversity (two") and diversity.get_ydata().tolist() == [0.9, 1.5]
    assert (even.get_ydata()[0], as_real.get_ydata()[0], alarm.get_xdata()[0]) == (0.5, 1.0, 4)
    assert wins.get_color() == even.get_color() != diversity.get_color() and readings.get_ylim()[1] > 1.5
    axes = plt.subplots(1, 2)[1]
    assert show_game(GAME, axes) == tuple(axes)


def test_a_game_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="holds no readings: train with watch="):
        show_game(HISTORY)
    with pytest.raises(ValueError, match="got 3 axes, need two"):
        show_game(GAME, plt.subplots(1, 3)[1])
