"""Marking on many processes: everyone once, faults where they belong, workers that die, clusters that do not fit."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client, Future, Security
from distributed.comm import connect
from graded import borrowed

from course_lib.exercises.framework import PASSED
from course_lib.grading import cluster as clusters
from course_lib.grading import marking_plugin
from course_lib.grading.answers import Answer
from course_lib.grading.cluster import CHUNK, CHUNKS_AHEAD, Cluster
from course_lib.grading.local_workers import LocalWorkers
from course_lib.grading.marking_plugin import ClusterError, HandIn, Verdict
from course_lib.grading.results import ExerciseResult


class FakeMarker:
    """Marks without a sandbox; notes in `folder` when it is made and closed. Students' names say what they do to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / f"made-{time.monotonic_ns()}").touch()

    def mark(self, student: str, answers: Mapping[str, Answer]) -> tuple[ExerciseResult, ...]:
        if student.startswith("killer"):
            os.kill(os.getpid(), signal.SIGKILL)
        if student.startswith("flaky") and not (self.folder / student).exists():
            (self.folder / student).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if student.startswith("bug"):
            raise ZeroDivisionError("a fault of ours")
        return tuple(ExerciseResult(one, student, PASSED, 1, 2, answer.source) for one, answer in answers.items())

    def close(self) -> None:
        (self.folder / f"closed-{time.monotonic_ns()}").touch()


def hand_in(student: str) -> HandIn:
    return HandIn(student, {"01.1": Answer("01.1", f"# {student} \ud800\0")})  # what a notebook can hold


def made_and_closed(folder: Path) -> Counter:
    return Counter(path.name.split("-")[0] for path in folder.glob("*-*"))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with borrowed(n_workers=2, threads_per_worker=2) as address:
        yield address


def test_everyone_is_marked_once_on_an_existing_cluster(scheduler, tmp_path):
    students = [f"s{i}" for i in range(101)]
    with Cluster(partial(FakeMarker, tmp_path), scheduler) as cluster:
        assert cluster.n_workers == 2
        verdicts = list(cluster.mark(map(hand_in, students), len(students)))
    assert sorted(one.student for one in verdicts) == sorted(students)
    for verdict in verdicts:
        (result,) = verdict.exercises
        assert (result.title, result.message) == (verdict.student, f"# {verdict.student} \ud800\0")
    counts = made_and_closed(tmp_path)
    assert counts["made"] == counts["closed"] == 2  # a Marker a process, kept from chunk to chunk, closed in the end


def test_nothing_to_mark(scheduler, tmp_path):
    with Cluster(partial(FakeMarker, tmp_path), scheduler) as cluster:
        assert list(cluster.mark([], 0)) == []


def test_few_are_in_memory_at_a_time(scheduler, tmp_path):
    drawn = []

    def hand_ins() -> Iterator[HandIn]:
        for i in range(1000):
            drawn.append(i)
            yield hand_in(f"s{i}")

    with Cluster(partial(FakeMarker, tmp_path), scheduler) as cluster:
        ahead = [len(drawn) - n_marked for n_marked, _ in enumerate(cluster.mark(hand_ins(), 1000))]
    assert len(drawn) == 1000 and max(ahead) <= CHUNK * (CHUNKS_AHEAD * 2 + 1)


def test_a_fault_of_ours_costs_one_submission_and_a_marker(scheduler, tmp_path):
    with Cluster(partial(FakeMarker, tmp_path), scheduler) as cluster:
        verdicts = {v.student: v for v in cluster.mark(map(hand_in, ("a", "bug", "c")), 3)}
    assert verdicts["bug"] == Verdict("bug", fault=verdicts["bug"].fault)
    for words in ("ZeroDivisionError", "a fault of ours", "test_cluster.py, line"):
        assert words in verdicts["bug"].fault
    assert all(verdicts[student].exercises and not verdicts[student].fault for student in "ac")
    counts = made_and_closed(tmp_path)
    assert counts["made"] == counts["closed"]


def test_a_worker_with_another_version_of_the_course_is_refused(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(clusters, "code_digest", lambda: "here")
    monkeypatch.setattr(marking_plugin, "code_digest", lambda: "there")
    with pytest.raises(ClusterError, match="another version of course_lib .there, here here.*install the same"):
        Cluster(partial(FakeMarker, tmp_path), scheduler)
    assert not made_and_closed(tmp_path)


def test_a_scheduler_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(clusters, "WAIT_S", 0.5)
    with pytest.raises(ClusterError, match="no dask scheduler answers at tcp://127.0.0.1:1"):
        Cluster(partial(FakeMarker, tmp_path), "tcp://127.0.0.1:1")


def test_a_scheduler_without_workers(monkeypatch, tmp_path):
    monkeypatch.setattr(clusters, "WAIT_S", 0.5)
    with (
        borrowed(n_workers=0) as empty,
        pytest.raises(ClusterError, match="has no worker .waited 0.5 s.; start some"),
    ):
        Cluster(partial(FakeMarker, tmp_path), empty)


def test_a_killed_worker_takes_no_one_with_it(tmp_path, monkeypatch):
    """One submission kills every worker that it meets, one only the first: the others never notice."""
    waits, fetch = set(), Future.result

    def fetched(future: Future, timeout: float | None = None) -> object:
        waits.add(timeout)
        return fetch(future, timeout)

    monkeypatch.setattr(Future, "result", fetched)
    monkeypatch.setattr(clusters, "N_TRIES", 1)  # alone; each costs new workers
    students = ["a", "b", "flaky", "c", "killer", "d"]
    with Cluster(partial(FakeMarker, tmp_path), n_workers=1) as cluster:
        (worker,) = {p.pid for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())}
        verdicts = list(cluster.mark(map(hand_in, students), len(students)))
    assert sorted(one.student for one in verdicts) == sorted(students)
    for verdict in verdicts:
        assert bool(verdict.exercises) != bool(verdict.fault)
        assert bool(verdict.fault) == (verdict.student == "killer"), verdict
    assert "its worker was lost, 1 times out of 1 (KilledWorker)" in next(v.fault for v in verdicts if v.fault)
    assert not psutil.pid_exists(worker)
    assert waits == {clusters.FETCH_S}  # a result that was lost with its worker is not waited for


# ---- our own workers, on a machine that others use, too


@pytest.fixture(scope="module")
def own() -> Iterator[LocalWorkers]:
    with ExitStack() as stack, warnings.catch_warnings():
        with suppress(OSError):  # then somebody else has it
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
        warnings.simplefilter("error")  # such as "Port 8787 is already in use"
        workers = LocalWorkers(1)
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def client(own) -> Iterator[Client]:
    with Client(own.cluster, set_as_default=False) as client:
        yield client


def comes_in(address: str, key: Security) -> bool:
    """Whether one with this key gets to talk to a scheduler or worker; as Client begins, too."""

    async def knock() -> bool:
        try:
            comm = await connect(address, timeout=5, **key.get_connection_args("client"))
        except (OSError, TypeError, RuntimeError):  # turned away; no certificate; no encryption where it has one
            return False
        await comm.close()
        return True

    return asyncio.run(knock())


def comes_in_without_certificate(address: str) -> bool:
    """Whether one gets in who has no certificate, and does not mind whose the server's is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = address.removeprefix("tls://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as line:
        try:
            with context.wrap_socket(line) as talk:
                return talk.recv(1) != b""
        except (ssl.SSLError, ConnectionError):
            return False


def test_no_stranger_gives_our_workers_something_to_do(own, client):
    (worker,) = client.scheduler_info()["workers"]
    for address in (own.cluster.scheduler_address, worker):
        assert comes_in(address, own.cluster.security)
        for key in (Security(), Security.temporary()):  # the former is that of a bare Client(address)
            assert not comes_in(address, key)
            assert not comes_in(address.replace("tls://", "tcp://"), key)
        assert not comes_in_without_certificate(address)


def test_our_workers_show_strangers_no_page(own, client):
    (worker,) = client.scheduler_info()["workers"].values()
    for port in (own.cluster.scheduler.http_server.port, worker["services"]["dashboard"]):
        for page in ("", "info/main/workers.html", "json/counts.json", "metrics", "status", "health"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10)


def test_dask_puts_no_folder_that_others_can_write_before_our_code(own, client):
    (theirs,) = client.run(lambda: sys.path).values()
    (worker,) = client.scheduler_info()["workers"].values()
    folders = {Path(worker["local_directory"]), Path(own.cluster.scheduler.local_directory)}
    assert {str(one) for one in folders} <= set(theirs)
    for folder in folders | {Path(one) for one in theirs if one not in sys.path}:  # there: what other tests' dask added
        private = next(one for one in folder.parents if one.name.startswith("course-dask-"))
        assert private.stat().st_mode & 0o777 == 0o700 and private.stat().st_uid == os.getuid()


def test_our_workers_leave_nothing_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    workers = LocalWorkers(0)
    assert [path.name.startswith("course-dask-") for path in tmp_path.iterdir()] == [True]
    workers.close()
    assert not list(tmp_path.iterdir())
