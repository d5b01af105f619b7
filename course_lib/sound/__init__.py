"""Numbers to sound and back: a wave, (T,) numbers in [-1, 1], goes in; a log-mel picture, mu-law classes, a pitch or a
changed wave comes out, and from a picture `vocode` makes a wave again. Nothing is learnt here and no data set is known.
Lesson: sound as data; enhancement comes with autoencoders, linear prediction with sample by sample.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audio": [
            "fit_length", "normalise_peak", "peak_level_db", "play", "read_wave", "resample", "rms_level_db",
            "write_wave",
        ],
        "effects": [
            "add_noise", "augment", "change_level", "change_pitch", "change_speed", "delay", "echo", "mix_at_snr",
            "random_shift", "stretch_time",
        ],
        "enhancement": ["babble_noise", "coloured_noise", "noise_spectrum", "spectral_subtraction", "subtract_noise"],
        "features": [
            "AudioConfig", "dct_matrix", "from_unit", "hz_to_mel", "istft", "log_mel", "mel_filterbank", "mel_power",
            "mel_to_hz", "mfcc", "mu_law_decode", "mu_law_encode", "stft", "to_unit",
        ],
        "linear_prediction": ["LinearPredictor", "fit_linear_predictor", "linear_prediction_bits"],
        "pitch": ["median_pitch_hz"],
        "vocoder": ["griffin_lim", "mel_to_magnitude", "vocode"],
    },
)  # fmt: skip
