"""Searches that torchrun starts in two processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_fakes import draw_images, write_table
from typer.testing import CliRunner

from hwnas.cli import app

FAKES = Path(__file__).parent / "torchrun_fakes.py"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
WORDS = "search --budget-ms 60% --space toy --width 1 --resolution 8 --accelerator cpu --init none --quiet"


def searched(folder: Path, name: str = "none", nth: int = 1, *more: str) -> subprocess.CompletedProcess[str]:
    """A run in `folder / "run"` of two processes, the second of which is killed when that file is put in place."""
    if not (folder / "images").exists():
        draw_images(folder / "images")
        write_table(folder / "tables")
    paths = ["--data", str(folder / "images"), "--tables", str(folder / "tables"), "--out", str(folder / "run")]
    command = [*TORCHRUN, str(FAKES), str(folder), name, str(nth), *WORDS.split(), *paths, *more]
    return subprocess.run(command, capture_output=True, text=True)


def losses(run: Path) -> list[float]:
    entries = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [one["loss"] for one in entries if one["event"] == "epoch"]


@pytest.mark.dear
def test_one_rank_speaks_and_writes_for_both(tmp_path: Path) -> None:
    """What one process searches and trains alone, up to rounding, and the images that drop path draws for."""
    together, alone = tmp_path / "together", tmp_path / "alone"
    for folder in (together, alone):
        folder.mkdir()
    done = searched(together, "none", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["budget_met"] is True
    paths = ["--data", str(together / "images"), "--tables", str(together / "tables"), "--out", str(alone / "run")]
    command = [sys.executable, str(FAKES.parent / "run_fakes.py"), "after", "none", "1", *WORDS.split(), *paths]
    assert subprocess.run(command).returncode == 0
    assert losses(together / "run") == pytest.approx(losses(alone / "run"), rel=1e-4)
    chosen = [json.loads((one / "run" / "architecture.json").read_text())["choices"] for one in (together, alone)]
    assert chosen[0] == chosen[1]


@pytest.mark.dear
def test_a_lost_rank_ends_the_run_and_one_process_goes_on(tmp_path: Path) -> None:
    lost = searched(tmp_path, "search.safetensors", 2)
    assert lost.returncode != 0
    assert time.time() - (tmp_path / "killed").stat().st_mtime < 60
    assert lost.stderr.count("error:") == 1, lost.stderr
    assert "--resume goes on" in lost.stderr
    assert not (tmp_path / "run" / "result.json").exists()
    assert len(losses(tmp_path / "run")) in (1, 2)
    paths = ["--data", str(tmp_path / "images"), "--tables", str(tmp_path / "tables"), "--out", str(tmp_path / "run")]
    command = [sys.executable, str(FAKES.parent / "run_fakes.py"), "after", "none", "1", *WORDS.split(), *paths]
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / "run")) == 3


@pytest.mark.parametrize("words", [["devices", "list"], ["verify", "model.onnx"], [*WORDS.split(), "--dry-run"]])
def test_other_commands_are_for_one_process(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "a", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2, done.output
    assert "works in one process, but torchrun started 2" in " ".join(done.output.split())
