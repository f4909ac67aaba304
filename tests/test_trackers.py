"""Trackers turn what a run records into metrics, and tell its files; without their package they say how to get it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import hwnas
from hwnas.config import Compute, Configuration, Target
from hwnas.errors import InputError
from hwnas.events import Event, Events
from hwnas.files import write_json
from hwnas.run.pipeline import run_search
from hwnas.run.run_folder import RunFolder
from hwnas.run.tracked import tracked
from hwnas.trackers import Tracker, check_tracker

FACTS: dict[str, Any] = {
    "model": "model.onnx",
    "budget_ms": 2.0,
    "accuracy": {"test": 0.75, "val": 0.5},
    "measured_ms": {"judged": 1.5, "bounds": [1.4, 1.6], "statistic": "median"},
    "budget_met": True,
    "metrics": {"cat": {"f1": 0.5}},
}


class MadeUp(Tracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[str, float, int]] = []
        self.files: list[tuple[str, str]] = []
        self.ends: list[str] = []

    def metric(self, name: str, value: float, step: int) -> None:
        self.metrics.append((name, value, step))

    def file(self, path: Path, part: str) -> None:
        assert path.is_absolute()
        self.files.append((path.name, part))

    def close(self, error: str) -> None:
        self.ends.append(error)


def a_run(tracker: Any, folder: Path) -> None:
    """What a search tells, and its files."""
    events = Events(tracker)
    with events.stage("search"):
        for epoch in (1, 2):
            told = {"loss": 1.0 / epoch, "metric": "accuracy", "peak_memory_mib": None, "worst": float("nan")}
            events.record({"event": "epoch", "epoch": epoch} | told)
        events.say("nothing to track")
    with events.stage("train"):
        events.record({"event": "trained", "label": "train", "epoch": 1, "loss": 0.25})
        events.record({"event": "verdict", "model": {"median_ms": 1.5, "state": "met"}})
    for name in ("result.json", "model.onnx"):
        write_json(folder / name, {})


def test_numbers_are_metrics_by_stage(tmp_path: Path) -> None:
    tracker = MadeUp()
    a_run(tracker, tmp_path)
    tracker.finish(tmp_path, FACTS)
    told = [one for one in tracker.metrics if not one[0].endswith("/seconds")]
    assert told == [
        ("search/epoch/loss", 1.0, 1),
        ("search/epoch/loss", 0.5, 2),
        ("train/trained/train/loss", 0.25, 1),
        ("train/verdict/model/median_ms", 1.5, 0),
        ("result/accuracy/test", 0.75, 0),
        ("result/accuracy/val", 0.5, 0),
        ("result/budget_ms", 2.0, 0),
        ("result/measured_ms/judged", 1.5, 0),
    ]
    assert {name for name, _, _ in tracker.metrics} >= {"search/seconds", "train/seconds"}
    assert (tracker.files, tracker.ends) == ([("result.json", ""), ("model.onnx", "")], [""])


def test_results_of_several_budgets_are_told_by_their_folders(tmp_path: Path) -> None:
    tracker = MadeUp()
    write_json(tmp_path / "5ms" / "result.json", {})
    tracker.finish(tmp_path, {"front": [FACTS | {"folder": "5ms"}, FACTS | {"folder": "10ms"}]})
    assert {name.split("/")[1] for name, _, _ in tracker.metrics} == {"5ms", "10ms"}
    assert tracker.files == [("result.json", "5ms")]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_without_its_package_nothing_begins(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    config = Configuration(target=Target(budget="20"), compute=Compute(tracker=name))
    for begin in (
        lambda: run_search(config, tmp_path / "run"),
        lambda: hwnas.plan_search(config=config, out=tmp_path / "run"),
        lambda: hwnas.TensorBoardTracker("logs") if name == "tensorboard" else hwnas.MLflowTracker("photos"),
    ):
        with pytest.raises(InputError, match=f"the tracker {name} needs the package {name}") as caught:
            begin()
        assert caught.value.hint == f"python -m pip install 'hwnas[{name}]'"
    assert not (tmp_path / "run").exists()
    check_tracker("")


def test_a_tracker_that_fails_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(MadeUp):
        def metric(self, name: str, value: float, step: int) -> None:
            raise ConnectionError("the server is away")

    monkeypatch.setattr("hwnas.run.tracked._tracker", lambda *_: Broken())
    said: list[Event] = []
    config = Configuration(target=Target(budget="20"), compute=Compute(tracker="mlflow"))
    with tracked(Events(said.append), config, RunFolder(tmp_path)) as (told, finish):
        for loss in (1.0, 2.0):
            told.record({"event": "epoch", "loss": loss})
        finish(FACTS)
    messages = [one.label for one in said if one.kind == "message" and "tracker" in one.label]
    assert messages == ["the tracker hears no more of this run: the server is away"]


def test_a_run_that_fails_ends_in_its_tracker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = MadeUp()
    monkeypatch.setattr("hwnas.run.tracked._tracker", lambda *_: tracker)
    config = Configuration(target=Target(budget="20"), compute=Compute(tracker="mlflow"))
    with pytest.raises(InputError, match="bad"), tracked(Events(), config, RunFolder(tmp_path)):
        raise InputError("bad")
    assert tracker.ends == ["bad"]


def test_tensorboard_shows_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = hwnas.TensorBoardTracker(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()
    a_run(tracker, tmp_path)
    tracker.finish(tmp_path, FACTS)
    shown = EventAccumulator(str(tmp_path / "logs"))
    shown.Reload()
    assert [(one.step, one.value) for one in shown.Scalars("search/epoch/loss")] == [(1, 1.0), (2, 0.5)]
    assert shown.Scalars("result/measured_ms/judged")[0].value == 1.5
    links = shown.Tensors("files/text_summary")[0].tensor_proto.string_val[0].decode()
    assert (tmp_path / "model.onnx").as_uri() in links


def test_mlflow_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    tracker = hwnas.MLflowTracker("photos", {"target.budget": "20"})
    a_run(tracker, tmp_path / "run")
    tracker.finish(tmp_path / "run", FACTS)
    client = MlflowClient()
    (kept,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("photos", "FINISHED")
    assert kept.data.params == {"target.budget": "20"}
    history = client.get_metric_history(kept.info.run_id, "search/epoch/loss")
    assert [(one.step, one.value) for one in history] == [(1, 1.0), (2, 0.5)]
    assert {one.path for one in client.list_artifacts(kept.info.run_id)} == {"result.json", "model.onnx"}
