"""How `make test` shares files out: whole files, the longest first, and nothing that two workers share."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
OF_WORKERS = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID", "OMP_NUM_THREADS",
              "COURSE_RUNS_DIR", "PYTEST_ADDOPTS")  # fmt: skip
SAYS = """
import os

def say(name):
    told = [os.environ.get(one, "") for one in ("PYTEST_XDIST_WORKER", "OMP_NUM_THREADS", "COURSE_RUNS_DIR")]
    os.makedirs(told[2], exist_ok=True)
    with open("log", "a") as log:
        log.write(" ".join([os.path.relpath(name), *told]) + "\\n")
"""


def long_files() -> tuple[str, ...]:
    """LONG_FILES of conftest.py, which does too much to be imported."""
    for node in ast.parse((ROOT / "conftest.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "LONG_FILES":
            return ast.literal_eval(node.value)
    raise AssertionError("conftest.py has no LONG_FILES")


def test_every_file_that_is_said_to_be_long_is_there():
    gone = [name for name in long_files() if not (ROOT / name).is_file()]
    assert not gone, f"conftest.py: take {gone} out of LONG_FILES, or give the new names"


@pytest.fixture
def project(tmp_path) -> Path:
    """Three files of two tests; the last by name is one of the long ones."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "says.py").write_text(SAYS)
    for name in ("tests/test_0.py", "tests/test_1.py", max(long_files())):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        body = "".join(f"def test_{n}():\n    say(__file__)\n" for n in range(2))
        path.write_text(f"from says import say\n{body}")
    return tmp_path


def run(project: Path, *options: str) -> list[list[str]]:
    """What each test said, in the order in which they ran: file, worker, threads, folder."""
    env = {name: value for name, value in os.environ.items() if name not in OF_WORKERS}
    env |= {"PYTHONPATH": os.pathsep.join([str(project), str(ROOT)]), "COURSE_DATASET": "bundled"}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # what is not asked about here takes seconds to import
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "tests", *options]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split(" ") for line in (project / "log").read_text().splitlines()]


def test_workers_take_whole_files_the_longest_first_and_share_nothing(project):
    told = run(project, "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    workers = {name: {line[1] for line in told if line[0] == name} for name, *_ in told}
    assert len(told) == 6 and len(workers) == 3 and all(len(names) == 1 for names in workers.values())
    (its_worker,) = workers[max(long_files())]
    assert next(line[0] for line in told if line[1] == its_worker) == max(long_files())
    assert {line[2] for line in told} == {str(max(1, CORES // 2))}
    folders = {line[1]: Path(line[3]) for line in told}
    assert {path.name for path in folders.values()} == set(folders) <= {"gw0", "gw1"}
    (common,) = {path.parent for path in folders.values()}
    assert not common.exists()  # gone with the run


def test_without_workers_files_run_in_their_order_with_all_threads(project):
    told = run(project)
    names = [line[0] for line in told]
    assert names == sorted(names) and len(names) == 6
    assert {line[1] for line in told} == {line[2] for line in told} == {""}
    (folder,) = {Path(line[3]) for line in told}
    assert not folder.exists()
