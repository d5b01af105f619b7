"""The sandbox: right answers come back, what went wrong is said, and nothing of one answer reaches the next."""

import sys
from dataclasses import replace

import pytest
import torch
from small_jobs import LIMITS, error, is_well, job

from course_lib.exercises.checking import get_exercise
from course_lib.exercises.framework import draw_trials, run_trials
from course_lib.grading.sandbox.launch import Job, Sandbox, Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap and namespaces are Linux's")


@pytest.fixture(scope="module")
def worker():
    with Worker(Sandbox.bubblewrap(), LIMITS) as worker:
        yield worker


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
    assert said in error(worker.run(job(source)))


def test_a_stub_is_known_as_one(worker):
    attempt = worker.run(job("def f(x):\n    # your code here\n    raise NotImplementedError")).attempts[0]
    assert attempt.is_stub
    assert not worker.run(job("def f(x):\n    raise ValueError('NotImplementedError')")).attempts[0].is_stub


def test_what_people_leave_in_a_cell_does_no_harm(worker):
    source = "%matplotlib inline\n!pip install torch\ndef f(x):\n    print(x)\n    return 2 * x\n\n"
    assert not worker.run(job(source + "check('01.2', f)\ndisplay(f)")).fault


def test_chance_is_the_same_each_time(worker):
    drawn = "torch.rand(2) + random.random() + float(np.random.rand())"
    source = f"import random\ndef f(x): return {drawn}, hash('a') % 997"
    one, other = (worker.run(job(source)).attempts[0].outputs for _ in range(2))
    assert torch.equal(one["output[0]"], other["output[0]"]) and one["output[1]"] == other["output[1]"]


def test_a_job_larger_than_a_pipe(worker):
    x = torch.arange(300_000)
    reply = worker.run(job("def f(x): return x.sum()", x=x))
    assert reply.attempts[0].outputs["output"] == 299_999 * 150_000


def test_processor_time_is_limited():
    with Worker(Sandbox.bubblewrap(), replace(LIMITS, cpu_s=1)) as worker:
        assert "processor time" in worker.run(job("while True: pass")).fault
        assert is_well(worker)


def test_a_forged_reply_is_believed_only_as_far_as_its_values(worker):
    """The answer writes its own frame and is gone: these are its outputs, right or wrong."""
    source = (
        "from course_lib.grading.sandbox import frames\nfrom course_lib.exercises.attempts import Attempt\nimport os\n"
        "reply = frames.Reply([Attempt({'output': torch.tensor([9.0])})])\n"
        "frames.write_frame(3, frames.reply_frame(reply))\nos._exit(0)"
    )
    assert worker.run(job(source)).attempts[0].outputs["output"].tolist() == [9.0]
    assert is_well(worker)


def test_patches_and_files_of_one_answer_are_gone_for_the_next(worker):
    patch = (
        "import builtins, sys, threading, time\n"
        "torch.Tensor.__mul__ = torch.Tensor.__rmul__ = lambda a, b: torch.ones(3)\n"
        "torch.set_default_dtype(torch.float64)\nbuiltins.min = None\nsys.modules['math'] = None\n"
        "open('left', 'w').write('x')\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
        "def f(x): return 2 * x"
    )
    assert worker.run(job(patch)).attempts[0].outputs["output"].tolist() == [1, 1, 1]
    looks = "import os, threading\ndef f(x): return len(os.listdir('.')), threading.active_count(), torch.ones(1)"
    outputs = worker.run(job(looks)).attempts[0].outputs
    assert [outputs[f"output[{i}]"].item() for i in range(2)] == [0, 1]
    assert outputs["output[2]"].dtype == torch.float32 and is_well(worker)


SCAN = """
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
c.sbrk.restype = ctypes.c_void_p
c.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
page, fd = 1 << 16, os.open("page", os.O_RDWR | os.O_CREAT)


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
        assert secret in error(worker.run(job(f"def f(x): raise ValueError('{secret}')")))
    wanted = f"{secret[::-1]} {known[::-1]}"
    outputs = worker.run(job(SCAN, x=torch.ones(1), wanted=wanted)).attempts[0].outputs
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
    said = error(worker.run(job(source)))
    seen = "['__init__.py', 'sandbox'], [], 1, 1000, False, ['null', 'random', 'urandom', 'zero']"
    assert f"{seen}, (0, 0)" in said and "'HOME'" in said and not any(name in said for name in ("'PATH'", "'USER'"))
