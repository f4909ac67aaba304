"""Other work on the machine: the counter that sees it, the rounds that it spoils, and the bound from the table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from device_models import HOST, FakeStream, a_round, write_convs

from hwnas.devices import runner_aid
from hwnas.devices.estimate import LOADED, accepted, reference_floor_us
from hwnas.devices.measure import measure
from hwnas.devices.profile import profile_rounds
from hwnas.devices.rounds import Round


class Machine:
    """A made-up /proc/stat of two CPUs with a clock: 100 ticks a second, this process takes the whole first one."""

    def __init__(self, stat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stat, self.second, self.busy = stat, 0.0, 0
        monkeypatch.setattr(runner_aid, "STAT", stat)
        monkeypatch.setattr(runner_aid.time, "perf_counter", lambda: self.second)
        monkeypatch.setattr(runner_aid.time, "process_time", lambda: self.second)
        monkeypatch.setattr(runner_aid.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(runner_aid.os, "sysconf", lambda name: 100)
        self.run(0.0, 0.0)

    def run(self, seconds: float, second_core: float, *, stolen: float = 0.0) -> None:
        self.second += seconds
        self.busy += round(100 * seconds * (1 + second_core))
        self.stolen = round(100 * seconds * stolen) + getattr(self, "stolen", 0)
        self.stat.write_text(f"cpu  {self.busy} 0 0 999 7 0 0 {self.stolen} 0 0\ncpu0 ...\n")


def test_the_share_of_the_other_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "stat", monkeypatch)
    others = runner_aid.OtherWork()
    machine.run(1.0, 0.0)
    assert others.share() == 0
    machine.run(1.0, 1.0)
    assert others.share() == pytest.approx(1.0)
    machine.run(1.0, 0.2, stolen=0.1)
    assert others.share() == pytest.approx(0.3)


def test_short_rounds_are_judged_by_the_last_quarter_of_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path / "stat", monkeypatch)
    others = runner_aid.OtherWork()
    for second_core, expected in [(0.0, 0.0)] * 10 + [(1.0, 0.2), (1.0, 0.4), (1.0, 0.6), (1.0, 0.8), (1.0, 1.0)]:
        machine.run(0.05, second_core)
        share = others.share()
        assert share == pytest.approx(expected, abs=0.17)


@pytest.mark.parametrize("content", [None, "", "cpu  one two three\n"])
def test_unknown_where_the_system_does_not_count(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    monkeypatch.setattr(runner_aid, "STAT", tmp_path / "stat")
    assert runner_aid.OtherWork().share() is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not count")
def test_the_real_runner_knows_from_the_first_round(tmp_path: Path) -> None:
    model = write_convs(tmp_path / "model.onnx", 2)
    rounds = measure(HOST, {"a": model}, model, rounds=3, round_ms=1)
    cpus = os.cpu_count() or 1
    assert all(one.load is not None and 0 <= one.load <= cpus / max(1, cpus - 1) + 0.1 for one in rounds)


def test_rounds_of_older_versions_have_no_load() -> None:
    old = {key: value for key, value in a_round(50).to_json().items() if key != "load"}
    assert Round.from_json(old) == a_round(50)
    assert accepted([Round.from_json(old)])


def test_loaded_rounds_are_rejected() -> None:
    rounds = [a_round(50, load=load) for load in (None, 0.0, LOADED, LOADED + 0.01, 2.0)]
    assert [one.load for one in accepted(rounds)] == [None, 0.0, LOADED]


def test_loaded_rounds_are_measured_again_and_no_more_than_asked() -> None:
    stream = FakeStream(lambda name, turn: 100.0, load=1.0)
    rounds = profile_rounds(HOST, {"a": Path("a")}, Path("reference"), rounds=5, max_extra=2, stream=stream)
    assert stream.passes == [(["a"], 5), (["a"], 3), (["a"], 3)]
    assert len(rounds) == 11


@pytest.mark.parametrize(("now_us", "bound_us"), [(90, 90), (101, 101), (104, 105 / 1.03), (150, 105 / 1.03)])
def test_the_table_bounds_the_reference_model(now_us: float, bound_us: float) -> None:
    assert reference_floor_us([a_round(1, now_us)], table_us=100) == pytest.approx(min(now_us, bound_us))
    assert reference_floor_us([a_round(1, now_us)]) == now_us


def test_the_cpu_time_of_helpers_is_no_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "stat", monkeypatch)
    others = runner_aid.OtherWork(lambda: 1.75 * machine.second)
    machine.run(1.0, 1.0)
    assert others.share() == pytest.approx(0.25)
