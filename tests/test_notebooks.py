"""The form that every notebook in solutions/ has (nbval, started by plain `pytest`, runs their cells)."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from course_lib.exercises.checking import list_exercises
from course_lib.grading.colab import badge, repository, setup_source
from course_lib.grading.release import CHECK_CALL, COMPARED_MARK, EXERCISE_MARK

ROOT = Path(__file__).parents[1]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
BOTH = SOLUTIONS + sorted((ROOT / "notebooks").glob("*.ipynb"))
MAX_CODE_LINES = 35
ABSOLUTE_PATH = re.compile(r"""["'(\s](/(?:home|Users|root|tmp|work|content|mnt|opt)/|[A-Z]:\\)""")


def cells(path: Path) -> list[nbformat.NotebookNode]:
    return nbformat.read(path, as_version=4).cells


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


every_notebook = pytest.mark.parametrize("path", BOTH, ids=named)
every_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=named)


def test_there_are_notebooks():
    assert [path.stem[:2] for path in SOLUTIONS] == [f"{i:02d}" for i in range(len(SOLUTIONS))]
    assert len(SOLUTIONS) >= 2


@every_notebook
def test_it_opens_with_title_badge_and_the_set_up_cell(path):
    there, repo = cells(path), repository(ROOT)
    lines = there[0].source.split("\n")
    assert there[0].cell_type == "markdown" and lines[0].startswith(f"# {path.stem[:2]}")
    assert lines[2] == badge(path.stem, repo)
    first_code = next(cell for cell in there if cell.cell_type == "code")
    assert first_code.source == setup_source(repo)


@every_solution
def test_each_exercise_is_followed_at_once_by_its_check(path):
    codes = [cell for cell in cells(path) if cell.cell_type == "code"]
    exercises = [i for i, cell in enumerate(codes) if EXERCISE_MARK.search(cell.source)]
    checks = [i for i, cell in enumerate(codes) if CHECK_CALL.search(cell.source)]
    assert checks == [i + 1 for i in exercises]
    for i in exercises:
        assert EXERCISE_MARK.search(codes[i].source)[1] == CHECK_CALL.search(codes[i + 1].source)[1]
    in_order = [cell.cell_type == "code" and bool(EXERCISE_MARK.search(cell.source)) for cell in cells(path)]
    after = [cells(path)[i + 1].cell_type for i, is_exercise in enumerate(in_order) if is_exercise]
    assert set(after) <= {"code"}  # no text in between


@every_notebook
def test_what_follows_an_exercise_does_not_need_the_learners_answer(path):
    """After its check, a learner's function is not called again: it may be a stub."""
    names: set[str] = set()
    for cell in cells(path):
        if cell.cell_type != "code":
            continue
        source = re.sub(r"^check\(.*?\)\s*$", "", cell.source, flags=re.MULTILINE | re.DOTALL)
        called = {name for name in names if re.search(rf"(?<![\w.]){name}\(", source)}
        defined = set(re.findall(r"^(?:def|class) (\w+)", source, re.MULTILINE))
        imported = set(re.findall(r"\b(\w+)\b", "\n".join(re.findall(r"^(?:from|import) .*", source, re.MULTILINE))))
        names -= imported
        assert not (called - imported - defined), f"{called} may not be written yet"
        if EXERCISE_MARK.search(source):
            names |= defined


@every_solution
def test_never_more_than_two_code_cells_in_a_row(path):
    kinds = "".join(cell.cell_type[0] for cell in cells(path))  # m(arkdown), c(ode)
    assert "ccc" not in kinds, f"cells {kinds.index('ccc')} to {kinds.index('ccc') + 2}"


@every_solution
def test_no_code_cell_is_too_long(path):
    lengths = {i: cell.source.count("\n") + 1 for i, cell in enumerate(cells(path)) if cell.cell_type == "code"}
    too_long = {i: n for i, n in lengths.items() if n > MAX_CODE_LINES}
    assert not too_long, f"cell: lines {too_long}"


@every_notebook
def test_no_absolute_paths(path):
    for i, cell in enumerate(cells(path)):
        found = ABSOLUTE_PATH.search(cell.source)
        assert not found, f"cell {i}: {found[0]}"


@every_notebook
def test_outputs_only_where_ci_compares_them(path):
    for i, cell in enumerate(cells(path)):
        if cell.cell_type == "code":
            marked = COMPARED_MARK in cell.source
            assert bool(cell.outputs) == marked, f"cell {i}: run `course release --refresh-outputs`"
            assert (cell.execution_count is not None) == marked  # nbval wants one beside outputs


def test_every_exercise_appears_once_and_in_order():
    found = [mark for path in SOLUTIONS for cell in cells(path) for mark in EXERCISE_MARK.findall(cell.source)]
    assert found == [exercise.id for exercise in list_exercises()]


def test_an_exercise_defines_the_function_it_is_about():
    functions = {exercise.id: exercise.function for exercise in list_exercises()}
    for path in SOLUTIONS:
        for cell in cells(path):
            for exercise_id in EXERCISE_MARK.findall(cell.source):
                assert re.search(rf"^(def|class) {functions[exercise_id]}\b", cell.source, re.MULTILINE), exercise_id
