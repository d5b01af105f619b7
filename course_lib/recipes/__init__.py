"""How each pretrained model was made: a name goes in (`course train NAME`), weights, a record and a sound come out in
`data/pretrained`. The same classes and the same `fit` as in the lessons, for longer than a learner waits; a file a
family.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "making": ["RECIPES", "train"],
    },
)  # fmt: skip
