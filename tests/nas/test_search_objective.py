from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import OPTIONS, RAGGED, TOY, all_choices, row_ms, toy_model
from torch import Tensor

from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.latency.additive_latency import AdditiveLatency
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model
from hwnas.nas.decode import FeasibleSampler, decode
from hwnas.nas.objective import BudgetPenalty, ExpectedLatency, padded

MODEL = toy_model(slope=1.3, intercept_ms=0.7)
RAGGED_MODEL = AdditiveLatency(
    tuple(tuple(np.random.default_rng(0).uniform(0.1, 2.0, count).tolist()) for count in RAGGED), 0.5, 0.8, -0.1
)


def random_probabilities(options: list[int], seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return padded([rng.dirichlet(np.ones(count)).tolist() for count in options])


def test_the_model_of_the_toy_space_sums_the_rows_of_its_networks() -> None:
    for architecture in TOY.enumerate():
        rows = sum(row_ms(spec) for _, spec in TOY.network(architecture).ops if spec.graph.nodes)
        assert MODEL.predict_ms(architecture.choices) == pytest.approx(0.7 + 1.3 * rows, rel=1e-12)


def test_ops_that_lower_to_nothing_are_not_looked_up() -> None:
    asked: list[str] = []

    def row(spec: object) -> float:
        asked.append(spec.kind)  # type: ignore[attr-defined]
        return 1.0

    latency_model(TOY, row)
    assert "skip" not in asked


@pytest.mark.parametrize("model", [MODEL, RAGGED_MODEL])
def test_smallest_and_largest_are_those_of_brute_force(model: LatencyModel) -> None:
    latencies = [model.predict_ms(choices) for choices in all_choices(model.costs_ms)]
    assert model.smallest_ms == pytest.approx(min(latencies), rel=1e-12)
    assert model.largest_ms == pytest.approx(max(latencies), rel=1e-12)


@given(st.floats(0.0, 50.0), st.floats(0.1, 3.0), st.floats(-2.0, 2.0))
def test_the_raw_budget_inverts_the_calibration(spare_ms: float, slope: float, intercept_ms: float) -> None:
    model = toy_model(slope, intercept_ms)
    target = model.smallest_ms + spare_ms
    assert model.calibrated_ms(model.raw_budget_ms(target)) == pytest.approx(target, rel=1e-9)


def test_an_infeasible_budget_says_what_is_feasible() -> None:
    with pytest.raises(InfeasibleBudgetError) as caught:
        MODEL.raw_budget_ms(MODEL.smallest_ms * 0.99)
    assert caught.value.smallest_ms == MODEL.smallest_ms
    assert caught.value.exit_code == 3
    assert "--budget-ms" in caught.value.hint


@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_calibration_that_does_not_increase_is_refused(slope: float) -> None:
    with pytest.raises(InputError, match="slope"):
        toy_model(slope)


def test_the_margin_grows_with_the_error_of_the_table() -> None:
    assert toy_model(sigma=0.0).target_ms(20.0) == 20.0
    assert toy_model(sigma=0.05).target_ms(20.0) == pytest.approx(20.0 / (1 + 1.749 / 0.789 * 0.05))


def test_the_smallest_latency_is_a_feasible_budget() -> None:
    for index in range(200):
        model = toy_model(slope=1.0 + index / 37, intercept_ms=index / 91)
        budget = model.raw_budget_ms(model.smallest_ms)
        assert decode(model.costs_ms, model.costs_ms, budget) is not None
        FeasibleSampler(model.costs_ms, budget)


@pytest.mark.parametrize("model", [MODEL, RAGGED_MODEL])
def test_certain_decisions_give_the_predicted_latency(model: LatencyModel) -> None:
    expected = ExpectedLatency(model, dtype=torch.float64)
    width = max(map(len, model.costs_ms))
    for choices in all_choices(model.costs_ms):
        one_hot = torch.nn.functional.one_hot(torch.tensor(choices), width).double()
        assert float(expected(one_hot)) == pytest.approx(model.predict_ms(choices), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", [MODEL, RAGGED_MODEL])
def test_the_expectation_is_the_mean_over_all_architectures(model: LatencyModel, seed: int) -> None:
    probabilities = random_probabilities([len(row) for row in model.costs_ms], seed)
    mean = sum(
        float(np.prod([float(row[choice]) for row, choice in zip(probabilities, choices, strict=True)]))
        * model.predict_ms(choices)
        for choices in all_choices(model.costs_ms)
    )
    assert float(ExpectedLatency(model, dtype=torch.float64)(probabilities)) == pytest.approx(mean, rel=1e-12)


def test_gradients_of_the_expectation_and_of_the_penalty_are_right() -> None:
    expected = ExpectedLatency(MODEL, dtype=torch.float64)
    logits = torch.randn(len(OPTIONS), max(OPTIONS), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: expected(torch.softmax(x, 1)), (logits,))
    for share in (0.5, 2.0):
        penalty = BudgetPenalty(share * float(expected(torch.softmax(logits.detach(), 1))))
        penalty.multiplier = 0.3
        assert torch.autograd.gradcheck(lambda x, p=penalty: p(expected(torch.softmax(x, 1))), (logits,))


@given(st.floats(0.0, 40.0), st.floats(0.1, 20.0), st.floats(0.0, 5.0), st.floats(0.5, 8.0))
def test_the_penalty_and_its_force_in_closed_form(e: float, budget: float, multiplier: float, rho: float) -> None:
    penalty = BudgetPenalty(budget, rho)
    penalty.multiplier = multiplier
    expected_ms = torch.tensor(e, dtype=torch.float64, requires_grad=True)
    value = penalty(expected_ms)
    (force,) = torch.autograd.grad(value, expected_ms)
    g = e / budget - 1
    if multiplier + rho * g >= 0:
        assert value.item() == pytest.approx(multiplier * g + rho / 2 * g * g, rel=1e-6, abs=1e-9)
        assert force.item() == pytest.approx((multiplier + rho * g) / budget, rel=1e-6, abs=1e-9)
    else:
        assert value.item() == pytest.approx(-(multiplier**2) / (2 * rho), rel=1e-6, abs=1e-9)
        assert force.item() == 0.0
    penalty.update(e)
    assert penalty.multiplier == pytest.approx(max(0.0, multiplier + rho * g), rel=1e-9, abs=1e-12)


def test_there_is_no_force_within_the_budget() -> None:
    expected_ms = torch.tensor(9.99, requires_grad=True)
    (force,) = torch.autograd.grad(BudgetPenalty(10.0)(expected_ms), expected_ms)
    assert force.item() == 0.0


@pytest.mark.parametrize(("budget", "x_best", "multiplier"), [(1.0, 1.0, 2.0), (1.5, 1.5, 1.5), (3.0, 2.0, 0.0)])
def test_the_multiplier_converges_to_that_of_the_optimum(budget: float, x_best: float, multiplier: float) -> None:
    """Minimise (x - 2)² with x <= budget: 2 (x - 2) + λ / budget = 0 where the budget binds, else λ = 0."""
    penalty = BudgetPenalty(budget)
    x = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    for _ in range(40):
        for _ in range(60):
            (gradient,) = torch.autograd.grad((x - 2) ** 2 + penalty(x), x)
            x.data -= 0.1 * gradient
        penalty.update(x.item())
    assert x.item() == pytest.approx(x_best, abs=1e-4)
    assert penalty.multiplier == pytest.approx(multiplier, abs=1e-3)
