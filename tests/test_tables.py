"""Tables show what they were given, aligned in text and escaped in HTML."""

from __future__ import annotations

import pytest

from course_lib.showing.tables import Table, format_cell, score_table


def test_text_is_aligned_and_gaps_are_dashes():
    table = Table(
        [{"model": "VAE", "right (%)": 94.25, "clips": 300}, {"model": "an RNN", "clips": 5, "late": None}], "So far"
    )
    assert repr(table).splitlines() == [
        "So far",
        "model   right (%)  clips  late",
        "VAE          94.2    300     –",
        "an RNN          –      5     –",
    ]


def test_html_is_escaped_and_has_every_cell():
    shown = Table([{"a<b": "<script>alert(1)</script>", "n": 2}], "x & y")._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "a&lt;b" in shown and "x &amp; y" in shown
    assert shown.count("<th ") == 2 and shown.count("<td ") == 2 and ">2</td>" in shown


def test_cells_keep_the_digits_that_matter():
    cells = {1.0049: "1.00", 0.5: "0.500", 38.861: "38.9", 782.953: "783.0", 12345.6: "12,346", 300: "300", None: "–"}
    assert {cell: format_cell(cell) for cell in cells} == cells


def test_scores_get_headings_with_units_and_unequal_numbers_of_clips_are_refused():
    real = {"n_clips": 50, "judged_accuracy": 1.0, "pocketsphinx_accuracy": None, "nearest_sample_db": 5.5}
    table = score_table({"VAE": {**real, "judged_accuracy": 0.5}, "real test speech": real})
    assert table.headings == ["", "Clips", "Judge reads (%)", "PocketSphinx hears (%)", "To nearest sample (dB)"]
    assert table.rows == [["VAE", 50, 50.0, None, 5.5], ["real test speech", 50, 100.0, None, 5.5]]
    with pytest.raises(ValueError, match=r"figures of \[50, 60\] clips"):
        score_table({"VAE": {**real, "n_clips": 60}, "real test speech": real})
    with pytest.raises(ValueError, match="at least one row"):
        Table([])
