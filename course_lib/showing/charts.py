"""Pictures of trainings and of figures: loss curves, confusions, embeddings, bars with their anchors.

Like those of sound in `plots`, which hands these on: each draws on `ax` (a new one unless given) and returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00", "#7A7A7A", "#5B2A86")
MARKERS = "os^Dv<>PX*"


def show_history(history, ax: Axes | None = None, log: bool = False, smooth: int | None = None) -> Axes:
    """Every named part of the loss over the steps: the running mean, and pale behind it what each batch gave.

    Args:    history: training.History, or {name: values}.     log: logarithmic loss axis.
             smooth: steps the running mean looks back (a fortieth of all unless given; 1: none)."""
    parts = getattr(history, "parts", history)
    n_steps = max((len(values) for values in parts.values()), default=0)
    if n_steps == 0:
        raise ValueError("the history is empty; train at least one step before you show it")
    ax = ax or new_axes(8, 2.8)
    smooth = max(1, n_steps // 40) if smooth is None else smooth
    for name, values in parts.items():
        steps = np.asarray(getattr(history, "steps", None) or range(1, len(values) + 1))
        colour = next_colour(ax)
        if smooth > 1:
            ax.plot(steps, values, linewidth=0.6, alpha=0.3, label="_", **colour)
        ax.plot(steps, _running_mean(values, smooth), linewidth=1.6, label=name.replace("_", " "), **colour)
    ax.set(xlabel="Step", ylabel="Loss", yscale="log" if log else "linear", xlim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend(loc="best", title=f"mean of {smooth} steps" if smooth > 1 else None)
    return ax


def show_game(history, axes: Sequence[Axes] | None = None, smooth: int | None = None) -> tuple[Axes, Axes]:
    """A game of two: each player's loss over the steps, and below it what the watch read, with its alarms as lines.

    Neither loss says how good the clips are: each is measured against the other player, who changes. The readings do
    say something: wins is 0.5 where the discriminator can only guess, diversity 1 where two fakes with
    one label differ as any two real clips do: with labels, about half is as it should be.

    Args:    history: fit_gan's.     axes: two to draw on.     smooth: as in show_history."""
    if not history.readings.get("step"):
        raise ValueError("the history holds no readings: train with watch=Watch(every=...), and at least so many steps")
    axes = plt.subplots(2, 1, figsize=(8, 4.6), layout="constrained", sharex=True)[1] if axes is None else axes
    if len(axes) != 2:
        raise ValueError(f"got {len(axes)} axes, need two: for the losses and for the readings")
    sides = {"discriminator": "d_", "generator": "g_"}
    parts = {
        side: [values for name, values in history.parts.items() if name.startswith(p)] for side, p in sides.items()
    }
    show_history({side: np.sum(values, axis=0) for side, values in parts.items()}, axes[0], smooth=smooth)
    axes[0].set_xlabel("")
    for i_curve, (name, even, meaning) in enumerate((("wins", 0.5, "even"), ("diversity", 1.0, "two real clips"))):
        look = {"color": COLOURS[2 + i_curve], "label": f"{name} ({meaning}: {even:g})"}  # not the players' colours
        axes[1].plot(history.readings["step"], history.readings[name], marker=MARKERS[i_curve], markersize=4, **look)
        axes[1].axhline(even, linestyle=":", linewidth=1, **look | {"label": "_"})
    for step in {step for step, _ in history.alarms}:
        axes[1].axvline(step, color=COLOURS[6], linestyle="--", linewidth=1.2, label="_")
    highest = max(1.0, *history.readings["wins"], *history.readings["diversity"])
    axes[1].set(xlabel="Step", ylabel="Reading", ylim=(-0.05, 1.05 * highest))
    axes[1].grid(alpha=0.3)
    axes[1].legend(loc="best")
    return tuple(axes)


def show_confusion(matrix: Tensor, labels: Sequence[str], ax: Axes | None = None) -> Axes:
    """Counts of what was meant (rows) against what was read (columns), coloured by the share of the row.

    Args:    matrix: (C, C), or (C, C + 1) with a last column for nothing heard; see metrics.confusion_counts."""
    counts = numbers(matrix, "matrix", n_axes=2)
    if len(counts) != len(labels) or counts.shape[1] - len(labels) not in (0, 1):
        raise ValueError(f"got a matrix {counts.shape} for {len(labels)} labels; need one row and one column a label")
    columns = [*labels, "none"][: counts.shape[1]]
    ax = ax or new_axes(0.5 * len(columns) + 2.2, 0.42 * len(labels) + 1.4)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*counts.nonzero(), strict=True):
        colour = "white" if shares[row, column] > 0.55 else "black"
        ax.text(column, row, f"{counts[row, column]:g}", ha="center", va="center", color=colour, fontsize=9)
    is_long = max(map(len, columns)) > 5
    ax.set_xticks(range(len(columns)), columns, rotation=45 if is_long else 0, ha="right" if is_long else "center")
    ax.set_yticks(range(len(labels)), labels)
    ax.set(xlabel="Read as", ylabel="Meant")
    ax.figure.colorbar(image, ax=ax, label="Share of the row")
    return ax


def show_embedding(points: Tensor, labels: Tensor, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """Points in a plane, a colour and a marker for each label, and its name at their median where there is room.

    Args:    points: (N, 2), labels: (N,) int, names: of labels 0, 1, ... (the numbers themselves unless given)."""
    places, labels = numbers(points, "points", n_axes=2), torch.as_tensor(labels).cpu()
    if places.shape[1] != 2 or labels.shape != (len(places),):
        raise ValueError(f"got points {places.shape} and labels {tuple(labels.shape)}; need (N, 2) and (N,)")
    ax = ax or new_axes(7, 4.6)
    centres = {}
    for label in labels.unique().tolist():
        group = places[(labels == label).numpy()]
        name = names[label] if names is not None else str(label)
        centres[name] = np.median(group, axis=0)
        look = {"color": COLOURS[label % len(COLOURS)], "marker": MARKERS[label % len(MARKERS)]}
        ax.scatter(*group.T, s=16, alpha=0.7, linewidths=0, label=name, **look)
    if _have_room(centres, np.ptp(places, axis=0)):
        box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "black", "alpha": 0.85}
        for name, centre in centres.items():
            ax.text(*centre, name, ha="center", va="center", fontsize=10, fontweight="bold", bbox=box)
    ax.set(xlabel="First dimension", ylabel="Second dimension")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return ax


def show_bars(
    values: Mapping[str, float | None],
    references: Mapping[str, float] | None = None,
    unit: str = "",
    ax: Axes | None = None,
    log: bool = False,
) -> Axes:
    """A figure of several models as bars, with its anchors (real speech, resynthesised, noise) as lines across.

    Args:    values: a value of None is shown as "not measured".     unit: what the figure is, e.g. "Judged right (%)".
    """
    references = references or {}
    ax = ax or new_axes(8, 0.4 * len(values) + 1.5)
    known = [0.0 if value is None else float(value) for value in values.values()]
    ax.barh(range(len(values)), known, height=0.62, color=COLOURS[0], zorder=2)
    ax.set_yticks(range(len(values)), list(values))
    for row, value in enumerate(values.values()):
        text = "not measured" if value is None else f"{value:.3g}"
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "zorder": 4}
        ax.annotate(text, (known[row], row), fontsize=9, bbox=box, **place)
    styles = ("--", "-.", ":", (0, (1, 4)))
    for i_line, (name, value) in enumerate(references.items()):
        look = {"color": COLOURS[(i_line + 1) % len(COLOURS)], "linestyle": styles[i_line % len(styles)]}
        ax.axvline(value, linewidth=1.8, label=f"{name}: {value:.3g}", zorder=3, **look)
    ax.set(xlabel=unit, xscale="log" if log else "linear")
    ax.margins(x=0.12)
    ax.invert_yaxis()
    if references:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(references), frameon=False, fontsize=9)
    return ax


def show_kl_per_dim(kl: Tensor, ax: Axes | None = None, alive_above: float = 0.05) -> Axes:
    """What each latent dimension costs, most first: a bar of no height is a dimension that carries nothing.

    Args:    kl: (Z,) in nats, the mean over clips (losses.kl_per_dim(...).mean(dim=0)).
             alive_above: dimensions with more than that are coloured and counted as alive.

    Taught in: notebooks/04_vaes.ipynb
    """
    nats = np.sort(numbers(kl, "kl", n_axes=1))[::-1]
    ax = ax or new_axes(6, 2.4)
    colours = [COLOURS[0] if value > alive_above else COLOURS[8] for value in nats]
    ax.bar(range(len(nats)), nats, width=0.8, color=colours)
    text = f"{int((nats > alive_above).sum())} of {len(nats)} alive\n{nats.sum():.1f} nats in all"
    ax.text(0.97, 0.93, text, transform=ax.transAxes, ha="right", va="top", fontsize=9)
    ax.set(xlabel="Latent dimension, most KL first", ylabel="KL (nats)")
    return ax


def _have_room(centres: Mapping[str, np.ndarray], ranges: np.ndarray) -> bool:
    """Whether names written at these places leave each other legible: a letter takes 2 % of the width, a line 4 %."""
    items = list(centres.items())
    for i_name, (name, place) in enumerate(items):
        for other, other_place in items[i_name + 1 :]:
            apart = np.abs(place - other_place) / np.maximum(ranges, 1e-12)
            if apart[0] < 0.01 * (len(name) + len(other)) and apart[1] < 0.04:
                return False
    return True


def _running_mean(values: Sequence[float], n_steps: int) -> np.ndarray:
    """The mean of the last n_steps values, of fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=float))])
    ends = np.arange(1, len(total))
    starts = np.maximum(ends - n_steps, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def new_axes(width: float, height: float) -> Axes:
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def numbers(values: Tensor, name: str, n_axes: int) -> np.ndarray:
    array = torch.as_tensor(values).detach().cpu().double().numpy()
    if array.ndim != n_axes or array.size == 0:
        raise ValueError(
            f"{name}: got shape {array.shape}, need {n_axes} axes, none empty; take one clip, e.g. {name}[0]"
        )
    if np.isnan(array).any():
        raise ValueError(f"{name} holds NaN; find where it came from before you look at it")
    return array


def next_colour(ax: Axes) -> dict[str, str]:
    shown = [line for line in ax.lines if line.get_label() != "_"]
    return {"color": COLOURS[len(shown) % len(COLOURS)]}
