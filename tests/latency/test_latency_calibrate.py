"""The fit and its validation against planted truths; the networks that are measured for them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from latency_fakes import TOY, row_us, table_of

from hwnas.arch import SlotSpace
from hwnas.arch.costs import macs
from hwnas.arch.spaces import chain, mobile
from hwnas.errors import TableError
from hwnas.latency.calibrate import Measured, fit, predict, row_sum, spread_architectures, validate
from hwnas.latency.table import Calibration


def measured(rows_us: float, rows: int, floor_us: float, median_us: float | None = None) -> Measured:
    return Measured(rows_us, rows, floor_us, median_us or floor_us, (floor_us, floor_us))


def planted(truth: Calibration, *, noise: float = 0.0, seed: int = 0) -> list[Measured]:
    rng = np.random.default_rng(seed)
    pairs = [(float(rng.uniform(40, 120)) * count, count) for count in rng.integers(4, 14, 24).tolist()]
    return [measured(us, count, predict(truth, us, count) * (1 + noise * rng.normal())) for us, count in pairs]


@pytest.mark.parametrize(("slope", "intercept", "per_op"), [(1.0, 0.0, 0.0), (0.8, 35.0, -9.0), (1.3, -12.0, 4.0)])
def test_fit_recovers_what_was_planted(slope: float, intercept: float, per_op: float) -> None:
    found = fit(planted(Calibration(slope, intercept, per_op, 24)))
    assert found.n == 24
    assert (found.slope, found.intercept_us, found.per_op_us) == pytest.approx((slope, intercept, per_op), abs=1e-9)


def test_fit_in_noise_predicts_better_than_the_noise() -> None:
    truth = Calibration(0.8, 35.0, -9.0, 24)
    fresh = planted(truth, seed=99)
    for seed in range(20):
        found = fit(planted(truth, noise=0.02, seed=seed))
        errors = [predict(found, one.rows_us, one.rows) / one.floor_us - 1 for one in fresh]
        assert np.sqrt(np.mean(np.square(errors))) < 0.02


def test_networks_whose_rows_do_not_add_up_do_not_move_the_others() -> None:
    truth = Calibration(1.0, 12.0, -5.0, 24)
    networks = planted(truth)
    off = [measured(one.rows_us, one.rows, 1.4 * one.floor_us) for one in networks[:6]]
    found = fit([*off, *networks[6:]])
    errors = [predict(found, one.rows_us, one.rows) / one.floor_us - 1 for one in networks]
    assert max(map(abs, errors)) < 0.01  # least squares is off by 7 % there


def test_chains_are_spread_over_all_lengths_and_none_is_a_trifle() -> None:
    space = chain(width=0.25, resolution=32)
    drawn = spread_architectures(space, 96, seed=0)
    sizes = np.array([sum(macs(spec.graph) for _, spec in space.network(one).ops) for one in drawn])
    lengths = [len(space.describe(one)) for one in drawn]
    assert set(lengths) == set(range(1, space.layers + 1))
    assert np.mean(sizes < 0.001 * sizes.max()) < 0.1


def test_fit_leaves_out_the_count_where_all_networks_have_the_same() -> None:
    found = fit([measured(us, 7, 5.0 + 1.1 * us) for us in (100.0, 200.0, 350.0, 500.0)])
    assert (found.slope, found.intercept_us, found.per_op_us) == pytest.approx((1.1, 5.0, 0.0))


def test_fit_leaves_out_a_count_that_would_make_rows_negative() -> None:
    truth = Calibration(1.0, 1000.0, -60.0, 24)
    pairs = [(40.0 * count * (1 + k), count) for k in range(12) for count in (7, 8)]  # from 40 microseconds a row
    found = fit([measured(us, count, predict(truth, us, count)) for us, count in pairs])
    assert found.per_op_us == 0.0
    assert found.slope == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("floors", [(100.0, 90.0, 80.0, 70.0), (100.0, 100.0, 100.0, 100.0)])
def test_a_latency_that_does_not_grow_is_refused(floors: tuple[float, ...]) -> None:
    with pytest.raises(TableError, match="4 networks does not grow") as caught:
        fit([measured(100.0 * k, 7, floor) for k, floor in enumerate(floors, 1)])
    assert caught.value.hint


def test_validation_by_hand() -> None:
    networks = [
        Measured(100.0, 1, 100.0, 100.0, (100.0, 101.0)),
        Measured(200.0, 1, 192.0, 210.0, (200.0, 198.0)),
        Measured(300.0, 1, 340.0, 330.0, (300.0, 300.0)),
        Measured(400.0, 1, 310.0, 400.0, (400.0, 408.0)),
    ]
    found = validate(Calibration(1.0, 0.0, 0.0, 4), networks)
    errors = [0.0, 200 / 192 - 1, 1 - 300 / 340, 400 / 310 - 1]
    assert found.n == 4
    assert found.mape == pytest.approx(sum(errors) / 4)
    assert (found.within_5, found.within_10) == (0.5, 0.5)
    assert found.spearman == pytest.approx(0.8)  # 1 - 6·(1 + 1)/(4·15): the last two change places
    assert found.kendall == pytest.approx(4 / 6)  # five pairs agree, one does not
    assert found.sigma == pytest.approx(np.sqrt((0.05**2 + 0.10**2) / 4))  # of the medians; a tenth of 4 is none
    assert found.repeatability == pytest.approx((0.01 + 0.01 + 0.0 + 0.02) / 4)


def test_one_burst_in_ten_networks_does_not_set_the_margin() -> None:
    calm = [measured(100.0 + k, 1, 100.0 + k, 1.01 * (100.0 + k)) for k in range(9)]
    burst = [measured(150.0, 1, 150.0, 300.0)]
    assert validate(Calibration(1.0, 0.0, 0.0, 4), calm + burst).sigma == pytest.approx(0.01)


@pytest.mark.parametrize("space", [TOY, mobile(width=0.25, resolution=32)], ids=lambda space: space.name)
def test_networks_to_measure_cover_the_range_of_sizes(space: SlotSpace) -> None:
    drawn = spread_architectures(space, 48, seed=3)
    assert drawn == spread_architectures(space, 48, seed=3)
    assert drawn != spread_architectures(space, 48, seed=4)
    sizes = [macs(space.network(one).graph) for one in drawn]
    rng = np.random.default_rng(0)
    options = [range(len(decision.options)) for decision in space.decisions]
    if space is TOY:
        everything = [macs(TOY.network(one).graph) for one in TOY.enumerate()]
    else:
        random = [[int(rng.choice(row)) for row in options] for _ in range(400)]
        everything = [macs(space.network(space.architecture(one)).graph) for one in random]
    low, high = np.quantile(everything, [0.25, 0.75])
    assert sum(size <= low for size in sizes) >= 8
    assert sum(size >= high for size in sizes) >= 8


def test_a_row_sum_counts_what_runs() -> None:
    table = table_of()
    for choices in itertools.product(range(3), repeat=4):
        network = TOY.network(TOY.architecture(choices))
        kept = [spec for _, spec in network.ops if spec.kind != "skip"]
        total, count = row_sum(table, network)
        assert count == len(kept) == 7 - 2 * (choices[1] == 2) - (choices[3] == 2)
        assert total == pytest.approx(sum(row_us(spec.key) for spec in kept))
