"""The real command in processes of its own, measuring this machine: one table, and runs that use it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

TOY = ["--space", "toy", "--width", "1", "--resolution", "8"]
SHORT = """
from hwnas.nas.search_settings import SearchSettings
from hwnas.train import Recipe
SearchSettings.for_images = classmethod(lambda cls, images: SearchSettings(3, 3, candidates=2))
Recipe.for_images = classmethod(lambda cls, images: Recipe(epochs=2))
from hwnas.cli import app
app()
"""


def hwnas(*words: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command; with `code` in place of `python -m hwnas`."""
    program = ["-c", code] if code else ["-m", "hwnas"]
    return subprocess.run([sys.executable, *program, *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the toy space on this machine, as `profile-device` makes it."""
    folder = tmp_path_factory.mktemp("measured") / "tables"
    words = ["profile-device", *TOY, "--channels", 1, "--classes", 10, "--out", folder, "--json"]
    first = hwnas(*words)
    assert first.returncode == 0, first.stderr
    facts = json.loads(first.stdout)
    assert facts["rows"] == facts["rows_measured"] == 10
    assert facts["validation"]["n"] > 10
    assert facts["validation"]["spearman"] > 0.5
    assert "measuring 10 rows and 48 whole networks on host" in first.stderr
    (meta,) = folder.rglob("meta.toml")
    content = tomllib.loads(meta.read_text())
    assert (content["rows"], list(content["calibration"])) == (10, ["toy@w1-r8-i1-o10"])
    assert len((meta.parent / "table.csv").read_text().splitlines()) == 11
    second = hwnas(*words)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["rows_measured"] == 0
    return folder


@pytest.mark.dear
def test_a_hopeless_budget_is_exit_code_3_with_the_smallest_latency(tables: Path, tmp_path: Path) -> None:
    for place in (tables, tmp_path / "none"):
        out = tmp_path / place.name
        done = hwnas("search", "--budget-ms", "0.0001", *TOY, "--tables", place, "--out", out, "--json", code=SHORT)
        assert done.returncode == 3, done.stderr
        content = json.loads(done.stdout)
        assert content["exit_code"] == 3
        smallest_ms = float(content["hint"].partition("--budget-ms ")[2].split(",")[0].split()[0])
        assert 0.0001 < smallest_ms < 10
        assert " ms" in content["error"]
        assert "Traceback" not in done.stderr
    assert not list((tmp_path / "none").rglob("table.csv"))


@pytest.mark.dear
def test_a_budget_that_cannot_bind_is_met_and_said_so(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["search", "--budget-ms", "20", *TOY, "--tables", tables, "--out", out]
    done = hwnas(*words, "--json", code=SHORT)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((out / "result.json").read_text())
    assert (result["budget_ms"], result["budget_binds"], result["budget_met"]) == (20, False, True)
    assert result["measured_ms"]["median"] < 20
    assert "search: done" in done.stderr
    text = hwnas(*words, "--resume", code=SHORT)
    assert text.returncode == 0
    assert "budget does not bind" in " ".join(text.stdout.split())
    assert "Next: hwnas predict" in text.stdout
    again = hwnas(*words, code=SHORT)
    assert again.returncode == 2
    assert "--resume" in again.stderr


@pytest.mark.dear
def test_ctrl_c_keeps_what_was_done(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["search", "--budget-ms", "20", *TOY, "--tables", str(tables), "--out", str(out), "--no-train"]
    slow = SHORT.replace("SearchSettings(3, 3,", "SearchSettings(20, 3,")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would hand on that it ignores it
    child = subprocess.Popen(
        [sys.executable, "-c", slow, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    log = out / "log.jsonl"
    while not (log.exists() and '"epoch"' in log.read_text()):
        assert child.poll() is None, child.communicate()[1]
        assert time.monotonic() < deadline
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert stdout == ""
    assert stderr.count("error: interrupted") == 1
    assert "--resume" in stderr
    assert "Traceback" not in stderr
    resumed = hwnas(*words, "--resume", "--quiet", "--json", code=slow)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert json.loads(resumed.stdout)["trained"] is False
    events = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [event["epoch"] for event in events if event["event"] == "epoch"]
    assert (epochs[0], epochs[-1], epochs.count(1)) == (1, 23, 1)
    assert [event["stage"] for event in events if event["event"] == "start"].count("search") == 2


def test_bad_input_has_no_traceback() -> None:
    done = hwnas("search", "--budget-ms", "1", "--space", "outer")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
