"""A model, batches and a loss go in; a trained model, its history and its files come out. `fit` and `fit_gan` are loops
to be read; around them: checkpoints from which a killed training goes on, the players' watch, precision by the clock,
and pretrained weights beside their record. Lessons: a machine that listens (`fit`), GANs on spectrograms (`fit_gan`).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["Checkpoints"],
        "history": ["History", "NonFiniteLoss"],
        "moments": ["BestMoment"],
        "loops": ["fit", "fit_gan", "learning_rate_at"],
        "players": ["GameOver", "Watch", "standing_still"],
        "pretrained": ["load_pretrained", "save_pretrained"],
        "storage": ["CheckpointError"],
    },
)  # fmt: skip
