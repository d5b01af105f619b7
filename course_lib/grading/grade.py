"""Grades a folder of submissions: reads, sends out, collects, writes; the only writer of the results.

OUT/results/ holds a file for each student, written whole when all of theirs is marked. A result tells by its digest
what it was made from, so when the grader is started again, after a kill or with new submissions, only the rest is
marked. Reports are made from the result files alone, always all of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

from course_lib.grading.assignment import ASSIGNMENT_FILE, Assignment, read_assignment, write_assignment
from course_lib.grading.background import in_background
from course_lib.grading.cluster import Cluster
from course_lib.grading.marking import Marker
from course_lib.grading.marking_plugin import HandIn, MarkerLike, Verdict
from course_lib.grading.reports import Results, write_reports
from course_lib.grading.reports.gradebook_layout import GradebookError
from course_lib.grading.reports.roster import read_roster
from course_lib.grading.reports.texts import first_names
from course_lib.grading.results import FORMAT, SubmissionResult
from course_lib.grading.results_folder import FOLDERS, ResultsFolder
from course_lib.grading.sandbox.launch import Limits, Sandbox
from course_lib.grading.submissions import Submission, digest_of, find_submissions
from course_lib.grading.unmarked import not_graded, read_unmarked
from course_lib.grading.versions import code_digest


class GradeError(RuntimeError):
    """The grader cannot start; the message says what to do."""


@dataclass(frozen=True)
class Options:
    """How to grade. `scheduler`: address of a dask scheduler; without, `n_workers` processes of our own."""

    sandbox: Sandbox
    limits: Limits = field(default_factory=Limits)
    scheduler: str = ""
    n_workers: int = 2
    roster: Path | None = None
    similarity: bool = True


class Listener:
    """What a grader tells while it works; this one keeps it to itself."""

    def begin(self, n_students: int) -> None: ...
    def stage(self, what: str) -> None: ...
    def kept(self) -> None: ...
    def marked(self, result: SubmissionResult) -> None: ...
    def tell(self, line: str) -> None: ...
    def end(self) -> None: ...


@dataclass(frozen=True)
class Summary:
    """Of a run.

    Attributes:
        n_marked: students marked now; n_kept: those whose results were up to date.
        not_graded: who was not graded in full, through no fault of theirs.
        trouble: why nbgrader's gradebook was not written, though all else was; "" if it was.
    """

    n_marked: int
    n_kept: int
    not_graded: tuple[str, ...]
    trouble: str = ""


def grade(
    source: Path,
    out_dir: Path,
    assignment: Assignment,
    options: Options,
    listener: Listener | None = None,
    make_marker: Callable[[], MarkerLike] | None = None,
    check: Callable[[], None] | None = None,
) -> Summary:
    """Mark what was handed in and is not marked yet; then write all reports.

    Args:
        source: a folder or zip of submissions.
        make_marker: for the workers; must pickle. None: the Marker of this assignment in options.sandbox.
        check: raises what keeps anything from being marked. Called if there is something to mark, while workers start.
    Raises: GradeError, SubmissionsError, InUseError, ClusterError, RosterError; KeyboardInterrupt keeps what is done.
    """
    listener = listener or Listener()
    make_marker = make_marker or partial(Marker, assignment, options.sandbox, options.limits)
    _refuse_overlap(source, out_dir)
    if options.roster:
        read_roster(options.roster)  # one that can't be used costs nobody the time of marking
    with ResultsFolder(out_dir) as results:
        submissions = find_submissions(source, assignment.notebooks, listener.tell)
        students = [one.student for one in submissions]
        _tell_of_gone(results.others(students), listener)
        run = _Run(results, assignment, options, listener)
        listener.begin(len(submissions))
        try:
            run.mark(submissions, make_marker, check, out_dir / ASSIGNMENT_FILE)
            listener.stage("writing reports")
            notes, trouble = _write_reports(out_dir, assignment, partial(results.read_all, students), options)
        finally:
            listener.end()
    for line in notes:
        listener.tell(line)
    return Summary(run.n_marked, run.n_kept, tuple(sorted(run.not_graded)), trouble)


def _refuse_overlap(source: Path, out_dir: Path) -> None:
    """Raises: GradeError if results would lie among the submissions, or be taken for submissions."""
    handed_in, out = source.resolve(), out_dir.resolve()
    if out.is_relative_to(handed_in):
        raise GradeError(f"-o {out_dir} is in {source}, where it would be taken for a hand-in; give a folder elsewhere")
    for folder in FOLDERS:
        if handed_in.is_relative_to(out / folder):
            raise GradeError(f"{source} is in {out_dir / folder}, which the grader itself fills; move the submissions")


def _tell_of_gone(students: list[str], listener: Listener) -> None:
    if students:
        listener.tell(
            f"{len(students)} with results/ from before handed in nothing now: {first_names(students)}; left out of "
            "reports; their files in results/ and nbgrader/ stay, delete them if they have withdrawn"
        )


def default_notebooks(source: Path) -> tuple[str, ...]:
    """The notebooks that most have handed in: numbers that at least half as many have as have the commonest one.

    Raises: GradeError if no file's name tells; SubmissionsError.
    """
    counts = Counter(n for one in find_submissions(source) for n in {file.notebook for file in one.files} if n)
    if not counts:
        raise GradeError("which notebooks? No file's name says so; add e.g. --notebooks 01,03")
    return tuple(sorted(n for n, count in counts.items() if 2 * count >= max(counts.values())))


def stored_assignment(out_dir: Path) -> Assignment | None:
    """The assignment that this folder was graded against, salt and all; None if there was none."""
    path = out_dir / ASSIGNMENT_FILE
    return read_assignment(path) if path.is_file() else None


class _Run:
    """One pass over all submissions."""

    def __init__(self, results: ResultsFolder, assignment: Assignment, options: Options, listener: Listener) -> None:
        self.results, self.assignment, self.options, self.listener = results, assignment, options, listener
        self.n_marked = self.n_kept = 0
        self.not_graded: list[str] = []
        self._waiting: dict[str, SubmissionResult] = {}  # sent out: all of a result but the exercises'
        box = f"isolated: {options.sandbox.isolated}"  # marks given without a sandbox may be forged
        against = (assignment.digest(), code_digest(), repr(options.limits), box, str(FORMAT))
        self._against = hashlib.sha256("\0".join(against).encode()).hexdigest()

    def mark(
        self,
        submissions: list[Submission],
        make_marker: Callable[[], MarkerLike],
        check: Callable[[], None] | None,
        assignment_file: Path,
    ) -> None:
        hand_ins = self._hand_ins(submissions)
        first = next(hand_ins, None)
        if first is None:
            write_assignment(assignment_file, self.assignment)
            return  # nothing to mark: no worker need start
        self.listener.stage("starting workers")
        trial = in_background(check) if check else None
        with Cluster(make_marker, self.options.scheduler, self.options.n_workers) as cluster:
            if trial:
                self.listener.stage("trying the sandbox")
                trial.result()
            write_assignment(assignment_file, self.assignment)  # not before: a refused run leaves no choice behind
            self.listener.stage("marking")
            for verdict in cluster.mark(chain([first], hand_ins), len(submissions) - self.n_kept):
                self._finish(verdict)

    def _hand_ins(self, submissions: Iterable[Submission]) -> Iterator[HandIn]:
        """Those that have no up-to-date result; read when asked for, so that few are in memory at a time."""
        for submission in submissions:
            contents = submission.read()
            of_them = f"{self._against}\0{submission.student}\0{submission.notes}\0{digest_of(contents)}"
            digest = hashlib.sha256(of_them.encode("utf-8", "surrogatepass")).hexdigest()
            if self._is_up_to_date(submission.student, digest):
                self.n_kept += 1
                self.listener.kept()
                continue
            answers, blank = read_unmarked(submission, contents, self.assignment)
            self._waiting[submission.student] = replace(blank, digest=digest)
            yield HandIn(submission.student, answers)

    def _is_up_to_date(self, student: str, digest: str) -> bool:
        try:
            result = self.results.read(student)
        except ValueError as error:
            self.listener.tell(f"the result of {student} is made again: {error}")
            return False
        return result is not None and result.digest == digest and result.is_complete

    def _finish(self, verdict: Verdict) -> None:
        blank = self._waiting.pop(verdict.student)
        exercises = verdict.exercises
        if verdict.fault:
            self.listener.tell(f"{verdict.student} was not graded: {verdict.fault}")
            exercises = not_graded(self.assignment)
        result = replace(blank, exercises=exercises)
        if not result.is_complete:
            self.not_graded.append(verdict.student)
        self.results.write(result)
        self.n_marked += 1
        self.listener.marked(result)


def _write_reports(
    out_dir: Path, assignment: Assignment, results: Results, options: Options
) -> tuple[tuple[str, ...], str]:
    """What the instructor should know, a line each; and why there is no gradebook, "" if there is one."""
    try:
        return write_reports(out_dir, assignment, results, options.roster, similarity=options.similarity), ""
    except GradebookError as error:  # raised when all else is written
        return error.notes, str(error)
