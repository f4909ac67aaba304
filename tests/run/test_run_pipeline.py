"""Whole runs on a made-up machine: what a verdict leads to, and what is the same the second time."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_fakes import SETTINGS, SPACE, FakeVerdicts, a_config, install, latencies, write_table

from hwnas.arch import Network
from hwnas.arch.space import SearchSpace
from hwnas.backends.model_format import format_of
from hwnas.backends.quantize import Setting
from hwnas.backends.torch import network_module
from hwnas.backends.weights import random_weights
from hwnas.data import Dataset, load_dataset, to_input
from hwnas.errors import DivergedError, ExportError, InfeasibleBudgetError, InputError
from hwnas.exporting.file_images import real_images
from hwnas.exporting.predict import predict
from hwnas.latency.table import ColdCalibration, LatencyTable
from hwnas.nas.decode import decode
from hwnas.nas.supernet_loop import SearchLoop
from hwnas.run import (
    context,
    kept_weights,
    latency_stage,
    measured_check,
    produce,
    search_length,
    search_stage,
    training_stage,
)
from hwnas.run.failures import failure
from hwnas.run.latency_stage import measuring_s
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan
from hwnas.run.plan_facts import plan_facts
from hwnas.run.rival import Rival
from hwnas.run.run_folder import RunFolder, default_folder
from hwnas.train import Recipe, checkpoint, training

MODEL = latencies()


class Runs:
    """Runs with shared data and tables, each in a folder of its own, and without a baseline unless one is asked for."""

    def __init__(self, images: Path, root: Path, put: Callable[..., None]) -> None:
        self.images, self.root, self.put = images, root, put
        self.tables = write_table(root / "tables")
        self.measure_verdict = FakeVerdicts()
        install(put, self.measure_verdict)

    def __call__(self, name: str = "run", *, resume: bool = False, force: bool = False, **changes: Any) -> Any:
        config = a_config(self.images, **{"baseline": False} | changes)
        return run_search(config, self.root / name, tables=self.tables, resume=resume, force=force)

    def measured_verdicts(self, *states: Any) -> FakeVerdicts:
        self.measure_verdict = FakeVerdicts(*states)
        self.put(measured_check, "measure_verdict", self.measure_verdict)
        return self.measure_verdict

    def result(self, name: str = "run") -> Any:
        return json.loads((self.root / name / "result.json").read_text())

    def choices(self, name: str = "run") -> tuple[int, ...]:
        return tuple(json.loads((self.root / name / "architecture.json").read_text())["choices"])

    def events(self, kind: str, name: str = "run") -> list[dict[str, Any]]:
        lines = (self.root / name / "log.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]


def slow_epochs(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Few epochs of the search and of the training fit into minutes, of which the real ones would fill them."""
    monkeypatch.setattr(training_stage, "seconds_an_epoch", lambda *_, **__: seconds)
    monkeypatch.setattr(search_length, "seconds_an_epoch", lambda *_, **__: (seconds, seconds))


@pytest.fixture
def runs(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(images, tmp_path, monkeypatch.setattr)


@pytest.mark.parametrize("on", [False, True])
def test_mixed_precision_is_for_searching_and_training(runs: Runs, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, set[torch.dtype]] = {"search": set(), "train": set()}
    smooth, loss = SearchLoop._smooth, training.Training.loss

    def search_spy(self: SearchLoop, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen["search"].add(logits.dtype)
        return smooth(self, logits, y)

    def train_spy(self: training.Training, logits: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found = loss(self, logits, x, y)
        seen["train"] |= {logits.dtype}
        assert found.dtype == torch.float32
        return found

    monkeypatch.setattr(SearchLoop, "_smooth", search_spy)
    monkeypatch.setattr(training.Training, "loss", train_spy)
    result = runs(budget="60%", mixed_precision=on)
    computed = torch.bfloat16 if on else torch.float32
    assert seen == {"search": {computed}, "train": {computed}}
    assert 0 <= result["accuracy"]["test"] <= 1
    tensors, _ = checkpoint.load(runs.root / "run" / "weights.safetensors")
    assert {value.dtype for value in tensors.values() if value.is_floating_point()} == {torch.float32}


def test_a_run_leaves_everything_it_promises(runs: Runs) -> None:
    result = runs(budget="60%", baseline=True)
    assert result == runs.result()
    files = {
        "config.toml",
        "env.json",
        "images.json",
        "log.jsonl",
        "evaluated.csv",
        "architecture.json",
        "weights.safetensors",
    }
    assert files | {"model.onnx", "model.json", "labels.txt", "result.json", "report.html", ".hwnas-run", "state"} == {
        path.name for path in (runs.root / "run").iterdir()
    }
    budget_ms = MODEL.smallest_ms + 0.6 * (MODEL.largest_ms - MODEL.smallest_ms)
    assert result["budget_ms"] == pytest.approx(budget_ms)
    assert result["range_ms"] == pytest.approx([MODEL.smallest_ms, MODEL.largest_ms])
    assert result["predicted_ms"] == pytest.approx(MODEL.predict_ms(runs.choices()))
    assert result["predicted_ms"] <= MODEL.target_ms(budget_ms) * (1 + 1e-9)
    assert result["baseline_random"]["predicted_ms"] <= MODEL.target_ms(budget_ms) * (1 + 1e-9)
    assert (result["budget_met"], result["verdict"], result["device"], result["trained"]) == (True, "met", "host", True)
    assert (result["space"], result["strategy"], result["seed"]) == (SPACE.name, "gumbel", 0)
    metadata = format_of("onnxruntime", "fp32").metadata((runs.root / "run" / "model.onnx").read_bytes())
    _, kept = checkpoint.load(runs.root / "run" / "state" / "search.safetensors")
    assert kept["normalisation"] == json.loads(metadata["hwnas.normalised_inside"])
    assert [event["stage"] for event in runs.events("end")] == [
        "plan", "data", "measure", "search", "check", "train baseline", "train", "export and verify"
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(runs: Runs) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        runs(name, seed=seed)
    read = {name: (runs.root / name / "weights.safetensors").read_bytes() for name in ("one", "two", "other")}
    assert read["one"] == read["two"] != read["other"]
    assert (runs.root / "one" / "architecture.json").read_bytes() == (
        runs.root / "two" / "architecture.json"
    ).read_bytes()
    assert (runs.root / "one" / "evaluated.csv").read_bytes() == (runs.root / "two" / "evaluated.csv").read_bytes()


def test_a_missed_verdict_is_repaired_with_a_faster_architecture(runs: Runs) -> None:
    measure_verdict = runs.measured_verdicts("met", "missed", "met")
    result = runs(budget="70%", baseline=True)
    checked = tuple(runs.events("check")[0]["choices"])
    assert result["budget_met"] is True
    assert MODEL.predict_ms(runs.choices()) <= MODEL.predict_ms(checked) / 1.1
    assert result["architecture"] == SPACE.describe(SPACE.architecture(runs.choices()))
    assert [names for names, _ in measure_verdict.asked] == [("model",), ("model", "baseline"), ("model", "baseline")]
    assert [event["stage"] for event in runs.events("end")].count("train") == 2
    tensors, _ = checkpoint.load(runs.root / "run" / "weights.safetensors")
    network = SPACE.network(SPACE.architecture(runs.choices()))
    assert {name.split(".")[0] for name in tensors} == {name for name, spec in network.ops if spec.kind != "skip"}


def test_after_two_repairs_a_missed_budget_is_a_result_that_says_so(runs: Runs) -> None:
    measure_verdict = runs.measured_verdicts("met", "missed")
    error = failure(runs(budget="100%"))
    assert error is not None
    assert error.exit_code == 4
    assert len(measure_verdict.asked) == 1 + 3
    result = runs.result()
    assert (result["budget_met"], result["verdict"]) == (False, "missed")
    assert f"{result['measured_ms']['median']:.4g}" in str(error)
    assert (runs.root / "run" / "report.html").exists()
    assert runs(budget="100%", resume=True)["budget_met"] is False
    assert len(measure_verdict.asked) == 4


def test_a_missed_budget_that_nothing_is_faster_for_ends_at_once(runs: Runs) -> None:
    measure_verdict = runs.measured_verdicts("missed")
    budget = f"{MODEL.smallest_ms * 1.03:.4f}"
    assert runs(budget=budget)["budget_met"] is False
    assert len(measure_verdict.asked) == 2


def test_the_check_swaps_before_anything_is_trained(runs: Runs) -> None:
    runs.measured_verdicts("missed", "too close", "met")
    runs(budget="80%")
    tried = [tuple(event["choices"]) for event in runs.events("check")]
    predicted = [MODEL.predict_ms(choices) for choices in tried]
    assert len(set(tried)) == 3
    assert predicted[1] <= predicted[0] / 1.1
    assert predicted[2] < predicted[1]
    assert runs.choices() == tried[-1]
    assert [event["stage"] for event in runs.events("end")].count("train") == 1


def test_a_verdict_that_stays_too_close_is_neither_met_nor_missed(runs: Runs) -> None:
    measure_verdict = runs.measured_verdicts("met", "too close")
    assert (runs(baseline=True)["budget_met"], runs.result()["verdict"]) == (None, "too close")
    assert [names for names, _ in measure_verdict.asked if "baseline" in names] == [("model", "baseline")] * 3, (
        "repaired twice"
    )
    error = failure(runs.result())
    assert error is not None
    assert error.exit_code == 9
    asked = len(measure_verdict.asked)
    assert runs(resume=True, baseline=True)["verdict"] == "too close"
    assert len(measure_verdict.asked) == asked, "to look again and again would decide it by chance"


def test_what_stays_on_the_edge_is_repaired(runs: Runs) -> None:
    runs.measured_verdicts("met", "too close", "too close", "met")
    result = runs()
    assert result["budget_met"] is True
    (checked,) = [tuple(event["choices"]) for event in runs.events("check")]
    assert MODEL.predict_ms(runs.choices()) < MODEL.predict_ms(checked)


def test_an_unstable_verdict_is_no_verdict_until_it_is_measured_again(runs: Runs) -> None:
    runs.measured_verdicts("unstable")
    result = runs()
    assert (result["budget_met"], result["verdict"]) == (None, "unstable")
    weights = (runs.root / "run" / "weights.safetensors").read_bytes()
    runs.measured_verdicts("met")
    assert runs(resume=True)["budget_met"] is True
    assert runs.result()["budget_met"] is True
    assert (runs.root / "run" / "weights.safetensors").read_bytes() == weights


def test_an_infeasible_budget_ends_before_any_training(runs: Runs) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("a search began")

    runs.put(search_stage, "search", forbidden)
    with pytest.raises(InfeasibleBudgetError) as caught:
        runs(budget="0.5")
    assert caught.value.smallest_ms == pytest.approx(MODEL.smallest_ms)
    assert f"{MODEL.smallest_ms:.4g}" in str(caught.value)
    assert not runs.measure_verdict.asked
    assert not (runs.root / "run" / "config.toml").exists()


def test_after_an_infeasible_budget_the_folder_takes_another_but_a_begun_search_stays(runs: Runs) -> None:
    for budget in ("0.5", "0.6"):
        with pytest.raises(InfeasibleBudgetError):
            runs(budget=budget)
    result = runs(budget="60%")
    kept = (runs.root / "run" / "weights.safetensors").read_bytes()
    with pytest.raises(InputError, match="another configuration"):
        runs(budget="0.5", resume=True)
    assert (runs.result(), (runs.root / "run" / "weights.safetensors").read_bytes()) == (result, kept)


def test_whether_the_budget_binds(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    loose = runs("loose", budget="1000", train=False)
    assert loose["budget_binds"] is False
    assert loose["unbudgeted_ms"] <= loose["range_ms"][1] < loose["budget_ms"]

    def wants_the_slowest(*args: Any, **kwargs: Any) -> Any:
        (found,) = search(*args, **kwargs)
        preferences = MODEL.costs_ms
        unbudgeted = decode(preferences, MODEL.costs_ms, math.inf)
        assert unbudgeted is not None
        return (type(found)(found.best, found.evaluated, preferences, unbudgeted, found.supernet),)

    search = search_stage.search
    monkeypatch.setattr(search_stage, "search", wants_the_slowest)
    tight = runs("tight", budget="30%", train=False)
    assert tight["budget_binds"] is True
    assert tight["unbudgeted_ms"] == pytest.approx(tight["range_ms"][1])
    assert runs("wide", budget="100%", train=False)["budget_binds"] is False

    def alike(*args: Any, **kwargs: Any) -> Any:
        return tuple(dataclasses.replace(one, told_apart=False) for one in wants_the_slowest(*args, **kwargs))

    monkeypatch.setattr(search_stage, "search", alike)
    unknown = runs("alike", budget="30%", train=False)
    assert (unknown["budget_binds"], unknown["candidates_told_apart"]) == (None, False)
    assert runs("roomy", budget="1000", train=False)["budget_binds"] is False


def test_without_training_the_winner_keeps_what_it_inherits(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(training_stage, "train", never)
    result = runs(train=False)
    assert (result["trained"], result["budget_met"]) == (False, True)
    assert 0 <= result["accuracy"]["test"] <= 1
    assert not list((runs.root / "run" / "state").glob("train-*"))


@pytest.mark.parametrize("stage", ["search", "train"])
def test_a_loss_that_is_no_number_ends_the_run(runs: Runs, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwnas.nas import supernet_loop

    broken = {"search": supernet_loop, "train": training}[stage]
    whole = broken.cross_entropy
    monkeypatch.setattr(broken, "cross_entropy", lambda *args, **kwargs: whole(*args, **kwargs) * torch.nan)
    with pytest.raises(DivergedError) as caught:
        runs()
    assert caught.value.exit_code == 7
    assert not (runs.root / "run" / "result.json").exists()
    monkeypatch.undo()
    install(runs.put, runs.measure_verdict)
    assert runs(resume=True)["budget_met"] is True


def test_a_model_file_that_computes_something_else_is_not_written(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    model_format = format_of("onnxruntime")

    def perturbed(network: Any, weights: Any, **kwargs: Any) -> bytes:
        name = next(name for name in weights if name.startswith("stem") and weights[name].ndim == 4)
        return model_format.model(network, dict(weights) | {name: weights[name] * 1.1}, **kwargs)

    monkeypatch.setattr(context, "format_of", lambda *_: dataclasses.replace(model_format, model=perturbed))
    with pytest.raises(ExportError, match="differs") as caught:
        runs()
    assert caught.value.exit_code == 6
    assert not (runs.root / "run" / "model.onnx").exists()
    assert not (runs.root / "run" / "result.json").exists()


def test_a_run_on_litert_leaves_a_file_for_litert(runs: Runs) -> None:
    write_table(runs.tables, runtime="litert")
    result = runs(runtime="litert")
    folder = RunFolder(runs.root / "run")
    assert (result["runtime"], result["model"]) == ("litert", "model.tflite")
    assert folder.exported.name == "model.tflite"
    assert not (folder.path / "model.onnx").exists()
    assert result["file_bytes"] == folder.exported.stat().st_size
    (image,) = predict(folder.exported, [runs.images / "red" / "00.png"], top=1)
    assert image.classes[0][0] in ("red", "green", "blue")
    assert runs(force=True)["model"] == "model.onnx"
    assert sorted(path.name for path in folder.path.glob("model.*")) == ["model.json", "model.onnx"]


def test_a_limit_on_the_size_is_one_on_the_file_for_litert(runs: Runs) -> None:
    write_table(runs.tables, runtime="litert")
    asked = {"runtime": "litert", "budget": "100%", "train": False}
    largest_kb = runs("whole", **asked)["file_bytes"] / 1024
    limit_kb = round(0.8 * largest_kb)
    result = runs("less", **asked, max_size_kb=limit_kb)
    assert result["file_bytes"] <= limit_kb * 1024


def float_probabilities(folder: RunFolder, data: Dataset) -> np.ndarray:
    """Of the test images, by torch."""
    network = Network.from_json(json.loads(folder.architecture.read_text())["network"])
    module = network_module(network).eval()
    module.load_state_dict(checkpoint.load(folder.weights)[0], strict=False)
    with torch.inference_mode():
        return module(to_input(torch.from_numpy(data.test.pixels), data.mean, data.std)).softmax(1).numpy()


@pytest.mark.parametrize(("runtime", "suffix"), [("onnxruntime", "onnx"), ("litert", "tflite")])
def test_an_int8_run_tells_what_its_file_can(runs: Runs, runtime: str, suffix: str) -> None:
    write_table(runs.tables, runtime=runtime, precision="int8")
    result = runs(runtime=runtime, precision="int8", max_drop=100.0, epochs=1, baseline=True)
    folder = RunFolder(runs.root / "run")
    assert (result["precision"], result["model"]) == ("int8", f"model.{suffix}")
    assert result["condition"].endswith("-int8")
    data = load_dataset(str(runs.images), resolution=8, seed=0)
    scores = format_of(runtime).run(folder.exported.read_bytes(), data.test.pixels)
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-5)
    assert result["accuracy"]["test"] == (scores.argmax(1) == data.test.labels).mean()
    assert result["accuracy"].keys() == {"test", "val", "test_images", "float_test", "val_drop"}
    assert result["baseline_random"]["accuracy"] >= 0.0
    own = result["int8"]
    assert own["val_drop"] == result["accuracy"]["val_drop"]
    assert own["test_drop"] == pytest.approx(result["accuracy"]["float_test"] - result["accuracy"]["test"], abs=1e-9)
    assert [one["float_layers"] for one in own["tried"]] == [[]]
    assert json.loads(folder.description.read_text())["files"][f"model.{suffix}"]["int8"] == own
    exact = float_probabilities(folder, data)[: len(real_images(data))]
    assert result["parity"]["images"] == len(exact)
    assert result["parity"]["max_difference"] == pytest.approx(np.abs(scores[: len(exact)] - exact).max(), abs=1e-5)
    assert result["parity"]["max_difference"] > 1e-4, "that of the int8 file, not that of the float one"


class Useless:
    """One way to quantise, whose file is that of another network."""

    layers = ()

    def __init__(self, model: bytes, samples: Any) -> None:
        own = format_of("onnxruntime", "int8")
        network = SPACE.network(SPACE.architecture((0,) * len(SPACE.decisions)))
        metadata, interface = own.metadata(model), own.app_interface((0.5,) * 3, (0.2,) * 3)
        content = own.model(network, random_weights(network.graph, 0), metadata=metadata, interface=interface)
        assert own.calibrate is not None
        self._own = own.calibrate(content, samples)
        self.settings = self._own.settings[:1]

    def quantised(self, setting: Setting, floats: Collection[str] = (), *_: Any) -> bytes:
        return self._own.quantised(setting)


def test_quantising_that_costs_too_much_is_refused(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(runs.tables, precision="int8")
    model_format = format_of("onnxruntime", "int8")
    monkeypatch.setattr(context, "format_of", lambda *_: dataclasses.replace(model_format, calibrate=Useless))
    with pytest.raises(ExportError, match=r"quantising costs .* points .* fine-tuned") as caught:
        runs(precision="int8", max_drop=0.0)
    assert caught.value.exit_code == 6
    assert not RunFolder(runs.root / "run").exported.exists()
    assert [event["tuned"] for event in runs.events("int8")] == [False, True]
    result = runs(precision="int8", max_drop=100.0, resume=True)
    assert result["accuracy"]["val_drop"] > 0.0
    assert result["int8"]["tuned"] is False
    assert len([event for event in runs.events("start") if event["stage"] == "search"]) == 2
    assert len(runs.events("epoch")) == SETTINGS.warmup_epochs + SETTINGS.epochs


FLAT = """\
budget = "60%"
device = "host"
data = "{images}"
space = "toy"
width = 1.0
depth = 0
resolution = 8
strategy = "gumbel"
seed = 0
threads = 1
accelerator = "cpu"
max_size_kb = 0.0
max_peak_kb = 0.0
train = false
epochs = 0
minutes = 0.0
baseline = false
"""


def test_a_run_of_before_there_were_runtimes_goes_on(runs: Runs) -> None:
    runs(train=False)
    path = runs.root / "run" / "config.toml"
    path.write_text(FLAT.format(images=runs.images))
    again = {"resume": True, "recipe": "default", "train": False}
    assert runs(**again) == runs.result()
    with pytest.raises(InputError, match=r"compute\.seed was 0 and is 1$"):
        runs(**again, seed=1)


def test_force_starts_anew(runs: Runs) -> None:
    runs(seed=1)
    first = (runs.root / "run" / "weights.safetensors").read_bytes()
    result = runs(force=True)
    assert result["seed"] == 0
    assert (runs.root / "run" / "weights.safetensors").read_bytes() != first
    assert len([event for event in runs.events("start") if event["stage"] == "search"]) == 1


def test_a_run_without_a_baseline_trains_and_measures_one_network(runs: Runs) -> None:
    result = runs()
    assert result["baseline_random"] is None
    assert {models for models, _ in runs.measure_verdict.asked} == {("model",)}
    assert "train baseline" not in [event["stage"] for event in runs.events("end")]
    assert "random" not in (runs.root / "run" / "report.html").read_text().lower().split("<body", 1)[1]


def test_epochs_and_minutes_are_settled_once_a_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs("asked", epochs=3)["epochs"] == 3
    assert runs("untrained", epochs=3, train=False)["epochs"] == 0
    slow_epochs(monkeypatch, 10.0)
    monkeypatch.setattr(training._Pace, "epoch_s", lambda _, done: 20.0 if done == 2 else 0.0)
    timed = {"minutes": 2.0, "baseline": True}
    assert runs("timed", **timed)["epochs"] == 3  # of five that were planned, as they take twice as long
    state = runs.root / "timed" / "state"
    assert json.loads((state / "recipe.json").read_text())["shortened"] == [[2, 5]]
    assert {checkpoint.load(one)[1]["epochs_done"] for one in state.glob("train-*")} == {3}
    monkeypatch.setattr(training_stage, "seconds_an_epoch", lambda *_, **__: 1.0)
    (runs.root / "timed" / "result.json").unlink()
    assert runs("timed", **timed, resume=True)["epochs"] == 3


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({}, True), pytest.param({"minutes": 1.0}, True, marks=pytest.mark.dear), ({"epochs": 2}, False)],
)
def test_weights_that_training_made_worse_do_not_ship(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], kept: bool
) -> None:
    """Those that it began with are kept, unless a number of epochs is asked for."""

    def spoilt(module: torch.nn.Module, _: Dataset, recipe: Recipe, **__: Any) -> Recipe:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.zero_()
            next(one for one in reversed(list(module.modules())) if isinstance(one, torch.nn.Linear)).bias[0] = 1.0
        module.eval()
        return recipe

    def sharp(_: context.RunContext, model: torch.nn.Module, *__: Any) -> kept_weights.Judged:
        zero = all(not parameter.any() for parameter in list(model.parameters())[:1])
        score, losses = (0.4, (0.7, 0.8)) if zero else (0.6, (0.3, 0.5))
        return kept_weights.Judged(score, np.array(losses), np.zeros(2))

    monkeypatch.setattr(training_stage, "train", spoilt)
    monkeypatch.setattr(kept_weights, "_judged", sharp)
    result = runs(**changes)
    assert result["weights"] == ("start" if kept else "trained")
    weights, _ = checkpoint.load(runs.root / "run" / "weights.safetensors")
    assert any(bool(value.any()) for name, value in weights.items() if name.endswith(".weight")) is kept
    entries = [(one["weights"], one["start"], one["trained"]) for one in runs.events("kept")]
    assert entries == ([("start", 0.6, 0.4)] if kept else [])


def test_a_repaired_network_is_trained_in_what_is_left_and_resumed_the_same_way(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_epochs(monkeypatch, 4.0)
    runs.measured_verdicts("met", "missed", "met")
    first = runs(minutes=1.0)
    (own,) = (runs.root / "run" / "state").glob("recipe-*.json")
    assert own.name == f"recipe-{'-'.join(map(str, runs.choices()))}.json"
    weights = (runs.root / "run" / "weights.safetensors").read_bytes()
    (runs.root / "run" / "result.json").unlink()
    monkeypatch.setattr(training_stage, "seconds_an_epoch", lambda *_, **__: 100.0)
    runs.measured_verdicts("met")
    again = runs(minutes=1.0, resume=True)
    assert again["epochs"] == first["epochs"]
    assert (runs.root / "run" / "weights.safetensors").read_bytes() == weights
    (runs.root / "run" / "weights.safetensors").unlink()
    runs(minutes=1.0, resume=True)
    assert (runs.root / "run" / "weights.safetensors").read_bytes() == weights


def test_weights_that_training_began_with_are_not_made_up_from_its_end(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_stage, "better", lambda run, start, *_: start)
    first = runs(baseline=True)
    assert first["weights"] == first["baseline_random"]["weights"] == "start"
    path = runs.root / "run" / "weights.safetensors"
    weights = path.read_bytes()
    path.unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors is missing") as caught:
        runs(resume=True, baseline=True)
    assert "delete it and result.json" in caught.value.hint
    (runs.root / "run" / "result.json").unlink()
    again = runs(resume=True, baseline=True)
    assert again["weights"] == again["baseline_random"]["weights"] == "start"
    assert path.read_bytes() == weights


def test_a_rival_that_stays_is_trained_again_beside_a_repaired_network(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_epochs(monkeypatch, 4.0)
    seconds = [10.0, 5.0]
    monkeypatch.setattr(training_stage, "seconds_an_epoch", lambda *_, **__: seconds.pop())
    monkeypatch.setattr(produce, "rival_of", lambda *_: Rival((0,) * len(SPACE.decisions), 0.0))
    runs.measured_verdicts("met", "missed", "met")
    runs(minutes=1.0, baseline=True)
    state = runs.root / "run" / "state"
    (own,) = state.glob("recipe-*.json")
    assert own.read_bytes() != (state / "recipe.json").read_bytes()
    winner, rival = own.stem.removeprefix("recipe-"), "-".join("0" * len(SPACE.decisions))
    assert {path.stem for path in state.glob("train-*")} >= {f"train-{one}-for-{winner}" for one in (winner, rival)}
    assert (state / f"train-{rival}.safetensors").exists()


def test_training_starts_from_the_weights_of_the_supernet(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, torch.Tensor]] = []

    def not_trained(module: torch.nn.Module, _: Dataset, recipe: Recipe, **__: Any) -> Recipe:
        started.append({name: value.clone() for name, value in module.state_dict().items()})
        module.eval()
        return recipe

    monkeypatch.setattr(training_stage, "train", not_trained)
    runs()
    supernet, _ = checkpoint.load(runs.root / "run" / "state" / "search.safetensors")
    for slot, choice in zip(("a", "c"), (runs.choices()[0], runs.choices()[2]), strict=True):
        names = [name for name in started[-1] if name.startswith(f"{slot}.") and name.endswith(".weight")]
        assert names
        for name in names:
            inherited = supernet[f"supernet.{slot}.{choice}.{name.removeprefix(f'{slot}.')}"]
            assert torch.equal(started[-1][name], inherited)


def test_a_run_whose_table_is_lost_goes_on_with_its_latencies(runs: Runs) -> None:
    first = runs(train=False)
    (runs.root / "run" / "result.json").unlink()
    runs.put(latency_stage, "complete", None)
    runs.tables = runs.root / "empty"
    again = runs(train=False, resume=True)
    assert {name for name in first if again[name] != first[name]} <= {"seconds"}


def test_budgets_may_be_about_cold_calls(runs: Runs) -> None:
    """Cold calls of the made-up machine take 1 ms and twice the warm ones."""

    def calibrate(table: LatencyTable, space: SearchSpace, *_: Any, **__: Any) -> LatencyTable:
        table.cold[space.signature] = ColdCalibration(2.0, 1000.0, 24, 0.0, 0.0)
        return table

    warm = runs("warm", train=False)
    runs.put(latency_stage, "calibrate_cold", calibrate)
    config = a_config(runs.images, train=False, baseline=False).changed(target={"latency": "cold"})
    cold = run_search(config, runs.root / "cold", tables=runs.tables)
    plan = make_plan(config, runs.tables)
    assert measuring_s(plan) > 0
    assert measuring_s(make_plan(a_config(runs.images), runs.tables)) == 0
    assert plan_facts(plan)["table_sha256"] is None
    calibrate(plan.table, plan.whole)
    assert (measuring_s(plan), plan_facts(plan)["table_sha256"]) == (0, cold["table_sha256"])
    assert default_folder(config).name.endswith("-cold-s0")
    assert cold["range_ms"] == pytest.approx([2 * end + 1 for end in warm["range_ms"]])
    assert cold["predicted_ms"] == pytest.approx(2 * MODEL.predict_ms(runs.choices("cold")) + 1)
    assert cold["predicted_ms"] <= cold["budget_ms"]
