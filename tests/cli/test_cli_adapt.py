"""`hwnas adapt-device` with the device's rounds made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hwnas.arch import space_instance
from hwnas.backends.onnx import fingerprint
from hwnas.cli import app
from hwnas.cli.options import OnDevice
from hwnas.devices.device import Condition
from hwnas.devices.rounds import Round
from hwnas.latency import fresh, journal
from hwnas.latency.adapt import adaptation_prior
from hwnas.latency.table import Calibration, LatencyTable, Row, Validation
from hwnas.latency.table_files import save_table

TOY = space_instance("toy", width=1.0, resolution=8, channels=1, classes=10)
INSTANCE = ["--space", "toy", "--width", "1", "--resolution", "8", "--channels", "1"]


def hwnas(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def source() -> LatencyTable:
    """The n-th op of the toy space takes 100 · n microseconds."""
    table = LatencyTable(Condition("another-cpu", "onnxruntime", "1.0", 1, "fp32"), reference_us=400.0)
    for index, spec in enumerate(TOY.ops, 1):
        table.rows[spec.key] = Row(spec.key, fingerprint(spec), 100.0 * index, 1.0, 1.0, 7, "2026-01-01T00:00:00")
    table.calibrations[TOY.signature] = Calibration(1.0, 0.0, 0.0, 24)
    table.validations[TOY.signature] = Validation(24, 1.0, 1.0, 0.01, 1.0, 1.0, 0.01, 0.005)
    return table


class Rounds:
    """Stands for the device: twice as slow as the source."""

    def __init__(self, names: Mapping[str, float]) -> None:
        self.us = names

    def __call__(
        self, device: Any, models: Any, reference: Path, *, rounds: int, done: Sequence[Round] = (), **_: Any
    ) -> list[Round]:
        return [
            Round(name, turn, turn // 5, self.us[name], self.us[name], self.us[name], 10, 400.0)
            for name in models
            for turn in range(rounds)
        ]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    known = adaptation_prior(TOY, [source()])
    costs = 2e3 * known.counts @ np.array([0.0, *(row.median_us / 1e3 for row in source().rows.values())])
    every = {f"network {index}": float(cost) for index, cost in enumerate(costs)}
    monkeypatch.setattr(journal, "profile_rounds", Rounds(every))


def test_a_table_is_adapted_shown_and_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    table = source()
    save_table(table, Path("latency_tables") / table.device / table.condition)
    done = hwnas("adapt-device", *INSTANCE, "--out", "own", "--sources", "latency_tables", "--json", "--quiet")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["kind"], facts["samples"], facts["rows"]) == ("adapted", 10, len(TOY.ops))
    assert facts["sources"] == ["another-cpu/onnxruntime-1.0-t1-fp32"]
    assert facts["validation"]["n"] == 10
    assert facts["validation"]["mape"] < 0.01
    assert facts["too_far_off"] is None
    assert 0.0 < facts["margin"] < 0.1
    text = hwnas("table", "show", "--tables", "own")
    assert text.exit_code == 0, text.stderr
    for shown in ("adapted", "another-cpu", "samples 10"):
        assert shown in text.stdout
    rows = json.loads(hwnas("table", "show", "--tables", "own", "--json").stdout)["rows"]
    expected = {key: 2 * row.median_us for key, row in table.rows.items()}
    assert {row["key"]: row["median_us"] for row in rows} == pytest.approx(expected, rel=0.02)
    rng = np.random.default_rng([0, 7919])
    networks = [TOY.network(TOY.drawn(rng.integers)) for _ in range(24)]
    sums = [sum(expected[spec.key] for _, spec in one.ops if spec.graph.nodes) for one in networks]
    monkeypatch.setattr(fresh, "profile_rounds", Rounds({f"fresh {i}": us for i, us in enumerate(sums)}))
    checked = hwnas("table", "validate", *INSTANCE, "--tables", "own", "--update", "--json", "--quiet")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["validation"]["mape"] < 0.01
    shown_again = json.loads(hwnas("table", "show", "--tables", "own", "--json").stdout)
    assert shown_again["kind"] == "adapted"
    assert shown_again["spaces"][TOY.signature]["validation"]["n"] == 24


def test_without_tables_of_other_devices_it_says_what_to_do() -> None:
    done = hwnas("adapt-device", *INSTANCE, "--quiet")
    assert done.exit_code == 2
    assert "profile-device" in done.stderr
    assert hwnas("adapt-device", *INSTANCE, "--samples", "2").exit_code == 2


def test_a_source_of_another_space_does_not_help() -> None:
    table = source()
    rows = dict(list(table.rows.items())[1:])
    save_table(replace(table, rows=rows), Path("latency_tables") / table.device / table.condition)
    assert hwnas("adapt-device", *INSTANCE, "--quiet").exit_code == 2


def test_the_search_that_comes_next_finds_the_table() -> None:
    here: dict[str, Any] = {"device": "host", "runtime": "", "precision": "", "space": "toy", "width": 1.0, "depth": 0}
    size: dict[str, Any] = {"resolution": 8, "classes": 10}
    ending = " --budget-ms 50% --space toy --width 1 --resolution 8"
    assert OnDevice(**here, **size, channels=1).search(None) == "hwnas search" + ending
    there = here | {"device": "phone", "runtime": "litert", "precision": "int8"}
    assert OnDevice(**there, **size, channels=3).search(Path("my tables")) == (
        "hwnas search --data IMAGES --device phone --runtime litert --precision int8 --tables 'my tables'" + ending
    )
