"""What a notebook shows: waves, pictures, histories and figures go in; plots, tables, and sounds to compare, to explore
or to follow in training come out. Used in every lesson, taught in none.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "charts": ["show_bars", "show_confusion", "show_embedding", "show_game", "show_history", "show_kl_per_dim"],
        "plots": [
            "show_filterbank", "show_grid", "show_magnitude_spectrum", "show_mel", "show_spectrogram", "show_staircase",
            "show_wave",
        ],
        "tables": ["Table", "format_cell", "score_table"],
        "widgets": ["LiveSamples", "compare_sounds", "explore"],
    },
)  # fmt: skip
