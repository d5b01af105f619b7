"""Sandboxes of the instructor's own, and none at all: what starts in them, what is refused, and why in words."""

import os
import sys
from pathlib import Path

import pytest
import torch
from small_jobs import is_well, job

from course_lib.grading.sandbox.checking import check_sandbox
from course_lib.grading.sandbox.launch import Limits, Sandbox, SandboxError, Worker, WorkerFault
from course_lib.grading.sandbox.sandboxes import PACKAGE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap and namespaces are Linux's")
LIMITS = Limits(memory_bytes=512 << 20)


@pytest.fixture(autouse=True)
def _this_python_comes_first(monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def _bwrap(options):
    """bubblewrap as INSTRUCTORS.md gives it for a sandbox of one's own, which stands in for a container."""
    pythons = {Path(sys.base_prefix), Path(sys.prefix), Path(torch.__file__).parents[1]} - {Path("/usr")}
    binds = "".join(f" --ro-bind {folder} {folder}" for folder in sorted(pythons))
    system = "--ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin"
    return f"{Sandbox.bubblewrap().command[0]} --tmpfs /tmp {system}{binds} --ro-bind {{worker}} {{worker}} {options}"


def test_a_container_is_found_to_hold_and_what_is_done_is_told():
    options = f"--dev /dev --proc /proc --unshare-all --die-with-parent --clearenv --setenv PATH {os.environ['PATH']}"
    told = []
    assert check_sandbox(Sandbox.custom(_bwrap(options)), LIMITS, told.append) == []
    assert [line.split(":")[0] for line in told] == ["trying the sandbox, 1 of 2", "trying the sandbox, 2 of 2"]


def test_where_children_cannot_be_shut_in_each_answer_gets_a_fresh_worker():
    """A sandbox of the instructor's own, which lets nobody make namespaces, as many containers do."""
    bwrap = Sandbox.bubblewrap().command[0]
    sandbox = Sandbox.custom(f"{bwrap} --dev-bind / / --unshare-user --uid 1000 --gid 1000 --disable-userns --")
    with Worker(sandbox, LIMITS) as worker:
        assert is_well(worker) and not worker.isolates and "OSError" in worker.why_not
        assert worker._process is None and worker._folder is None
        assert worker.run(job("while True: pass", wall_s=0.3)).fault == "took longer than 0.3 s"


def test_where_root_is_the_only_user_the_check_tells_holes_not_errors():
    """There setgroups is denied, and no other user exists to become."""
    told = []
    holes = check_sandbox(Sandbox.custom("unshare -rn"), LIMITS, told.append)
    in_sight = not PACKAGE.is_relative_to("/tmp")  # which an answer finds covered
    assert any("reference answers" in hole for hole in holes) == in_sight
    assert any("environment" in hole for hole in holes)
    assert not any("does not work" in hole for hole in holes) and len(told) == 1


THREADS = """
import _thread, threading, time
threading.stack_size(65536)
try:
    for n in range(100): _thread.start_new_thread(time.sleep, (99,))
except RuntimeError as error: raise ValueError(f"not more than {n}")
time.sleep(99)
"""


def test_threads_are_counted_where_the_kernel_does_not():
    """It limits no processes of root, whatever root is called inside."""
    options = "--dev /dev --proc /proc --unshare-all --setenv PATH " + os.environ["PATH"]
    with Worker(Sandbox.custom(_bwrap(options)), LIMITS) as worker:
        fault = worker.run(job(THREADS)).fault
        assert fault == "ran more than 8 threads" if os.getuid() == 0 else "not more than 7" in fault
        assert is_well(worker)


def test_without_an_environment_python_is_found_all_the_same():
    """`env -i` and `bwrap --clearenv` leave no PATH: then sys.executable is empty."""
    with Worker(Sandbox.custom("env -i"), LIMITS) as worker:
        try:
            assert is_well(worker)
        except WorkerFault as fault:
            assert "python3 here is /" in str(fault) and "put one that has it first on PATH" in str(fault)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--unshare-pid", "there is no /proc of its own here (bwrap: --proc /proc)"),
        ("--proc /proc --unshare-pid", "/dev/null cannot be opened here (bwrap: --dev /dev)"),
    ],
)
def test_what_a_sandbox_lacks_is_named(options, said):
    with Worker(Sandbox.custom(_bwrap(options)), LIMITS) as worker, pytest.raises(WorkerFault) as fault:
        worker.start()
    assert said in str(fault.value) and "Traceback" not in str(fault.value)


def test_without_a_sandbox_answers_run_all_the_same_one_child_each():
    """Nothing is kept apart there, so a worker for each answer would only take longer."""
    with Worker(Sandbox.unsafe(), LIMITS) as worker:
        looks = "import os\nif os.path.exists('/sys/kernel'):\n    def f(x): return 2 * x"  # it can look around
        assert worker.run(job(looks)).attempts[0].outputs["output"].tolist() == [0, 2, 4] and not worker.isolates
        process = worker._process
        assert "exit code 3" in worker.run(job("import os\nos._exit(3)")).fault
        assert worker.run(job("while True: pass", wall_s=0.3)).fault == "took longer than 0.3 s"
        worker.run(job("torch.Tensor.__rmul__ = torch.Tensor.__mul__ = None\ndef f(x): return x"))
        assert is_well(worker) and worker._process is process is not None


def test_elsewhere_than_on_linux_nothing_runs_and_that_is_said(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="needs Linux, without a sandbox, too"):
        Sandbox.unsafe()
    with pytest.raises(SandboxError, match="give a container"):
        Sandbox.bubblewrap()


def test_without_a_sandbox_what_an_answer_started_ends_with_it(tmp_path):
    fifo = tmp_path / "line"  # its reader sees the end once the last process that can write to it has gone
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    source = f"import os, time\nheld = os.open({str(fifo)!r}, os.O_WRONLY)\nif os.fork() == 0: time.sleep(999)\n"
    with Worker(Sandbox.unsafe(), LIMITS) as worker:
        assert worker.run(job(source + "os.write(held, b'x')\ndef f(x): return x")).attempts
        os.set_blocking(reader, True)
        assert os.read(reader, 9) == b"x" and os.read(reader, 9) == b""
    os.close(reader)
