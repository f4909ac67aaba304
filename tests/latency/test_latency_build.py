"""Completing a table from measurements that are known, through interruptions; and where tables lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from latency_fakes import (
    HOST,
    INTERCEPT_US,
    PER_OP_US,
    REFERENCE_US,
    SLOPE,
    TOY,
    FakeRounds,
    network_us,
    row_us,
    table_of,
)

from hwnas.arch import SlotSpace, space_instance
from hwnas.devices.link import condition_of
from hwnas.devices.rounds import Round
from hwnas.display import slower
from hwnas.errors import InputError
from hwnas.latency import build, find, journal
from hwnas.latency.build import complete, drifted, measured_network
from hwnas.latency.calibrate import CALIBRATION_NETWORKS
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.progress import Silent

NETWORKS = build.whole_networks(TOY, 0)
JOURNAL = f"rounds-{TOY.signature}.jsonl"


def completed(folder: Path, fake: FakeRounds, monkeypatch: pytest.MonkeyPatch, space: SlotSpace = TOY) -> LatencyTable:
    monkeypatch.setattr(journal, "profile_rounds", fake)
    table = open_table(HOST, folder)
    return complete(table, space, HOST, folder, lacking(table, space), progress=Silent())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """The table of the toy space that was measured in one go."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("whole")
        completed(folder, FakeRounds(TOY, NETWORKS), patch)
    return load_table(folder)


def same(table: LatencyTable, other: LatencyTable) -> bool:
    """Equal but for the time of day."""
    rows = [{key: [row.median_us, row.p10_us, row.runs] for key, row in one.rows.items()} for one in (table, other)]
    return rows[0] == rows[1] and (table.calibrations, table.validations) == (other.calibrations, other.validations)


def test_a_completed_table_is_what_the_device_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRounds(TOY, NETWORKS)
    table = completed(tmp_path, fake, monkeypatch)
    assert len(set(fake.measured)) == len(fake.measured) == 10 * (len(TOY.ops) + len(NETWORKS))
    assert {key: row.median_us for key, row in table.rows.items()} == {spec.key: row_us(spec.key) for spec in TOY.ops}
    calibration = table.calibrations[TOY.signature]
    assert (calibration.slope, calibration.intercept_us, calibration.per_op_us) == pytest.approx(
        (SLOPE, INTERCEPT_US, PER_OP_US), abs=1e-6
    )
    validation = table.validations[TOY.signature]
    assert validation.n == len(NETWORKS) - CALIBRATION_NETWORKS
    assert validation.mape < 1e-6
    assert validation.repeatability == pytest.approx(0.01)
    assert table.reference_us == REFERENCE_US
    assert not (tmp_path / JOURNAL).exists()
    reloaded = open_table(HOST, tmp_path)
    assert not lacking(reloaded, TOY)
    model = model_of(reloaded, TOY)
    for architecture in TOY.enumerate():
        expected_ms = network_us(TOY.network(architecture)) / 1e3
        assert model.predict_ms(architecture.choices) == pytest.approx(expected_ms, rel=1e-4)


def test_calibration_and_validation_share_no_network() -> None:
    assert len(set(NETWORKS.values())) == len(NETWORKS) > CALIBRATION_NETWORKS


def test_a_network_is_judged_within_its_processes_where_one_was_the_fastest() -> None:
    network = next(iter(NETWORKS.values()))
    made = table_of()

    def rounds(speeds: dict[int, float]) -> list[Round]:
        """Six rounds in each process, whose speed it is; every third one is disturbed."""
        return [
            Round("net", turn, process, 100.0 * slow, 90.0, 110.0, 9, REFERENCE_US * slow)
            for process, speed in speeds.items()
            for turn, slow in enumerate([speed, 1.01 * speed, 1.5 * speed] * 2, start=process)
        ]

    lone = [Round("other", 0, 0, 50.0, 45.0, 55.0, 9, REFERENCE_US)]
    equal = measured_network(made, network, "net", [*lone, *rounds({10: 1.0, 20: 1.02})])
    assert (equal.floor_us, equal.median_us) == (100.0, pytest.approx(101.0))
    slower = measured_network(made, network, "net", [*lone, *rounds({10: 1.05, 20: 1.07})])
    assert (slower.floor_us, slower.median_us) == (105.0, pytest.approx(106.5, abs=0.6))


@pytest.mark.parametrize("dies_after", [0, 1, 100, 350, 10 * (len(TOY.ops) + len(NETWORKS)) - 1])
def test_an_interrupted_measurement_goes_on(
    dies_after: int, whole: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken"
    first = FakeRounds(TOY, NETWORKS, dies_after)
    with pytest.raises(KeyboardInterrupt):
        completed(folder, first, monkeypatch)
    assert not (folder / "table.csv").exists()
    assert len((folder / JOURNAL).read_text().splitlines()) == 1 + dies_after
    second = FakeRounds(TOY, NETWORKS)
    completed(folder, second, monkeypatch)
    assert len(first.measured) == dies_after
    assert not set(first.measured) & set(second.measured)
    assert len(first.measured) + len(second.measured) == 10 * (len(TOY.ops) + len(NETWORKS))
    assert same(load_table(folder), whole)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-7],
        lambda text: text + '{"name": "half',
        lambda text: text + "{}\n",
        lambda text: text + "3\n",
        lambda text: text + '{"name": "a", "round": "x"}\n',
        lambda text: text.replace("10, ", '"ten", ', 1),
        lambda text: "",
        lambda text: "no journal at all\n",
        lambda text: text + "\xff",
    ],
    ids=["cut", "half a line", "no fields", "no object", "too few fields", "a text", "empty", "other", "not UTF-8"],
)
def test_a_damaged_journal_costs_rounds_and_nothing_else(
    damage: object, whole: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(damage)
    with pytest.raises(KeyboardInterrupt):
        completed(tmp_path, FakeRounds(TOY, NETWORKS, 30), monkeypatch)
    journal = tmp_path / JOURNAL
    journal.write_bytes(damage(journal.read_text()).encode("latin-1"))
    completed(tmp_path, FakeRounds(TOY, NETWORKS), monkeypatch)
    assert same(load_table(tmp_path), whole)


def test_a_journal_of_other_models_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        completed(tmp_path, FakeRounds(TOY, NETWORKS, 30), monkeypatch)
    journal = tmp_path / JOURNAL
    head, *rest = journal.read_text().splitlines()
    other = {"models": json.loads(head)["models"][::-1]}
    journal.write_text("\n".join([json.dumps(other), *rest]) + "\n")
    fake = FakeRounds(TOY, NETWORKS)
    completed(tmp_path, fake, monkeypatch)
    assert len(fake.measured) == 10 * (len(TOY.ops) + len(NETWORKS))


def test_only_what_lacks_is_measured_and_other_rows_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    completed(tmp_path, FakeRounds(TOY, NETWORKS), monkeypatch)
    more = space_instance("toy", width=1.0, resolution=16, channels=1, classes=10)
    networks = build.whole_networks(more, 0)
    fake = FakeRounds(more, networks)
    table = completed(tmp_path, fake, monkeypatch, more)
    assert {name for name, _ in fake.measured} == {spec.key for spec in more.ops} | networks.keys()
    assert table.rows.keys() == {spec.key for spec in (*TOY.ops, *more.ops)}
    assert table.calibrations.keys() == {TOY.signature, more.signature}

    gone = TOY.ops[1].key
    table = load_table(tmp_path)
    del table.rows[gone]
    save_table(table, tmp_path)
    fake = FakeRounds(TOY, NETWORKS)
    completed(tmp_path, fake, monkeypatch)
    assert {name for name, _ in fake.measured} == {gone} | NETWORKS.keys()


def at_speed(reference_us: float, fake: FakeRounds) -> Callable[..., list[Round]]:
    """The rounds of `fake` on a device whose reference model takes so long."""
    return lambda *args, **kwargs: [replace(one, reference_us=reference_us) for one in fake(*args, **kwargs)]


def test_each_row_is_compared_with_the_speed_it_was_measured_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = space_instance("toy", width=1.0, resolution=8, channels=1, classes=5)
    shared = {spec.key for spec in TOY.ops} & {spec.key for spec in other.ops}
    assert 0 < len(shared) < len(TOY.ops)
    slow_us = 1.2 * REFERENCE_US
    for space, reference_us in ((TOY, REFERENCE_US), (other, REFERENCE_US), (TOY, slow_us)):
        networks = build.whole_networks(space, 0)
        monkeypatch.setattr(journal, "profile_rounds", at_speed(reference_us, FakeRounds(space, networks)))
        missing = MissingRows(space.ops, calibration=True)
        complete(open_table(HOST, tmp_path), space, HOST, tmp_path, missing, progress=Silent())
    table = load_table(tmp_path)
    assert table.calibrations.keys() == {TOY.signature, other.signature}
    assert {key for key, row in table.rows.items() if row.reference_us == slow_us} == {spec.key for spec in TOY.ops}
    assert {key for key, row in table.rows.items() if row.reference_us == REFERENCE_US} == {
        spec.key for spec in other.ops if spec.key not in shared
    }

    def again(space: SlotSpace, now_us: float) -> tuple[set[str], bool, float]:
        one = Round("reference", 0, 0, now_us, now_us, now_us, 9, now_us)
        monkeypatch.setattr(build, "measure", lambda *_, **__: [one])
        missing, changed = drifted(table, space, HOST)
        return {spec.key for spec in missing.rows}, missing.calibration, changed

    assert again(TOY, slow_us) == (set(), False, 0.0)
    assert again(TOY, REFERENCE_US) == ({spec.key for spec in TOY.ops}, True, pytest.approx(1 / 1.2 - 1))
    assert again(other, slow_us) == ({spec.key for spec in other.ops} - shared, True, pytest.approx(0.2))
    assert again(other, REFERENCE_US) == (shared, True, pytest.approx(1 / 1.2 - 1))


def test_tables_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = condition_of(HOST)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    roots = {"local": Path("latency_tables"), "user": tmp_path / "latency_tables", "shipped": tmp_path / "shipped"}
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path)
    monkeypatch.setattr(find, "resource_folder", lambda name: roots["shipped"])
    assert find.find_folder(condition, None) is None
    for root in ("local", "shipped", "user"):
        folder = roots[root] / condition.folder
        save_table(LatencyTable(condition), folder)
        assert find.find_folder(condition, None) == folder
    assert find.find_folder(condition, tmp_path / "mine") is None
    save_table(LatencyTable(condition), tmp_path / "mine" / condition.folder)
    assert find.find_folder(condition, tmp_path / "mine") == tmp_path / "mine" / condition.folder


def test_a_table_of_the_working_directory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the folder made the table; one that was asked for needs no word."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path / "user")
    monkeypatch.setattr(find, "resource_folder", lambda name: tmp_path / "none")
    condition, said = condition_of(HOST), Said()
    here, mine = Path("latency_tables"), tmp_path / "user" / "latency_tables"
    save_table(LatencyTable(condition), here / condition.folder)
    assert find.table_folder(condition, None) == here / condition.folder
    find.say_if_here(find.find_folder(condition, None), None, said)
    assert said.messages == [f"latency table from ./latency_tables/{condition.folder.as_posix()}"]
    find.say_if_here(find.find_folder(condition, here), here, said)
    save_table(LatencyTable(condition), mine / condition.folder)
    find.say_if_here(find.find_folder(condition, None), None, said)
    assert find.table_folder(condition, None) == mine / condition.folder
    assert len(said.messages) == 1


class Said(Silent):
    """Keeps what users are told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


def test_an_installation_without_tables_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise InputError("none")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path / "data")
    monkeypatch.setattr(find, "resource_folder", missing)
    assert find.find_folder(condition_of(HOST), None) is None


def test_new_tables_go_where_they_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find.platformdirs, "user_data_path", lambda name: tmp_path / name)
    assert find.writable_root(tmp_path / "mine") == tmp_path / "mine"
    assert find.writable_root(None) == tmp_path / "hwnas" / "latency_tables"


@pytest.mark.parametrize(("before", "said"), [(1.0, False), (1.04, False), (1.2, True), (0.8, True)])
def test_rows_of_another_speed_are_told_where_they_mix(
    before: float, said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = completed(tmp_path, FakeRounds(TOY, NETWORKS), monkeypatch)
    del table.rows[TOY.ops[1].key]
    table.rows = {key: replace(row, reference_us=before * row.reference_us) for key, row in table.rows.items()}
    save_table(table, tmp_path)
    heard: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", heard.append)
    complete(table, TOY, HOST, tmp_path, lacking(table, TOY), progress=progress)
    assert any("--again" in message and f"runs {slower(1 / before - 1)} than" in message for message in heard) is said
