"""`course doctor`: is this machine ready? One line for each thing the course needs, with the remedy where it fails.

It has to run where everything else is broken, so only the standard library is imported here, and what may crash
(torch with torchaudio) is tried in a process of its own. `python -m course_lib.commands.doctor` needs no `course`.

    [OK]    works        [NOTE]  works, but differently        [FAIL]  the course cannot run: the remedy follows
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from course_lib.commands.findings import FAIL, NOTE, OK, Finding
from course_lib.settings.machine import free_memory_gib, last_line, python

PYTHON_FROM, PYTHON_BELOW = (3, 11), (3, 14)
KNOWN_GOOD_PAIR = "torch 2.14.1 with torchaudio 2.11.0"
NEED_MEMORY_GIB, NEED_DISK_GIB = 2.0, 1.0


def diagnose() -> Iterator[Finding]:
    """Look at everything that the course needs; a check that breaks is itself a finding."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_packages,
        check_torch_pair,
        check_gpu,
        check_audio,
        check_recogniser,
        check_widgets,
        check_data,
        check_memory,
        check_disk,
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:  # four of them start a Python that imports torch: not one by one
        yield from pool.map(_guarded, checks)


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # the doctor has to finish; what it could not find out is said in its place
        subject = check.__name__.removeprefix("check_").replace("_", " ")
        remedy = "mend the packages first" if isinstance(error, ImportError) else "please report this"
        return Finding(FAIL, subject, f"the check itself failed: {type(error).__name__}: {error}", remedy)


def check_python() -> Finding:
    """Python 3.11 to 3.13."""
    version = f"{platform.python_version()} ({platform.system()} {platform.machine()}), {sys.executable}"
    if PYTHON_FROM <= sys.version_info[:2] < PYTHON_BELOW:
        return Finding(OK, "Python", version)
    return Finding(FAIL, "Python", version, "install Python 3.11, 3.12 or 3.13 and set the course up with that one")


def check_packages() -> Finding:
    """All that course_lib requires is installed, in a version it allows."""
    from course_lib.settings.install import missing_requirements, unmet_requirements

    try:
        missing, unmet = missing_requirements(), unmet_requirements()
    except metadata.PackageNotFoundError:
        return Finding(FAIL, "packages", "course-lib itself is not installed", "`make course`, or `pip install -e .`")
    if missing:
        names = ", ".join(requirement.name for requirement in missing)
        remedy = "run `python -m course_lib.commands.doctor --install-missing`"
        return Finding(FAIL, "packages", f"absent: {names}", remedy)
    if unmet:
        detail = "; ".join(f"{requirement}, found {found}" for requirement, found in unmet)
        remedy = "if something fails, `pip install -c requirements.lock -e '.[lab,judge]'` in a fresh environment"
        return Finding(NOTE, "packages", f"other versions than the course declares: {detail}", remedy)
    return Finding(OK, "packages", f"course-lib {metadata.version('course-lib')} and all it requires")


def check_torch_pair() -> Finding:
    """torch and torchaudio import together: each alone may be fine, and the newest of both may refuse each other."""
    found = f"torch {_version('torch')} with torchaudio {_version('torchaudio')}"
    remedy = (
        f"install a pair made for each other, such as {KNOWN_GOOD_PAIR} (the one in requirements.lock: `make course`). "
        "The newest of each need not match: torch 2.15 and torchaudio 2.11 are built for different CUDA versions, and "
        "refuse to import together on a CPU, too"
    )
    code = "import torch, torchaudio; torchaudio.functional.resample(torch.zeros(1, 80), 8000, 4000)"
    done = python(code)
    if done.returncode:
        return Finding(FAIL, "torch and torchaudio", f"{found} do not work together: {last_line(done)}", remedy)
    return Finding(OK, "torch and torchaudio", f"{found} work together")


def check_gpu() -> Finding:
    """A CUDA device that can compute; without one the course is made for the CPU."""
    code = (
        "import torch\n"
        "if torch.cuda.is_available():\n"
        "    torch.ones(8, device='cuda').sum().item()\n"
        "    p = torch.cuda.get_device_properties(0)\n"
        "    print(f'{p.name}, {p.total_memory / 2**30:.0f} GiB')"
    )
    done = python(code)
    if done.returncode:
        remedy = "set COURSE_DEVICE=cpu, or update the graphics driver to one that fits torch"
        return Finding(FAIL, "GPU", f"cannot tell, or it cannot compute: {last_line(done)}", remedy)
    if done.stdout.strip():
        return Finding(OK, "GPU", f"{done.stdout.strip()} (profile `full` by default)")
    remedy = "nothing to do (Colab lends a GPU: Runtime, Change runtime type)"
    return Finding(NOTE, "GPU", "none; the notebooks train at profile `quick`, made for two CPU cores", remedy)


def check_audio() -> Finding:
    """Write a wav file, read it back, find the same samples."""
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import sys, torch\n"
            "from course_lib.sound.audio import read_wave, write_wave\n"
            "wave = torch.linspace(-0.5, 0.5, 801)\n"
            "write_wave(sys.argv[1], wave, 8000)\n"
            "again, rate_hz = read_wave(sys.argv[1])\n"
            "assert rate_hz == 8000 and (again - wave).abs().max() < 1e-4, 'the samples came back changed'"
        )
        done = python(code, str(Path(folder) / "doctor.wav"))
    if done.returncode:
        remedy = "`pip install --force-reinstall --no-deps soundfile`; on Linux, also the system package libsndfile1"
        return Finding(FAIL, "audio files", f"cannot write and read a wav file: {last_line(done)}", _for(done, remedy))
    return Finding(OK, "audio files", f"a wav file was written and read back (soundfile {_version('soundfile')})")


def check_recogniser() -> Finding:
    """PocketSphinx, the judge that nobody here trained: an extra."""
    if importlib.util.find_spec("pocketsphinx"):
        return Finding(OK, "PocketSphinx", _version("pocketsphinx"))
    detail = "not installed; the cells that use this second judge say so and go on"
    return Finding(NOTE, "PocketSphinx", detail, "pip install -c requirements.lock -e '.[judge]'")


def check_widgets() -> Finding:
    """ipywidgets, and a front end that shows them."""
    if not importlib.util.find_spec("ipywidgets"):
        return Finding(FAIL, "widgets", "ipywidgets is not installed", "pip install ipywidgets, then restart Jupyter")
    version = f"ipywidgets {_version('ipywidgets')}"
    if "google.colab" in sys.modules or os.environ.get("COLAB_RELEASE_TAG"):
        return Finding(OK, "widgets", f"{version}, shown by Colab")
    if not importlib.util.find_spec("jupyterlab"):
        detail = f"{version}, but no JupyterLab; another front end needs its own extension"
        return Finding(NOTE, "widgets", detail, "pip install -c requirements.lock -e '.[lab]'")
    from jupyter_core.paths import jupyter_path

    if not any(Path(root, "@jupyter-widgets", "jupyterlab-manager").is_dir() for root in jupyter_path("labextensions")):
        remedy = "pip install --force-reinstall --no-deps jupyterlab_widgets, then reload the browser page"
        return Finding(FAIL, "widgets", f"{version}, but JupyterLab lacks its part (jupyterlab_widgets)", remedy)
    return Finding(OK, "widgets", f"{version} with JupyterLab {_version('jupyterlab')}")


DATA_CODE = """
import os
from course_lib.clips.fsdd import find_fsdd
from course_lib.clips.loading import load_clips
asked = os.environ.get("COURSE_DATASET", "").strip() or "auto"
if asked not in ("auto", "fsdd", "bundled"):
    raise SystemExit(f"COURSE_DATASET={asked!r}: need auto, fsdd or bundled")
path = None if asked == "bundled" else find_fsdd()
if path:
    print(f"OK|FSDD, real speech, in {path}; its digest is right")
elif asked == "fsdd":
    raise SystemExit("COURSE_DATASET=fsdd, but FSDD is not in the cache")
else:
    clips = load_clips("bundled")
    print(f"{'OK' if asked == 'bundled' else 'NOTE'}|bundled synthetic digits ({len(clips)} clips), whole")
"""


def check_data() -> Finding:
    """Which data set the notebooks find without a network, and that it is whole."""
    remedy = "`course data import PATH` takes FSDD 1.0.10 as an archive or folder; with a network it is downloaded"
    done = python(DATA_CODE)
    if done.returncode:
        return Finding(FAIL, "data set", last_line(done), _for(done, remedy))
    status, detail = done.stdout.strip().splitlines()[-1].split("|", 1)
    damaged = " ".join(done.stderr.split())  # said by find_fsdd about a cache that it will not use
    if status == NOTE:
        return Finding(NOTE, "data set", f"{detail}; FSDD (real speech) is not in the cache. {damaged}".strip(), remedy)
    return Finding(OK, "data set", detail)


def check_memory() -> Finding:
    """Memory that is free now."""
    free_gib = free_memory_gib()
    if free_gib is None:
        return Finding(NOTE, "memory", "this system does not tell how much is free", f"need {NEED_MEMORY_GIB:.0f} GiB")
    detail = f"{free_gib:.1f} GiB free"
    if free_gib < NEED_MEMORY_GIB:
        return Finding(FAIL, "memory", f"{detail}, need {NEED_MEMORY_GIB:.0f}", "close other programs (browsers first)")
    return Finding(OK, "memory", detail)


def check_disk() -> Finding:
    """Where checkpoints and executed notebooks go, and the room there."""
    from course_lib.settings.profiles import runs_dir

    folder = runs_dir()
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free_gib = shutil.disk_usage(there).free / 2**30
    detail = f"{free_gib:.1f} GiB free for checkpoints and executed notebooks in {folder}"
    if not os.access(there, os.W_OK):
        return Finding(FAIL, "disk", f"cannot write to {there}", "set COURSE_RUNS_DIR to a folder of yours")
    if free_gib < NEED_DISK_GIB:
        return Finding(FAIL, "disk", f"{detail}, need {NEED_DISK_GIB:.0f}", "make room, or set COURSE_RUNS_DIR")
    return Finding(OK, "disk", detail)


def _for(done: subprocess.CompletedProcess[str], remedy: str) -> str:
    """The remedy, unless it failed before it began, for want of what opens the rooms of course_lib."""
    return "mend the packages first" if "No module named 'lazy_loader'" in done.stderr else remedy


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(absent)"


def main(arguments: list[str] | None = None) -> int:
    """Print the findings and return 1 if one is a FAIL, else 0."""
    parser = argparse.ArgumentParser(prog="course doctor", description="Is this machine ready for the course?")
    parser.add_argument("--install-missing", action="store_true", help="install absent requirements, and only those")
    if parser.parse_args(arguments).install_missing:
        from course_lib.settings.install import install_missing

        return install_missing()
    n_failed = 0
    for finding in diagnose():
        print(finding, flush=True)
        n_failed += finding.status == FAIL
    print("ready" if not n_failed else f"{n_failed} to mend: the lines after -> say how")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
