"""Small tables for notebooks: HTML in a browser, aligned text anywhere else."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

Cell = float | int | str | None
# What Panel.score measures: heading, and the factor that turns a share into per cent.
SCORES = {
    "n_clips": ("Clips", 1),
    "part": ("Beside clips of", 1),
    "judged_accuracy": ("Judge reads (%)", 100),
    "pocketsphinx_accuracy": ("PocketSphinx hears (%)", 100),
    "wave_judged": ("Wave judge reads (%)", 100),
    "wave_frechet_ratio": ("Wave judge's ratio", 1),
    "inception_score": ("Inception score", 1),
    "frechet_distance": ("Frechet distance", 1),
    "frechet_ratio": ("Frechet ratio", 1),
    "nearest_sample_db": ("To nearest sample (dB)", 1),
    "nearest_training_db": ("To nearest training clip (dB)", 1),
}


class Table:
    """Rows of named cells, as the last line of a notebook cell shows them.

    Args:    rows: a mapping a row, {heading: value}; headings stand in the order in which they first occur. A value
                   that is None or missing is shown as a dash. Columns with words in them stand left, figures right.
             caption: one line above it."""

    def __init__(self, rows: Sequence[Mapping[str, Cell]], caption: str = ""):
        if not rows:
            raise ValueError("a table needs at least one row")
        self.headings = list(dict.fromkeys(heading for row in rows for heading in row))
        self.rows = [[row.get(heading) for heading in self.headings] for row in rows]
        self.caption = caption
        self._has_words = [any(isinstance(cell, str) for cell in column) for column in zip(*self.rows, strict=True)]
        self._texts = [[format_cell(cell) for cell in row] for row in self.rows]

    def _repr_html_(self) -> str:
        styles = [f"padding:3px 10px;text-align:{'left' if words else 'right'}" for words in self._has_words]

        def line(tag: str, texts: Sequence[str]) -> str:
            cells = zip(styles, texts, strict=True)
            return f"<tr>{''.join(f'<{tag} style={style!r}>{html.escape(text)}</{tag}>' for style, text in cells)}</tr>"

        caption = f"<caption>{html.escape(self.caption)}</caption>" if self.caption else ""
        body = "".join(line("td", texts) for texts in self._texts)
        return f"<table>{caption}<thead>{line('th', self.headings)}</thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        lines = [self.headings, *self._texts]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [str.ljust if words else str.rjust for words in self._has_words]
        padded = [
            "  ".join(side(text, width) for side, text, width in zip(sides, texts, widths, strict=True)).rstrip()
            for texts in lines
        ]
        return "\n".join(([self.caption] if self.caption else []) + padded)


def score_table(scores: Mapping[str, Mapping[str, Cell]], caption: str = "") -> Table:
    """What Panel.score and Panel.anchors returned, a row each.

    Args:    scores: {"VAE, prior": panel.score(...), **panel.anchors(n_clips)}."""
    rows = []
    for name, figures in scores.items():
        row: dict[str, Cell] = {"": name}
        for key, value in figures.items():
            heading, factor = SCORES.get(key, (key.replace("_", " "), 1))
            row[heading] = value * factor if isinstance(value, float | int) and factor != 1 else value
        rows.append(row)
    n_clips = {figures["n_clips"] for figures in scores.values() if "n_clips" in figures}
    if len(n_clips) > 1:
        raise ValueError(f"got figures of {sorted(n_clips)} clips, which can't be compared; score equally many each")
    return Table(rows, caption)


def format_cell(cell: Cell) -> str:
    """A cell as people read it."""
    if cell is None:
        return "–"
    if not isinstance(cell, float):
        return str(cell)
    if abs(cell) >= 10:
        return f"{cell:,.0f}" if abs(cell) >= 10_000 else f"{cell:.1f}"
    return f"{cell:#.3g}"
