"""Marking on many processes: everyone once, faults where they belong, workers that die, clusters that do not fit."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster

from course_lib.exercises import PASSED
from course_lib.grading import cluster as clusters
from course_lib.grading import marking_plugin
from course_lib.grading.answers import Answer
from course_lib.grading.cluster import CHUNK, CHUNKS_AHEAD, Cluster
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
    """The address of a cluster that somebody else started; its workers are threads of this process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None
    ) as theirs:
        yield theirs.scheduler_address


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
        LocalCluster(n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None) as empty,
        pytest.raises(ClusterError, match="has no worker .waited 0.5 s.; start some"),
    ):
        Cluster(partial(FakeMarker, tmp_path), empty.scheduler_address)


def test_a_killed_worker_takes_no_one_with_it(tmp_path, monkeypatch):
    """One submission kills every worker that it meets, one only the first: the others never notice."""
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
