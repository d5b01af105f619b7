"""The set-up cell, run as Colab runs it: an environment with other versions of torch, torchaudio and numpy.

The wheel is built, a fresh environment is filled with small stand-ins for the big packages (real ones would take
minutes and gigabytes), and the cell's own source is executed in it. Two small packages are left out, for it to fetch.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from course_lib.grading.colab import repository, setup_source
from course_lib.settings.install import KEPT, requirements

ROOT = Path(__file__).parents[1]
FETCHED = ("pooch", "platformdirs")  # small, pure Python
OTHER_VERSIONS = {"torch": "2.11.0+cu128", "torchaudio": "2.11.0+cu128", "numpy": "2.0.2"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the package index cannot be reached, so there is nothing to build the wheel with")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("course_lib-*.whl")
    return built


def write_stand_in(folder: Path, name: str, version: str, requires: str = "") -> Path:
    """A wheel that holds one module with a version, and nothing else."""
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    module, info = name.replace("-", "_").lower(), f"{name.replace('-', '_')}-{version}.dist-info"
    path = folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", f"__version__ = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def colab(tmp_path_factory) -> Path:
    """The Python of an environment like Colab's: all that the course requires, but two packages and course_lib."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    names = {r.name for r in [*requirements(), *requirements("judge")]} - {*FETCHED}
    versions = {name: OTHER_VERSIONS.get(name) or metadata.version(name) for name in sorted(names)}
    wheels = [write_stand_in(folder, name, version) for name, version in versions.items()]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", *map(str, wheels)]
    subprocess.run(pip, check=True)
    return python


def ask(python: Path, code: str, cwd: Path) -> str:
    """Run code as a notebook's kernel would, outside the repository; return what it printed."""
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digests(python: Path) -> dict[str, str]:
    """Every file of torch, torchaudio and numpy (with their metadata) in that environment, and its digest."""
    site = Path(ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))", python.parent).strip())
    files = [path for name in KEPT for path in site.glob(f"{name}*/**/*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(site)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_wheel_holds_the_data_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    bundled = {f"course_lib/_data/{path.name}" for path in (ROOT / "data").iterdir() if path.is_file()}
    assert bundled and bundled <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"course_lib"}
    assert not [name for name in names if "test" in Path(name).name]


def test_the_cell_does_nothing_where_course_lib_is_installed(tmp_path):
    spy = "import subprocess\ndef run(*a, **k): raise SystemExit('it ran something')\nsubprocess.run = run\n"
    assert ask(Path(sys.executable), spy + setup_source("OWNER/NAME"), tmp_path) == ""


def test_the_cell_installs_what_is_missing_and_keeps_torch(wheel, colab, tmp_path):
    before = digests(colab)
    assert {name.split("/")[0] for name in before} >= {*KEPT}
    address = f"git+https://github.com/{repository(ROOT)}"
    source = setup_source(repository(ROOT))
    assert source.count(address) == 1
    reach = [str(colab), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(tmp_path), *FETCHED]
    if subprocess.run(reach, capture_output=True).returncode:
        pytest.skip(f"the package index cannot be reached, so {' and '.join(FETCHED)} cannot be fetched")
    said = ask(colab, source.replace(address, wheel.as_posix()), tmp_path)
    assert all(f"[OK]   {name}" in said for name in FETCHED), said
    assert "torch 2.11.0+cu128, torchaudio 2.11.0+cu128, numpy 2.0.2" in said
    assert digests(colab) == before
    versions = ask(colab, f"from importlib.metadata import version\nfor n in {KEPT}: print(n, version(n))", tmp_path)
    assert dict(line.split() for line in versions.splitlines()) == OTHER_VERSIONS
    code = (
        "import course_lib, platformdirs, pooch\n"
        "from course_lib.settings.profiles import bundled_dir, checkout_dir\n"
        "print(checkout_dir(), (bundled_dir() / 'bundled_digits.zip').is_file())"
    )
    assert ask(colab, code, tmp_path) == "None True\n"
    assert ask(colab, source, tmp_path) == ""  # and a second time it does nothing


def test_the_cell_shows_why_it_failed(tmp_path, colab):
    """An address that leads nowhere, in an environment without course_lib: pip's words, then an error."""
    hidden = "import importlib.util\nimportlib.util.find_spec = lambda name: None\n"
    source = setup_source("OWNER/NAME").replace("git+https://github.com/OWNER/NAME", str(tmp_path / "absent.whl"))
    done = subprocess.run([str(colab), "-c", hidden + source], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "absent.whl" in done.stdout and "CalledProcessError" in done.stderr


def test_a_package_that_needs_another_numpy_is_refused(wheel, colab, tmp_path):
    """pip would gladly replace numpy for it; told to keep numpy, it must refuse, and the doctor explain."""
    before = digests(colab)
    subprocess.run([str(colab), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    subprocess.run([str(colab), "-m", "pip", "uninstall", "--quiet", "--yes", "accelerate"], check=True)
    write_stand_in(tmp_path, "accelerate", "99.0", requires="numpy>=2.1")
    for name, version in (("numpy", "2.1.0"), ("pooch", "99.0"), ("platformdirs", "99.0")):
        write_stand_in(tmp_path, name, version)
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    command = [str(colab), "-m", "course_lib.commands.doctor", "--install-missing"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1, done.stdout
    assert "numpy>=2.1" in done.stdout and "[FAIL]" in done.stdout and "fresh environment" in done.stdout
    assert digests(colab) == before
