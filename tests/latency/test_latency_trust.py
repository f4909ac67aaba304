"""When a table is too far off to search with, and how fresh networks are compared with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from latency_fakes import HOST, INTERCEPT_US, PER_OP_US, REFERENCE_US, SLOPE, TOY, FakeRounds, network_us, table_of

from hwnas.arch import Network, SlotSpace, space_instance
from hwnas.errors import InputError, MissingRowsError, TableError
from hwnas.latency import build, fresh, journal
from hwnas.latency.build import complete
from hwnas.latency.calibrate import VALIDATION_NETWORKS, too_far_off
from hwnas.latency.fresh import keep_fresh, measure_fresh
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.table import Calibration, LatencyTable, Validation
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.progress import Silent

SOUND = Validation(24, 0.99, 0.95, 0.01, 1.0, 1.0, 0.012, 0.005)


@pytest.mark.parametrize(
    ("mape", "spearman", "repeatability", "refused"),
    [
        (0.01, 0.99, 0.005, False),
        (0.01, 0.3, 0.001, False),  # a space whose networks all take about as long
        (0.04, 0.3, 0.001, False),
        (0.06, 0.95, 0.01, False),
        (0.06, 0.89, 0.01, True),
        (0.06, 0.89, 0.031, False),  # no more than the noise
        (0.10, 0.95, 0.01, False),
        (0.11, 1.0, 0.01, True),
        (0.11, 1.0, 0.06, False),
        (0.60, 0.2, 0.25, True),
    ],
)
def test_what_is_too_far_off(mape: float, spearman: float, repeatability: float, refused: bool) -> None:
    reason = too_far_off(replace(SOUND, mape=mape, spearman=spearman, repeatability=repeatability))
    assert bool(reason) is refused
    if refused:
        assert f"{mape:.1%}" in reason
        assert f"{repeatability:.1%}" in reason


def test_a_table_that_is_too_far_off_is_refused_unless_it_is_asked_for() -> None:
    table = table_of()
    table.calibrations[TOY.signature] = Calibration(0.9, 20.0, -3.0, 24)
    table.validations[TOY.signature] = SOUND
    sound = model_of(table, TOY)
    table.validations[TOY.signature] = replace(SOUND, mape=0.2)
    with pytest.raises(TableError, match="too far off") as caught:
        model_of(table, TOY)
    assert TOY.name in str(caught.value)
    assert "profile-device --again" in caught.value.hint
    assert "--any-table" in caught.value.hint
    assert model_of(table, TOY, any_table=True) == sound
    table.under = replace(table.under, provider="cuda")
    with pytest.raises(TableError, match="too far off") as caught:
        model_of(table, TOY)
    assert "take another provider" in caught.value.hint


def drawn(space: SlotSpace, count: int, seed: int) -> dict[str, Network]:
    """What `measure_fresh` measures, by its names."""
    rng = np.random.default_rng([seed, 7919])
    sizes = [len(decision.options) for decision in space.decisions]
    choices = [[int(rng.integers(size)) for size in sizes] for _ in range(count)]
    return {f"fresh {index}": space.network(space.architecture(row)) for index, row in enumerate(choices)}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    """A measured table of the made-up device in `tmp_path`."""
    monkeypatch.setattr(journal, "profile_rounds", FakeRounds(TOY, build.whole_networks(TOY, 0)))
    made = open_table(HOST, tmp_path)
    complete(made, TOY, HOST, tmp_path, lacking(made, TOY), progress=Silent())
    return load_table(tmp_path)


def measure(table: LatencyTable, count: int, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> fresh.Fresh:
    monkeypatch.setattr(fresh, "profile_rounds", FakeRounds(TOY, drawn(TOY, count, seed)))
    return measure_fresh(table, TOY, HOST, count, seed=seed, progress=Silent())


def test_fresh_networks_are_predicted_as_the_device_is(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure(table, 7, monkeypatch, seed=3)
    assert found.validation.n == 7
    assert found.validation.mape < 1e-6
    assert found.validation.repeatability == pytest.approx(0.01)
    assert found.before == table.validations[TOY.signature]
    assert found.drift == pytest.approx(0.0)
    truth_ms = [network_us(network) / 1e3 for network in drawn(TOY, 7, 3).values()]
    assert found.pairs == [[pytest.approx(ms, rel=1e-5), pytest.approx(ms, rel=1e-5)] for ms in truth_ms]
    assert load_table(tmp_path) == table  # nothing was kept


def test_a_wrong_calibration_is_found_out(table: LatencyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.calibrations[TOY.signature] = Calibration(1.2 * SLOPE, 1.2 * INTERCEPT_US, PER_OP_US, 24)
    found = measure(table, 20, monkeypatch)
    assert found.validation.mape == pytest.approx(0.2)
    assert too_far_off(found.validation)
    table.noise[TOY.signature] = replace(table.noise[TOY.signature], reference_us=REFERENCE_US / 1.03)
    assert measure(table, 2, monkeypatch).drift == pytest.approx(0.03)


def test_what_is_kept_sets_the_margin(table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(table.pairs[TOY.signature]) == table.validations[TOY.signature].n > 10
    found = measure(table, VALIDATION_NETWORKS, monkeypatch, seed=5)
    found = replace(found, validation=replace(found.validation, sigma=0.07))
    keep_fresh(found, table, TOY, HOST, tmp_path, progress=Silent())
    kept = load_table(tmp_path)
    assert (kept.validations[TOY.signature], kept.pairs[TOY.signature]) == (found.validation, found.pairs)
    assert kept.rows == table.rows
    assert model_of(kept, TOY).sigma == 0.07


def test_a_table_from_elsewhere_is_copied_with_what_is_kept(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measure(table, VALIDATION_NETWORKS, monkeypatch, seed=5)
    keep_fresh(found, table, TOY, HOST, tmp_path / "mine", progress=Silent())
    assert load_table(tmp_path / "mine").rows == table.rows


def test_too_few_networks_set_no_margin_and_another_table_is_left_alone(
    table: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = measure(table, VALIDATION_NETWORKS - 1, monkeypatch)
    with pytest.raises(InputError, match="at least 24 networks, not 23"):
        keep_fresh(few, table, TOY, HOST, tmp_path, progress=Silent())
    found = measure(table, VALIDATION_NETWORKS, monkeypatch)
    anew = load_table(tmp_path)
    anew.calibrations[TOY.signature] = replace(anew.calibrations[TOY.signature], slope=0.5)
    save_table(anew, tmp_path)
    with pytest.raises(TableError, match="measured anew"):
        keep_fresh(found, table, TOY, HOST, tmp_path, progress=Silent())
    assert load_table(tmp_path) == anew


def test_what_the_table_does_not_know_is_refused_before_measuring(table: LatencyTable) -> None:
    other = space_instance("toy", width=1.0, resolution=16, channels=1, classes=10)
    with pytest.raises(MissingRowsError):
        measure_fresh(table, other, HOST, 2, progress=Silent())
    del table.calibrations[TOY.signature], table.validations[TOY.signature]
    with pytest.raises(InputError, match="not calibrated"):
        measure_fresh(table, TOY, HOST, 2, progress=Silent())
