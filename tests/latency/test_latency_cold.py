"""Cold latencies: a second calibration over the same rows, against a device whose cold calls are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latency_fakes import HOST, TOY, network_us, table_of

from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of
from hwnas.devices.rounds import Round
from hwnas.errors import InputError, TableError
from hwnas.latency import cold
from hwnas.latency.build import whole_networks
from hwnas.latency.table import Calibration, LatencyTable, Validation
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.progress import Silent

NETWORKS = whole_networks(TOY, 0)
SLOPE, INTERCEPT_US = 1.3, 70.0


class ColdRounds:
    """Stands for `profile_rounds`: cold calls take 70 µs and 1.3 times the warm ones; those in a burst, longer."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(
        self, device: Any, models: Mapping[str, Path], reference: Path, *, rounds: int, done: list[Round], **_: Any
    ) -> list[Round]:
        assert all(path.is_file() for path in [*models.values(), reference])
        self.asked.append(rounds)
        made, burst = list(done), len(self.asked) == 2
        for turn in range(len(done) // len(models), rounds):
            for name in models:
                us = network_us(NETWORKS[name])
                calls_us = ((SLOPE * us + INTERCEPT_US) * (2 if burst else 1),) * 2
                made.append(
                    Round(name, turn, 10 * len(self.asked), us, us, us, 9, 200.0 if burst else 100.0, 0.0, (), calls_us)
                )
        return made


@pytest.fixture
def table(tmp_path: Path) -> LatencyTable:
    condition = condition_of(HOST)
    made = table_of(condition=condition)
    made.calibrations[TOY.signature] = Calibration(0.9, 20.0, -3.0, 24)
    made.validations[TOY.signature] = Validation(24, 1, 1, 0.01, 1, 1, 0.02, 0.01)
    save_table(made, tmp_path)
    return load_table(tmp_path)


def test_cold_calls_are_calibrated_kept_and_predicted(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="holds no cold latencies of toy@"):
        model_of(table, TOY, cold=True)
    fake = ColdRounds()
    monkeypatch.setattr(cold, "profile_rounds", fake)
    made = cold.calibrate_cold(table, TOY, HOST, tmp_path, progress=Silent())
    found = made.cold[TOY.signature]
    assert (found.slope, found.intercept_us) == (pytest.approx(SLOPE), pytest.approx(INTERCEPT_US))
    assert (found.n, found.mape, found.sigma) == (24, pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-9))
    assert load_table(tmp_path).cold == made.cold
    warm, now = model_of(made, TOY), model_of(made, TOY, cold=True)
    for choices in ([0] * len(TOY.decisions), [len(one.options) - 1 for one in TOY.decisions]):
        assert now.predict_ms(choices) == pytest.approx(SLOPE * warm.predict_ms(choices) + INTERCEPT_US / 1e3)
    assert fake.asked == [4, 8, 12]


def test_a_table_from_elsewhere_is_completed_where_tables_go(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold, "profile_rounds", ColdRounds())
    made = cold.calibrate_cold(table, TOY, HOST, tmp_path / "own", progress=Silent())
    assert load_table(tmp_path / "own").rows == table.rows
    assert load_table(tmp_path / "own").cold == made.cold
    assert not load_table(tmp_path).cold


def test_the_error_is_that_of_networks_that_took_no_part() -> None:
    rng = np.random.default_rng(0)
    warm_us = rng.uniform(500, 900, 48)
    errors = rng.normal(0, 0.05, 48)
    errors[24:] *= 2
    found = cold.fit_cold(warm_us.tolist(), (1.4 * warm_us * (1 + errors)).tolist())
    assert found.slope == pytest.approx(1.4, rel=0.1)
    assert found.mape == pytest.approx(np.abs(errors[24:]).mean(), rel=0.25)
    with pytest.raises(TableError, match="does not grow"):
        cold.fit_cold(warm_us.tolist(), (1000 - warm_us).tolist())


def test_phones_with_benchmark_model_tell_no_cold_calls(table: LatencyTable, tmp_path: Path) -> None:
    from hwnas.devices.transports.adb import AdbAddress

    phone = dataclasses.replace(
        load_device("host").with_runtime("litert"), transport="adb", adb=AdbAddress(runner="/data/benchmark_model")
    )
    with pytest.raises(InputError, match="tells no median, cold"):
        cold.calibrate_cold(table, TOY, phone, tmp_path, progress=Silent())
