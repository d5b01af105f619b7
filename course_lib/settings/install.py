"""Install what course_lib requires and this environment lacks, and nothing else (Colab, offline servers).

torch, torchaudio and numpy stay exactly as they are: they come as a matched set with the machine's drivers, and other
packages were built against them. Standard library only: this runs before anything has been installed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "course-lib"
KEPT = ("torch", "torchaudio", "numpy")


def requirements(extra: str = "") -> list[Requirement]:
    """What the installed course-lib requires here: without `extra` the core, with it what that extra adds.

    Raises: importlib.metadata.PackageNotFoundError if course-lib is not installed.
    """
    texts = metadata.requires(DISTRIBUTION) or []
    try:
        from packaging.requirements import Requirement
    except ImportError:  # pip carries a copy
        from pip._vendor.packaging.requirements import Requirement
    declared = [Requirement(text) for text in texts]
    core = [r for r in declared if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return core
    return [r for r in declared if r not in core and r.marker is not None and r.marker.evaluate({"extra": extra})]


def missing_requirements(extra: str = "") -> list[Requirement]:
    """Requirements of which no version is installed."""
    return [requirement for requirement in requirements(extra) if installed_version(requirement.name) is None]


def unmet_requirements() -> list[tuple[Requirement, str]]:
    """Core requirements that are installed in a version outside the declared range, with that version."""
    found = [(requirement, installed_version(requirement.name)) for requirement in requirements()]
    return [(r, version) for r, version in found if version and not r.specifier.contains(version, prereleases=True)]


def installed_version(name: str) -> str | None:
    """The installed version of a distribution, None if there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def install_missing() -> int:
    """Install absent requirements (those of the second judge if they can be had); return an exit status."""
    kept = {name: version for name in KEPT if (version := installed_version(name))}
    print("kept as they are: " + (", ".join(f"{name} {version}" for name, version in kept.items()) or "nothing"))
    for requirement, found in unmet_requirements():
        print(f"[NOTE] the course declares {requirement.name}{requirement.specifier}, here is {found}: left as it is")
    status = _install(missing_requirements(), kept)
    if status == 0 and (judge := missing_requirements("judge")) and _install(judge, kept):
        print("[NOTE] the cells that use the second judge (PocketSphinx) will say that it is absent, and go on")
    changed = {name: installed_version(name) for name, version in kept.items() if installed_version(name) != version}
    if changed:
        print(f"[FAIL] pip changed {changed}, although told to keep {kept}; restart with a fresh environment")
        return 1
    return status


def _install(missing: list[Requirement], kept: dict[str, str]) -> int:
    if not missing:
        return 0
    wanted = [str(requirement).partition(";")[0].strip() for requirement in missing]  # its marker holds here
    print("installing: " + " ".join(wanted), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "kept.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()))
        command = [sys.executable, "-m", "pip", "install", "--no-input", "--constraint", str(constraints), *wanted]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        pins = ", ".join(f"{name} {version}" for name, version in kept.items())
        print(done.stdout)
        print(
            f"[FAIL] pip could not install {' '.join(wanted)} beside {pins} (its own words are above).\n"
            "       -> if it names a conflict, one of these needs another version of a package that is kept: use a "
            "fresh environment with requirements.lock;\n"
            "       -> if it names the network, run the cell again once the package index can be reached"
        )
        return 1
    print("\n".join(f"[OK]   {r.name} {installed_version(r.name)}" for r in missing))
    return 0
