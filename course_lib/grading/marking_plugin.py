"""What runs in each worker process of a cluster: a Marker, kept from chunk to chunk."""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from distributed import WorkerPlugin, get_worker

from course_lib.grading.results import ExerciseResult
from course_lib.grading.versions import code_digest

if TYPE_CHECKING:
    from course_lib.grading.answers import Answer

IDLE_S = 600  # after which a worker ends its sandbox: whoever sent the work may have been killed


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
        self._idle: threading.Timer | None = None
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
        self._close_if_idle()

    def mark(self, hand_ins: Iterable[HandIn]) -> list[Verdict]:
        """Raises: ClusterError if `setup` raised one (dask goes on all the same), or the grader has left."""
        if self._refusal:
            raise ClusterError(self._refusal)
        with self._turn:
            if self._idle:
                self._idle.cancel()
            verdicts = [self._mark_one(one) for one in hand_ins if not self._is_over]
            if self._is_over:
                self._close()
                raise ClusterError("the grader that sent this has left")
            self._idle = threading.Timer(IDLE_S, self._close_if_idle)
            self._idle.daemon = True
            self._idle.start()
        return verdicts

    def _close_if_idle(self) -> None:
        if self._turn.acquire(timeout=1):
            self._close()
            self._turn.release()

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
