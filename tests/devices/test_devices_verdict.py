"""Every state of the budget verdict, from synthetic rounds, and how often its claims are wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import HOST, FakeStream, a_round

from hwnas.arch import space_instance
from hwnas.backends.interface import BARE
from hwnas.backends.model_format import format_of
from hwnas.devices import verdict as module
from hwnas.devices.rounds import Round
from hwnas.devices.statistic import Statistic
from hwnas.devices.verdict import MOST_UNDISTURBED, ROUNDS, measure_verdict, verdicts
from hwnas.errors import InputError

MODELS = {name: Path(f"{name}.onnx") for name in "ab"}
REFERENCE_MODEL = Path("reference.onnx")


def processes(*medians_us: float, reference_us: float = 100.0) -> list[Round]:
    """Rounds of processes whose medians these are."""
    return [
        a_round(us + turn - 2, reference_us, round=10 * index + turn, process=10 * index)
        for index, us in enumerate(medians_us)
        for turn in range(5)
    ]


@pytest.mark.parametrize(
    ("medians_us", "budget_ms", "state", "bounds_ms"),
    [
        ((960, 970, 980, 990, 1000), 1.0, "met", (0.96, 1.0)),
        ((960, 970, 980, 990, 1001), 1.0, "too close", (0.96, 1.001)),
        ((1001, 1010, 1020, 1030, 1040), 1.0, "missed", (1.001, 1.04)),
        ((1001, 1010, 1020, 1030, 990), 1.0, "too close", (0.99, 1.03)),
        ((960, 970, 980, 990), 1.0, "unstable", (None, None)),
        ((960, 970, 980, 990, 1001, 970, 970, 970), 1.0, "too close", (0.96, 1.001)),
        ((960, 970, 980, 990, 1001, 970, 970, 970, 970), 1.0, "met", (0.96, 0.99)),  # 8 of 9
        ((960, 970, 980, 990, 1000), None, "no budget", (0.96, 1.0)),
    ],
)
def test_the_process_is_the_unit(
    medians_us: tuple[float, ...], budget_ms: float | None, state: str, bounds_ms: tuple[float | None, float | None]
) -> None:
    verdict = verdicts(processes(*medians_us), budget_ms=budget_ms)["a"]
    assert (verdict.state, verdict.processes, verdict.rejected) == (state, len(medians_us), 0)
    assert verdict.budget_met == {"met": True, "missed": False}.get(state)
    if state != "unstable":
        assert verdict.median_ms == verdict.judged_ms == pytest.approx(np.median(medians_us) / 1e3)
    if len(medians_us) == 5:
        assert verdict.bounds_ms == pytest.approx(bounds_ms)
    else:
        assert verdict.bounds_ms[1] == bounds_ms[1]


def test_disturbed_processes_are_left_out_where_others_are_enough() -> None:
    disturbed = [replace(one, process=900, round=900 + one.round) for one in processes(9000, reference_us=140)]
    verdict = verdicts(processes(*[990.0] * 5) + disturbed, budget_ms=1.0)["a"]
    assert (verdict.state, verdict.processes, verdict.n) == ("met", 5, 25)
    assert verdict.rejected == pytest.approx(1 / 6)


def test_with_too_few_undisturbed_processes_only_all_of_them_can_meet_a_budget() -> None:
    rounds = processes(*[980.0] * 4) + [
        replace(one, process=900, round=900 + one.round) for one in processes(1998, reference_us=140)
    ]
    for budget_ms, state in ((1.99, "unstable"), (2.0, "met")):
        verdict = verdicts(rounds, budget_ms=budget_ms)["a"]
        assert (verdict.state, verdict.n, verdict.bounds_ms) == (state, 20, (None, 1.998))


def test_percentiles_and_cold_calls_are_those_of_accepted_rounds() -> None:
    singles = np.random.default_rng(0).lognormal(7, 0.5, (25, 15))
    good = processes(*[1000.0] * 5)
    rounds = [
        replace(one, singles_us=tuple(own), cold_us=(2000.0, 2100.0)) for one, own in zip(good, singles, strict=True)
    ]
    disturbed = replace(a_round(9000, 140, round=99, process=2), singles_us=(1e6,) * 50, cold_us=(1e6,))
    verdict = verdicts([*rounds, disturbed], budget_ms=None)["a"]
    assert (verdict.p90_ms * 1e3, (verdict.p99_ms or 0) * 1e3) == pytest.approx(np.percentile(singles, [90, 99]))
    assert (verdict.calls, verdict.rounds, verdict.n, verdict.cold_ms) == (375, 26, 25, 2.05)
    assert verdicts(good, budget_ms=None)["a"].cold_ms is None
    for statistic, value in (
        (Statistic(percentile=90), np.median(np.percentile(singles.reshape(5, 75), 90, axis=1))),
        (Statistic("cold"), 2050.0),
    ):
        found = verdicts(rounds, budget_ms=2.04, statistic=statistic)["a"]
        assert found.judged_ms * 1e3 == pytest.approx(value)
        assert found.median_ms == 1.0
        assert found.state == ("missed" if statistic.latency == "cold" else found.state)
    with pytest.raises(InputError, match="at least 200 single calls a process, and 75 were timed"):
        verdicts(rounds, budget_ms=None, statistic=Statistic(percentile=99))
    few = [replace(one, singles_us=(1000.0,), process=500, round=500 + one.round) for one in good[:5]]
    found = verdicts([*rounds, *few], budget_ms=None, statistic=Statistic(percentile=90))["a"]
    assert (found.processes, found.state) == (5, "no budget"), "too few calls of one process are no reason to fail"


def test_judges_several_models_in_the_same_processes_and_ends_when_all_are_decided() -> None:
    stream = FakeStream(lambda name, turn: 100.0, lambda name, turn: {"a": 900.0, "b": 1100.0}[name])
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, stream=stream)
    assert stream.passes == [(["a", "b"], ROUNDS)] * 5
    assert {name: one.state for name, one in result.items()} == {"a": "met", "b": "missed"}
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, judged=["a"], stream=stream)
    assert result["b"].state == "no budget"
    stream = FakeStream(lambda name, turn: 100.0 if name == "a" else 120.0)
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, judged=["a"], stream=stream)
    assert len(stream.passes) == 5, "for a model that is not judged, nothing is measured once the other is decided"
    assert (result["a"].state != "unstable", result["b"].state) == (True, "unstable")


def test_measures_the_undecided_again_and_no_more_than_asked() -> None:
    stream = FakeStream(lambda name, turn: 100.0 if name == "a" or turn >= 5 * ROUNDS else 120.0)
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, stream=stream)
    assert stream.passes == [(["a", "b"], ROUNDS)] * 5 + [(["b"], ROUNDS)] * 5
    assert result["b"].state == "missed"
    stream = FakeStream(lambda name, turn: 100.0 if name == "a" else 120.0)
    result = measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, processes=6, stream=stream)
    assert len(stream.passes) == 6
    assert (result["a"].state, result["b"].state, result["b"].n) == ("missed", "unstable", 0)
    edge = FakeStream(lambda name, turn: 100.0, lambda name, turn: 1000.0 + (-1) ** (turn // ROUNDS))
    one = measure_verdict(HOST, {"a": MODELS["a"]}, REFERENCE_MODEL, budget_ms=1, stream=edge)["a"]
    assert (one.state, one.budget_met, len(edge.passes)) == ("too close", None, MOST_UNDISTURBED)


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
    assert len(stream.passes) == (15 if state == "unstable" else 5)


def test_without_a_table_a_steady_load_is_seen_by_its_counter_only() -> None:
    for load, state in ((None, "missed"), (1.0, "unstable")):
        stream = FakeStream(lambda name, turn: 115.0, load=load)
        assert measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0.04, stream=stream)["a"].state == state


def test_refuses_what_cannot_be_judged() -> None:
    with pytest.raises(InputError, match="above 0"):
        measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=0)
    with pytest.raises(InputError, match="processes"):
        measure_verdict(HOST, MODELS, REFERENCE_MODEL, budget_ms=1, processes=4)
    with pytest.raises(InputError, match="from 50 to 99"):
        Statistic(percentile=100)
    assert measure_verdict(HOST, {}, REFERENCE_MODEL, budget_ms=1) == {}


def simulated(true_ms: float, between: float, rng: np.random.Generator) -> tuple[str, int]:
    """State and number of processes of a file of that latency, whose processes differ by so much."""
    effects: dict[int, float] = {}

    def median_us(name: str, turn: int) -> float:
        effect = effects.setdefault(turn // ROUNDS, rng.normal(0, between))
        return 1e3 * true_ms * float(np.exp(effect + rng.normal(0, 0.003)))

    stream = FakeStream(lambda name, turn: 100.0, median_us)
    verdict = measure_verdict(HOST, {"a": MODELS["a"]}, REFERENCE_MODEL, budget_ms=1.0, stream=stream)["a"]
    return verdict.state, len(stream.passes)


@pytest.mark.parametrize(
    "between", [0.005, *(pytest.param(between, marks=pytest.mark.dear) for between in (0.0, 0.01))]
)
def test_claims_are_wrong_in_at_most_one_of_twenty_however_processes_differ(between: float) -> None:
    """The files lie 0.5 % and 0 % from their budget, on either side; 5 % and three standard errors are allowed."""
    rng, runs = np.random.default_rng(20), 200
    most = 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    for true_ms, wrong, right in (
        (1.005, "met", "missed"),
        (0.995, "missed", "met"),
        (1.0, "met", ""),
        (1.0, "missed", ""),
    ):
        found = [simulated(true_ms, between, rng) for _ in range(runs)]
        states = [state for state, _ in found]
        assert states.count(wrong) / runs <= (most if true_ms == 1.0 else 0.05)
        if right:
            assert states.count(right) / runs >= {0.0: 0.99, 0.005: 0.65, 0.01: 0.2}[between]
            assert np.mean([count for _, count in found]) <= {0.0: 5.1, 0.005: 9.5, 0.01: 12}[between]


def test_bounds_only_become_tighter() -> None:
    values = np.random.default_rng(3).lognormal(7, 0.01, 12).tolist()
    found = [verdicts(processes(*values[:count]), budget_ms=None)["a"].bounds_ms for count in range(5, 13)]
    assert all((one[0] or 0) <= (other[0] or 0) for one, other in pairwise(found))
    assert all((one[1] or 9e9) >= (other[1] or 9e9) for one, other in pairwise(found))


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_files_that_read_pixels_are_measured_with_pixels(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a file takes is the file's to say; what reads normalised values is given those."""
    space = space_instance("toy", width=1.0, resolution=8, channels=3, classes=3)
    network, model_format = space.network(next(iter(space.enumerate()))), format_of(runtime)
    interfaces = {"pixels": model_format.app_interface((0.5,) * 3, (0.2,) * 3), "bare": BARE}
    models = {name: tmp_path / f"{name}{model_format.suffix}" for name in interfaces}
    for name, interface in interfaces.items():
        models[name].write_bytes(model_format.random_model(network, interface))
    told, stream = [], FakeStream(lambda name, turn: 100.0)

    def streamed(*args: Any, inputs: Any, singles: bool, cold: bool, **options: Any) -> Any:
        told.append({name: dict(one.ranges) for name, one in inputs.items()})
        return stream(*args, **options)

    monkeypatch.setattr(module, "stream_rounds", streamed)
    measure_verdict(HOST, models, REFERENCE_MODEL, budget_ms=1)
    assert told
    assert all(one == {"pixels": {"input": (0.0, 255.0)}} for one in told)
