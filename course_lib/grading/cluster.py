"""Marks submissions on several processes: dask.distributed, on this machine or on a cluster that is there already.

The client reads notebooks and sends exercise cells only, so workers need no file system in common with it. Each worker
process keeps one Marker from chunk to chunk. All of them are trusted: what dask pickles between them are our own types
holding text, and students' code runs below the workers, in the Marker's sandbox.
"""

from __future__ import annotations

import logging
import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import dask
from distributed import Client, Future, LocalCluster, WorkerPlugin, as_completed, get_worker

from course_lib.grading.results import ExerciseResult
from course_lib.grading.versions import code_digest

if TYPE_CHECKING:
    from course_lib.grading.answers import Answer

N_TRIES = 3  # of a submission alone on a cluster, before it stays ungraded
CHUNK = 20  # submissions sent at once: dask's own millisecond or two is then lost among half a second of marking
CHUNKS_AHEAD = 3  # for each worker: one being marked, one waiting, one on its way
WAIT_S = 60  # for the first worker of a cluster
_SCHEDULER_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # whose submission stopped a worker is found out here, one by one
}
_WORKER_SETTINGS = {
    "distributed.worker.profile.enabled": False,  # its sampling takes time that the marking needs
}


class ClusterError(RuntimeError):
    """The cluster cannot mark; the message says why and what to do. What was marked before is kept."""


class MarkerLike(Protocol):
    """What a worker process needs of marking.Marker."""

    def mark(self, student: str, answers: Mapping[str, Answer]) -> tuple[ExerciseResult, ...]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class HandIn:
    """A student's exercise cells, by exercise id."""

    student: str
    answers: Mapping[str, Answer]


@dataclass(frozen=True)
class Verdict:
    """What came of a HandIn: a result an exercise, or (no fault of the student's) what went wrong."""

    student: str
    exercises: tuple[ExerciseResult, ...] = ()
    fault: str = ""


class Marking(WorkerPlugin):
    """Puts a Marker into each worker process of a cluster, also into those that join it later."""

    def __init__(self, make_marker: Callable[[], MarkerLike], code: str) -> None:
        self.name = f"course-marking-{uuid.uuid4()}"  # two graders may share a cluster
        self._make_marker, self._code = make_marker, code

    def setup(self, worker: Any) -> None:
        """Raises: ClusterError if the worker has another version of the course."""
        # A Marker is one conversation with one sandbox, and references draw from torch's global generator.
        self._turn = threading.Lock()
        self._marker: MarkerLike | None = None
        self._is_over, self._refusal = False, ""
        if (theirs := code_digest()) != self._code:
            self._refusal = (
                f"worker {worker.address} has another version of course_lib ({theirs[:12]}, here {self._code[:12]}); "
                "install the same one there, and start its workers again"
            )
            raise ClusterError(self._refusal)
        import torch

        torch.set_num_threads(1)  # processes are what shares out the cores

    def teardown(self, worker: Any) -> None:
        """End the sandbox: now, or after the submission that it is at."""
        self._is_over = True
        if self._turn.acquire(timeout=1):
            self._close()
            self._turn.release()

    def mark(self, hand_ins: Iterable[HandIn]) -> list[Verdict]:
        """Raises: ClusterError if `setup` raised one (dask goes on all the same), or the grader has left."""
        if self._refusal:
            raise ClusterError(self._refusal)
        with self._turn:
            verdicts = [self._mark_one(one) for one in hand_ins if not self._is_over]
            if self._is_over:
                self._close()
                raise ClusterError("the grader that sent this has left")
        return verdicts

    def _mark_one(self, hand_in: HandIn) -> Verdict:
        try:
            self._marker = self._marker or self._make_marker()
            return Verdict(hand_in.student, self._marker.mark(hand_in.student, hand_in.answers))
        except Exception as error:  # ours: a Marker raises for nothing that an answer does
            self._close()
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}, line {where.lineno})"
            return Verdict(hand_in.student, fault=fault)

    def _close(self) -> None:
        if self._marker is not None:
            self._marker.close()
            self._marker = None


class Parcel:
    """A list that dask sends as it is, without looking for tasks inside."""

    def __init__(self, hand_ins: list[HandIn]) -> None:
        self.hand_ins = hand_ins


def mark_parcel(plugin: str, parcel: Parcel) -> list[Verdict]:
    """Runs on a worker."""
    return get_worker().plugins[plugin].mark(parcel.hand_ins)


class Cluster:
    """Worker processes that mark; a context manager.

    Args:
        make_marker: makes a worker's Marker; must pickle.
        scheduler: address of a dask scheduler ("tcp://host:8786"); "": worker processes of our own, on this machine.
        n_workers: how many of our own.
    Raises:  ClusterError.
    """

    def __init__(self, make_marker: Callable[[], MarkerLike], scheduler: str = "", n_workers: int = 2) -> None:
        self._plugin = Marking(make_marker, code_digest())
        self._local = None if scheduler else _start_workers(n_workers)
        try:
            self._client = Client(self._local or scheduler, timeout=WAIT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(f"no dask scheduler answers at {scheduler}: {error}; see `dask scheduler`") from error
        try:
            self._prepare_workers()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def n_workers(self) -> int:
        """Processes that mark now; at least 1, since one that died is started again."""
        return max(1, len(self._client.nthreads()))

    def mark(self, hand_ins: Iterable[HandIn], n_expected: int) -> Iterator[Verdict]:
        """Verdicts in the order in which they come; hand-ins are drawn when workers need them.

        When a worker dies, the submissions that it had, and those that waited for it, are tried again alone, with
        nothing else on the cluster: so one that kills workers takes no other with it.

        Args:    n_expected: about how many hand-ins there are; of few, smaller chunks are sent.
        Raises:  ClusterError if the scheduler is lost.
        """
        source, suspects = iter(hand_ins), list[HandIn]()
        size = max(1, min(CHUNK, n_expected // (CHUNKS_AHEAD * self.n_workers)))
        while True:
            yield from self._mark_chunks(source, size, suspects)
            if not suspects:
                return
            yield from map(self._mark_alone, suspects)
            suspects.clear()

    def close(self) -> None:
        """End our workers; on someone else's, end our sandboxes."""
        if self._local is None and self._client.status == "running":
            self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close()
        if self._local is not None:
            self._local.close()

    def _prepare_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WAIT_S)
            self._client.register_plugin(self._plugin)
        except TimeoutError as error:
            raise ClusterError(f"the scheduler has no worker (waited {WAIT_S} s); start some") from error
        except ImportError as error:
            raise ClusterError(f"a worker cannot import {error.name}; install the same course_lib there") from error

    def _mark_chunks(self, source: Iterator[HandIn], size: int, suspects: list[HandIn]) -> Iterator[Verdict]:
        """Until the source is empty, or a chunk was lost (its hand-ins are `suspects` then) and the others are back."""
        flying: dict[Future, list[HandIn]] = {}
        arrivals = as_completed(loop=self._client.loop)
        while True:
            n_ahead = CHUNKS_AHEAD * self.n_workers
            while not suspects and len(flying) < n_ahead and (batch := list(islice(source, size))):
                future = self._send(batch)
                flying[future] = batch
                arrivals.add(future)
            if not flying:
                return
            future = next(arrivals)
            batch = flying.pop(future)
            try:
                verdicts = future.result()
            except ClusterError:
                raise
            except Exception:  # whatever it was, it will be named if it happens to one of them alone
                self._refuse_if_lost()
                suspects += batch
                continue
            yield from verdicts

    def _mark_alone(self, hand_in: HandIn) -> Verdict:
        for n_left in reversed(range(N_TRIES)):
            try:
                return self._send([hand_in]).result()[0]
            except ClusterError:
                raise
            except Exception as error:
                self._refuse_if_lost()
                fault = f"{N_TRIES} workers were lost with it, one after another ({type(error).__name__})"
                if not n_left:
                    return Verdict(hand_in.student, fault=fault)
        raise AssertionError("unreachable: the last try returns")

    def _send(self, batch: list[HandIn]) -> Future:
        return self._client.submit(mark_parcel, self._plugin.name, Parcel(batch), pure=False)

    def _refuse_if_lost(self) -> None:
        if self._client.status != "running":
            raise ClusterError("the scheduler is gone; start it, then this command again: what was marked is kept")


def _start_workers(n_workers: int) -> LocalCluster:
    with dask.config.set(_SCHEDULER_SETTINGS):
        return LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,  # which end by themselves when this process does, however it ends
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,  # dask's own would write to disk what students handed in
            silence_logs=logging.CRITICAL,
            config=_WORKER_SETTINGS,
        )
