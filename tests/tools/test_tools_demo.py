"""The benchmark of the demo: its counts and intervals, and runs that are not repeated."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_demo
import typer

from hwnas.schema import read_json


def result(seed: int, found: float, random: float, data: str = "shapes") -> dict[str, Any]:
    return {
        "data": data,
        "seed": seed,
        "strategy": "gumbel",
        "space": "mobile@w0.25-r48",
        "budget_ms": 1.0,
        "predicted_ms": 0.98,
        "baseline_random": {"predicted_ms": 0.97, "matched": True, "accuracy": random},
        "accuracy": {"test": found, "val": 0.5, "test_images": 200},
        "candidates_told_apart": True,
        "verdict": "met",
        "epochs": 3,
        "seconds": 60.0,
    }


def test_wins_ties_and_losses_are_counted_with_exact_intervals() -> None:
    pairs = [(0.9, 0.85), (0.9, 0.9), (0.9, 0.895), (0.8, 0.81)]
    rows = [bench_demo.row_of(result(seed, *pair)) for seed, pair in enumerate(pairs)]
    assert [bench_demo.ahead(row) for row in rows] == [10, 0, 1, -2]
    # Clopper and Pearson for 2 of 3: 9.4 % to 99.2 %. Student: gains 5, 0, .5, -1; t(3) of .975 is 3.182.
    said = (
        "2 wins, 1 ties, 1 losses; wins of those decided 67% [9%, 99%]; found less random +1.13 points [-3.10, +5.35]"
    )
    assert bench_demo.summary(rows) == said
    assert bench_demo.summary(rows[1:2]) == "0 wins, 1 ties, 0 losses; found less random +0.00 points"


def test_finished_runs_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, int]] = []

    def one_run(config: Any, folder: Path, tables: Path | None) -> dict[str, Any]:
        ran.append((config.data.source, config.compute.seed))
        assert config.train.baseline
        return result(config.compute.seed, 0.9, 0.8, config.data.source)

    monkeypatch.setattr(bench_demo, "one_run", one_run)
    out = tmp_path / "demo.json"
    bench_demo.main("shapes,digits", "0", out=out)
    bench_demo.main("shapes,digits", "0,1", out=out)
    assert ran == [("shapes", 0), ("digits", 0), ("shapes", 1), ("digits", 1)]
    assert len(read_json(out)["rows"]) == 4
    with pytest.raises(typer.BadParameter, match="name another file"):
        bench_demo.main("shapes", "0", minutes=1.0, out=out)
