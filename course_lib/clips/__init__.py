"""Recordings to tensors: files go in (FSDD, the bundled digits, a folder of your own), and `Clips` come out, a data set
of one fixed length on one device, with its labels, its validation and test clips and its log-mels; `BatchIndices` and
`ClipStreams` draw batches from it. Lesson: sound as data.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "archives": ["DataError"],
        "clip_features": ["clip_log_mels"],
        "clips": ["DIGIT_NAMES", "N_SAMPLES", "SAMPLE_RATE_HZ", "BatchIndices", "Clips", "fit_clip"],
        "fsdd": ["download_fsdd", "find_fsdd", "import_fsdd"],
        "loading": ["clips_from_recordings", "load_clips"],
        "own_sounds": ["OwnSound", "read_own_sounds"],
        "streams": ["ClipStreams"],
    },
)  # fmt: skip
