"""Marks submissions on several processes: dask.distributed, on this machine or on a cluster that is there already.

The client reads notebooks and sends exercise cells only, so workers need no file system in common with it. Each worker
process keeps one Marker from chunk to chunk. All of them are trusted: what dask pickles between them are our own types
holding text, and students' code runs below the workers, in the Marker's sandbox.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import dask
from distributed import Client, Future, LocalCluster, as_completed

from course_lib.grading.marking_plugin import ClusterError, HandIn, MarkerLike, Marking, Parcel, Verdict, mark_parcel
from course_lib.grading.versions import code_digest

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
        self._is_registered = False
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
        if self._local is None and self._is_registered and self._client.status == "running":
            self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close()
        if self._local is not None:
            self._local.close()

    def _prepare_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WAIT_S)
            self._is_registered = True
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
