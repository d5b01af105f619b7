"""`course release`: write notebooks/ (what learners open) from solutions/ (where notebooks are edited).

nbgrader's own preprocessors do the clearing. What they need, cell metadata, is made here from the markers in the
source, so that authors write markers only:

| marker | in | becomes |
|---|---|---|
| `# EXERCISE 01.2` | first line of a code cell | a solution cell; its `### BEGIN SOLUTION` regions become stubs |
| `check("01.2", ...)` | the cell after it | a locked cell, graded with the exercise's points |
| `### BEGIN HIDDEN TESTS` | any code cell | a graded cell whose region is removed |
| `<!-- WRITTEN 01.7 points=4 -->` | a markdown cell | marked by hand; its solution region becomes a stub |
| `# NBVAL_CHECK_OUTPUT` | any code cell | the one kind of cell that keeps its stored output |

It also brings the notebooks in solutions/ into their one form: badge, set-up cell, ids, no stray outputs.
"""

from __future__ import annotations

import hashlib
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.grading.cells import TEXT_STUB, grade_id
from course_lib.grading.colab import BADGE_LINE, SETUP_MARK, ReleaseError, badge, repository, setup_source
from course_lib.running.executing import execute_notebook, write_text_atomically

if TYPE_CHECKING:
    from nbformat import NotebookNode

EXERCISE_MARK = re.compile(r"^# EXERCISE (\d\d\.\d+)\s*$", re.MULTILINE)
CHECK_CALL = re.compile(r"""^check\(["'](\d\d\.\d+)["']""", re.MULTILINE)
WRITTEN_MARK = re.compile(r"^<!-- WRITTEN (\d\d\.\d+) points=(\d+(?:\.\d+)?) -->$", re.MULTILINE)
COMPARED_MARK = "NBVAL_CHECK_OUTPUT"
SOLUTION_MARK, HIDDEN_MARK = "BEGIN SOLUTION", "BEGIN HIDDEN TESTS"
CODE_STUB = "# YOUR CODE HERE\nraise NotImplementedError"


def release(root: Path, *, check: bool = False, refresh: bool = False) -> list[Path]:
    """Bring `root`/solutions into its one form and write `root`/notebooks from it.

    Args:
        check: write nothing, only find what would change.
        refresh: execute each notebook at the smoke profile first, and store the outputs that CI compares.
    Returns: the files that changed (or would change), also notebooks that lost their source.
    Raises:  ReleaseError.
    """
    repo = repository(root)
    wanted: dict[Path, str] = {}
    for path in sorted((root / "solutions").glob("*.ipynb")):
        notebook = normalise(read_source(path), path.stem, repo)
        if refresh:
            refresh_outputs(notebook, path)
        wanted[path] = serialise(notebook)
        wanted[root / "notebooks" / path.name] = serialise(to_learner(notebook, path.stem))
    if not wanted:
        raise ReleaseError(f"{root.name}/solutions holds no notebooks; run this in the course's repository")
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    orphans = [path for path in sorted((root / "notebooks").glob("*.ipynb")) if path not in wanted]
    if not check:
        (root / "notebooks").mkdir(exist_ok=True)
        for path in changed:
            write_text_atomically(path, wanted[path])
        for path in orphans:
            path.unlink()
    return changed + orphans


def read_source(path: Path) -> NotebookNode:
    """Read a notebook as it is; nbformat.read would give cells without an id another one each time.

    Raises: ReleaseError if it is no notebook of format 4.
    """
    import nbformat

    try:
        notebook = nbformat.v4.reads(path.read_text("utf-8"))
    except (ValueError, AttributeError, TypeError) as error:
        raise ReleaseError(f"{path.name} is no readable notebook: {error}") from error
    if notebook.get("nbformat") != 4 or "cells" not in notebook:
        raise ReleaseError(f"{path.name}: got format {notebook.get('nbformat')}, need 4; save it again in JupyterLab")
    return notebook


def normalise(notebook: NotebookNode, name: str, repo: str) -> NotebookNode:
    """The one form of a notebook in solutions/: badge, set-up cell, metadata from markers, ids, no stray outputs."""
    notebook = deepcopy(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    course = notebook.metadata.get("course")
    notebook.metadata = type(notebook.metadata)(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        **({"course": course} if course else {}),
    )
    _put_badge(notebook, name, repo)
    _put_setup_cell(notebook, repo)
    _put_ids(notebook, name)
    for number, cell in enumerate(notebook.cells):
        cell.source = cell.source.rstrip()
        _put_metadata(cell, f"{name}, cell {number} ({cell.id})")
    _keep_compared_outputs(notebook, notebook)
    return notebook


def to_learner(notebook: NotebookNode, name: str) -> NotebookNode:
    """What learners open: nbgrader's preprocessors, in the order of its own `generate_assignment`."""
    try:
        from nbgrader import preprocessors
        from traitlets.config import Config
    except ImportError as error:
        raise ReleaseError("nbgrader is not installed; pip install -e '.[instructor]'") from error
    config = Config()
    config.ClearSolutions.code_stub = {"python": CODE_STUB}
    config.ClearSolutions.text_stub = TEXT_STUB
    kept = {cell.id: (cell.outputs, cell.execution_count) for cell in notebook.cells if cell.cell_type == "code"}
    learner, resources = deepcopy(notebook), {}
    steps = ("LockCells", "ClearSolutions", "ClearOutput", "ClearHiddenTests", "ComputeChecksums", "CheckCellMetadata")
    for step in steps:
        try:
            learner, resources = getattr(preprocessors, step)(config=config).preprocess(learner, resources)
        except Exception as error:  # nbgrader raises bare RuntimeErrors and its own ValidationError
            raise ReleaseError(f"{name}: nbgrader's {step} refused it: {error}") from error
    for cell in learner.cells:
        cell.source = cell.source.rstrip()
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = kept[cell.id]  # ClearOutput clears what CI compares, too
    return learner


def serialise(notebook: NotebookNode) -> str:
    """The notebook as text, the same bytes for the same content."""
    import nbformat

    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def refresh_outputs(notebook: NotebookNode, path: Path) -> None:
    """Execute a copy at the smoke profile and take over the outputs of the compared cells."""
    executed = deepcopy(notebook)
    error = execute_notebook(executed, path.parent, {"COURSE_PROFILE": "smoke", "COURSE_STILL": "1"})
    if error:
        raise ReleaseError(f"{path.name} fails, so its outputs cannot be refreshed: {error}")
    _keep_compared_outputs(notebook, executed)


def _put_badge(notebook: NotebookNode, name: str, repo: str) -> None:
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ReleaseError(f"{name}: need a markdown cell with the title ('# ...') first")
    title, *rest = BADGE_LINE.sub("", first.source).split("\n")
    text = "\n".join(rest).strip("\n")
    first.source = f"{title}\n\n{badge(name, repo)}" + (f"\n\n{text}" if text else "")


def _put_setup_cell(notebook: NotebookNode, repo: str) -> None:
    """Replace the set-up cell, or put one before the first code cell."""
    import nbformat

    codes = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    marked = [i for i in codes if notebook.cells[i].source.startswith(SETUP_MARK)]
    if not marked:
        cell = nbformat.v4.new_code_cell()
        del cell["id"]
        notebook.cells.insert(codes[0] if codes else len(notebook.cells), cell)
        marked = codes[:1] or [len(notebook.cells) - 1]
    notebook.cells[marked[0]].source = setup_source(repo)


def _put_ids(notebook: NotebookNode, name: str) -> None:
    """Give an id to each cell that has none, or another's; the ids that are there stay."""
    seen: set[str] = set()
    for cell in notebook.cells:
        text, n_tries = f"{name}\n{cell.source}", 0
        while not cell.get("id") or cell.id in seen:
            cell["id"] = hashlib.sha256(f"{text}\n{n_tries}".encode()).hexdigest()[:8]
            n_tries += 1
        seen.add(cell.id)


def _put_metadata(cell: NotebookNode, where: str) -> None:
    """Cell metadata from the markers in the source; tags stay, everything else (timings, folds) goes."""
    source, metadata = cell.source, {}
    if tags := cell.metadata.get("tags"):
        metadata["tags"] = tags
    exercise, written = EXERCISE_MARK.search(source), WRITTEN_MARK.search(source)
    if cell.cell_type == "code" and exercise:
        if SOLUTION_MARK not in source:
            raise ReleaseError(f"{where}: exercise {exercise[1]} has no '### {SOLUTION_MARK}' region to clear")
        metadata["course"] = {"exercise": exercise[1]}
        metadata["nbgrader"] = _nbgrader(grade_id("exercise", exercise[1]), solution=True)
    elif cell.cell_type == "markdown" and written:
        metadata["course"] = {"written": written[1]}
        metadata["nbgrader"] = _nbgrader(grade_id("written", written[1]), solution=True, points=_number(written[2]))
    elif SOLUTION_MARK in source:
        raise ReleaseError(f"{where}: a solution outside an exercise; begin the cell with '# EXERCISE NN.N'")
    elif cell.cell_type == "code" and HIDDEN_MARK in source:
        metadata["nbgrader"] = _nbgrader(grade_id("hidden", cell.id), points=0)
    elif cell.cell_type == "code" and (call := CHECK_CALL.search(source)):
        metadata["course"] = {"check": call[1]}
        metadata["nbgrader"] = _nbgrader(grade_id("check", call[1]), points=_points(call[1], where))
    cell.metadata = type(cell.metadata)(metadata)


def _points(exercise_id: str, where: str) -> int:
    from course_lib.exercises.checking import get_exercise  # here: it imports torch

    try:
        return get_exercise(exercise_id).points
    except KeyError as error:
        raise ReleaseError(f"{where}: {error.args[0]}") from error


def _number(text: str) -> int | float:
    """4 stays a whole number, so that notebooks keep their bytes."""
    return float(text) if "." in text else int(text)


def _nbgrader(name: str, *, solution: bool = False, points: float | None = None) -> dict[str, object]:
    """nbgrader's cell metadata; with `points`, the cell is graded."""
    graded = {} if points is None else {"points": points}
    return {
        "schema_version": 3,
        "grade_id": name,
        "grade": points is not None,
        "solution": solution,
        "locked": points is not None and not solution,
        "task": False,
        **graded,
    }


def _keep_compared_outputs(notebook: NotebookNode, executed: NotebookNode) -> None:
    """Of the outputs in `executed`, keep those that stay in git: of the cells that CI compares."""
    pairs = zip(notebook.cells, executed.cells, strict=True)
    for number, (cell, ran) in enumerate([pair for pair in pairs if pair[0].cell_type == "code"], start=1):
        cell.outputs = deepcopy(ran.outputs) if COMPARED_MARK in cell.source else []
        cell.execution_count = number if cell.outputs else None  # nbval refuses outputs without one
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number
