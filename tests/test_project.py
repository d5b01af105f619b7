"""The frame holds together: one list of requirements, one order of modules, one set-up that mends itself."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import course_lib
from course_lib.commands import doctor
from course_lib.grading.sandbox.sandboxes import WORKER_FILES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13")
SYSTEMS = (("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows"))
# The floors of course_lib, from the ground up: a room imports only from itself and from rooms before it.
ROOMS = [
    "settings", "sound", "clips", "models", "losses", "training", "sampling", "judging", "showing", "running",
    "exercises", "recipes", "grading", "commands",
]  # fmt: skip
GUIDES = [room for room in ROOMS if room != "grading"]  # which hands nothing on: instructors need commands only


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


# ---- requirements


def environment_of(python: str, platform: str, system: str) -> dict[str, str]:
    """What the markers of requirements are tried against there."""
    return {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": platform,
        "platform_system": system,
    }


def locked_versions(python: str, platform: str, system: str) -> dict[str, str]:
    """What requirements.lock installs there."""
    environment = environment_of(python, platform, system)
    versions = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            (exactly,) = requirement.specifier
            assert exactly.operator == "==", line
            if requirement.marker is None or requirement.marker.evaluate(environment):
                assert requirement.name not in versions, f"{requirement.name} is locked twice on {python}, {platform}"
                versions[requirement.name] = exactly.version
    return versions


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "system"), SYSTEMS)
def test_the_lock_has_a_version_within_every_declared_range(python, platform, system):
    locked = locked_versions(python, platform, system)
    texts = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    for requirement in map(Requirement, texts):
        wanted = requirement.marker is None or requirement.marker.evaluate(environment_of(python, platform, system))
        if requirement.name != PROJECT["name"] and wanted:
            assert requirement.name in locked, f"{requirement.name} is not in requirements.lock: make it again"
            found = locked[requirement.name]
            assert requirement.specifier.contains(found), f"need {requirement}, locked is {found}"


def test_the_lock_holds_the_known_good_pair():
    locked = locked_versions("3.11", "linux", "Linux")
    assert f"torch {locked['torch']} with torchaudio {locked['torchaudio']}" == doctor.KNOWN_GOOD_PAIR


def test_the_ranges_contain_colabs_pair_and_refuse_the_broken_one():
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert ranges["torch"].contains("2.9.0") and ranges["torchaudio"].contains("2.9.0")
    assert ranges["torch"].contains("2.11.0+cu128") and not ranges["torch"].contains("2.15.0")


def test_the_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--" not in text and " @ " not in text


def test_environment_yml_agrees_with_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    (python,) = [line for line in conda["dependencies"] if isinstance(line, str) and line.startswith("python")]
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    (pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert "pip" in conda["dependencies"] and pip[0] == "-c requirements.lock"
    extras = re.fullmatch(r"-e \.\[(.*)\]", pip[1])[1].split(",")
    assert set(extras) == {"lab", "judge"} <= set(PROJECT["optional-dependencies"]) and len(pip) == 2
    assert f'-e ".[{",".join(extras)}]"' in (ROOT / "Makefile").read_text()  # the same as make course installs


def test_python_versions_agree_everywhere():
    low, high = doctor.PYTHON_FROM, doctor.PYTHON_BELOW
    assert PROJECT["requires-python"] == f">={low[0]}.{low[1]},<{high[0]}.{high[1]}"
    assert f"{low} <= sys.version_info[:2] < {high}" in (ROOT / "Makefile").read_text()
    matrix = workflow()["jobs"]["test"]["strategy"]["matrix"]
    assert (matrix["python"][0], matrix["python"][-1]) == (PYTHONS[0], PYTHONS[-1])


def test_the_version_stands_in_both_places():
    assert course_lib.__version__ == PROJECT["version"]


# ---- CI


def workflow() -> dict:
    return yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())


def test_ci_runs_what_people_run():
    script = ROOT / ".ci/run"
    assert "\nmake test PYTEST_ARGS=--durations=20\n" in script.read_text() and script.stat().st_mode & stat.S_IXUSR
    jobs = workflow()["jobs"]
    commands = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    assert jobs["test"]["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest"]
    assert "make test" in commands["test"] and "ruff check ." in commands["lint"]
    assert "make test" in commands["gpu"] and jobs["gpu"]["env"] == {"COURSE_DEVICE": "cuda"}


# ---- rooms


def files(room: str = "") -> dict[str, Path]:
    """The files of course_lib, or of one room, by dotted name ("sound.features"; a room's guide: "sound")."""
    found = sorted((ROOT / "course_lib" / room).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT / "course_lib").with_suffix("").parts) for path in found]
    return {name.removesuffix(".__init__"): path for name, path in zip(names, found, strict=True)}


def imported(path: Path) -> set[str]:
    """What a file imports of course_lib, anywhere in it: dotted names of files ("sound.features"), guides ("sound")."""
    known, found = set(files()), set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import; name the file from course_lib on"
            wholes = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {one if one.removeprefix("course_lib.") in known else node.module for one in wholes}
    return {one.removeprefix("course_lib.") for one in found if one.startswith("course_lib.")}


def test_every_folder_is_a_room_and_hardly_a_file_stands_outside():
    folder = ROOT / "course_lib"
    assert sorted(ROOMS) == sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    assert len(list(folder.glob("*.py"))) <= 3


def test_a_room_imports_only_from_rooms_before_it():
    for i, room in enumerate(ROOMS):
        for name, path in files(room).items():
            for one in imported(path):
                assert one.split(".")[0] in ROOMS[: i + 1], f"{name} imports {one}: no arrow runs up"


@pytest.mark.parametrize("room", ROOMS)
def test_in_a_room_files_import_each_other_without_circles(room):
    inside = {name: imported(path) & set(files(room)) for name, path in files(room).items()}
    assert len(inside) > 1
    list(TopologicalSorter(inside).static_order())  # raises CycleError on a circle


def test_models_stand_on_layers_and_not_the_other_way_round():
    for name, path in files("models/layers").items():
        assert not [one for one in imported(path) if re.match(r"models\.(?!layers)", one)], name


def test_the_course_imports_from_files_and_notebooks_from_rooms():
    for name, path in files().items():
        guides = imported(path) & set(ROOMS)
        assert not guides, f"{name} imports from {guides}; name the file, as in course_lib.sound.features"
    for path in [*(ROOT / "solutions").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")]:
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            statements = re.findall(r"^ *from course_lib\.([\w.]+) import ", "".join(cell["source"]), re.MULTILINE)
            rooms = [one for one in statements if not re.match(r"exercises\.ex\d\d", one)]
            assert set(rooms) <= set(ROOMS), f"{path.name}: from course_lib.{rooms} import; need rooms"
            assert rooms == sorted(set(rooms), key=ROOMS.index), f"{path.name}: {rooms}; need a line a room, in order"


def test_files_can_be_read_in_one_sitting():
    for name, path in files().items():
        if not name.startswith("exercises."):
            n_lines = len(path.read_text("utf-8").splitlines())
            assert n_lines <= 250, f"{name} has {n_lines} lines; split it by meaning"


@pytest.mark.parametrize("room", GUIDES)
def test_a_guide_is_a_paragraph_and_hands_on_what_there_is(room):
    guide = importlib.import_module(f"course_lib.{room}")
    assert guide.__doc__ and "\n\n" not in guide.__doc__ and guide.__all__
    beside = {path.stem for path in (ROOT / "course_lib" / room).iterdir()}
    assert not beside & set(guide.__all__), "a name handed on and a file of the same name: which one is meant?"
    for name in guide.__all__:
        thing = getattr(guide, name)
        made_in = getattr(thing, "__module__", "")
        if isinstance(made_in, str) and made_in.startswith("course_lib."):
            assert made_in.split(".")[1] == room, f"course_lib.{room} hands on {name}, at home in {made_in}"
    with pytest.raises(AttributeError, match="nothing_like_it"):
        guide.nothing_like_it  # noqa: B018


def test_guides_import_nothing_until_asked():
    rooms = ", ".join(f"course_lib.{room}" for room in ROOMS)
    code = f"import sys, {rooms}; print(*(name for name in sys.modules if name.startswith('course_lib')))"
    found = fresh_python(code).split()
    assert sorted(found) == sorted(["course_lib", *(f"course_lib.{room}" for room in ROOMS)])


@pytest.mark.parametrize(
    "statement",
    [
        "from course_lib.settings import current_profile",
        "from course_lib.commands import diagnose",
        "import course_lib.settings.install, course_lib.commands.doctor, course_lib.commands.cli",
    ],
)
def test_the_doctor_and_what_it_needs_open_without_lazy_loader(statement):
    fresh_python(f"import sys; sys.modules['lazy_loader'] = None; {statement}")


def test_the_graders_worker_needs_no_other_file():
    bound = {name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in WORKER_FILES}
    for name in ("wire", "frames", "isolation", "syscalls", "pipes", "answering", "worker"):
        strangers = imported(files()[f"grading.sandbox.{name}"]) - bound
        assert not strangers, f"sandbox/{name}.py imports {strangers}, which the sandbox does not hold"
    for name, path in files("grading/reports").items():  # whoever writes reports meets no reference and no sandbox
        assert not [one for one in imported(path) if "sandbox" in one or one.endswith(("marking", "validate"))], name


def fresh_python(code: str) -> str:
    """What a Python of its own prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys; before = set(sys.modules); import course_lib; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["course_lib"]


# ---- what no tracked file may hold


def test_no_index_and_no_machine_path_in_any_tracked_file():
    hosts = ["pypi" + ".org", "python" + "hosted", "npmjs" + ".org", "anaconda" + ".org", "download.py" + "torch"]
    folders = ["/work/" + "main", "/root" + "/", "/home" + "/", "/Users" + "/", "/opt" + "/"]
    for path in tracked_files():
        content = path.read_bytes()
        for words in hosts + folders:
            assert words.encode() not in content, f"{path.relative_to(ROOT)} holds {words}"
        if path != ROOT / ".ci/run":
            assert (".." + "/shared").encode() not in content, f"{path.relative_to(ROOT)} looks beside the repository"


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120, "measurements go to benchmarks/claims.py"


def test_licences_are_named():
    text = (ROOT / "LICENSE").read_text("utf-8")
    for words in ("MIT License", "CC BY 4.0", "CC BY-SA 4.0", "data/pretrained"):
        assert words in text


# ---- setting up (make, with a stand-in for Python that only writes down what it was asked)

FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
    -c*) test ! -e BROKEN ;;
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >> log ;;
    "-m pip --version") ;;
    "-m pip install"*) echo "pip $*" >> log; test ! -e NO_NETWORK ;;
    --version) echo Python 3.12.0 ;;
    *) echo "$*" >> log ;;
esac
"""


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "fake-python").write_text(FAKE_PYTHON)
    (tmp_path / "fake-python").chmod(0o755)
    of_make = ("MAKEFLAGS", "MAKELEVEL", "VENV", "PYTHON", "COURSE_PROFILE", "PYTEST_ARGS", "WORKERS")
    for name in of_make:  # pytest itself may run under make
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def make(folder: Path, *arguments: str, python: str = "./fake-python") -> tuple[int, str, list[str]]:
    """Run make; return its exit status, what it said, and what Python was asked for (the log, emptied)."""
    command = ["make", *arguments, f"PYTHON={python}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    log = folder / "log"
    asked = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return done.returncode, done.stdout + done.stderr, asked


def test_setting_up_happens_once(fresh):
    status, said, asked = make(fresh, "setup")
    assert status == 0 and asked[0] == "venv" and asked[1].endswith("-c requirements.lock -e .[lab,judge]"), said
    assert make(fresh, "setup")[2] == []
    (fresh / "requirements.lock").write_text("other==1\n")
    assert len(make(fresh, "setup")[2]) == 1  # installed again, into the same environment
    assert make(fresh, "setup")[2] == []


def test_tests_and_course_share_the_environment(fresh):
    make(fresh, "setup")
    status, said, asked = make(fresh, "test", "PYTEST_ARGS=-x")
    assert status == 0 and asked[0].endswith("-e .[dev]"), said
    assert asked[1:] == ["-m pytest -n auto --dist loadfile --no-loadscope-reorder -x"]
    assert make(fresh, "setup")[2] == [] and make(fresh, "setup-dev")[2] == []  # dev holds all that course needs


def test_an_interrupted_installation_is_done_again(fresh):
    (fresh / "NO_NETWORK").touch()
    status, _, asked = make(fresh, "setup")
    assert status != 0 and len(asked) == 2
    (fresh / "NO_NETWORK").unlink()
    status, _, asked = make(fresh, "setup")
    assert status == 0 and len(asked) == 1 and "pip install" in asked[0]


def test_a_broken_environment_is_made_again(fresh):
    make(fresh, "setup")
    (fresh / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    _, said, asked = make(fresh, "setup")
    assert asked[0] == "venv", said


def test_no_suitable_python(fresh):
    (fresh / "BROKEN").touch()
    status, said, asked = make(fresh, "setup", python="./fake-python no-such-python")
    assert status != 0 and asked == [] and not (fresh / ".venv").exists()
    for words in ("No suitable Python among: ./fake-python no-such-python", "3.11, 3.12 or 3.13", "PYTHON=/path"):
        assert words in said


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["course"], ".venv/bin/course run  --profile quick"),
        (["course", "NB=01", "PROFILE=smoke"], ".venv/bin/course run 01 --profile smoke"),
        (["lab"], ".venv/bin/course lab"),
        (["bench"], ".venv/bin/course bench"),
        (["release"], ".venv/bin/course release"),
    ],
)
def test_each_job_is_one_command(fresh, arguments, command):
    assert make(fresh, "--dry-run", *arguments)[1].splitlines()[-1] == command
