"""The figures that every record of a speaking model gives."""

from __future__ import annotations

from collections.abc import Sequence

N_SETS = 4  # of samples; from one to the next, the Frechet ratio moves by 0.05


def mean_scores(drawn: Sequence[dict], real: dict) -> dict[str, float]:
    """Means over sets of samples, beside what as many test clips get.

    Args:    drawn: score_waves of each set.     real: score_waves of the test clips."""
    found = {key: sum(scores[key] for scores in drawn) / len(drawn) for key in drawn[0] if drawn[0][key] is not None}
    scores = {
        "judged": found["judged_accuracy"],
        "inception": found["inception_score"],
        "frechet_ratio": found["frechet_ratio"],
        "nearest_train": found["nearest_training_db"],
        "nearest_train_of_test": real["nearest_training_db"],
    }
    if "pocketsphinx_accuracy" in found:
        scores |= {"pocketsphinx": found["pocketsphinx_accuracy"]}
        scores |= {"pocketsphinx_of_test": real["pocketsphinx_accuracy"]}
    return scores
