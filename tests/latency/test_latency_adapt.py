"""Tables predicted from those of other devices, on made-up devices and on the shipped tables."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
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

from hwnas.arch import OpSpec
from hwnas.devices.device import Condition
from hwnas.devices.link import condition_of
from hwnas.errors import InputError, TableError
from hwnas.latency import build, find, journal
from hwnas.latency.adapt import AdaptationPrior, adapt_table, adaptation_prior, source_tables
from hwnas.latency.missing_rows import lacking, table_for
from hwnas.latency.op_prior import op_counts, op_prior, op_weights_ms, priced
from hwnas.latency.table import Calibration, LatencyTable, Validation
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.latency.transfer import Floats
from hwnas.latency.trust import space_of
from hwnas.progress import Silent

SHIPPED = Path(__file__).parents[2] / "latency_tables"
MOBILE = "mobile@w0.25-r32-i1-o10"
OPS = priced(TOY)
SOUND = Validation(24, 1.0, 1.0, 0.01, 1.0, 1.0, 0.01, 0.005)


def source(seed: int, spread: float = 0.2) -> LatencyTable:
    """The made-up device with every row off by about `spread`, and another scale."""
    rng = np.random.default_rng(seed)
    table = table_of(condition=Condition("cpu", "onnxruntime", f"1.{seed}", 1, "fp32"))
    scale = rng.uniform(0.3, 3.0)
    for key, row in table.rows.items():
        us = scale * row.median_us * np.exp(spread * rng.normal())
        table.rows[key] = dataclasses.replace(row, median_us=us, p10_us=us, p90_us=us)
    table.calibrations[TOY.signature] = Calibration(1.0, 10.0 * scale, -1.0, 24)
    table.validations[TOY.signature] = SOUND
    return table


@pytest.fixture(scope="module")
def known() -> AdaptationPrior:
    return adaptation_prior(TOY, [source(seed) for seed in range(3)])


def true_ms() -> Floats:
    return np.array([INTERCEPT_US, *(SLOPE * (row_us(spec.key) + PER_OP_US) for spec in OPS)]) / 1e3


def adapted(known: AdaptationPrior, folder: Path, samples: int, monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    monkeypatch.setattr(journal, "profile_rounds", FakeRounds(TOY, known.picked(samples)))
    return adapt_table(known, HOST, folder, samples, progress=Silent())


def test_counts_times_weights_are_the_calibrated_sum(known: AdaptationPrior) -> None:
    predicted = known.counts @ true_ms()
    assert predicted == pytest.approx([network_us(network) / 1e3 for network in known.networks])
    own = source(1)
    weights = op_weights_ms(own, OPS, TOY.signature)
    assert weights[1] == pytest.approx((own.rows[OPS[0].key].median_us - 1.0) / 1e3)
    assert op_weights_ms(own, OPS, "toy@w9-r9-i1-o10")[1] == pytest.approx(own.rows[OPS[0].key].median_us / 1e3)


def test_the_prior_of_one_source_is_its_table_with_the_guessed_spread() -> None:
    """By hand: two ops of one kind and size that differ in kernel share kind, expansion, squeeze-excite and size."""
    ops = (OpSpec("conv", 4, 4, 8, 8, act="relu"), OpSpec("conv", 4, 4, 8, 8, kernel=3, act="relu"))
    prior = op_prior(ops, np.array([[0.0, 2.0, 6.0]]), np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert prior.linear.mean == pytest.approx([0.0, 0.5, 1.5])
    own, shared = 0.25 * (5 * 0.1 + 0.01), 0.25 * 4 * 0.1
    assert prior.covariance[1:, 1:] == pytest.approx(np.array([[own, shared], [shared, own]]))
    assert (prior.linear.covariance[0, 1:] == 0).all()


def test_more_networks_do_not_hurt(known: AdaptationPrior) -> None:
    """On made-up devices unlike any source, the mean error falls with every step."""
    errors = []
    rng = np.random.default_rng(5)
    picks = known.prior.linear.pick(known.counts, 20)
    for _ in range(20):
        world = true_ms() * np.exp(0.3 * rng.normal(size=len(OPS) + 1)) * rng.uniform(0.2, 5.0)
        truth = known.counts @ world
        measured = truth[picks] * (1.0 + 0.005 * rng.normal(size=20))
        found = [known.prior.adapt(known.counts[picks[:count]], measured[:count]) for count in (3, 6, 12, 20)]
        errors.append([float(np.mean(np.abs(one.predict_ms(known.counts) / truth - 1.0))) for one in found])
    means = np.mean(errors, axis=0)
    assert (np.diff(means) < 0).all()
    assert means[-1] < 0.02


def test_an_adapted_table_is_saved_and_searched(
    known: AdaptationPrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition = condition_of(HOST)
    folder = tmp_path / find.adapted_folder(condition, TOY.signature)
    table = adapted(known, folder, 10, monkeypatch)
    assert load_table(folder).kind == "adapted"
    assert not list(folder.glob("*.jsonl"))
    assert table.provenance["samples"] == 10
    assert table.provenance["sources"] == list(known.sources)
    assert table.reference_us == REFERENCE_US
    assert not lacking(load_table(folder), TOY)
    model = model_of(load_table(folder), TOY)
    drawn = [TOY.drawn(np.random.default_rng(seed).integers) for seed in range(30)]
    truth = np.array([network_us(TOY.network(one)) / 1e3 for one in drawn])
    predicted = np.array([model.predict_ms(one.choices) for one in drawn])
    assert np.mean(np.abs(predicted / truth - 1.0)) < 0.05
    assert model.sigma > 0.005
    assert (truth < predicted * (1 + 1.749 / 0.789 * model.sigma)).mean() >= 0.9
    assert table_for(HOST, TOY, tmp_path)[0].kind == "adapted"
    measured = table_of(condition=condition)
    measured.calibrations[TOY.signature], measured.validations[TOY.signature] = Calibration(1, 0, 0, 24), SOUND
    save_table(measured, tmp_path / condition.folder)
    assert table_for(HOST, TOY, tmp_path)[0].kind == "measured"


def test_few_networks_leave_a_wide_margin(
    known: AdaptationPrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sigmas = [
        adapted(known, tmp_path / str(count), count, monkeypatch).validations[TOY.signature].sigma
        for count in (3, 6, 20)
    ]
    assert sigmas[0] > sigmas[1] > sigmas[2]


def test_no_source_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    with pytest.raises(TableError, match="at least one") as caught:
        source_tables(TOY, condition_of(HOST), None)
    assert "profile-device" in str(caught.value.hint)
    other, same, adapted_one = source(4), source(5), source(6)
    same.under = condition_of(HOST)
    adapted_one.kind = "adapted"
    for table in (other, same, adapted_one):
        save_table(table, tmp_path / "own" / table.device / table.condition)
    assert [table.condition for table in source_tables(TOY, condition_of(HOST), tmp_path / "own")] == [other.condition]


def test_tables_of_a_runtime_that_is_not_installed_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(find, "resource_folder", lambda name: tmp_path / "shipped" / name)
    here, elsewhere = source(4), source(5)
    elsewhere.under = Condition("cpu", "litert", "2.3.0", 1, "fp32")
    for table in (here, elsewhere):
        save_table(table, tmp_path / "own" / table.device / table.condition)
    monkeypatch.delitem(sys.modules, "hwnas.backends.litert", raising=False)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert [table.condition for table in source_tables(TOY, condition_of(HOST), tmp_path / "own")] == [here.condition]


@pytest.mark.parametrize("samples", [0, 2, 10_000])
def test_a_number_of_networks_out_of_range_is_refused(known: AdaptationPrior, samples: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="measured networks"):
        adapt_table(known, HOST, tmp_path, samples, progress=Silent())


@pytest.mark.parametrize("condition", ["litert-2.3.0-t1-fp32", "onnxruntime-1.32.0-t1-int8"])
def test_shipped_tables_predict_each_other(condition: str) -> None:
    """Ten networks and the other tables, against the networks that the condition's own table was validated on."""
    space = space_of(MOBILE)
    tables = [load_table(path.parent) for path in sorted(SHIPPED.glob("amd-epyc-f25m1/*/meta.toml"))]
    (target,) = [table for table in tables if table.condition == condition]
    known = adaptation_prior(space, [table for table in tables if table is not target])
    picks = known.prior.design(known.counts, 10)
    measured = known.counts[picks] @ op_weights_ms(target, priced(space), MOBILE)
    found = known.prior.adapt(known.counts[picks], measured)
    held_out = build.validation_networks(space, 0)
    rows, pairs = op_counts(priced(space), held_out), np.array(target.pairs[MOBILE])
    assert rows @ op_weights_ms(target, priced(space), MOBILE) == pytest.approx(pairs[:, 0], rel=1e-4)
    off = found.predict_ms(rows) / pairs[:, 1] - 1.0
    assert np.mean(np.abs(off)) < 0.05
    assert np.mean(np.abs(off) <= 1.96 * found.deviation_ms(rows) / pairs[:, 1]) > 0.8
