"""`--metric`: what a search selects by, trains for and tells, from one option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from run_fakes import COLOURS, SPACE, a_config, install, install_short_scores, write_table
from sklearn import metrics as sklearn_metrics

from hwnas.api.outcomes import SearchResult
from hwnas.data import load_dataset
from hwnas.nas import select
from hwnas.run import plan_checks
from hwnas.run.pipeline import run_search
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json
from hwnas.train import evaluate


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 30, 12 and 8 images, colours that are hard to tell apart."""
    root, rng = tmp_path_factory.mktemp("uneven") / "images", np.random.default_rng(0)
    for name, count in zip(COLOURS, (30, 12, 8), strict=True):
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(rng.normal(COLOURS[name], 150, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:02d}.png")
    return root


def searched(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, **search: Any) -> dict[str, Any]:
    install(monkeypatch.setattr)
    if search.get("evaluator") == "from-scratch":
        install_short_scores(monkeypatch.setattr)
    config = a_config(data).changed(search=search)
    result: dict[str, Any] = run_search(config, out, tables=write_table(out.parent / "tables"))
    return result


@pytest.mark.parametrize(
    "search",
    [
        {"metric": "balanced"},
        {"metric": "macro-f1", "strategy": "enas"},
        {"metric": "balanced", "strategy": "random", "evaluator": "from-scratch"},
    ],
    ids=lambda search: search.get("strategy", "gumbel"),
)
def test_every_file_names_the_metric_and_holds_its_values(
    search: dict[str, Any], uneven: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    judged = select.judged

    def spy(*arguments: Any) -> Any:
        found = judged(*arguments)
        told.append(found[1])
        return found

    monkeypatch.setattr(select, "judged", spy)
    folder, metric = RunFolder(tmp_path / "run"), search["metric"]
    result = searched(uneven, folder.path, monkeypatch, **search)
    assert result == read_json(folder.result)
    matrix = np.array(result["metrics"]["confusion"])
    truth, taken = (np.repeat(np.indices(matrix.shape)[axis].ravel(), matrix.ravel()) for axis in (0, 1))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(truth, taken),
        "balanced": sklearn_metrics.balanced_accuracy_score(truth, taken),
        "macro-f1": sklearn_metrics.f1_score(truth, taken, average="macro"),
    }
    assert {name: result["metrics"][name] for name in expected} == pytest.approx(expected)
    assert (result["metric"], result["score"]["test"]) == (metric, pytest.approx(expected[metric]))
    assert [one["images"] for one in result["metrics"]["classes"]] == np.bincount(truth).tolist()
    assert 0 <= result["baseline_random"]["score"] == result["baseline_random"]["metrics"][metric]
    start = "scratch" if "evaluator" in search else "supernet"
    assert result["trained_from"] == result["baseline_random"]["trained_from"] == start
    header, *rows = [line.split(",") for line in folder.evaluated.read_text().splitlines()]
    assert header[-2:] == ["metric", "val_score"]
    assert {row[-2] for row in rows} == {metric}
    if "evaluator" not in search:
        assert [float(row[-1]) for row in rows] == pytest.approx(told[: len(rows)], abs=1e-6)
    events = [json.loads(line) for line in folder.log_file.read_text().splitlines()]
    assert [event["metric"] for event in events if event["event"] == "scored"] == [metric]
    name = {"balanced": "balanced accuracy", "macro-f1": "macro F1"}[metric]
    page = folder.report.read_text()
    assert f"Test {name}" in page
    assert "Confusion matrix" in page
    typed = SearchResult.of(folder.path, result)
    assert typed.metrics is not None
    assert (typed.metric, typed.score) == (metric, pytest.approx(expected[metric]))
    assert typed.metrics.confusion.tolist() == matrix.tolist()
    assert typed.metrics.recall.tolist() == [one["recall"] for one in result["metrics"]["classes"]]


def test_classes_of_very_different_sizes_are_told_where_accuracy_is_sought(uneven: Path) -> None:
    data = load_dataset(str(uneven), resolution=8, seed=0)
    config = a_config(uneven)
    assert "--metric balanced" in plan_checks.uneven(config, data)
    assert not plan_checks.uneven(config.changed(search={"metric": "macro-f1"}), data)
    digits = load_dataset("digits", resolution=8, seed=0)
    assert not plan_checks.uneven(config, digits)


def test_scores_and_losses_count_classes_as_the_metric_does(uneven: Path) -> None:
    data = load_dataset(str(uneven), resolution=8, seed=0)
    torch.manual_seed(0)
    from hwnas.backends.torch import network_module

    module = network_module(SPACE.network(SPACE.architecture((0, 0, 0, 0))))
    device = torch.device("cpu")
    found = {metric: select.judged(module, data, device, metric) for metric in ("accuracy", "balanced", "macro-f1")}
    val = evaluate(module, data.val, data, device=device).metrics
    for metric, (accuracy, score, _) in found.items():
        assert (accuracy, score) == (val.accuracy, val.value(metric))
    plain, balanced = found["accuracy"][2], found["balanced"][2]
    assert (balanced == found["macro-f1"][2]).all()
    weights = np.round(balanced / plain, 9)
    labels = np.unique(weights, return_inverse=True)[1]
    assert len(set(labels.tolist())) == len(set(data.val.labels.tolist()))
    means = [plain[labels == label].mean() for label in sorted(set(labels.tolist()))]
    assert balanced.mean() == pytest.approx(np.mean(means))
