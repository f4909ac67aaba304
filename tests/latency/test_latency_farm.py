"""Fifty devices at once: the real runner on a made-up clock, and some of them broken."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from latency_fakes import INTERCEPT_US, PER_OP_US, SLOPE, TOY, network_us, row_us
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from simulated_devices import Simulated, write_toml

import hwnas
from hwnas.cli import app
from hwnas.devices import link, measure
from hwnas.devices.device import Device
from hwnas.devices.job import GROUP, Job
from hwnas.errors import DeviceError, InputError, ModelError, UnreachableError
from hwnas.latency import build, journal

COUNT = 50
SPACE = {"space": "toy", "width": 1.0, "resolution": 8, "channels": 1, "classes": 10}
MILLIS = 10.0  # times as slow as the made-up device of the other tests, so that a round has few calls


class Farm:
    """Simulated devices, the n-th of them 1 + n / 50 times as slow as the first."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.names = [str(write_toml(folder, f"simulated-{index}")) for index in range(count)]
        networks = {name: network_us(one) for name, one in build.whole_networks(TOY, 0).items()}
        self.us = {"reference": 40.0} | {spec.key: row_us(spec.key) for spec in TOY.ops} | networks
        self.broken: dict[int, Exception] = {}
        self.devices: dict[int, Simulated] = {}
        self.together: threading.Barrier | None = None

    def open(self, device: Device) -> Simulated:
        """Stands for `open_transport`."""
        index = int(device.id.partition("-")[2])
        if isinstance(self.broken.get(index), UnreachableError):
            raise self.broken[index]

        calls = itertools.count()

        def latency_us(model: str) -> float:
            if index in self.broken and next(calls) > 500:
                raise self.broken[index]
            return MILLIS * self.us[model] * self.speed(index)

        def begun() -> None:
            if self.together is not None and not self.devices[index].clock.us:
                self.together.wait(120)  # which nobody passes before all are measuring

        self.devices[index] = Simulated(latency_us, f"Simulated {index}", begun)
        return self.devices[index]

    def speed(self, index: int) -> float:
        return 1.0 + index / COUNT


@pytest.fixture
def farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    """All fifty, with tables of few networks and few rounds."""
    monkeypatch.setattr(build, "CALIBRATION_NETWORKS", 4)
    monkeypatch.setattr(build, "VALIDATION_NETWORKS", 4)
    monkeypatch.setattr(journal, "_ROUNDS_PER_PROCESS", 2)
    made = Farm(tmp_path, COUNT)
    monkeypatch.setattr(link, "open_transport", made.open)
    link.link_to.cache_clear()
    yield made
    link.link_to.cache_clear()


def test_fifty_devices_measure_at_once_and_three_of_them_fail(farm: Farm) -> None:
    farm.broken = {7: UnreachableError("unplugged"), 11: DeviceError("dark"), 13: RuntimeError("no such op")}
    farm.together = threading.Barrier(COUNT - 1)
    result = hwnas.profile_devices(farm.names, out=farm.folder / "tables", **SPACE)
    assert list(result.outcomes) == farm.names
    assert {farm.names.index(name): type(error) for name, error in result.errors.items()} == {
        7: UnreachableError,
        11: DeviceError,
        13: ModelError,
    }
    assert result.exit_code == 5
    for name, table in result.tables.items():
        index = farm.names.index(name)
        factor = MILLIS * farm.speed(index)
        assert table.folder == farm.folder / "tables" / f"simulated-{index}" / "onnxruntime-1.0.0-t1-fp32"
        assert (table.measured, table.rows) == (len(TOY.ops), len(TOY.ops))
        expected = {spec.key: pytest.approx(factor * row_us(spec.key), rel=1e-5) for spec in TOY.ops}
        assert {key: row.median_us for key, row in table.table.rows.items()} == expected
        found = table.table.calibrations[TOY.signature]
        assert (found.slope, found.intercept_us, found.per_op_us) == pytest.approx(
            (SLOPE, factor * INTERCEPT_US, factor * PER_OP_US), rel=1e-3
        )
        assert table.validation.mape < 1e-4

    farm.broken, farm.together, before = {}, None, dict(farm.devices)
    link.link_to.cache_clear()
    again = hwnas.profile_devices(farm.names, out=farm.folder / "tables", **SPACE)
    assert (again.exit_code, len(again.tables)) == (0, COUNT)
    assert sorted(farm.names.index(name) for name, table in again.tables.items() if table.measured) == [7, 11, 13]
    assert all(one.clock.us == 0 for index, one in farm.devices.items() if index not in (7, 11, 13))
    assert all(one.clock.us > 0 for index, one in before.items() if index != 7)


def test_the_command_tells_every_table_and_every_exit_code(farm: Farm) -> None:
    farm.broken = {1: UnreachableError("unplugged", hint="plug it in")}
    options = ["--space", "toy", "--width", "1", "--resolution", "8", "--channels", "1", "--quiet"]
    words = ["profile-device", "--device", ",".join(farm.names[:3]), "--out", str(farm.folder / "tables"), *options]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 5, done.output
    printed = json.loads(done.stdout)
    assert printed["exit_code"] == 5
    assert list(printed["devices"]) == farm.names[:3]
    assert printed["devices"][farm.names[0]]["measured"] == len(TOY.ops)
    assert printed["devices"][farm.names[1]] == {"error": "unplugged", "hint": "plug it in", "exit_code": 5}
    assert f"{farm.names[1]}: unplugged" in done.stderr
    told = CliRunner().invoke(app, words)
    assert told.exit_code == 5
    cells = [line.split() for line in told.stdout.splitlines()]
    assert cells[1][:2] == [farm.names[0], "0"]
    assert cells[3] == [farm.names[1], "5", "none"]
    farm.broken = {}
    healed = CliRunner().invoke(app, words)
    assert healed.exit_code == 0, healed.output
    assert healed.stdout.splitlines()[-1].startswith("Next: hwnas table show")


def test_names_are_checked_before_anything_is_measured(farm: Farm) -> None:
    for names, message in (
        ([], "there is no device"),
        ([*farm.names, farm.names[0]], "is named twice"),
        ([*farm.names, "toaster"], "there is no device 'toaster'"),
        (["host", "pixel3"], "nothing can be measured on 'pixel3'"),
    ):
        with pytest.raises(InputError, match=message):
            hwnas.profile_devices(names, out=farm.folder / "tables", **SPACE)
    assert not farm.devices


@pytest.mark.parametrize("kept_bytes", [0, Job.kept_bytes])
def test_no_more_models_are_in_memory_than_are_measured(
    farm: Farm, kept_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "Job", lambda *words, **named: Job(*words, **named, kept_bytes=kept_bytes))
    one = hwnas.profile_device(farm.names[0], out=farm.folder / "tables", **SPACE)
    models = len(TOY.ops) + 8
    assert models > GROUP
    assert farm.devices[0].most == (models if kept_bytes else GROUP)
    assert {key: row.median_us for key, row in one.table.rows.items()} == {
        spec.key: pytest.approx(MILLIS * row_us(spec.key), rel=1e-5) for spec in TOY.ops
    }
