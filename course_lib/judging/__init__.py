"""Is it speech, is it varied, is it new? Waves or log-mels go in, a figure comes out: what judges understand, how far
from real speech a set is, what went wrong with it, how many bits a sample costs. `Panel` gives them all in one
call. Lesson: a machine that listens makes the judge; each lesson on a model uses it, and adds its own kind's faults.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "bits": ["honest_bits", "lookahead", "model_bits", "table_bits"],
        "distances": ["frechet_distance", "inception_score", "mel_cepstral_distance", "nearest_distances"],
        "faults": [
            "LEAST_DIVERSITY", "MOST_OSCILLATION", "classes_covered", "dc_share", "diversity_ratio", "level_db",
            "oscillation", "same_label_distance_db", "stride_buzz_db",
        ],
        "metrics": [
            "balanced_rows", "confusion_counts", "judge_embeddings", "judge_logits", "judged_accuracy", "load_judge",
            "load_speaker_judge", "load_wave_judge", "resynthesised", "speech_shaped_noise",
        ],
        "panel": ["Heard", "Panel"],
        "recogniser": ["NOTHING_HEARD", "MissingRecogniser", "recognise_digits", "recogniser_available"],
        "speech_faults": ["alarms", "click_rate", "held_tone_share", "ran_on_share", "sureness", "unsure_share"],
    },
)  # fmt: skip
