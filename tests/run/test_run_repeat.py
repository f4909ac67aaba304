"""Equal means equal: configuration, data, seed and table give the bytes of every file that a run hands over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import run_fakes
from run_fakes import SPACE, WorkerHere, draw_images, install_short, row_ms
from typer.testing import CliRunner

from hwnas.cli import app
from hwnas.executors import local_executor
from hwnas.latency.imported import import_table, save_imported
from hwnas.schema import read_json

SEARCH = (
    "search --data images --budget-ms 60% --device board --space toy --width 1 --resolution 8 --tables tables --quiet "
    "--accelerator cpu --strategy evolution --evaluator from-scratch --evaluator-epochs 1 --set search.candidates=3 "
    "--precision int8 --max-drop 100 --metric balanced"
)
SAME = ("model.onnx", "labels.txt", "weights.safetensors", "architecture.json", "evaluated.csv", "config.toml")


def test_hash_seed_and_workers_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, with the hash seed that Python drew, and in another process, where two workers train.

    They are threads: tests/nas/test_search_from_scratch.py shows that processes give the same scores.
    """
    draw_images(tmp_path / "images")
    rows = tmp_path / "rows.csv"
    rows.write_text("key,latency_ms\n" + "".join(f"{spec.key},{row_ms(spec)}\n" for spec in SPACE.ops))
    save_imported(import_table(rows, "csv", "board", unit="ms").table, tmp_path / "tables" / "board" / "imported")
    words = [*SEARCH.split(), "--out"]
    done = subprocess.run(
        [sys.executable, run_fakes.__file__, "threads", *words, "second", "--on", "local:2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    install_short(monkeypatch.setattr)
    monkeypatch.setattr(local_executor, "_Worker", WorkerHere)
    monkeypatch.chdir(tmp_path)
    here = CliRunner().invoke(app, [*words, "first"])
    assert here.exit_code == 0, here.output
    first, second = (tmp_path / run for run in ("first", "second"))
    for name in SAME:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    results = [read_json(run / "result.json") | {"seconds": 0} for run in (first, second)]
    assert results[0] == results[1]
    assert len(results[0]["table_sha256"]) == 64
