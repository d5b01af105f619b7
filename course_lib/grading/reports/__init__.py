"""Everything that is made from the result files, and can be made again from them at any time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.grading.assignment import Assignment, AssignmentError
from course_lib.grading.reports import feedback, gradescope
from course_lib.grading.reports.hand_marks import HandMarks, read_hand_marks
from course_lib.grading.reports.roster import RosterError, read_roster
from course_lib.grading.reports.similar import write_similar
from course_lib.grading.reports.tables import absent_row, grades_header, grades_row, write_csv, write_file
from course_lib.grading.reports.texts import first_names, one_line
from course_lib.grading.reports.uploads import Uploads
from course_lib.grading.results import SubmissionResult, slug

if TYPE_CHECKING:
    from course_lib.grading.reports.gradebook import GradebookError

__all__ = ["Results", "RosterError", "write_reports"]
Results = Callable[[], Iterable[SubmissionResult]]


def write_reports(
    out_dir: Path,
    assignment: Assignment,
    results: Results,
    roster: Path | None = None,
    *,
    similarity: bool = False,
    gradebook: bool = True,
) -> tuple[str, ...]:
    """Write all that people and platforms want to read: grades.csv, canvas.csv, moodle.csv, feedback/SLUG.html and
    gradescope/SLUG.json; with `similarity` similar.csv and similar.html; with `gradebook` nbgrader/gradebook.db.

    Marks and comments that somebody gave by hand in nbgrader/gradebook.db come into all but Gradescope's.

    Args:    results: called to read the results from the start, more than once, in any order; the same results
                 and marks give the same bytes.
             roster: see reports.roster; without it, people are who their files say they are.
    Returns: what the instructor should know, a line each; none of it kept a report from being written.
    Raises:  RosterError if the roster cannot be used; GradebookError, with what would have been returned as its notes,
             if the gradebook can't, after all else is written.
    """
    people = read_roster(roster) if roster else None
    out_dir.mkdir(parents=True, exist_ok=True)
    # First the gradebook: it finds which marks by hand are for an answer that has changed since.
    notes, trouble = _write_gradebook(out_dir, assignment, results) if gradebook else ((), None)
    marks = HandMarks()
    try:
        marks = read_hand_marks(out_dir / "nbgrader" / "gradebook.db", assignment)
    except ValueError as error:
        notes += (str(error),)
    uploads = Uploads(assignment, people, with_total=marks.has_written)
    notes += _write_one_by_one(out_dir, assignment, results, marks, uploads)
    notes += uploads.write(out_dir)
    notes += write_similar(out_dir, assignment, results) if similarity else ()
    if trouble:
        trouble.notes = notes
        raise trouble
    return notes


def _write_gradebook(
    out_dir: Path, assignment: Assignment, results: Results
) -> tuple[tuple[str, ...], GradebookError | None]:
    """Notes, and what is to be raised once the other reports are written."""
    if importlib.util.find_spec("nbgrader") is None:
        return ("no gradebook.db: nbgrader is not installed; pip install 'course-lib[instructor]'",), None
    from course_lib.grading.reports.gradebook import GradebookError, write_gradebook

    try:
        return write_gradebook(out_dir / "nbgrader", assignment, results), None
    except AssignmentError as error:  # the course was installed without its notebooks
        return (f"no gradebook.db: {error}",), None
    except GradebookError as error:
        return (), error
    except OSError as error:  # a full disk, a folder that may not be written, a path that is too long
        return (), GradebookError(
            f"nbgrader/ is unfinished, since a file of it could not be written ({error}); all other reports are there: "
            "see to it, and start the same command again"
        )


def _write_one_by_one(
    out_dir: Path, assignment: Assignment, results: Results, marks: HandMarks, uploads: Uploads
) -> tuple[str, ...]:
    """A student's own files and rows. Returns notes. What could not be graded yet goes to no platform."""
    pages, jsons = out_dir / feedback.FOLDER, out_dir / gradescope.FOLDER
    for folder in (pages, jsons):
        folder.mkdir(exist_ok=True)
    template = feedback.load_template()
    grades, made, changed = [], set(), []
    for result in results():
        standing = marks.standing(assignment, result)
        name = slug(result.student)
        write_file(pages / f"{name}.html", feedback.page(template, assignment, result, standing))
        made.add(f"{name}.html")
        grades.append(grades_row(assignment, result, standing))
        if standing.points is not None:
            write_file(jsons / f"{name}.json", gradescope.results_json(assignment, result, standing))
            made.add(f"{name}.json")
        uploads.add(result, standing)
        changed += [f"{one_line(result.student, 60)} ({', '.join(standing.changed)})"] if standing.changed else []
    grades += [absent_row(assignment, called) for called in uploads.absent()]
    grades.sort(key=lambda row: str(row[0]))
    write_csv(out_dir / "grades.csv", grades_header(assignment), grades, marked=True)
    for file in (*pages.iterdir(), *jsons.iterdir()):
        if file.name not in made and file.suffix in (".html", ".json", ".tmp"):
            file.unlink()  # of a student who is no longer there, or left by a grader that was killed
    return _changed(sorted(changed))


def _changed(students: list[str]) -> tuple[str, ...]:
    if not students:
        return ()
    return (
        "handed in another answer than was marked by hand, so that mark is left out of all reports: "
        f"{first_names(students, 300)}; mark it again in the formgrader, and start the same command again",
    )
