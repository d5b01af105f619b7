"""Benchmarks: run several times in fresh processes, every value kept, and a page that is what the values say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import benchmarks
from benchmarks import Row, collect, page
from benchmarks.claims import BENCHES, NOTEBOOKS, RECORDS, Claim

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
OLD = {"name": "old", "ours": [1.0], "peer": [2.0], "unit": "s", "higher_is_better": False, "of": "",
       "date": "2020-01-02", "machine": "an abacus"}  # fmt: skip


def test_a_row_says_how_many_times_better():
    assert Row("features", ours=300.0, peer=3.0, unit="clips/s", higher_is_better=True).ratio == 100
    assert Row("vocoder", ours=0.02, peer=0.5, unit="s", higher_is_better=False).ratio == 25
    with pytest.raises(ValueError, match="need a positive finite number"):
        Row("broken", ours=0.0, peer=1.0, unit="s", higher_is_better=False)


# ---- running them


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two benchmarks: one writes down which process ran it, one is broken."""
    (tmp_path / "bench_fast.py").write_text(
        "import os\nfrom pathlib import Path\nfrom benchmarks import Row\n"
        "def run():\n"
        "    log = Path(__file__).with_name('log')\n"
        "    with log.open('a') as file:\n        print(os.getpid(), file=file)\n"
        "    n = len(log.read_text().split())\n"
        "    return [Row('fast', 8.0 * n, 2.0, 'clips/s', True, of='7 clips'), Row('sure', 1.0, 3.0, 's', False)]\n"
    )
    (tmp_path / "bench_broken.py").write_text("def run():\n    raise RuntimeError('no peer')\n")
    monkeypatch.setattr(benchmarks, "__path__", [str(tmp_path)])
    return tmp_path


def test_each_run_is_a_process_of_its_own_and_every_value_is_kept(folder, capfd):
    results = folder / "results.json"
    fast = {"name": "fast", "ours": [9.0], "peer": [9.0]}
    results.write_text(json.dumps({"benches": [fast, OLD], "notebooks": [], "noted": []}))
    assert collect.available() == ["broken", "fast"]
    assert collect.main([], results, 2) == 1  # one is broken; the other is measured all the same
    found, old, sure = json.loads(results.read_text())["benches"]  # in their old places; new ones behind
    assert old == OLD
    assert (found["ours"], found["peer"], found["of"]) == ([8.0, 16.0], [2.0] * 2, "7 clips")
    assert (sure["name"], sure["ours"]) == ("sure", [1.0] * 2)
    assert "cores" in found["machine"] and "torch" in found["machine"]
    processes = (folder / "log").read_text().split()
    assert len(set(processes)) == 2 and str(os.getpid()) not in processes
    said = capfd.readouterr()
    assert "no peer" in said.err and "FAILED: broken" in said.out
    assert (folder / "README.md").is_file()


def test_a_benchmark_that_fails_keeps_its_old_values(folder):
    results = folder / "results.json"
    before = json.dumps({"benches": [OLD | {"name": "broken"}], "notebooks": [], "noted": []})
    results.write_text(before)
    assert collect.main(["broken"], results, 2) == 1
    assert results.read_text() == before


@pytest.mark.parametrize(("names", "n_runs", "told"), [(["no"], 1, "no benchmark no; there"), ([], 0, "got 0 runs")])
def test_what_cannot_be_run_is_refused(tmp_path, names, n_runs, told):
    with pytest.raises(ValueError, match=told):
        collect.main(names, tmp_path / "results.json", n_runs)


# ---- what notebooks reported


def report(folder: Path, number: int, profile: str = "quick") -> Path:
    rows = [
        {"name": "01_sound", "ok": True, "seconds": 100.0 + number, "metrics": {"right": 0.5, "trained": "a judge"}},
        {"name": "02_lost", "ok": False, "seconds": 1.0, "metrics": {"half": 1.0}},
    ]
    path = folder / f"{number}.json"
    path.write_text(json.dumps({"profile": profile, "device": "cpu", "dataset": "fsdd", "notebooks": rows}))
    return path


def test_reports_of_several_runs_become_values(tmp_path):
    results = tmp_path / "results.json"
    kept = {"name": "other", "values": [3.0], "date": "2020-01-02", "machine": "an abacus"}
    results.write_text(json.dumps({"benches": [], "notebooks": [kept], "noted": []}))
    collect.take_reports([report(tmp_path, number) for number in (1, 2, 3)], results)
    other, seconds, right = json.loads(results.read_text())["notebooks"]
    assert other == kept
    assert (seconds["name"], seconds["values"]) == ("01_seconds", [101.0, 102.0, 103.0])
    assert (right["name"], right["values"]) == ("right", [0.5, 0.5, 0.5])  # no text, and nothing of what failed


def test_reports_of_different_profiles_are_refused(tmp_path):
    with pytest.raises(ValueError, match="only runs of one profile"):
        collect.take_reports([report(tmp_path, 1), report(tmp_path, 2, "smoke")], tmp_path / "results.json")


# ---- the page


def test_the_page_is_what_the_command_writes_from_what_is_stored():
    stored = json.loads(RESULTS.read_text("utf-8"))
    written = page.page(stored, page.read_records(page.RECORDS_DIR))
    assert (ROOT / "benchmarks/README.md").read_text("utf-8") == written, "run `course bench --table`"


def test_every_stored_figure_has_words():
    stored = json.loads(RESULTS.read_text("utf-8"))
    assert {row["name"] for row in stored["benches"]} <= {claim.name for claim in BENCHES}
    for row in stored["benches"]:
        assert len(row["ours"]) == len(row["peer"]) >= 1 and row["date"] and row["machine"]


def test_a_row_shows_median_range_and_a_missed_bar():
    row = OLD | {"name": "vae_step", "ours": [50.0, 100.0, 40.0], "peer": [100.0, 90.0, 40.0], "unit": "ms/step"}
    text = page.page({"benches": [row], "notebooks": [], "noted": []}, {})
    (line,) = [line for line in text.splitlines() if "`vae_step`" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == [
        "**1 (0.9 to 2) ×**", "50 (40 to 100) ms/step", "90 (40 to 100)",
        "≥ 1.1 ×: **missed**; ≥ 2 × with AMX", "3", "2020-01-02",
    ]  # fmt: skip
    assert "- 2020-01-02: an abacus" in text


def test_a_bar_may_be_another_figure_of_the_same_record():
    metrics = {"denoised_judged": 0.7, "spectral_subtraction_judged": 0.81}
    text = page.page({"benches": [], "notebooks": [], "noted": []}, {"denoiser": {"metrics": metrics}})
    (line,) = [line for line in text.splitlines() if "noise at 5 dB" in line]
    assert "| 0.7 | spectral_subtraction_judged 0.81 | ≥ 0.81: **missed** |" in line
    assert text.count("not measured") == len(BENCHES) + len(NOTEBOOKS) + sum(map(len, RECORDS.values())) - 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.000222, "0.000222"), (0.85, "0.85"), (1.0, "1"), (5.8412, "5.84"), (74.84, "74.8"), (455.6, "456"),
     (73313.4, "73,300"), (-0.05, "-0.05")],
)  # fmt: skip
def test_figures_have_three_digits_and_no_powers(value, shown):
    assert page.figure(value) == shown


def test_a_bar_that_is_met_says_no_more():
    assert page.bar(Claim("x", "x", at_most=60.0), 59.0, {}, " ms") == "≤ 60 ms"
    assert page.bar(Claim("x", "x", at_most=60.0), 61.0, {}, " ms") == "≤ 60 ms: **missed**"
    assert page.bar(Claim("x", "x", at_least=10), 9, {}) == "≥ 10: **missed**"
    assert page.bar(Claim("x", "x"), 61.0, {}) == ""
