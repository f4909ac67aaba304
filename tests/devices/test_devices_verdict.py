"""Every state of the budget verdict, from synthetic rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from device_models import HOST, FakeStream, a_round

from hwnas.devices.rounds import Round
from hwnas.devices.verdict import measure_verdict, verdicts
from hwnas.errors import InputError

MODELS = {name: Path(f"{name}.onnx") for name in "ab"}
REFERENCE_MODEL = Path("reference.onnx")


def spread(n: int = 20, processes: int = 2) -> list[Round]:
    """Medians of 1000, 1010, ... microseconds, dealt to the processes in turn."""
    return [a_round(1000 + 10 * index, round=index, process=index % processes) for index in range(n)]


@pytest.mark.parametrize(
    ("budget_ms", "state", "met"),
    [
        (1.095, "met", True),
        (1.094, "straddles", None),
        (1.05, "straddles", None),
        (1.049, "missed", False),
        (None, "no budget", None),
    ],
)
def test_states(budget_ms: float | None, state: str, met: bool | None) -> None:
    verdict = verdicts(spread(), budget_ms=budget_ms)["a"]
    assert (verdict.state, verdict.budget_met, verdict.n, verdict.rejected) == (state, met, 20, 0)
    assert verdict.median_ms == pytest.approx(1.095)
    assert verdict.ci95_ms == pytest.approx((1.05, 1.14))
    assert verdict.p90_ms == pytest.approx(1.2 * 1.095)


@pytest.mark.parametrize("rounds", [spread(19), spread(40, processes=1)])
def test_too_few_rounds_or_processes_are_unstable(rounds: list[Round]) -> None:
    verdict = verdicts(rounds, budget_ms=100)["a"]
    assert (verdict.state, verdict.budget_met) == ("unstable", None)


def test_with_too_few_undisturbed_rounds_only_all_rounds_can_meet_a_budget() -> None:
    rounds = spread(19) + [a_round(2000, 140, round=100 + index, process=2) for index in range(21)]
    for budget_ms, state in ((1.999, "unstable"), (2.0, "met")):
        verdict = verdicts(rounds, budget_ms=budget_ms)["a"]
        assert (verdict.state, verdict.n, verdict.median_ms) == (state, 19, 2.0)


def test_rejected_rounds_do_not_count() -> None:
    disturbed = [a_round(9000, 140, round=100 + index, process=2) for index in range(60)]
    verdict = verdicts(spread() + disturbed, budget_ms=1.1)["a"]
    assert (verdict.state, verdict.n, verdict.rejected) == ("met", 20, 0.75)
    assert verdict.all_rounds_median_ms == 9


def test_percentiles_of_single_calls_are_those_over_accepted_rounds() -> None:
    singles = np.random.default_rng(0).lognormal(7, 0.5, (40, 15))
    rounds = [replace(one, singles_us=tuple(own)) for one, own in zip(spread(40), singles.tolist(), strict=True)]
    disturbed = a_round(9000, 140, round=99, process=2)
    verdict = verdicts([*rounds, replace(disturbed, singles_us=(1e6,) * 50)], budget_ms=None)["a"]
    assert (verdict.p90_ms * 1e3, (verdict.p99_ms or 0) * 1e3) == pytest.approx(np.percentile(singles, [90, 99]))
    assert (verdict.calls, verdict.rounds, verdict.n) == (600, 41, 40)
    few = verdicts([replace(one, singles_us=(1.0,) * 4) for one in spread(20)], budget_ms=None)["a"]
    assert (few.p99_ms, few.calls) == (None, 80)
    assert verdicts(spread(), budget_ms=None)["a"].p99_ms is None


def test_judges_several_models_in_the_same_processes() -> None:
    stream = FakeStream(lambda name, turn: 100.0, lambda name, turn: {"a": 900.0, "b": 1100.0}[name])
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, stream=stream)
    assert stream.passes == [(["a", "b"], 20)] * 2
    assert {name: one.state for name, one in result.items()} == {"a": "met", "b": "missed"}


def test_measures_the_unstable_again_and_no_more_than_asked() -> None:
    stream = FakeStream(lambda name, turn: 100.0 if name == "a" or turn >= 60 else 120.0)
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, stream=stream)
    assert stream.passes == [(["a", "b"], 20)] * 2 + [(["b"], 20)] * 3
    assert result["b"].state == "missed"
    stream = FakeStream(lambda name, turn: 100.0 if name == "a" else 120.0)
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, max_extra=1, stream=stream)
    assert len(stream.passes) == 3
    assert (result["a"].state, result["b"].state, result["b"].n) == ("missed", "unstable", 0)


@pytest.mark.parametrize(
    ("now_us", "load", "budget_ms", "state"),
    [
        (100.0, 0.0, 0.04, "missed"),
        (104.9, 0.1, 0.04, "missed"),  # drift that tables allow
        (105.1, None, 0.04, "unstable"),  # steadily slowed, which the rounds alone do not show
        (115.0, 1.0, 0.04, "unstable"),
        (100.0, 0.3, 0.04, "unstable"),  # loaded, though the reference model does not show it
        (115.0, 1.0, 0.05, "met"),  # a load only slows
    ],
)
def test_a_steady_load_never_misses_a_budget(now_us: float, load: float | None, budget_ms: float, state: str) -> None:
    stream = FakeStream(lambda name, turn: now_us, load=load)
    result = measure_verdict(
        HOST, {"a": MODELS["a"]}, REFERENCE_MODEL, budget_ms=budget_ms, reference_us=100, stream=stream
    )["a"]
    assert (result.state, result.median_ms) == (state, 0.05)
    assert result.rejected == (0 if state == "missed" else 1)
    assert len(stream.passes) == (6 if state == "unstable" else 2)


def test_without_a_table_a_steady_load_is_seen_by_its_counter_only() -> None:
    for load, state in ((None, "missed"), (1.0, "unstable")):
        stream = FakeStream(lambda name, turn: 115.0, load=load)
        assert measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, stream=stream)["a"].state == state


def test_refuses_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="above 0"):
        measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0)
    with pytest.raises(InputError, match="processes"):
        measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, processes=1)
    assert measure_verdict(HOST, {}, REFERENCE_MODEL, budget_ms=1) == {}
