"""Profile, device and folders, as the environment chooses them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from course_lib.settings import profiles
from course_lib.settings.profiles import Profile, current_device, current_profile


@pytest.mark.parametrize(("name", "n_steps"), [("smoke", 2), ("quick", 30), ("full", 400)])
def test_pick(name, n_steps):
    assert Profile(name).pick(smoke=2, quick=30, full=400) == n_steps


def test_profile_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", " full ")
    assert current_profile() == Profile("full") and str(current_profile()) == "full"


@pytest.mark.parametrize(("device", "name"), [("cpu", "quick"), ("cuda", "full")])
def test_default_profile_belongs_to_the_device(monkeypatch, device, name):
    monkeypatch.delenv("COURSE_PROFILE")
    monkeypatch.setattr(profiles, "current_device", lambda: torch.device(device))
    assert current_profile().name == name


def test_an_unknown_profile_is_refused_with_the_three(monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fast")
    with pytest.raises(ValueError, match=r"'fast'.*smoke, quick, full.*COURSE_PROFILE"):
        current_profile()


def test_device_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    assert current_device() == torch.device("cpu")
    monkeypatch.delenv("COURSE_DEVICE")
    assert current_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("name", "message"), [("gpu", "'gpu' is no torch device"), ("cuda:99", "torch sees")])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name, message):
    monkeypatch.setenv("COURSE_DEVICE", name)
    with pytest.raises(ValueError, match=message):
        current_device()


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COURSE_RUNS_DIR", "~/runs")
    assert profiles.cache_dir() == tmp_path / "data"
    assert profiles.runs_dir() == Path.home() / "runs"


def test_runs_go_to_google_drive_where_it_is_mounted(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_RUNS_DIR")
    assert profiles.runs_dir() == profiles.checkout_dir() / "runs"
    monkeypatch.setattr(profiles, "COLAB_DRIVE", tmp_path)
    assert profiles.runs_dir() == tmp_path / "course_runs"


def test_an_installed_wheel_has_no_checkout(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_RUNS_DIR")
    installed = tmp_path / "site-packages" / "course_lib" / "settings" / "profiles.py"
    monkeypatch.setattr(profiles, "__file__", str(installed))
    monkeypatch.chdir(tmp_path)
    assert profiles.checkout_dir() is None
    assert profiles.bundled_dir() == tmp_path / "site-packages" / "course_lib" / "_data"
    assert profiles.runs_dir() == tmp_path / "runs"


def test_the_checkout_holds_the_bundled_files():
    assert profiles.bundled_dir() == Path(__file__).parents[1] / "data"
