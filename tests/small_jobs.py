"""Small jobs for a sandboxed worker, and what came of them."""

import torch

from course_lib.grading.sandbox.launch import Job, Limits, Reply, Worker

PROBE = "def call(fn, inputs: NoSuchType):\n    return {'output': fn(**inputs)}\n"
LIMITS = Limits(memory_bytes=512 << 20, reply_bytes=4 << 20, tmpfs_bytes=2 << 20)


def job(source: str, wall_s: float = 20.0, **inputs: object) -> Job:
    """One trial of the function f; of [0, 1, 2] as x, if nothing else is given."""
    return Job(source, "f", PROBE, "call", (), [inputs or {"x": torch.arange(3.0)}], wall_s)


def is_well(worker: Worker) -> bool:
    """An innocent answer is right."""
    reply = worker.run(job("def f(x): return 2 * x"))
    return not reply.fault and reply.attempts[0].outputs["output"].tolist() == [0, 2, 4]


def error(reply: Reply) -> str:
    """What the learner would read."""
    return reply.fault or reply.attempts[-1].error
