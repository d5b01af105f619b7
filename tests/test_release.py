"""`course release`: what learners get, what they must not get, and the same bytes each time."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.exercises.checking import get_exercise
from course_lib.grading.colab import ReleaseError, badge, repository, set_repository, setup_source
from course_lib.grading.release import release

ROOT = Path(__file__).parents[1]
SOLVED = """\
# EXERCISE 01.1
def half(x):
    \"\"\"Half of x.\"\"\"
    ### BEGIN SOLUTION
    return 0.5 * x  # the secret
    ### END SOLUTION"""
STUB = """\
# EXERCISE 01.1
def half(x):
    \"\"\"Half of x.\"\"\"
    # YOUR CODE HERE
    raise NotImplementedError"""
WRITTEN = """\
<!-- WRITTEN 01.7 points=4 -->
**Why half?**

### BEGIN SOLUTION
Because a secret.
### END SOLUTION"""
HIDDEN = "x = 1\n### BEGIN HIDDEN TESTS\nassert half(4) == 2\n### END HIDDEN TESTS\nprint(x)"


def sample_cells() -> list:
    printed = [new_output("stream", name="stdout", text="2\n")]
    value = new_output("execute_result", data={"text/plain": "2"}, execution_count=5)
    cells = [
        new_markdown_cell("# A title\n\nWhat you will hear."),
        new_code_cell("from course_lib.exercises import check", outputs=printed, execution_count=1),
        new_code_cell(SOLVED),
        new_code_cell('check("01.1", half)'),
        new_markdown_cell(WRITTEN),
        new_code_cell(HIDDEN),
        new_code_cell("# NBVAL_CHECK_OUTPUT\n1 + 1", outputs=[value], execution_count=5),
    ]
    cells[1].metadata.update(tags=["hide"], scrolled=True, execution={"iopub.status.busy": "2026-01-01"})
    return cells


@pytest.fixture
def root(tmp_path) -> Path:
    """A repository with one solved notebook."""
    for folder in ("solutions", "notebooks"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "README.md").write_text("git clone https://github.com/OWNER/NAME.git")
    write_solution(tmp_path, sample_cells())
    return tmp_path


def write_solution(root: Path, cells: list) -> None:
    kernel = {"name": "mine", "display_name": "Mine"}
    notebook = new_notebook(cells=cells, metadata={"widgets": {"state": {}}, "kernelspec": kernel})
    nbformat.write(notebook, root / "solutions/01_sample.ipynb")


def read(root: Path, folder: str) -> nbformat.NotebookNode:
    return nbformat.read(root / folder / "01_sample.ipynb", as_version=4)


def test_solutions_become_stubs_and_markers_stay(root):
    release(root)
    cells = read(root, "notebooks").cells
    sources = [cell.source for cell in cells]
    assert STUB in sources and 'check("01.1", half)' in sources
    assert "<!-- WRITTEN 01.7 points=4 -->\n**Why half?**\n\n*Your answer here.*" in sources
    assert "x = 1\nprint(x)" in sources
    assert "secret" not in (root / "notebooks/01_sample.ipynb").read_text()


def test_the_stub_is_not_attempted_rather_than_wrong(root):
    release(root)
    namespace: dict = {}
    exec(next(cell.source for cell in read(root, "notebooks").cells if "EXERCISE" in cell.source), namespace)
    with pytest.raises(NotImplementedError):
        namespace["half"](4)


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
def test_metadata_comes_from_the_markers(root, folder):
    release(root)
    cells = read(root, folder).cells
    by_id = {cell.metadata.nbgrader.grade_id: cell for cell in cells if "nbgrader" in cell.metadata}
    kinds = {key.rsplit("-", 1)[0] if key.startswith("hidden") else key: cell for key, cell in by_id.items()}
    assert set(kinds) == {"exercise-01-1", "check-01-1", "written-01-7", "hidden"}
    flags = {
        key: (cell.metadata.nbgrader.solution, cell.metadata.nbgrader.grade, cell.metadata.nbgrader.locked)
        for key, cell in kinds.items()
    }
    assert flags == {
        "exercise-01-1": (True, False, False),
        "check-01-1": (False, True, True),
        "written-01-7": (True, True, False),
        "hidden": (False, True, True),
    }
    assert all(cell.metadata.nbgrader.schema_version == 3 for cell in by_id.values())
    assert by_id["exercise-01-1"].metadata.course == {"exercise": "01.1"}
    assert by_id["written-01-7"].metadata.nbgrader.points == 4
    assert by_id["check-01-1"].metadata.nbgrader.points == get_exercise("01.1").points == 2


def test_nbgrader_locks_and_signs_the_cells(root):
    release(root)
    marked = [cell for cell in read(root, "notebooks").cells if "nbgrader" in cell.metadata]
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in marked}
    assert cells["check-01-1"].metadata.editable is False
    assert "editable" not in cells["exercise-01-1"].metadata and cells["exercise-01-1"].metadata.deletable is False
    assert all(re.fullmatch("[0-9a-f]{32}", cell.metadata.nbgrader.checksum) for cell in cells.values())


@pytest.mark.parametrize("folder", ["solutions", "notebooks"])
def test_only_compared_outputs_stay(root, folder):
    release(root)
    notebook = read(root, folder)
    outputs = {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    (kept,) = outputs.pop("# NBVAL_CHECK_OUTPUT\n1 + 1")
    assert kept.data == {"text/plain": "2"}
    assert not any(outputs.values())
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == [None, None, None, None, None, 6]  # nbval refuses outputs without one; 6: the sixth code cell
    assert set(notebook.metadata) == {"kernelspec", "language_info"} and notebook.metadata.kernelspec.name == "python3"


def test_tags_stay_and_traces_of_a_session_go(root):
    release(root)
    (tagged,) = [cell for cell in read(root, "solutions").cells if cell.metadata.get("tags")]
    assert tagged.metadata == {"tags": ["hide"]} and tagged.source.startswith("from course_lib")


def test_badge_and_set_up_cell_are_put_in(root):
    release(root)
    for folder in ("solutions", "notebooks"):
        first, second, *_ = read(root, folder).cells
        assert first.source == f"# A title\n\n{badge('01_sample', 'OWNER/NAME')}\n\nWhat you will hear."
        assert second.source == setup_source("OWNER/NAME")


def test_a_second_release_changes_nothing(root):
    written = release(root)
    assert [path.parent.name for path in written] == ["solutions", "notebooks"]
    before = {path: path.read_bytes() for path in written}
    ids = [cell.id for cell in read(root, "solutions").cells]
    assert release(root) == [] and {path: path.read_bytes() for path in written} == before
    assert len(set(ids)) == len(ids) and ids == [cell.id for cell in read(root, "notebooks").cells]


def test_the_same_content_gives_the_same_bytes_wherever_ids_are_missing(root):
    texts = []
    for _ in range(2):
        content = new_notebook(cells=sample_cells())
        for cell in content["cells"]:  # changed last, since nbformat mends ids (by chance) whenever it validates
            del cell["id"]
        content["cells"][3]["id"] = content["cells"][4]["id"] = "twice"
        (root / "solutions/01_sample.ipynb").write_text(json.dumps(content))
        release(root)
        texts.append((root / "notebooks/01_sample.ipynb").read_bytes())
    assert texts[0] == texts[1]


def test_check_finds_what_changed_and_writes_nothing(root):
    assert len(release(root, check=True)) == 2 and not list((root / "notebooks").iterdir())
    release(root)
    learner = root / "notebooks/01_sample.ipynb"
    edited = learner.read_text().replace("Half of x", "Twice x")
    learner.write_text(edited)
    assert release(root, check=True) == [learner] and learner.read_text() == edited


def test_a_notebook_without_its_source_is_removed(root):
    shutil.copy(root / "solutions/01_sample.ipynb", root / "notebooks/02_gone.ipynb")
    assert release(root, check=True)[-1].name == "02_gone.ipynb" and (root / "notebooks/02_gone.ipynb").exists()
    release(root)
    assert not (root / "notebooks/02_gone.ipynb").exists()


def test_stamping_another_repository(root):
    release(root)
    set_repository(root, "uni/sound-course")
    assert repository(root) == "uni/sound-course"
    assert (root / "README.md").read_text() == "git clone https://github.com/uni/sound-course.git"
    assert len(release(root)) == 2
    text = (root / "notebooks/01_sample.ipynb").read_text()
    assert text.count("uni/sound-course") == 2 and "OWNER" not in text
    set_repository(root, "OWNER/NAME")
    release(root)
    assert (root / "pyproject.toml").read_bytes() == (ROOT / "pyproject.toml").read_bytes()


@pytest.mark.parametrize("repo", ["name", "a/b/c", "https://github.com/a/b", "a b/c", ""])
def test_another_form_of_address_is_refused(root, repo):
    with pytest.raises(ReleaseError, match="need OWNER/NAME"):
        set_repository(root, repo)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([new_code_cell("1")], "need a markdown cell with the title"),
        ([new_markdown_cell("# T"), new_code_cell("# EXERCISE 01.1\npass")], "exercise 01.1 has no"),
        ([new_markdown_cell("# T"), new_code_cell(SOLVED.split("\n", 1)[1])], "a solution outside an exercise"),
        ([new_markdown_cell("# T"), new_code_cell(SOLVED.replace("END", "BEGIN"))], "ClearSolutions refused it"),
        ([new_markdown_cell("# T"), new_code_cell(SOLVED), new_code_cell(SOLVED)], "CheckCellMetadata refused it"),
    ],
)
def test_what_cannot_be_released_is_named(root, cells, message):
    write_solution(root, cells)
    with pytest.raises(ReleaseError, match=message) as caught:
        release(root)
    assert "01_sample" in str(caught.value) and not list((root / "notebooks").iterdir())


def test_without_nbgrader_the_remedy_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbgrader", None)
    with pytest.raises(ReleaseError, match=r"\[instructor\]"):
        release(root)


def test_refreshing_stores_what_compared_cells_print(root):
    cells = sample_cells()
    cells[-1].source = "# NBVAL_CHECK_OUTPUT\nimport os\nprint(half(6), os.environ['COURSE_PROFILE'])"
    del cells[5], cells[3], cells[1]
    write_solution(root, cells)
    release(root, refresh=True)
    for folder in ("solutions", "notebooks"):
        (output,) = read(root, folder).cells[-1].outputs
        assert output.text == "3.0 smoke\n"
    cells[-1].source = "# NBVAL_CHECK_OUTPUT\nhalf('a') + 1"
    write_solution(root, cells)
    with pytest.raises(ReleaseError, match="01_sample.ipynb fails"):
        release(root, refresh=True)


# ---- the course's own notebooks


def test_notebooks_are_what_release_writes():
    stale = release(ROOT, check=True)
    assert not stale, f"run `course release`: {[str(path.relative_to(ROOT)) for path in stale]}"


def solution_lines(source: str) -> set[str]:
    """The lines between BEGIN and END SOLUTION that say something."""
    lines = re.findall(r"BEGIN SOLUTION.*?\n(.*?)\n[^\n]*END SOLUTION", source, re.DOTALL)
    return {line.strip() for text in lines for line in text.split("\n") if len(line.strip()) > 12}


def test_no_solution_leaks():
    for path in sorted((ROOT / "solutions").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        secret = set().union(*(solution_lines(cell.source) for cell in cells))
        learner = nbformat.read(ROOT / "notebooks" / path.name, as_version=4)
        shown = {line.strip() for cell in learner.cells for line in cell.source.split("\n")}
        assert secret, f"{path.name} has no exercise"
        assert not secret & shown, f"{path.name} gives away {secret & shown}"
        text = (ROOT / "notebooks" / path.name).read_text("utf-8")
        for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS"):
            assert mark not in text
