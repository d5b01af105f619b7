"""The `course` command: words typed in a terminal go in; notebooks that ran, data, and the doctor's report come out.
Standard library and typer only until a command runs. Lesson: start here shows `diagnose`, the doctor's look at a
machine.
"""

from importlib import import_module

__all__ = ["diagnose"]


def __getattr__(name: str) -> object:  # by hand: the other rooms' lazy_loader may be what is missing
    if name in __all__:
        return getattr(import_module(f"{__name__}.doctor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
