"""The margin covers: of tables whose error is known, networks that a search picks measure within their budget."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from hwnas.latency import model as latency_model
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.calibrate import CALIBRATION_NETWORKS, VALIDATION_NETWORKS, Measured, fit, validate
from hwnas.latency.model import margin
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import latency_constraint

DECISIONS, OPTIONS, FIXED_US = 8, 5, 300.0
TABLES = 200
MEASURING = 0.004  # of the median of a network


class SimulatedTable:
    """A device of known latencies, and a table of it as profiling makes one: rows, calibration, validation."""

    def __init__(self, rng: np.random.Generator, *, rows: float, networks: float) -> None:
        self.rng, self.networks = rng, networks
        self.true_us = 100 * np.exp(rng.normal(0, 0.6, (DECISIONS, OPTIONS)))
        table_us = self.true_us * np.exp(rng.normal(0, rows, self.true_us.shape))
        order = np.argsort(self.true_us, axis=1)
        measured = []
        for tilt in np.linspace(-1.5, 1.5, CALIBRATION_NETWORKS + VALIDATION_NETWORKS):
            odds = np.exp(tilt * np.linspace(-1, 1, OPTIONS))
            choices = [own[rng.choice(OPTIONS, p=odds / odds.sum())] for own in order]
            us = self.whole_us(choices)
            rows_us = FIXED_US + float(table_us[np.arange(DECISIONS), choices].sum())
            measured.append(
                Measured(rows_us, DECISIONS + 1, us, us * float(np.exp(rng.normal(0, MEASURING))), (us, us))
            )
        calibration = fit(measured[::2])
        self.model = AdditiveLatency(
            tuple(map(tuple, (table_us + calibration.per_op_us) / 1e3)),
            (FIXED_US + calibration.per_op_us) / 1e3,
            calibration.slope,
            calibration.intercept_us / 1e3,
            validate(calibration, measured[1::2]).sigma,
        )

    def whole_us(self, choices: list[int] | tuple[int, ...]) -> float:
        """What a network takes: rows do not add up exactly."""
        rows_us = FIXED_US + self.true_us[np.arange(DECISIONS), choices].sum()
        return float((20 + 0.95 * rows_us) * np.exp(self.rng.normal(0, self.networks)))

    def use(self, preference: str) -> float:
        """Latency over budget, in the middle of the range, of the network that a search picks by that preference."""
        budget_ms = (self.model.smallest_ms + self.model.largest_ms) / 2
        preferences = {
            "any": self.rng.normal(0, 1, self.true_us.shape),
            "slower is better": np.log(self.true_us) + self.rng.normal(0, 0.3, self.true_us.shape),
        }[preference]
        feasible = AdditiveSet(latency_constraint(self.model, self.model.target_ms(budget_ms)))
        choices = feasible.decode(tuple(map(tuple, preferences.tolist())))
        assert choices is not None
        return self.whole_us(choices) / 1e3 / budget_ms


@pytest.mark.parametrize("preference", ["any", "slower is better"])
@pytest.mark.parametrize(
    ("rows", "networks"),
    [(0.01, 0.01)] + [pytest.param(*one, marks=pytest.mark.dear) for one in ((0.005, 0.02), (0.03, 0.01))],
)
def test_networks_that_a_search_picks_are_within_their_budget(rows: float, networks: float, preference: str) -> None:
    rng = np.random.default_rng(3)
    used = [SimulatedTable(rng, rows=rows, networks=networks).use(preference) for _ in range(TABLES)]
    assert np.mean(np.array(used) <= 1) >= 0.94


def test_a_network_exactly_at_the_limit_is_covered() -> None:
    """Without a choice among networks: one more, predicted as its target, after the 24 of the validation."""
    rng = np.random.default_rng(5)
    errors = rng.normal(0, 0.02, (20_000, VALIDATION_NETWORKS))
    kept = np.sort(np.abs(errors), axis=1)[:, :22]
    sigma = np.sqrt(np.mean(kept**2, axis=1))
    covered = 1 + rng.normal(0, 0.02, 20_000) <= 1 / (1 - np.vectorize(margin)(sigma))
    assert 0.94 <= covered.mean() <= 0.97


def test_the_constants_are_those_of_the_normal_distribution() -> None:
    values = np.sort(np.abs(np.random.default_rng(0).standard_normal(1_000_000)))[:900_000]
    assert pytest.approx(np.sqrt(np.mean(values**2)), abs=2e-3) == latency_model._TRIMMED
    n = VALIDATION_NETWORKS
    assert pytest.approx(student.ppf(0.95, n - 1) * np.sqrt(1 + 1 / n), abs=1e-3) == latency_model._T
