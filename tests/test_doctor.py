"""The doctor finds what is broken, says how to mend it, and runs where nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest

from course_lib.commands import doctor
from course_lib.commands.findings import FAIL, NOTE, OK, Finding
from course_lib.settings import install

ROOT = Path(__file__).parents[1]
VersionInfo = namedtuple("VersionInfo", "major minor micro")


def shadow(folder: Path, monkeypatch, **modules: str) -> None:
    """Make `import NAME` run the given source in every Python that the doctor starts."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_this_machine_is_ready(capsys):
    assert doctor.main([]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "ready"
    subjects = [line.split("]")[1].split(":")[0].strip() for line in lines if line.startswith("[")]
    assert subjects == [
        "Python", "packages", "torch and torchaudio", "GPU", "audio files", "PocketSphinx", "widgets", "data set",
        "memory", "disk",
    ]  # fmt: skip


def test_it_runs_where_nothing_is_installed(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [str(python), "-m", "course_lib.commands.doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    for line in (
        "[OK]   Python: ",
        "[FAIL] packages: course-lib itself is not installed",
        "[FAIL] torch and torchaudio: torch (absent) with torchaudio (absent) do not work together",
        "[FAIL] widgets: ipywidgets is not installed",
    ):
        assert line in done.stdout
    assert "to mend" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(("minor", "status"), [(10, FAIL), (11, OK), (13, OK), (14, FAIL)])
def test_python(monkeypatch, minor, status):
    monkeypatch.setattr(sys, "version_info", VersionInfo(3, minor, 1))
    assert doctor.check_python().status == status


def test_a_pair_that_refuses_to_import_together(monkeypatch, tmp_path):
    shadow(tmp_path, monkeypatch, torchaudio="raise RuntimeError('built for CUDA 13.0, but torch for 13.2')")
    finding = doctor.check_torch_pair()
    assert finding.status == FAIL and "built for CUDA 13.0" in finding.detail
    assert f"torch {metadata.version('torch')}" in finding.detail and "torchaudio" in finding.detail
    for words in ("torch 2.14.1 with torchaudio 2.11.0", "torch 2.15 and torchaudio 2.11", "make course"):
        assert words in finding.remedy


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to die of")
def test_a_pair_that_crashes(monkeypatch, tmp_path):
    shadow(tmp_path, monkeypatch, torchaudio="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    finding = doctor.check_torch_pair()
    assert finding.status == FAIL and "crashed (signal 11)" in finding.detail


def test_a_broken_gpu(monkeypatch, tmp_path):
    shadow(tmp_path, monkeypatch, torch="raise RuntimeError('driver too old')")
    finding = doctor.check_gpu()
    assert finding.status == FAIL and "driver too old" in finding.detail and "COURSE_DEVICE=cpu" in finding.remedy


def test_broken_audio(monkeypatch, tmp_path):
    shadow(tmp_path, monkeypatch, soundfile="raise OSError('libsndfile.so not found')")
    finding = doctor.check_audio()
    assert finding.status == FAIL and "libsndfile.so not found" in finding.detail and "soundfile" in finding.remedy


@pytest.mark.parametrize(
    ("module", "check", "status"),
    [
        ("pocketsphinx", doctor.check_recogniser, NOTE),
        ("ipywidgets", doctor.check_widgets, FAIL),
        ("jupyterlab", doctor.check_widgets, NOTE),
    ],
)
def test_what_is_not_installed(monkeypatch, module, check, status):
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == module else real(name))
    finding = check()
    assert finding.status == status and "pip install" in finding.remedy


def test_widgets_without_their_part_of_jupyterlab(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *names: [])
    finding = doctor.check_widgets()
    assert finding.status == FAIL and "jupyterlab_widgets" in finding.remedy


@pytest.mark.parametrize(
    ("dataset", "status", "words"),
    [
        ("bundled", OK, "bundled"),
        ("auto", NOTE, "FSDD (real speech) is not in the cache"),
        ("fsdd", FAIL, "not in the cache"),
        ("mnist", FAIL, "'mnist'"),
    ],
)
def test_data_without_fsdd(monkeypatch, tmp_path, dataset, status, words):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COURSE_DATASET", dataset)
    finding = doctor.check_data()
    assert finding.status == status and words in finding.detail
    assert status == OK or "course data import" in finding.remedy
    assert list(tmp_path.iterdir()) == []  # the doctor looks, it does not download


def test_memory_and_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "free_memory_gib", lambda: 0.5)
    assert doctor.check_memory().status == FAIL and "0.5 GiB" in doctor.check_memory().detail
    monkeypatch.setattr(doctor, "free_memory_gib", lambda: None)
    assert doctor.check_memory().status == NOTE
    monkeypatch.setenv("COURSE_RUNS_DIR", str(tmp_path / "not" / "yet"))
    assert doctor.check_disk().status == OK and str(tmp_path) in doctor.check_disk().detail
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(2**34, 2**34 - 2**28, 2**28))
    assert doctor.check_disk().status == FAIL and "COURSE_RUNS_DIR" in doctor.check_disk().remedy


def test_a_check_that_breaks_is_a_finding(monkeypatch, capsys):
    def check_disk() -> Finding:
        raise PermissionError("no /proc here")

    monkeypatch.setattr(doctor, "check_disk", check_disk)
    monkeypatch.setattr(doctor, "python", lambda *code: subprocess.CompletedProcess([], 0, "OK|fine", ""))
    assert doctor.main([]) == 1
    assert "[FAIL] disk: the check itself failed: PermissionError: no /proc here" in capsys.readouterr().out


def test_absent_and_unmet_packages(monkeypatch):
    declared = ["absent-one>=1", "numpy<1", 'absent-too>=2; extra == "judge"', 'never>=1; python_version < "3"']
    monkeypatch.setattr(install.metadata, "requires", lambda name: declared)
    assert [r.name for r in install.missing_requirements()] == ["absent-one"]
    assert [r.name for r in install.missing_requirements("judge")] == ["absent-too"]
    assert [(r.name, found) for r, found in install.unmet_requirements()] == [("numpy", metadata.version("numpy"))]
    finding = doctor.check_packages()
    assert finding.status == FAIL and "absent-one" in finding.detail and "--install-missing" in finding.remedy
    monkeypatch.setattr(install.metadata, "requires", lambda name: ["numpy<1"])
    assert doctor.check_packages().status == NOTE and "numpy<1" in doctor.check_packages().detail


def test_install_missing_has_nothing_to_do_here(capsys):
    assert doctor.main(["--install-missing"]) == 0
    said = capsys.readouterr().out
    assert f"torch {metadata.version('torch')}" in said and "installing" not in said


def test_install_missing_explains_a_refusal(monkeypatch, capsys):
    monkeypatch.setattr(install.metadata, "requires", lambda name: ["absent-one>=1"])
    refusal = subprocess.CompletedProcess([], 1, "ERROR: Cannot install absent-one: conflict with numpy", "")
    monkeypatch.setattr(install.subprocess, "run", lambda command, **options: refusal)
    assert install.install_missing() == 1
    said = capsys.readouterr().out
    assert "conflict with numpy" in said and "[FAIL]" in said and "requirements.lock" in said


def test_install_missing_notices_what_pip_changed(monkeypatch, capsys):
    monkeypatch.setattr(install.metadata, "requires", lambda name: ["absent-one>=1"])
    versions = {"torch": "2.11.0+cu128", "torchaudio": "2.11.0", "numpy": "2.0.2"}
    monkeypatch.setattr(install, "installed_version", versions.get)

    def upgrade_numpy(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        constraints = Path(command[command.index("--constraint") + 1]).read_text()
        assert constraints == "torch==2.11.0+cu128\ntorchaudio==2.11.0\nnumpy==2.0.2\n"
        assert command[-1] == "absent-one>=1"
        versions["numpy"] = "2.4.0"
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(install.subprocess, "run", upgrade_numpy)
    assert install.install_missing() == 1
    assert "pip changed {'numpy': '2.4.0'}" in capsys.readouterr().out
