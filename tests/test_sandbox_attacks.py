"""Attacks from within an answer: each costs its own job only, in words, and the worker goes on."""

import os
import sys

import pytest
from small_jobs import LIMITS, error, is_well, job

from course_lib.grading.sandbox.launch import Sandbox, Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap and namespaces are Linux's")


@pytest.fixture(scope="module")
def worker():
    with Worker(Sandbox.bubblewrap(), LIMITS) as worker:
        yield worker


def _c(call):
    """A cell that makes a C library's call and tells its error."""
    return (
        "import ctypes, os\nc = ctypes.CDLL(None, use_errno=True)\n"
        f"result = c.{call}\nraise RuntimeError(f'{{result}} {{os.strerror(ctypes.get_errno())}}')"
    )


_WRITE = "import os\ndef say(data):\n    while data: data = data[os.write(3, data):]\n"
REFUSED = "Operation not permitted"
ATTACKS = {
    "os._exit": ("import os\nos._exit(0)", "ended the whole process (exit code 0)"),
    "crash": ("import ctypes\nctypes.string_at(0)", "crashed (SIGSEGV)"),
    "deep recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self): return repr(self)\nrepr(A())",
        "crashed",
    ),
    "30 GB": ("def f(x): return torch.ones(30 << 27)", "can't allocate memory"),
    "30 GB by and by": ("kept = []\nwhile True: kept.append(bytearray(64 << 20))", "MemoryError"),
    "memory files": (_c('memfd_create(b"a", 0)'), REFUSED),
    "shared memory that stays": (_c("shmget(0, 1 << 30, 0o1600)"), REFUSED),
    "message queues": (_c('mq_open(b"/a", 66, 0o600, 0)'), REFUSED),
    "fork bomb": ("import os\nwhile True: os.fork()", REFUSED),
    "programs": ("import os\nos.execv('/bin/sh', ['sh'])", "Error"),
    "processes": ("import subprocess\nsubprocess.run(['/bin/true'])", "Error"),
    "sockets": ("import socket\nsocket.socket()", REFUSED),
    "pairs of sockets": ("import socket\nsocket.socketpair()", REFUSED),
    "killing all": ("import os\nos.kill(-1, 9)", REFUSED),
    "killing the parent": ("import os\nos.kill(os.getppid(), 9)", REFUSED),
    "ptrace": (_c("ptrace(16, 1, 0, 0)"), REFUSED),
    "others' memory": (_c("process_vm_readv(1, 0, 0, 0, 0, 0)"), REFUSED),
    "new namespaces": (_c("unshare(0x10000000)"), REFUSED),
    "mounts": (_c('mount(b"none", b"/tmp", b"tmpfs", 0, None)'), REFUSED),
    "unmounting": (_c('umount2(b"/proc", 2)'), REFUSED),
    "keys": (_c("syscall(250, 0, 0, 0)" if os.uname().machine == "x86_64" else "syscall(219, 0, 0, 0)"), REFUSED),
    "a newer call": (_c("syscall(425, 1, 0)"), "Function not implemented"),  # io_uring_setup
    "watching files": (_c("inotify_init1(0)"), REFUSED),
    "becoming somebody": (_c("setuid(0)"), REFUSED),
    "becoming dumpable": (_c("prctl(4, 1, 0, 0, 0)"), REFUSED),
    "leases": ("import fcntl\nfcntl.fcntl(open('/etc/ld.so.cache'), 1024, 1)", REFUSED),
    "locks": ("import fcntl\nfcntl.lockf(open('a', 'w'), fcntl.LOCK_EX)", REFUSED),
    "writing to the root": ("open('/x', 'w')", "Read-only"),
    "writing to the worker's files": ("open('/grader/x', 'w')", "Read-only"),
    "writing to python's files": ("import os\nopen(os.path.dirname(os.__file__) + '/x', 'w')", "Read-only"),
    "times of devices": ("import os\nos.utime('/dev/null')", "Read-only"),
    "environment of others": ("open('/proc/1/environ')", "FileNotFoundError"),
    "the machine": ("open('/sys/kernel/uevent_seqnum')", "FileNotFoundError"),
    "the answers": ("import course_lib.exercises.framework", "ModuleNotFoundError"),
    "the grader": ("import course_lib.grading.results", "ModuleNotFoundError"),
    "filling the disk": ("open('a', 'wb').write(bytes(3 << 20))", "No space left"),
    "many files": ("import os\nfor i in range(2000): os.mkdir(str(i))", "No space left"),
    "a deep folder": ("import os\nfor _ in range(2000):\n    os.mkdir('d')\n    os.chdir('d')", "No space left"),
    "open files": ("kept = [open('/dev/null') for _ in range(100)]", "Too many open files"),
    "threads": ("import _thread, time\nfor _ in range(20): _thread.start_new_thread(time.sleep, (99,))", "thread"),
    "a flood": ("import os\nwhile True: os.write(3, b'\\xff' * 65536)", "sent back more than 4 MiB"),
    "a promise of much": ("import os\nos.write(3, b'\\1' + b'\\0' * 7)\nos._exit(0)", "sent back more than 4 MiB"),
    "half a frame": ("import os\nos.write(3, b'\\0' * 7 + b'\\9abc')\nos._exit(0)", "ended the whole process"),
    "half a length": ("import os\nos.write(3, b'\\0' * 7)\nos._exit(5)", "ended the whole process (exit code 5)"),
    "a closed pipe": ("import os\nos.close(3)\nos._exit(0)", "ended the whole process"),
    "garbage": (_WRITE + "say((8).to_bytes(8, 'big') + b'A' * 8)", "no reply"),
    "garbage of 3 MB": (_WRITE + "say((3 << 20).to_bytes(8, 'big') + b'{' * (3 << 20))", "no reply"),
    "deep JSON": (
        _WRITE + "say((100008).to_bytes(8, 'big') + (100000).to_bytes(8, 'little') + b'[' * 100000)", "no reply",
    ),
    "breaking python": ("import builtins\nbuiltins.sorted = None\ndef f(x): return x", "changed python or torch"),
    "printing to the grader": ("import os\nos.write(1, b'\\0' * 99)\nos.write(2, b'x')\nraise ValueError('z')", "z"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_costs_its_own_job_and_no_other(worker, name):
    source, said = ATTACKS[name]
    assert is_well(worker)
    process = worker._process
    assert said in error(worker.run(job(source)))
    assert is_well(worker) and worker._process is process


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time\ntime.sleep(99)",
        "import os\nos.close(3)\nwhile True: pass",
        "import os\nos.write(3, b'\\0' * 7 + b'\\9abc')\nwhile True: pass",
        "import signal\nsignal.raise_signal(signal.SIGSTOP)\nwhile True: pass",
        "import signal\nfor s in (1, 2, 3, 14, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass",
    ],
    ids=["loop", "sleep", "closed pipe", "half a frame", "stopped", "deaf"],
)  # fmt: skip
def test_the_wall_clock_is_kept_from_outside(worker, source):
    process = worker._process
    assert worker.run(job(source, wall_s=0.4)).fault == "took longer than 0.4 s"
    assert is_well(worker) and worker._process is process


def test_a_sleeper_is_not_starved(worker):
    assert not worker.run(job("import time\ntime.sleep(99)", wall_s=0.4)).starved
