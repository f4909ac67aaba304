"""A table for chains: measured, calibrated, and what it leaves within a budget."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from latency_fakes import CONDITION, HOST, INTERCEPT_US, PER_OP_US, SLOPE, FakeRounds, network_us

from hwnas.arch.spaces.chain import chain
from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.latency import build, journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.space_latency import kept_model
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_model import model_of
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import feasible_set
from hwnas.progress import Silent

SPACE = chain(0.05, 4, 1, 2, layers=6)


def test_a_table_of_chains_predicts_and_bounds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRounds(SPACE, build.whole_networks(SPACE, 0))  # type: ignore[arg-type]
    monkeypatch.setattr(journal, "profile_rounds", fake)
    table = open_table(HOST, tmp_path)
    table = complete(table, SPACE, HOST, tmp_path, lacking(table, SPACE), progress=Silent())
    assert not lacking(open_table(HOST, tmp_path), SPACE)
    calibration = table.calibrations[SPACE.signature]
    assert (calibration.slope, calibration.intercept_us, calibration.per_op_us) == pytest.approx(
        (SLOPE, INTERCEPT_US, PER_OP_US), abs=1e-6
    )
    assert table.validations[SPACE.signature].mape < 1e-6
    model = model_of(table, SPACE)
    assert kept_model(SPACE, json.loads(json.dumps(model.to_json())), "x") == model
    found, rng = feasible_set(latency_constraint(model, 0.4)), np.random.default_rng(0)
    drawn = [network_us(SPACE.network(SPACE.architecture(found.sample(rng)))) for _ in range(200)]
    assert 300 < max(drawn) <= 400.001
    longest = found.decode([[0.0, *[1.0] * (count - 1)] for count in SPACE.options])  # the most layers
    assert network_us(SPACE.network(SPACE.architecture(longest))) <= 400.001
    for pick, extreme_ms in ((min, model.smallest_ms), (max, model.largest_ms)):
        assert extreme_ms == pytest.approx(model.predict_ms(model.costs.extreme(pick)))
    with pytest.raises(InfeasibleBudgetError, match="no network of this space"):
        feasible_set(latency_constraint(model, 0.05))
    with pytest.raises(InputError, match="not calibrated"):
        model_of(LatencyTable(CONDITION), SPACE)
