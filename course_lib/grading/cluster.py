"""Marks submissions on several processes: dask.distributed, on this machine or on a cluster that is there already.

The client reads notebooks and sends exercise cells only, so workers need no file system in common with it. Each worker
process keeps one Marker from chunk to chunk. All of them are trusted: what dask pickles between them are our own types
holding text, and students' code runs below the workers, in the Marker's sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice

from distributed import Client, Future, as_completed

from course_lib.grading.local_workers import LocalWorkers
from course_lib.grading.marking_plugin import ClusterError, HandIn, MarkerLike, Marking, Parcel, Verdict, mark_parcel
from course_lib.grading.versions import code_digest

N_TRIES = 3  # of a submission alone on a cluster, before it stays ungraded
CHUNK = 20  # submissions sent at once: dask's own millisecond or two is then lost among half a second of marking
CHUNKS_AHEAD = 3  # for each worker: one being marked, one waiting, one on its way
WAIT_S = 60  # for the first worker of a cluster
# To fetch what is ready: when a worker dies with a result that was not fetched, dask may wait for it for ever.
FETCH_S = 20


class Cluster:
    """Worker processes that mark; a context manager.

    Args:
        make_marker: makes a worker's Marker; must pickle.
        scheduler: address of a dask scheduler ("tcp://host:8786"); "": worker processes of our own, on this machine.
        n_workers: how many of our own.
    Raises:  ClusterError.
    """

    def __init__(self, make_marker: Callable[[], MarkerLike], scheduler: str = "", n_workers: int = 2) -> None:
        self._make_marker, self._scheduler, self._n_local = make_marker, scheduler, n_workers
        self._start()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def n_workers(self) -> int:
        """Processes that mark now; at least 1."""
        return max(1, len(self._client.nthreads()))

    def mark(self, hand_ins: Iterable[HandIn], n_expected: int) -> Iterator[Verdict]:
        """Verdicts in the order in which they come; hand-ins are drawn when workers need them.

        When a worker dies, all submissions that are on their way are marked again alone, with nothing else on the
        cluster: so one that kills workers takes no other with it.

        Args:    n_expected: about how many hand-ins there are; of few, smaller chunks are sent.
        Raises:  ClusterError if the scheduler, or its last worker, is lost.
        """
        source = iter(hand_ins)
        size = max(1, min(CHUNK, n_expected // (CHUNKS_AHEAD * self.n_workers)))
        while True:
            suspects = yield from self._mark_chunks(source, size)
            if not suspects:
                return
            yield from map(self._mark_alone, suspects)

    def close(self) -> None:
        """End our workers; on someone else's, end our sandboxes."""
        if self._local is None and self._is_registered and self._client.status == "running":
            self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close()
        if self._local is not None:
            self._local.close()

    def _start(self) -> None:
        self._plugin, self._is_registered = Marking(self._make_marker, code_digest()), False
        self._local = None if self._scheduler else LocalWorkers(self._n_local)
        where = self._local.cluster if self._local else self._scheduler  # the former has the certificates, too
        try:
            self._client = Client(where, timeout=WAIT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(f"no dask scheduler answers at {self._scheduler}: {error}") from error
        try:
            self._wait_for_workers()
            self._is_registered = True
            self._client.register_plugin(self._plugin)
        except ImportError as error:
            self.close()
            raise ClusterError(f"a worker cannot import {error.name}; install the same course_lib there") from error
        except BaseException:
            self.close()
            raise

    def _wait_for_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=WAIT_S)
        except TimeoutError as error:
            raise ClusterError(f"the scheduler has no worker (waited {WAIT_S} s); start some") from error

    def _renew(self) -> None:
        """After a worker died. dask starts its own again, but not one that dies while it starts."""
        if self._client.status != "running":
            raise ClusterError("the scheduler is gone; start it, then this command again: what was marked is kept")
        if self._local is None:
            self._wait_for_workers()
        else:
            self.close()
            self._start()

    def _mark_chunks(self, source: Iterator[HandIn], size: int) -> Generator[Verdict, None, list[HandIn]]:
        """Until the source is empty, or a chunk was lost. Returns: the hand-ins that were on their way then."""
        flying: dict[Future, list[HandIn]] = {}
        arrivals = as_completed(loop=self._client.loop)
        while True:
            n_ahead = CHUNKS_AHEAD * self.n_workers
            while len(flying) < n_ahead and (batch := list(islice(source, size))):
                future = self._send(batch)
                flying[future] = batch
                arrivals.add(future)
            if not flying:
                return []
            future = next(arrivals)
            try:
                verdicts = future.result(timeout=FETCH_S)
            except ClusterError:
                raise
            except Exception:  # whatever it was, it will be named if it happens to one of them alone
                self._client.cancel(list(flying))
                self._renew()
                return [one for batch in flying.values() for one in batch]
            del flying[future]
            yield from verdicts

    def _mark_alone(self, hand_in: HandIn) -> Verdict:
        for n_left in reversed(range(N_TRIES)):
            future = self._send([hand_in])
            next(as_completed([future], loop=self._client.loop))  # marking takes as long as it takes; fetching does not
            try:
                return future.result(timeout=FETCH_S)[0]
            except ClusterError:
                raise
            except Exception as error:
                self._client.cancel([future])
                self._renew()
                if not n_left:
                    fault = f"its worker was lost, {N_TRIES} times out of {N_TRIES} ({type(error).__name__})"
                    return Verdict(hand_in.student, fault=fault)
        raise AssertionError("unreachable: the last try returns")

    def _send(self, batch: list[HandIn]) -> Future:
        return self._client.submit(mark_parcel, self._plugin.name, Parcel(batch), pure=False)
