"""The sandbox: right answers come back, attacks cost their own job only, and nothing is left behind."""

import os
import sys
from dataclasses import replace

import pytest
import torch

from course_lib.exercises import draw_trials, get_exercise, run_trials
from course_lib.grading.sandbox.launch import Job, Limits, Sandbox, Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap and namespaces are Linux's")
PROBE = "def call(fn, inputs: NoSuchType):\n    return {'output': fn(**inputs)}\n"
LIMITS = Limits(memory_bytes=512 << 20, reply_bytes=4 << 20, tmpfs_bytes=2 << 20)


def _job(source, wall_s=20.0, **inputs):
    return Job(source, "f", PROBE, "call", (), [inputs or {"x": torch.arange(3.0)}], wall_s)


@pytest.fixture(scope="module")
def worker():
    with Worker(Sandbox.bubblewrap(), LIMITS) as worker:
        yield worker


def _is_well(worker):
    """An innocent answer is right."""
    reply = worker.run(_job("def f(x): return 2 * x"))
    return not reply.fault and reply.attempts[0].outputs["output"].tolist() == [0, 2, 4]


def _error(reply):
    """What the learner would read."""
    return reply.fault or reply.attempts[-1].error


def test_an_answer_does_inside_what_it_does_outside(worker):
    source = (
        "def my_mu_law(wave, n_classes):\n"
        "    if wave.dim() == 3:\n        raise ValueError('three axes')\n"
        "    wave *= 2\n    return {'classes': wave.to(torch.int64), 'z': (wave + 1j, 3.5, True)}\n"
    )
    exercise = replace(get_exercise("01.2"), n_trials=3)
    trials = draw_trials(exercise)
    names = {"torch": torch}
    exec(source, names)
    expected = run_trials(exercise, names["my_mu_law"], trials)
    probe = "def call_by_name(fn, inputs):\n    return {'output': fn(**inputs)}\n"
    got = worker.run(Job(source, "my_mu_law", probe, "call_by_name", (), trials, 20.0)).attempts
    assert len(got) == len(expected) > 0 and worker.isolates
    for one, other in zip(got, expected, strict=True):
        assert list(one.outputs) == list(other.outputs) and one.changed == other.changed
        assert (one.error_kind, one.is_stub) == (other.error_kind, other.is_stub)
        for name, tensor in other.outputs.items():
            assert one.outputs[name].dtype == tensor.dtype and torch.equal(one.outputs[name], tensor)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef g(): pass", "the cell defines no `f`: it defines x, g"),
        ("", "it defines nothing"),
        ("def f(x:", "no Python that can be run"),
        ("a = 1\ndef f(x): return x\nshow(a)", "NameError: name 'show' is not defined in line 3: the grader runs"),
        ("import nosuchmodule", "ModuleNotFoundError"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("class E(Exception):\n    def __str__(self): raise KeyboardInterrupt\nraise E", "without a readable message"),
        ("def f(x): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def f(x):\n    return x + 'a'", "in line 2 of your code: return x + 'a'"),
        ("f = 5", "need your function"),
    ],
)  # fmt: skip
def test_what_went_wrong_is_said(worker, source, said):
    assert said in _error(worker.run(_job(source)))


def test_a_stub_is_known_as_one(worker):
    attempt = worker.run(_job("def f(x):\n    # your code here\n    raise NotImplementedError")).attempts[0]
    assert attempt.is_stub
    assert not worker.run(_job("def f(x):\n    raise ValueError('NotImplementedError')")).attempts[0].is_stub


def test_what_people_leave_in_a_cell_does_no_harm(worker):
    source = "%matplotlib inline\n!pip install torch\ndef f(x):\n    print(x)\n    return 2 * x\n\n"
    assert not worker.run(_job(source + "check('01.2', f)\ndisplay(f)")).fault


def test_chance_is_the_same_each_time(worker):
    drawn = "torch.rand(2) + random.random() + float(np.random.rand())"
    source = f"import random\ndef f(x): return {drawn}, hash('a') % 997"
    one, other = (worker.run(_job(source)).attempts[0].outputs for _ in range(2))
    assert torch.equal(one["output[0]"], other["output[0]"]) and one["output[1]"] == other["output[1]"]


def test_a_job_larger_than_a_pipe(worker):
    x = torch.arange(300_000)
    reply = worker.run(_job("def f(x): return x.sum()", x=x))
    assert reply.attempts[0].outputs["output"] == 299_999 * 150_000


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
    "locks": ("import fcntl\nfcntl.lockf(open('/tmp/a', 'w'), fcntl.LOCK_EX)", REFUSED),
    "writing to the root": ("open('/x', 'w')", "Read-only"),
    "writing to the worker's files": ("open('/grader/x', 'w')", "Read-only"),
    "writing to python's files": ("import os\nopen(os.path.dirname(os.__file__) + '/x', 'w')", "Read-only"),
    "times of devices": ("import os\nos.utime('/dev/null')", "Read-only"),
    "environment of others": ("open('/proc/1/environ')", "FileNotFoundError"),
    "the machine": ("open('/sys/kernel/uevent_seqnum')", "FileNotFoundError"),
    "the answers": ("import course_lib.exercises.framework", "ModuleNotFoundError"),
    "the grader": ("import course_lib.grading.results", "ModuleNotFoundError"),
    "filling the disk": ("open('/tmp/a', 'wb').write(bytes(3 << 20))", "No space left"),
    "many files": ("import os\nfor i in range(2000): os.mkdir(f'/tmp/{i}')", "No space left"),
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
    assert _is_well(worker)
    process = worker._process
    assert said in _error(worker.run(_job(source)))
    assert _is_well(worker) and worker._process is process


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
    assert worker.run(_job(source, wall_s=0.4)).fault == "took longer than 0.4 s"
    assert _is_well(worker) and worker._process is process


def test_a_sleeper_is_not_starved(worker):
    assert not worker.run(_job("import time\ntime.sleep(99)", wall_s=0.4)).starved


def test_processor_time_is_limited():
    with Worker(Sandbox.bubblewrap(), replace(LIMITS, cpu_s=1)) as worker:
        assert "processor time" in worker.run(_job("while True: pass")).fault
        assert _is_well(worker)


def test_a_forged_reply_is_believed_only_as_far_as_its_values(worker):
    """The answer writes its own frame and is gone: these are its outputs, right or wrong."""
    source = (
        "from course_lib.grading.sandbox import frames\nfrom course_lib.exercises.attempts import Attempt\nimport os\n"
        "reply = frames.Reply([Attempt({'output': torch.tensor([9.0])})])\n"
        "frames.write_frame(3, frames.reply_frame(reply))\nos._exit(0)"
    )
    assert worker.run(_job(source)).attempts[0].outputs["output"].tolist() == [9.0]
    assert _is_well(worker)


def test_patches_and_files_of_one_answer_are_gone_for_the_next(worker):
    patch = (
        "import builtins, sys, threading, time\n"
        "torch.Tensor.__mul__ = torch.Tensor.__rmul__ = lambda a, b: torch.ones(3)\n"
        "torch.set_default_dtype(torch.float64)\nbuiltins.min = None\nsys.modules['math'] = None\n"
        "open('/tmp/left', 'w').write('x')\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
        "def f(x): return 2 * x"
    )
    assert worker.run(_job(patch)).attempts[0].outputs["output"].tolist() == [1, 1, 1]
    looks = "import os, threading\ndef f(x): return len(os.listdir('/tmp')), threading.active_count(), torch.ones(1)"
    outputs = worker.run(_job(looks)).attempts[0].outputs
    assert [outputs[f"output[{i}]"].item() for i in range(2)] == [0, 1]
    assert outputs["output[2]"].dtype == torch.float32 and _is_well(worker)


SCAN = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
c.sbrk.restype = ctypes.c_void_p
c.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
page, fd = 1 << 16, os.open("/tmp/page", os.O_RDWR | os.O_CREAT)


def f(x, wanted):
    # The heap lies below sbrk(0); writing it to a file tells unmapped memory from mapped without a crash.
    end, counts, n_pages = c.sbrk(0) // page * page, {word: 0 for word in wanted.split()}, 0
    while c.pwrite(fd, ctypes.c_void_p(end - page), ctypes.c_size_t(page), ctypes.c_long(0)) == page:
        end, n_pages = end - page, n_pages + 1
        data = os.pread(fd, page, 0)
        for word in counts:  # backwards, and never turned round as a whole: the search must not find itself
            first, rest, place = word[:-6:-1].encode(), word[:-5], -1
            while (place := data.find(first, place + 1)) >= 0:
                counts[word] += data[place + len(first) : place + len(word)][::-1] == rest.encode()
    return *counts.values(), n_pages
"""


def test_no_byte_of_an_earlier_answer_is_in_the_next_ones_memory(worker):
    """The child is a copy of the worker, so what the worker had ever read could be found there."""
    secret, known = "an_earlier_answer_of_somebody_else", "_CAPBSET_DROP"
    for _ in range(3):
        assert secret in _error(worker.run(_job(f"def f(x): raise ValueError('{secret}')")))
    wanted = f"{secret[::-1]} {known[::-1]}"
    outputs = worker.run(_job(SCAN, x=torch.ones(1), wanted=wanted)).attempts[0].outputs
    n_secret, n_known, n_pages = (outputs[f"output[{i}]"].item() for i in range(3))
    assert n_secret == 0 and n_known > 0 and n_pages * (1 << 16) > 20 << 20


def test_the_answer_sees_little_and_is_nobody(worker):
    source = (
        "import os, ctypes, resource\nfrom pathlib import Path\n"
        "header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()\n"
        "assert ctypes.CDLL(None).capget(header, sets) == 0\n"
        "raise ValueError(repr((sorted(os.listdir('/grader/course_lib/grading')), os.listdir('/proc'), os.getpid(), "
        "os.getuid(), any(sets), sorted(os.listdir('/dev')), resource.getrlimit(resource.RLIMIT_CORE), [*os.environ])))"
    )
    said = _error(worker.run(_job(source)))
    seen = "['__init__.py', 'sandbox'], [], 1, 1000, False, ['null', 'random', 'urandom', 'zero']"
    assert f"{seen}, (0, 0)" in said and "'HOME'" in said and not any(name in said for name in ("'PATH'", "'USER'"))
