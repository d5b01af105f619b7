"""Attacks on the grader. Each works on a grader without its defences; on ours it costs the attacker one exercise."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

if sys.platform != "linux":
    pytest.skip("the sandbox is made of Linux's namespaces", allow_module_level=True)

from attacks import breaking, exhausting, forging, lingering, peeking, replies
from attacks.contained import Naive, bwrap, evidence
from attacks.table import ATTACKED, BESIDE, BREACH, HANGS, ROOT, Attack, solution

from course_lib.grading.answers import Answer
from course_lib.grading.assignment import Assigned, Assignment
from course_lib.grading.marking import Marker
from course_lib.grading.results import FAILED, NOT_ATTEMPTED, PASSED, STOPPED, ExerciseResult, SubmissionResult
from course_lib.grading.sandbox import frames
from course_lib.grading.sandbox.launch import Limits, Sandbox

pytestmark = pytest.mark.skipif(not bwrap(), reason="no bubblewrap: apt install bubblewrap")

MIB = 1 << 20
LIMITS = Limits(
    wall_s=1.0, cpu_s=5, memory_bytes=600 * MIB, reply_bytes=8 * MIB, tmpfs_bytes=4 * MIB, file_bytes=2 * MIB
)
ATTACKS: tuple[Attack, ...] = (
    *forging.FORGERIES, *peeking.BURGLARIES, *breaking.ENDINGS, *breaking.STALLS, *breaking.TROUBLES,
    *exhausting.BOUNDED, *exhausting.ENDLESS, *lingering.LINGERERS, *replies.WRITERS,
    *map(replies.returner, replies.ODD_TENSORS),
)  # fmt: skip
SHOWN = [attack for attack in ATTACKS if attack.evidence]
EACH = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
EACH_SHOWN = pytest.mark.parametrize("attack", SHOWN, ids=lambda attack: attack.name.replace(" ", "-"))
RIGHT = {exercise_id: solution(exercise_id) for exercise_id in (ATTACKED, *BESIDE)}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What there is to be had on this machine: secret files, listening sockets."""
    base = tmp_path_factory.mktemp("machine")
    home, other, writable = base / "house", base / "submissions" / "eve", base / "w"
    for folder in (home, other, writable):
        folder.mkdir(parents=True)
    (home / "secret.txt").write_text("the salt")
    (other / "01.ipynb").write_text("an answer")
    token = f"course{os.getpid()}"
    listening = [socket.create_server(("127.0.0.1", 0))]
    port = listening[0].getsockname()[1]
    for name in (str(writable / "socket"), f"\0{token}"):
        listening.append(socket.socket(socket.AF_UNIX))
        listening[-1].bind(name)
        listening[-1].listen()
    if socket.has_dualstack_ipv6():
        listening.append(socket.create_server(("::1", port), family=socket.AF_INET6))
    for one in listening:
        threading.Thread(target=_greet, args=(one,), daemon=True).start()
    yield {
        "SECRET": str(home / "secret.txt"), "HOME": str(home), "OTHER": str(other / "01.ipynb"), "ROOT": str(ROOT),
        "WRITABLE": str(writable), "BASE": str(base), "TOKEN": token, "NAME": token[:15], "PORT": str(port),
        "SECONDS": f"4321.{os.getpid()}", "HOSTNAME": socket.gethostname(), "NUMBER": str(os.getpid()),
    }  # fmt: skip
    for one in listening:
        one.close()


def _greet(server: socket.socket) -> None:
    while True:
        try:
            line, _ = server.accept()
        except OSError:  # closed at the end of the tests
            return
        with line:
            line.sendall(b"welcome")


@pytest.fixture(scope="module")
def naive(places: dict[str, str]) -> Iterator[Naive]:
    graders = Naive(Path(places["BASE"]))
    yield graders
    graders.close()


class Class:
    """A real Marker, and a look at what it leaves on the machine."""

    def __init__(self) -> None:
        os.environ["COURSE_TEST_SECRET"] = "the salt"
        self.assignment = Assignment("hw", "salt", tuple(Assigned(one, 2.0) for one in (ATTACKED, *BESIDE)))
        self.marker = Marker(self.assignment, Sandbox.bubblewrap(), LIMITS)
        self.before: dict[str, str] = {}

    def mark(self, student: str, cells: dict[str, str]) -> tuple[ExerciseResult, ...]:
        return self.marker.mark(student, {one: Answer(one, source) for one, source in cells.items()})

    def mark_innocent(self, student: str) -> str:
        """The marks of right answers alone, as their file would hold them."""
        result = SubmissionResult(student, "", exercises=self.mark(student, RIGHT))
        assert all((one.status, one.points) == (PASSED, 2.0) for one in result.exercises), result
        return result.to_json()

    def traces(self, places: dict[str, str]) -> set[str]:
        """Processes below this one, files where an attack could leave some, mounts."""
        found = {f"process {one.pid} {one.name()}" for one in psutil.Process().children(recursive=True)}
        found |= {f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines()}
        for folder in (places["WRITABLE"], places["HOME"], "/tmp", "/var/tmp", "/dev/shm", "/dev", "/"):
            names = os.listdir(folder)
            found |= {
                f"{folder}/{name}" for name in names if places["TOKEN"] in name or folder.startswith(places["BASE"])
            }
        return found


@pytest.fixture(scope="module")
def school() -> Iterator[Class]:
    ours = Class()
    ours.before = {student: ours.mark_innocent(student) for student in ("bob", "mallory")}
    yield ours
    ours.marker.close()
    del os.environ["COURSE_TEST_SECRET"]


def attack_ours(school: Class, source: str) -> ExerciseResult:
    """The attacker's result, having seen that right answers beside and after it are marked as they were before it."""
    result, *beside = school.mark("mallory", RIGHT | {ATTACKED: source})
    before = SubmissionResult.from_json(school.before["mallory"])
    assert SubmissionResult("mallory", "", exercises=(before.exercises[0], *beside)).to_json() == before.to_json()
    assert school.mark_innocent("bob") == school.before["bob"]
    return result


@EACH_SHOWN
def test_without_a_defence_the_attack_works(naive, places, attack):
    patience_s = 0.4 if attack.evidence == HANGS else 60.0
    cells = [(ATTACKED, attack.source(places)), (ATTACKED, RIGHT[ATTACKED])]
    answer = naive.grade(cells, attack.how, patience_s)
    assert attack.evidence in evidence(answer), answer


def test_every_attack_is_shown_to_work_or_its_twin_is():
    shown = {attack.name for attack in SHOWN}.union(replies.FOOLS, replies.ENDERS, replies.INCOMPARABLE)
    assert [attack.name for attack in ATTACKS if not attack.evidence and attack.twin not in shown] == []
    assert [attack.name for attack in SHOWN if attack.twin] == []


@pytest.mark.parametrize("name", [*replies.FOOLS, *replies.ENDERS])
def test_without_checks_a_frame_fools_its_reader_or_ends_it(name):
    data = (replies.FOOLS | replies.ENDERS)[name]
    if name in replies.FOOLS:
        assert isinstance(replies.believed(data), dict)
    else:
        with pytest.raises(Exception) as ended:
            replies.believed(data)
        assert not isinstance(ended.value, ValueError)
    with pytest.raises(frames.FrameError):
        frames.read_reply(frames.unpack(data[8:]), 4)


def test_without_checks_odd_tensors_stop_the_comparison(naive):
    cells = [(ATTACKED, replies.returner(what).cell) for what in replies.INCOMPARABLE]
    marks = naive.grade(cells, "allclose", 60.0)["marks"]
    assert len(marks) == len(cells)
    for what, mark in zip(replies.INCOMPARABLE, marks, strict=True):
        assert "Error: " in mark["message"], f"{what}: {mark}"


@EACH
def test_the_attack_costs_the_attacker_one_exercise_and_nobody_anything(school, places, attack):
    before = school.traces(places)
    result = attack_ours(school, attack.source(places))
    assert result.points == 0 and result.status in (FAILED, STOPPED, NOT_ATTEMPTED), result.message
    assert BREACH.upper() not in result.message and attack.says in result.message, result.message
    assert "is no Python" not in result.message or "parentheses" in attack.name or "nested" in attack.name
    assert school.traces(places) == before  # the worker is the same, too: no attack is taken for a fault of ours


@pytest.mark.parametrize("what", lingering.LEAVE_AND_FIND)
def test_nothing_can_be_left_for_the_next_student(naive, school, places, what):
    leave, find = lingering.leaver(what).source(places), lingering.finder(what).source(places)
    assert [mark["passed"] for mark in naive.grade([(ATTACKED, leave), (ATTACKED, find)])["marks"]] == [False, True]
    assert attack_ours(school, leave).points == 0
    result = attack_ours(school, find)
    assert result.points == 0 and result.status in (FAILED, STOPPED), result.message
