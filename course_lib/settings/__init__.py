"""What the environment chooses: variables and the machine go in; profile, device, folders and what is missing come out.
Standard library and platformdirs only, so that the doctor starts where nothing else does. Lesson: start here.
"""

from importlib import import_module

__all__ = ["Profile", "bundled_dir", "cache_dir", "checkout_dir", "current_device", "current_profile", "runs_dir"]


def __getattr__(name: str) -> object:  # by hand: the other rooms' lazy_loader may be what is missing
    if name in __all__:
        return getattr(import_module(f"{__name__}.profiles"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
