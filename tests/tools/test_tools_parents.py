"""The benchmarks of searches from parents: their statistics, and the choice of what is compared."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import parent_rivals
from bench_additivity import drawn, spearman, table
from bench_from_parent import _side, configuration, mean_and_error
from made_up_parents import CLASSES, elastic_space, made_up
from parent_rivals import fine_tuned, largest_side, random_member

from hwnas.arch.choice_costs import AdditiveCosts
from hwnas.data import Dataset, Images
from hwnas.devices.device import load_device
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.constraint import Constraint
from hwnas.nas.sums import Sums
from hwnas.progress import Silent
from hwnas.run.input_size import estimated_latency


def test_ranks_have_an_interval_that_holds_them() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    noisy = truth + rng.normal(size=40)
    value, low, high = spearman(noisy.tolist(), truth.tolist())
    ranks = [np.argsort(np.argsort(each)) for each in (noisy, truth)]
    assert value == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert low < value < high
    assert spearman(truth.tolist(), np.exp(truth).tolist()) == pytest.approx((1.0, 1.0, 1.0))


def test_the_table_has_every_predictor_and_only_truths_that_are_known() -> None:
    networks = [
        {"sum": k, "corrected": -k, "scored": k, "divergence": k, "error": k} | ({"trained_error": k} if k < 3 else {})
        for k in range(6)
    ]
    lines = table(networks).splitlines()
    assert len(lines) == 4
    assert "1.000 [1.00, 1.00] n=6" in lines[1]
    assert "-1.000 [-1.00, -1.00] n=6" in lines[2]
    assert "n=3" not in table(networks)  # too few to rank


def test_networks_are_drawn_from_both_sides_and_never_known_ones() -> None:
    losses = [[0.0, 0.5, 0.9], [0.0, 0.2, 0.3], [0.0, 0.4, 0.8], [0.0, 0.1, 0.2]]
    costs = [[3.0, 2.0, 1.0]] * 4
    feasible = AdditiveSet(Constraint("ms", AdditiveCosts(costs), 8.0, 8.0))
    best = Sums(losses).best(feasible)
    assert best is not None
    found = drawn(Sums(losses), feasible, {best}, 12)
    assert len(found) == len(set(found)) == 12
    assert all(map(feasible.keeps, found))
    assert best not in found[:6]


def test_a_rival_is_within_the_budget_and_trained_for_its_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    space, span_ms = elastic_space(resolution=32), (1.0, 4.0)
    monkeypatch.setattr(parent_rivals, "measured_ranges", lambda *_, **__: [span_ms])
    network = random_member(space, 2.0, 0, load_device("host"), Silent())
    options = {slot.name: (slot.decision, slot.ops) for slot in space.slots}
    choices = [0] * len(space.options)
    for name, spec in network.ops:
        decision, ops = options[name]
        if decision is not None:
            choices[decision] = ops.index(spec)
    kept = {name for name, _ in network.ops}
    for name, (decision, ops) in options.items():
        if decision is not None and name not in kept:
            choices[decision] = next(place for place, spec in enumerate(ops) if spec.kind == "skip")
    assert 1.0 <= estimated_latency(space, span_ms).predict_ms(choices) <= 2.0
    labels = np.arange(20, dtype=np.int64) % CLASSES
    levels = np.broadcast_to((40 * labels[:, None, None, None]).astype(np.uint8), (20, 3, 32, 32)).copy()
    part = Images(levels, labels)
    dataset = made_up().parent.prepared(Dataset("grey", tuple("abcde"), part, part, part, (0.5,) * 3, (0.2,) * 3, True))
    config = configuration("grey", "efficientnet-lite0", 2.0, 0, 0.001, "host")
    found = fine_tuned(
        made_up(), network, dataset, config, memory_gb=1.0, device=torch.device("cpu"), progress=Silent()
    )
    assert 0.0 < found.passes <= 1.0
    assert found.kept in ("start", "trained")
    assert 0.2 <= found.accuracy == found.val_accuracy <= 1.0  # the parts are the same


def test_the_parent_is_compared_where_it_is_fast_enough(tmp_path: Path) -> None:
    latencies_ms = {96: 1.0, 128: 1.8, 224: 5.0}
    assert largest_side(latencies_ms, 2.0) == 128
    assert largest_side(latencies_ms, 0.9) is None
    assert _side("parent", latencies_ms, 5.0, 224, tmp_path) == 224
    assert _side("parent", latencies_ms, 4.9, 224, tmp_path) is None
    assert _side("random", latencies_ms, 4.9, 224, tmp_path) is None  # before the search there is no input size
    assert mean_and_error([0.5, 0.7]) == "0.6000 ± 0.1000"
