"""What learners are asked to write: an answer goes in, a verdict with a hint comes out. `check` tries an answer on
fresh inputs; the exercises stand in a file a notebook (`ex00.py`), or a folder with a file an exercise (`ex01/`).
Lesson: start here says how they work, and every other has its own.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checking": ["check", "get_exercise", "list_exercises"],
        "framework": [
            "FAILED", "NOT_ATTEMPTED", "PASSED", "Exercise", "Outcome", "WrongAnswer", "compare", "draw_trials", "mark",
            "run_probe", "run_trials",
        ],
    },
)  # fmt: skip
