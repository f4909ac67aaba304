"""Every kind of feasible set keeps the one contract, against enumeration; and so do the costs that it is made of."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from problems import TOY, row_ms

from hwnas.arch import Decision, Group, OpSpec, SlotSpace
from hwnas.arch.choice_costs import AdditiveCosts, ChoiceCosts
from hwnas.arch.slot_space import Slot
from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import chain
from hwnas.errors import InputError
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import kept_model, latency_model
from hwnas.nas.constraint import Constraint, latency_constraint
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.nas.objective import ConstraintPenalty


def grouped() -> SlotSpace:
    """Four blocks of three options, of which one is to skip; of the first three, two are kept."""
    ops = tuple(OpSpec("mbconv", 8, 8, 8, 8, kernel, 1, 3, act="relu6") for kernel in (3, 5))
    blocks = [Slot(f"block{k}", (OpSpec("skip", 8, 8, 8, 8), *ops), decision=k) for k in range(4)]
    slots = (
        Slot("stem", (OpSpec("conv", 1, 8, 8, 8, kernel=3),)),
        *blocks,
        Slot("end", (OpSpec("classifier", 8, 3, 8, 8),)),
    )
    decisions = tuple(Decision(f"block{k}", ("skip", "k3", "k5")) for k in range(4))
    return SlotSpace("grouped@w1-r8", decisions, slots, (Group((0, 1, 2), (0, 0, 0)),))


SPACES = {"slots": TOY, "groups": grouped(), "sequential": chain(0.05, 4, 1, 2, layers=3)}


def each_ms(space: SearchSpace) -> dict[tuple[int, ...], float]:
    """The sum of the rows of every architecture's network."""
    found = {}
    for choices in itertools.product(*map(range, space.options)):
        try:
            network = space.network(space.architecture(choices))
        except InputError:
            continue
        found[choices] = sum(row(spec) for _, spec in network.ops if spec.graph.nodes)
    assert len(found) == space.size
    return found


def row(spec: OpSpec) -> float:
    return row_ms(spec) + spec.cin / 7.0 + spec.height * spec.kernel / 31.0 + len(spec.kind) / 9.0


EACH_MS = {name: each_ms(space) for name, space in SPACES.items()}


def at(name: str, share: float) -> tuple[LatencyModel, FeasibleSet, dict[tuple[int, ...], float]]:
    """A model, what is feasible of it, and the same by enumeration."""
    model = latency_model(SPACES[name], row, slope=1.5, intercept_ms=0.25, sigma=0.02)
    ms = {choices: 0.25 + 1.5 * raw for choices, raw in EACH_MS[name].items()}
    target_ms = float(np.quantile(list(ms.values()), share)) * (1 + 1e-9)
    found = feasible_set(latency_constraint(model, target_ms))
    return model, found, {choices: value for choices, value in ms.items() if value <= target_ms}


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", SPACES)
def test_a_feasible_set_is_what_enumeration_says(name: str, share: float) -> None:
    space = SPACES[name]
    _, found, inside = at(name, share)
    found.check()
    assert found.options == space.options
    for choices in itertools.product(*map(range, space.options)):
        assert found.keeps(choices) == (choices in inside)
    assert all(found.cost(choices) == pytest.approx(value) for choices, value in inside.items())
    assert found.extreme(found.latency) == min(inside, key=inside.__getitem__)
    rng = np.random.default_rng(0)
    assert all(found.sample(rng) in inside for _ in range(20))
    assert 0.9 * len(inside) <= found.count <= len(inside)
    for seed in range(3):
        scores = [np.random.default_rng(seed + k).normal(size=count).tolist() for k, count in enumerate(space.options)]
        best = {
            kept: max(among, key=lambda c: sum(table[k] for table, k in zip(scores, c, strict=True)))
            for kept, among in ((found, inside), (found.without_latency, EACH_MS[name]))
        }
        assert all(kept.decode(scores) == choices for kept, choices in best.items())


@pytest.mark.parametrize("name", ["slots", "sequential"])
def test_neighbours_are_the_feasible_ones_one_decision_away(name: str) -> None:
    _, found, inside = at(name, 0.6)
    for choices in list(inside)[::5]:
        near = list(found.neighbours(choices))
        assert len(set(near)) == len(near)
        assert set(near) == {c for c in inside if sum(a != b for a, b in zip(c, choices, strict=True)) == 1}


def test_without_the_latency_all_architectures_are_left() -> None:
    for name, each in EACH_MS.items():
        _, found, _ = at(name, 0.2)
        assert all(map(found.without_latency.keeps, each))
        slowest, fastest = max(each, key=each.__getitem__), min(each, key=each.__getitem__)
        rounding_ms = len(slowest) / 8192 * (each[slowest] - each[fastest])  # of the grid of the draws
        edge = sum(value >= each[slowest] - rounding_ms for value in each.values())
        assert len(each) - edge <= found.without_latency.count <= len(each)
        assert not found.keeps(slowest)


def test_a_constraint_knows_what_was_asked_and_what_the_margin_leaves() -> None:
    model, found, _ = at("slots", 0.5)
    latency = latency_constraint(model, found.latency.target)
    assert latency.budget_ms == pytest.approx(latency.target_ms * (1 + 1.749 / 0.789 * 0.02))
    assert latency_constraint(model, latency.target_ms, 9.0).budget_ms == 9.0


@pytest.mark.parametrize("name", SPACES)
def test_costs_know_their_ends_and_draw_architectures(name: str) -> None:
    space, each = SPACES[name], EACH_MS[name]
    costs: ChoiceCosts = space.costs(row)
    ends = [costs.extreme(min), costs.extreme(max)]
    assert ends == [min(each, key=each.__getitem__), max(each, key=each.__getitem__)]
    spread = costs.largest - costs.smallest
    assert spread == pytest.approx(max(each.values()) - min(each.values()))
    rng = np.random.default_rng(0)
    drawn = {costs.drawn(lambda row: int(rng.integers(len(row))), lambda n: int(rng.integers(n))) for _ in range(3000)}
    assert drawn <= set(each)
    assert len(drawn) > 0.8 * len(each)


@pytest.mark.parametrize("name", SPACES)
def test_models_that_earlier_runs_kept_open_again(name: str) -> None:
    """They never said of which kind they are."""
    model = latency_model(SPACES[name], row, slope=1.5, intercept_ms=0.25, sigma=0.02)
    content = json.loads(json.dumps(model.to_json()))
    assert "kind" not in content
    again = kept_model(SPACES[name], content, "latency.json")
    assert again == model
    assert all(again.predict_ms(choices) == model.predict_ms(choices) for choices in EACH_MS[name])


def test_a_sequential_space_refuses_what_takes_sums_over_decisions() -> None:
    space = SPACES["sequential"]
    model, found, _ = at("sequential", 0.5)
    with pytest.raises(InputError, match="no table"):
        _ = model.costs.table
    with pytest.raises(InputError, match="no table"):
        ConstraintPenalty(found.latency)
    size = Constraint("kb", AdditiveCosts([[1.0] * count for count in space.options]), math.inf, math.inf)
    with pytest.raises(InputError, match="a latency only"):
        feasible_set(found.latency, size)
    with pytest.raises(InputError, match="keeps all of its"):
        space.restricted([range(count - 1) for count in space.options])
    everything = [range(count) for count in space.options]
    assert space.restricted(everything) == space
    assert model.restricted(everything) == model
