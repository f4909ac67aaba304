"""The latency model equals the table's own sum for every architecture of the toy space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from latency_fakes import TOY, row_us, table_of

from hwnas.errors import InfeasibleBudgetError, InputError, MissingRowsError
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.space_latency import latency_model
from hwnas.latency.table import Calibration, LatencyTable, Validation
from hwnas.latency.table_model import model_of, used_sha256

VALIDATION = Validation(24, 0.99, 0.95, 0.01, 1.0, 1.0, 0.012, 0.005)


def calibrated(slope: float = 0.9, intercept_us: float = 20.0, per_op_us: float = -3.0) -> LatencyTable:
    table = table_of()
    table.calibrations[TOY.signature] = Calibration(slope, intercept_us, per_op_us, 24)
    table.validations[TOY.signature] = VALIDATION
    return table


def test_a_model_is_the_sum_of_the_rows_of_every_architecture() -> None:
    model = model_of(calibrated(), TOY)
    seen = 0
    for architecture in TOY.enumerate():
        rows = [row_us(spec.key) for _, spec in TOY.network(architecture).ops if spec.kind != "skip"]
        expected_us = 20.0 + 0.9 * sum(row - 3.0 for row in rows)
        assert model.predict_ms(architecture.choices) == pytest.approx(expected_us / 1e3, rel=1e-12)
        seen += 1
    assert seen == 81
    assert model.sigma == VALIDATION.sigma


def test_the_checksum_is_of_what_the_model_is_made_of() -> None:
    table = calibrated()
    first = used_sha256(table, TOY)
    key, other = sorted(table.rows)[:2]
    table.rows = dict(sorted(table.rows.items(), reverse=True))
    table.rows[key] = replace(table.rows[key], measured_at="2027-01-01T00:00:00+00:00", runs=99)
    table.rows["more"] = table.rows[other]
    table.calibrations["another"], table.provenance["cpu"] = Calibration(2.0, 0.0, 0.0, 24), "another"
    assert used_sha256(table, TOY) == first
    seen = {first, used_sha256(calibrated(slope=0.91), TOY), used_sha256(calibrated(per_op_us=-3.5), TOY)}
    table.validations[TOY.signature] = replace(VALIDATION, sigma=0.013)
    seen.add(used_sha256(table, TOY))
    table.rows[key] = replace(table.rows[key], median_us=table.rows[key].median_us + 0.001)
    seen.add(used_sha256(table, TOY))
    assert len(seen) == 5


def test_slots_that_share_a_decision_count_twice_and_a_skip_costs_nothing() -> None:
    model = latency_model(TOY, lambda spec: 1.0)
    assert model.fixed_ms == 2.0
    assert model.costs_ms == ((1.0, 1.0, 1.0), (2.0, 2.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 0.0))


def test_smallest_and_largest_are_those_of_the_enumeration() -> None:
    model = model_of(calibrated(), TOY)
    everything = [model.predict_ms(architecture.choices) for architecture in TOY.enumerate()]
    assert model.smallest_ms == pytest.approx(min(everything))
    assert model.largest_ms == pytest.approx(max(everything))


def test_a_raw_budget_lets_in_exactly_what_is_predicted_within_the_target() -> None:
    model = model_of(calibrated(), TOY)
    architectures = list(TOY.enumerate())
    predicted = np.array([model.predict_ms(one.choices) for one in architectures])
    raw = np.array([sum(row[k] for row, k in zip(model.costs_ms, one.choices, strict=True)) for one in architectures])
    for target in [*predicted, *(predicted + 1e-6)]:
        assert ((raw <= model.raw_budget_ms(target)) == (predicted <= target * (1 + 1e-12))).all()


def test_below_the_fastest_network_there_is_none() -> None:
    model = model_of(calibrated(), TOY)
    with pytest.raises(InfeasibleBudgetError) as caught:
        model.raw_budget_ms(model.smallest_ms * 0.999)
    assert caught.value.smallest_ms == model.smallest_ms
    asked = float(caught.value.hint.partition("--budget-ms ")[2].partition(",")[0])
    model.raw_budget_ms(model.target_ms(asked))


def test_a_target_leaves_room_for_the_error_of_the_table() -> None:
    model = AdditiveLatency(((0.0, 1.0),), 1.0, sigma=0.02)
    assert model.target_ms(2.0) == pytest.approx(2.0 / (1 + 0.02 * 1.749 / 0.789))


def test_a_calibration_must_increase() -> None:
    with pytest.raises(InputError, match="slope"):
        model_of(calibrated(slope=-0.1), TOY)


def test_without_calibration_or_rows_there_is_no_model() -> None:
    with pytest.raises(InputError, match="not calibrated") as caught:
        model_of(table_of(), TOY)
    assert "hwnas profile-device" in caught.value.hint
    table = calibrated()
    del table.rows[TOY.ops[2].key]
    with pytest.raises(MissingRowsError, match=TOY.ops[2].key):
        model_of(table, TOY)
