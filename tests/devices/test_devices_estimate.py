"""Acceptance and estimators against hand-computed values, closed forms and simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from device_models import a_round
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hwnas.devices.estimate import accepted, disagreement, estimate, estimates, median_interval, reference_drift
from hwnas.devices.rounds import Round
from hwnas.errors import DeviceError, InputError

TIMES = st.floats(1, 1e6)
ROUNDS = st.lists(st.builds(a_round, TIMES, TIMES), min_size=1, max_size=40)


def test_by_hand() -> None:
    canaries = [100, 103, 103.1, 101, 150]
    result = estimate([a_round(t, c) for t, c in zip([50, 54, 90, 52, 40], canaries, strict=True)])
    assert (result.rounds, result.accepted, result.rejected) == (5, 3, pytest.approx(0.4))
    assert (result.floor_us, result.median_us, result.all_rounds_median_us) == (40, 52, 52)
    assert result.ci95_us == (50, 54)
    assert (result.p10_us, result.p90_us) == pytest.approx((46.8, 62.4))


def test_none_accepted_falls_back_to_all_rounds() -> None:
    result = estimate([a_round(50, 200), a_round(60, 210)], floor_us=100)
    assert (result.accepted, result.rejected, result.median_us) == (0, 1, 55)


def test_the_reference_model_minimum_is_taken_over_all_models() -> None:
    results = estimates([a_round(50, 100, name="a"), a_round(70, 110, name="b"), a_round(71, 102, name="b")])
    assert (results["a"].accepted, results["b"].accepted, results["b"].median_us) == (1, 1, 71)


def test_no_rounds() -> None:
    assert accepted([]) == []
    with pytest.raises(InputError):
        estimate([])
    with pytest.raises(InputError):
        median_interval([])


@given(ROUNDS)
def test_order_of_the_statistics(rounds: list[Round]) -> None:
    result = estimate(rounds)
    assert result.floor_us <= result.ci95_us[0] <= result.median_us <= result.ci95_us[1]
    assert result.p10_us <= result.median_us <= result.p90_us
    assert 1 <= result.accepted <= result.rounds


@given(ROUNDS, TIMES, TIMES)
def test_a_lower_reference_model_never_accepts_more(rounds: list[Round], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert set(accepted(rounds, floor_us=low)) <= set(accepted(rounds, floor_us=high))


@given(ROUNDS, st.floats(0.1, 10))
def test_times_scale(rounds: list[Round], factor: float) -> None:
    scaled = [a_round(factor * one.median_us, one.reference_us) for one in rounds]
    assert estimate(scaled).median_us == pytest.approx(factor * estimate(rounds).median_us)


@pytest.mark.parametrize("n", [6, 9, 20, 41])
def test_interval_is_the_narrowest_that_covers(n: int) -> None:
    low, high = median_interval(list(range(1, n + 1)))
    assert low + high == n + 1
    assert 1 - 2 * binom.cdf(low - 1, n, 0.5) >= 0.95 > 1 - 2 * binom.cdf(low, n, 0.5)


def test_interval_covers_the_median_in_simulation() -> None:
    samples = np.random.default_rng(0).exponential(size=(2000, 20))
    hits = [low <= np.log(2) <= high for low, high in map(median_interval, samples.tolist())]
    assert np.mean(hits) == pytest.approx(1 - 2 * binom.cdf(5, 20, 0.5), abs=0.015)


@given(st.builds(a_round, TIMES, TIMES, name=st.text()))
def test_rounds_survive_json(one: Round) -> None:
    assert Round.from_json({"event": "round"} | json.loads(json.dumps(one.to_json()))) == one


def test_a_broken_line_is_refused() -> None:
    with pytest.raises(DeviceError, match="median_us is missing"):
        Round.from_json({key: value for key, value in a_round(1, 2).to_json().items() if key != "median_us"})


def test_the_reference_model_drifts_from_the_first_third_to_the_last() -> None:
    canaries = [105, 100, 140, 90, 90, 90, 131, 110, 112]
    assert reference_drift([a_round(1, us) for us in canaries]) == pytest.approx(0.1)
    assert reference_drift([a_round(1, us) for us in reversed(canaries)]) == pytest.approx(100 / 110 - 1)
    assert reference_drift([a_round(1, us) for us in canaries[:5]]) == 0


def test_processes_disagree_by_the_floors_of_the_two_fastest() -> None:
    floors = {0: 60.0, 5: 50.0, 10: 51.0, 15: 90.0}
    rounds = [
        a_round(floor + more, round=process + more, process=process)
        for process, floor in floors.items()
        for more in range(3)
    ]
    assert disagreement(rounds) == pytest.approx(0.02)
    assert disagreement(rounds[:3]) is None
    assert disagreement([]) is None


@given(st.floats(1, 100), st.floats(0, 0.5))
def test_disagreement_is_relative(floor: float, share: float) -> None:
    assert disagreement([a_round(floor), a_round(floor * (1 + share), process=5)]) == pytest.approx(share, abs=1e-9)
