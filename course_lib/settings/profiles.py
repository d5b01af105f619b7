"""How long the notebooks train, on which device, and where files go: settings that the environment chooses.

| variable | meaning | default |
|---|---|---|
| COURSE_PROFILE  | smoke (seconds, CI), quick (minutes, a laptop), full (a GPU) | full on CUDA, else quick |
| COURSE_DEVICE   | any torch device: cpu, cuda, cuda:1, mps | cuda if there is one, else cpu |
| COURSE_DATA_DIR | where downloaded data sets are kept | the user's cache folder |
| COURSE_RUNS_DIR | where checkpoints and executed notebooks go | Google Drive if mounted, else runs/ |
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import platformdirs

if TYPE_CHECKING:
    import torch

PROFILE_NAMES = ("smoke", "quick", "full")
COLAB_DRIVE = Path("/content/drive/MyDrive")  # where Colab mounts Google Drive; files elsewhere on Colab are lost
T = TypeVar("T")


@dataclass(frozen=True)
class Profile:
    """How long a notebook trains: `smoke` proves that it runs, `quick` suits a laptop, `full` a GPU."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in PROFILE_NAMES:
            raise ValueError(
                f"unknown profile {self.name!r}: need one of {', '.join(PROFILE_NAMES)}; "
                "set COURSE_PROFILE (or --profile, or make ... PROFILE=) to one of these"
            )

    def pick(self, *, smoke: T, quick: T, full: T) -> T:
        """The value that belongs to this profile, e.g. `n_steps = profile.pick(smoke=20, quick=600, full=6000)`."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.name]

    def __str__(self) -> str:
        return self.name


def current_profile() -> Profile:
    """The profile that COURSE_PROFILE names; without it, `full` on CUDA and `quick` elsewhere.

    Raises: ValueError if COURSE_PROFILE is none of the three.
    """
    name = os.environ.get("COURSE_PROFILE", "").strip()
    if name:
        return Profile(name)
    return Profile("full" if current_device().type == "cuda" else "quick")


def current_device() -> torch.device:
    """The device that COURSE_DEVICE names; without it, CUDA where there is one, else the CPU.

    Raises: ValueError if COURSE_DEVICE is no torch device, or names CUDA or MPS where torch cannot use it.
    """
    import torch  # here, so that the command line and `course doctor` start without it

    name = os.environ.get("COURSE_DEVICE", "").strip()
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"COURSE_DEVICE={name!r} is no torch device; need e.g. cpu, cuda, cuda:1 or mps") from error
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= n_cuda:
        raise ValueError(
            f"COURSE_DEVICE={name!r}, but torch sees {n_cuda} CUDA device(s); unset it, or run `course doctor`"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"COURSE_DEVICE={name!r}, but torch cannot use MPS here; unset COURSE_DEVICE")
    return device


def cache_dir() -> Path:
    """Where downloaded data sets are kept (it may not exist yet)."""
    override = os.environ.get("COURSE_DATA_DIR", "").strip()
    return Path(override).expanduser() if override else platformdirs.user_cache_path("course_lib")


def bundled_dir() -> Path:
    """The files that come with the course: `data/` of a checkout, `course_lib/_data` of an installed wheel."""
    root = checkout_dir()
    return Path(__file__).resolve().parents[1] / "_data" if root is None else root / "data"


def checkout_dir() -> Path | None:
    """The repository's root where course_lib is imported from a checkout, None from an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "pyproject.toml").is_file() and (root / "data").is_dir() else None


def require_checkout() -> Path:
    """The repository's root.

    Raises: FileNotFoundError from an installed wheel.
    """
    root = checkout_dir()
    if root is None:
        raise FileNotFoundError("this needs the course's repository: clone it, and `pip install -e .` there")
    return root


def runs_dir() -> Path:
    """Where checkpoints, executed notebooks and reports go (it may not exist yet).

    COURSE_RUNS_DIR, else Google Drive where Colab has mounted it (so that they outlive the session), else `runs/` of
    the checkout, else `runs/` of the current folder.
    """
    override = os.environ.get("COURSE_RUNS_DIR", "").strip()
    if override:
        return Path(override).expanduser()
    if COLAB_DRIVE.is_dir():
        return COLAB_DRIVE / "course_runs"
    return (checkout_dir() or Path.cwd()) / "runs"
