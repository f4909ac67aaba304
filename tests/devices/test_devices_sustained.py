"""A model without pause: what slices over time say, and the real program on real models."""

from __future__ import annotations

import ast
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_models import HOST, write_cast, write_convs, write_tflite
from onnx import TensorProto

from hwnas.devices import runner_sustained
from hwnas.devices.job import Inputs, Job
from hwnas.devices.sustained import SLICES, LoadSlice, Sustained, assess, run_sustained
from hwnas.devices.transports.adb import AdbAddress
from hwnas.errors import InputError, ModelError, UnreachableError
from hwnas.progress import Progress, Silent

MODEL, REFERENCE_MODEL = Path("model.onnx"), Path("reference.onnx")


def slices(medians_us: Any, *, load: Any = 0.0, seconds: float = 30.0) -> list[LoadSlice]:
    return [
        LoadSlice(seconds * index, seconds, float(median), 1.1 * median, 1.3 * median, 1000, load)
        for index, median in enumerate(medians_us)
    ]


def trend(medians_us: Any, **options: Any) -> Sustained:
    return assess(slices(medians_us, **options), asked_s=600)


def test_a_device_that_throttles_slows_down() -> None:
    rng = np.random.default_rng(0)
    found = trend(np.linspace(1000, 1300, 20) * rng.uniform(0.99, 1.01, 20))
    assert found.trend == "slows down"
    assert found.drift == pytest.approx(0.3, abs=0.03)
    assert found.drift_ci95 is not None
    assert found.drift_ci95[0] <= found.drift <= found.drift_ci95[1]
    assert found.last_ms / found.first_ms == pytest.approx(1.3, abs=0.03)
    assert found.seconds == 600


def test_the_drift_of_a_line_is_exact() -> None:
    assert trend(np.linspace(2000, 1500, 11)).drift == pytest.approx(-0.25)
    assert trend(np.linspace(2000, 1500, 11)).trend == "speeds up"
    assert trend([70.0] * 20).drift == 0


def test_a_step_after_some_minutes_is_seen() -> None:
    found = trend([1000.0 + index % 3 for index in range(12)] + [1250.0 + index % 3 for index in range(8)])
    assert found.trend == "slows down"
    assert found.late_ms == pytest.approx((1.25, 1.252))


def test_noise_is_steady_and_a_burst_does_not_move_it() -> None:
    medians = 1000 * np.random.default_rng(1).uniform(0.99, 1.01, 20)
    assert trend(medians).trend == "steady"
    medians[15:18] *= 1.8
    assert trend(medians).trend == "steady"


def test_the_interval_covers_no_drift_in_simulation() -> None:
    rng = np.random.default_rng(0)
    found = [trend(1000 * rng.normal(1, 0.02, 20)).drift_ci95 for _ in range(400)]
    assert np.mean([low <= 0 <= high for low, high in filter(None, found)]) >= 0.93


def test_other_work_is_left_out_or_makes_it_unstable() -> None:
    busy = slices(np.linspace(1000, 2000, 14), load=1.0)
    assert assess(busy, asked_s=1).trend == "unstable"
    quiet = [replace(one, start_s=30.0 * (14 + index)) for index, one in enumerate(slices([1000.0] * 6))]
    found = assess([*busy, *quiet], asked_s=1)
    assert (found.trend, found.drift, len(found.slices)) == ("steady", 0, 20)
    assert trend(1000 * np.random.default_rng(0).uniform(0.6, 1.4, 8)).trend == "unstable"


def test_too_few_slices_say_nothing() -> None:
    found = trend([1000.0, 1500.0])
    assert (found.trend, found.drift, found.drift_ci95) == ("too short", None, None)
    with pytest.raises(InputError, match="no slice"):
        trend([])


@pytest.mark.parametrize(("budget_ms", "within"), [(1.4, True), (1.25, None), (1.1, False)])
def test_a_budget_without_pause_is_judged_by_the_end(budget_ms: float, within: bool | None) -> None:
    assert trend(np.linspace(1000, 1300, 20)).within(budget_ms) is within


def test_other_work_never_misses_a_budget() -> None:
    assert trend([1000.0] * 20, load=1.0).within(0.5) is None


class FakeEvents:
    """A device that gets slower, and at some slice raises."""

    def __init__(self, error: BaseException | None = None, after: int = SLICES) -> None:
        self.error, self.after = error, after
        self.jobs: list[Job] = []

    def __call__(self, job: Job, progress: Progress) -> Generator[dict[str, Any], None, None]:
        self.jobs.append(job)
        yield {"event": "loaded", "n": 1}
        yield {"event": "reference", "when": "before", "median_us": 400.0}
        for one in slices(np.linspace(1000, 1300, SLICES))[: self.after]:
            yield {"event": "slice"} | vars(one)
        if self.error is not None:
            raise self.error
        yield {"event": "reference", "when": "after", "median_us": 480.0}


def sustained(events: FakeEvents, seconds: float = 600) -> Sustained:
    return run_sustained(HOST, "m", MODEL, REFERENCE_MODEL, seconds, progress=Silent(), events=events)


def test_events_become_slices() -> None:
    events = FakeEvents()
    found = sustained(events)
    assert (found.trend, found.ended_early, found.reference_us) == ("slows down", "", (400.0, 480.0))
    assert len(found.slices) == 20
    (job,) = events.jobs
    assert (job.sustained_s, job.slices, job.models) == (600, 20, {"m": MODEL})
    assert job.stall_s >= 4 * 30
    sustained(events, 3600)
    assert events.jobs[1].slices == 120


@pytest.mark.parametrize(
    ("error", "told"),
    [(KeyboardInterrupt(), "interrupted"), (UnreachableError("the link was cut"), "the link was cut")],
)
def test_what_was_measured_until_it_was_ended_is_told(error: BaseException, told: str) -> None:
    found = sustained(FakeEvents(error, after=9))
    assert (found.ended_early, len(found.slices), found.reference_us) == (told, 9, (400.0, None))
    assert found.trend == "slows down"
    with pytest.raises(type(error)):
        sustained(FakeEvents(error, after=0))


@pytest.mark.parametrize("seconds", [0.5, -1.0, float("nan"), float("inf")])
def test_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="at least 1 s"):
        sustained(FakeEvents(), seconds)


def test_benchmark_model_is_refused() -> None:
    phone = replace(HOST, transport="adb", adb=AdbAddress(runner="/data/local/tmp/benchmark_model"), runtime="litert")
    with pytest.raises(InputError, match="cannot run a model without pause"):
        run_sustained(phone, "m", MODEL, REFERENCE_MODEL, 60, progress=Silent())


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_the_real_program(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, runtime))
    path = tmp_path / ("model.onnx" if runtime == "onnxruntime" else "model.tflite")
    model = write_convs(path, 4) if runtime == "onnxruntime" else write_tflite(path)
    found = run_sustained(HOST.with_runtime(runtime), "m", model, model, 1.0, progress=Silent())
    assert found.seconds >= 1.0
    assert 1 <= len(found.slices) <= SLICES
    assert all(0 < one.median_us <= one.p90_us <= one.p99_us for one in found.slices)
    assert all(
        one.calls * one.median_us <= 2.01e6 * one.seconds for one in found.slices
    )  # half take the median or more
    ends = [one.start_s + one.seconds for one in found.slices[:-1]]
    assert ends == pytest.approx([one.start_s for one in found.slices[1:]], abs=0.002)
    before, after = found.reference_us
    assert before is not None
    assert after is not None
    assert 0.1 < after / before < 10


@pytest.mark.dear
def test_the_real_program_takes_shapes_and_names_a_model_that_fails(tmp_path: Path) -> None:
    reference = write_convs(tmp_path / "reference.onnx", 1)
    model = write_cast(tmp_path / "model.onnx", TensorProto.UINT8)
    small = run_sustained(HOST, "m", model, reference, 1.0, progress=Silent())
    large = run_sustained(HOST, "m", model, reference, 1.0, inputs=Inputs({"x": (4000, 3, 8, 8)}), progress=Silent())
    large_us, small_us = (min(one.median_us for one in found.slices) for found in (large, small))
    assert large_us > 2 * small_us
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="model 'm'"):
        run_sustained(HOST, "m", tmp_path / "broken.onnx", reference, 1.0, progress=Silent())


def test_times_are_those_of_each_call_in_pieces_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], []
    monkeypatch.setattr(runner_sustained.time, "monotonic", lambda: clock[0])

    def sampler(batch: int, fewest: int, for_ms: float, warmup: int) -> list[float]:
        asked.append((batch, fewest, round(for_ms), warmup))
        clock[0] += max(for_ms / 1e3, 0.1)
        return [clock[0]] * 2

    assert list(runner_sustained.times_us(sampler, 2.5)) == pytest.approx([1.0, 1.0, 2.0, 2.0, 2.5, 2.5])
    assert asked == [(1, 1, 1000, 0), (1, 1, 1000, 0), (1, 1, 500, 0)]
    assert len(runner_sustained.times_us(sampler, 0.0)) == 2


def test_it_is_a_file_for_python_3_8_and_imports_nothing_of_hwnas() -> None:
    source = Path(runner_sustained.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    names = {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in names if name.startswith("hwnas")]
