"""A table within a time limit, what stood in the way of a measurement, and the reference model of each space."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from latency_fakes import HOST, REFERENCE_US, TOY, FakeRounds, network_us, row_us, table_of
from typer.testing import CliRunner

from hwnas.arch import space_instance
from hwnas.cli import app
from hwnas.devices import profile
from hwnas.devices.rounds import Round
from hwnas.errors import MissingRowsError
from hwnas.latency import build, journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.noise import load_warning, noise_of, refuse_too_few
from hwnas.latency.table import LatencyTable, Noise, Validation
from hwnas.latency.table_files import load_table, save_table
from hwnas.progress import Silent

NETWORKS = build.whole_networks(TOY, 0)
MODELS = len(TOY.ops) + len(NETWORKS)
OTHER = space_instance("toy", width=1.0, resolution=16, channels=1, classes=10)
TOY_WORDS = ["--space", "toy", "--width", "1", "--resolution", "8", "--channels", "1"]


class Clock:
    """A device whose rounds take a second each, by the clock that the measurement reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rounds = 1000.0, 0
        for module in (build, profile):
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        real = profile.profile_rounds
        monkeypatch.setattr(journal, "profile_rounds", lambda *a, **k: real(*a, **k, stream=self.stream))

    def stream(
        self, device: Any, models: Mapping[str, Path], reference: Path, *, rounds: int, first_round: int, **_: Any
    ) -> Iterator[Round]:
        rows = {spec.key for spec in TOY.ops}
        for turn in range(first_round, first_round + rounds):
            for name in models:
                self.now += 1.0
                self.rounds += 1
                us = row_us(name) if name in rows else network_us(NETWORKS[name])
                yield Round(name, turn, first_round, us, 0.9 * us, 1.1 * us, 10, REFERENCE_US)


def measured(folder: Path, minutes: float) -> LatencyTable:
    table = open_table(HOST, folder)
    return complete(table, TOY, HOST, folder, lacking(table, TOY), progress=Silent(), max_minutes=minutes)


def test_without_need_of_it_the_limit_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    measured(tmp_path, 1000)
    assert clock.rounds == 10 * MODELS


def test_a_table_of_fewer_rounds_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    table = measured(tmp_path, 4.5 * MODELS / 60)  # each process gets two rounds and a quarter of everything
    assert clock.rounds == pytest.approx(4.5 * MODELS, abs=2)
    assert not lacking(load_table(tmp_path), TOY)
    assert {row.runs for row in table.rows.values()} == {6}  # rows come first in every round of the fake
    assert table.validations[TOY.signature].mape < 1e-6
    assert not list(tmp_path.glob("*.jsonl"))


def test_too_little_time_says_what_lacks_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with pytest.raises(
        MissingRowsError, match=r"--max-minutes 1 is too few .* whole networks still lack rounds"
    ) as caught:
        measured(tmp_path, 1)
    assert caught.value.exit_code == 2
    assert "same command" in caught.value.hint
    assert set(caught.value.keys) <= {spec.key for spec in TOY.ops}
    assert clock.rounds == pytest.approx(60, abs=2)
    assert not (tmp_path / "table.csv").exists()
    for _ in range(20):
        try:
            measured(tmp_path, 1)
            break
        except MissingRowsError:
            pass
    assert not lacking(load_table(tmp_path), TOY)
    assert clock.rounds < 10 * MODELS


def test_a_row_takes_rounds_of_two_processes() -> None:
    def rounds(*processes: int) -> list[Round]:
        return [Round("a", turn, own, 1, 1, 1, 1, 1) for turn, own in enumerate(processes)]

    refuse_too_few(rounds(0, 0, 2), ["a"], [], 1)
    for own in (rounds(0, 0, 0, 0), rounds(0, 1), []):
        with pytest.raises(MissingRowsError, match="the first row is a"):
            refuse_too_few(own, ["a"], [], 1)
        with pytest.raises(MissingRowsError, match="0 of 0 rows and 1 of 1 whole networks"):
            refuse_too_few(own, [], ["a"], 1)


def test_the_command_tells_noise_and_that_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    words = ["profile-device", *TOY_WORDS, "--out", str(tmp_path), "--quiet", "--max-minutes"]
    done = CliRunner().invoke(app, [*words, "0.5"])
    assert done.exit_code == 2
    assert "--max-minutes 0.5 is too few for a table" in done.stderr
    done = CliRunner().invoke(app, [*words, str(4.5 * MODELS / 60)])
    assert done.exit_code == 0, done.output
    assert "measuring stopped at --max-minutes" in done.stdout
    assert "0% of the rounds were disturbed; the two fastest processes agree within 0.0%" in done.stdout
    assert "the reference model drifted by +0.0% from begin to end" in done.stdout


def test_a_drift_while_measuring_is_told() -> None:
    rounds = [Round("a", turn, 0, 50, 50, 50, 9, 400.0 + 4 * turn) for turn in range(12)]
    noise = noise_of(rounds)
    assert noise.drift == pytest.approx((400 + 32) / 400 - 1)
    assert (noise.reference_us, noise.load, noise.disagreement) == (400, None, None)
    table = table_of()
    table.noise[TOY.signature] = noise
    assert "was 8% slower at the end than at the beginning" in load_warning(table, TOY)
    table.noise[TOY.signature] = replace(noise, drift=-0.08)
    assert "was 8% faster" in load_warning(table, TOY)
    table.noise[TOY.signature] = replace(noise, drift=0.04)
    assert load_warning(table, TOY) == ""
    table.noise[TOY.signature] = replace(noise, load=0.9)
    assert "other work took 90%" in load_warning(table, TOY)


def test_a_margin_that_other_work_made_wide_is_told() -> None:
    table = table_of()
    table.noise[TOY.signature] = Noise(0.5)
    disturbed = Validation(24, 1.0, 1.0, 0.007, 1.0, 1.0, 0.056, 0.035)
    table.validations[TOY.signature] = disturbed
    share = 1 - 1 / (1 + 0.056 * 1.749 / 0.789)  # one prediction more after 24 networks, without their largest tenth
    assert f"searches leave {share:.0%} of a budget" in load_warning(table, TOY)
    for quiet in (
        replace(disturbed, repeatability=0.005),
        replace(disturbed, mape=0.05),
        replace(disturbed, sigma=0.01),
    ):
        table.validations[TOY.signature] = quiet
        assert load_warning(table, TOY) == ""


def test_a_second_space_leaves_the_reference_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for space, reference_us in ((TOY, REFERENCE_US), (OTHER, 1.04 * REFERENCE_US)):
        fake = FakeRounds(space, build.whole_networks(space, 0))
        monkeypatch.setattr(
            journal,
            "profile_rounds",
            lambda *a, us=reference_us, fake=fake, **k: [replace(r, reference_us=us) for r in fake(*a, **k)],
        )
        table = open_table(HOST, tmp_path)
        complete(table, space, HOST, tmp_path, lacking(table, space), progress=Silent())
    table = load_table(tmp_path)
    assert table.reference_us == pytest.approx(1.04 * REFERENCE_US)
    assert table.reference_of(TOY.signature) == pytest.approx(REFERENCE_US)
    assert table.reference_of(OTHER.signature) == pytest.approx(1.04 * REFERENCE_US)


def test_tables_of_older_versions_have_one_reference(tmp_path: Path) -> None:
    table = table_of()
    table.noise[TOY.signature] = Noise(0.25, 0.1, 390.0, 0.01, 0.02)
    save_table(table, tmp_path)
    assert load_table(tmp_path).noise == table.noise
    meta = tomllib.loads((tmp_path / "meta.toml").read_text())
    for name in ("reference_us", "drift", "disagreement"):
        del meta["noise"][TOY.signature][name]
    del meta["sha256_meta"]
    (tmp_path / "meta.toml").write_text(tomli_w.dumps(meta))
    old = load_table(tmp_path)
    assert old.noise == {TOY.signature: Noise(0.25, 0.1)}
    assert old.reference_of(TOY.signature) == old.reference_us == REFERENCE_US
