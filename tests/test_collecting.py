"""report(), running notebooks, and the report they leave."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from rich.console import Console

from course_lib.commands.run_display import RunProgress, shown_path, summary_table
from course_lib.running.collecting import REPORT_MIME, NotebookRun, cell_seconds, format_figure, report, run_notebooks
from course_lib.running.executing import read_notebook, write_text_atomically


def write_notebook(folder: Path, name: str, *sources: str) -> Path:
    cells = [nbformat.v4.new_markdown_cell("# Title")] + [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def run(paths: list[Path], out_dir: Path, **options) -> list[NotebookRun]:
    return run_notebooks(paths, profile="smoke", device="cpu", dataset="bundled", out_dir=out_dir, **options)


def test_report_prints_numbers_of_any_kind(capsys):
    report(accuracy=np.float32(0.994), n_clips=300, loss=torch.tensor(0.5), trained="the judge")
    assert capsys.readouterr().out == "report: accuracy = 0.994, n_clips = 300, loss = 0.5, trained = the judge\n"


@pytest.mark.parametrize(
    ("figures", "error", "message"),
    [
        ({}, ValueError, "no figure"),
        ({"a b": 1.0}, ValueError, "no name"),
        ({"loss": float("nan")}, ValueError, "loss is nan"),
        ({"loss": torch.tensor(torch.inf)}, ValueError, "loss is inf"),
        ({"losses": torch.ones(2)}, TypeError, "losses is a Tensor"),
        ({"passed": True}, TypeError, "passed is a bool"),
        ({"figures": [1.0]}, TypeError, "figures is a list"),
        ({"text": "x" * 201}, ValueError, "201 characters"),
    ],
)
def test_report_refuses(figures, error, message):
    with pytest.raises(error, match=message):
        report(**figures)


def test_figures_as_people_read_them():
    assert [format_figure(value) for value in (0.99432, 1234567, 12.0, "fsdd")] == ["0.9943", "1234567", "12", "fsdd"]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory) -> tuple[Path, list[NotebookRun], str]:
    """A notebook that fails in its second code cell, then one that passes; and what the terminal showed."""
    folder = tmp_path_factory.mktemp("notebooks")
    bad = write_notebook(folder, "00_bad", "print('before')", "first = 1\nraise ValueError('[oops]')", "print('after')")
    good = write_notebook(
        folder,
        "01_good",
        "from course_lib.running.collecting import report\nreport(loss=2.5, trained='a judge')",
        "import os, sys\nprint(os.environ['COURSE_PROFILE'], os.environ['COURSE_STILL'], os.environ['COURSE_DEVICE'],"
        " os.environ['COURSE_DATASET'], os.getcwd() == " + repr(str(folder)) + ", sys.executable)",
        "report(loss=1.5, n_steps=20)",
    )
    shown = Console(record=True, width=200, file=io.StringIO())
    runs = run([bad, good], folder / "runs", listener=RunProgress(shown))
    shown.print(summary_table(runs))
    return folder, runs, shown.export_text()


def test_a_failure_is_named_and_the_others_still_run(two_runs):
    folder, (bad, good), shown = two_runs
    assert (bad.ok, good.ok) == (False, True)
    assert bad.error == "code cell 2 of 3:\n    | first = 1\n    | raise ValueError('[oops]')\n    ValueError: [oops]"
    assert "FAILED 00_bad" in shown and "code cell 2 of 3" in shown and "ValueError: [oops]" in shown
    assert "passed 01_good" in shown


def test_executed_notebooks_hold_their_outputs(two_runs):
    folder, _, _ = two_runs
    bad = nbformat.read(folder / "runs/00_bad.ipynb", as_version=4)
    assert bad.cells[1].outputs[0].text == "before\n"
    assert bad.cells[2].outputs[0].output_type == "error"
    assert bad.cells[3].outputs == []
    good = nbformat.read(folder / "runs/01_good.ipynb", as_version=4)
    assert good.cells[1].outputs[0].data[REPORT_MIME] == {"loss": 2.5, "trained": "a judge"}
    assert good.cells[2].outputs[0].text == f"smoke 1 cpu bundled True {sys.executable}\n"


def test_report_json(two_runs):
    folder, (bad, good), _ = two_runs
    written = json.loads((folder / "runs/report.json").read_text())
    assert list(written) == ["profile", "device", "dataset", "versions", "notebooks"]
    assert (written["profile"], written["device"], written["dataset"]) == ("smoke", "cpu", "bundled")
    assert written["versions"]["torch"] == torch.__version__.split("+")[0]
    assert [set(row) for row in written["notebooks"]] == [{"name", "ok", "seconds", "metrics"}] * 2
    assert [(row["name"], row["ok"]) for row in written["notebooks"]] == [("00_bad", False), ("01_good", True)]
    assert written["notebooks"][1]["metrics"] == {"loss": 1.5, "trained": "a judge", "n_steps": 20}
    assert 0 < written["notebooks"][1]["seconds"] == pytest.approx(good.seconds, abs=0.01)


def test_the_table_at_the_end(two_runs):
    _, _, shown = two_runs
    for words in ("notebook", "minutes", "trained", "figures", "where to look", "a judge", "loss 1.5", "01_good.ipynb"):
        assert words in shown


def test_the_table_in_a_narrow_terminal(two_runs):
    _, (bad, _), _ = two_runs
    metrics = {"trained": "the judge for 600 steps", "vocoder_pocketsphinx_ratio": 0.9312}
    where = Path("runs/01_sound_as_data.ipynb")
    good = NotebookRun("01_sound_as_data", True, 254.0, metrics, metrics["trained"], "", where)
    bad = replace(bad, executed=Path("runs/00_bad.ipynb"))
    shown = Console(record=True, width=80, file=io.StringIO())
    shown.print(summary_table([bad, good], 80))
    text = shown.export_text()
    for words in ("runs/01_sound_as_data.ipynb", "vocoder_pocketsphinx_ratio", "0.9312", "FAILED"):
        assert words in text  # not torn apart
    assert max(map(len, text.splitlines())) <= 80


def test_a_second_run_knows_how_long_cells_take(tmp_path):
    path = write_notebook(tmp_path, "00_slow", "pass", "import time; time.sleep(0.6)")
    run([path], tmp_path / "runs")
    quick_s, slow_s = cell_seconds(read_notebook(path), tmp_path / "runs/00_slow.ipynb")
    assert quick_s < slow_s and 0.6 <= slow_s < 60  # on a machine that is busy, too
    assert cell_seconds(read_notebook(path), tmp_path / "absent.ipynb") == [1.0, 1.0]


def test_a_notebook_that_takes_too_long(tmp_path):
    path = write_notebook(tmp_path, "00_endless", "pass", "import time; time.sleep(60)")
    (one,) = run([path], tmp_path / "runs", timeout_s=5)
    assert not one.ok and one.seconds < 50
    assert "code cell 2 of 2" in one.error and "not finished after 5 s" in one.error and "--timeout-min" in one.error


def test_a_kernel_that_dies(tmp_path):
    path = write_notebook(tmp_path, "00_dies", "import os; os._exit(7)")
    after = write_notebook(tmp_path, "01_after", "print(1)")
    dead, alive = run([path, after], tmp_path / "runs")
    assert not dead.ok and "the kernel died" in dead.error and alive.ok


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_had_finished(tmp_path, signal_number):
    write_notebook(tmp_path, "00_done", "from course_lib.running.collecting import report; report(loss=1.0)")
    marker = tmp_path / "running"
    write_notebook(tmp_path, "01_slow", f"open({str(marker)!r}, 'w').close()\nimport time; time.sleep(60)")
    write_notebook(tmp_path, "02_never", "print('never')")
    code = (
        "import sys; from pathlib import Path; from course_lib.running.collecting import run_notebooks\n"
        "folder = Path(sys.argv[1])\n"
        "run_notebooks(sorted(folder.glob('*.ipynb')), profile='smoke', device='cpu', dataset='bundled',"
        " out_dir=folder / 'runs')"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while not marker.exists() and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)
    process.send_signal(signal_number)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in said
    rows = json.loads((tmp_path / "runs/report.json").read_text())["notebooks"]
    assert [(row["name"], row["ok"], row["metrics"]) for row in rows] == [("00_done", True, {"loss": 1.0})]
    assert (tmp_path / "runs/00_done.ipynb").exists() and not (tmp_path / "runs/02_never.ipynb").exists()


def test_a_file_that_is_no_notebook(tmp_path):
    (tmp_path / "00_broken.ipynb").write_text("{ half")
    with pytest.raises(ValueError, match="00_broken.ipynb is no readable notebook"):
        run([tmp_path / "00_broken.ipynb"], tmp_path / "runs")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_text_atomically(path, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_text_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_shown_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_path(tmp_path / "runs/00.ipynb") == str(Path("runs/00.ipynb"))
    assert shown_path(tmp_path.parent / "00.ipynb") == str(tmp_path.parent / "00.ipynb")
    assert shown_path(None) == "-"
