"""Runs whose candidates are scored by training from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_fakes import a_config, install, install_short_scores, latencies, write_table

from hwnas.errors import InputError
from hwnas.executors import local_executor
from hwnas.executors.place import Place
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan


def test_candidates_are_trained_and_no_supernet_is(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    install_short_scores(monkeypatch.setattr)
    config = a_config(images, strategy="random", scores="training", score_epochs=1, baseline=False)
    tables, out = write_table(tmp_path / "tables"), tmp_path / "run"
    result = run_search(config, out, tables=tables, place=Place(2))
    assert result["budget_met"] is True
    assert not (out / "state" / "search.safetensors").exists()
    kept = {
        path.stem.split("-", 1)[1]: json.loads(path.read_text()) for path in (out / "state/scores").glob("*-*.json")
    }
    rows = [line.split(",") for line in (out / "evaluated.csv").read_text().splitlines()[1:]]
    assert len(rows) == 5
    assert all(float(row[2]) == pytest.approx(kept[row[0]]["accuracy"], abs=1e-6) for row in rows)

    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(local_executor._Worker, "ask", forbidden)
    (out / "result.json").unlink()
    again = run_search(config, out, tables=tables, resume=True)
    assert again["architecture"] == result["architecture"]


@pytest.mark.parametrize("strategy", ["enas", "random"])
def test_with_the_absolute_reward_the_answer_keeps_the_budget(
    strategy: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that are too slow are scored, with weights that were trained on such paths, and never chosen."""
    install(monkeypatch.setattr)
    config = a_config(images, budget="20%", strategy=strategy, reward="absolute", train=False, baseline=False)
    result = run_search(config, tmp_path / "run", tables=write_table(tmp_path / "tables"))
    target_ms = latencies().target_ms(result["budget_ms"])
    rows = (tmp_path / "run" / "evaluated.csv").read_text().splitlines()[1:]
    predicted_ms = [float(row.split(",")[1]) for row in rows]
    assert max(predicted_ms) > target_ms
    assert result["predicted_ms"] <= target_ms
    assert result["budget_met"] is True


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"scores": "luck"}, "one-shot or from-scratch, not 'luck'"),
        ({"strategy": "gumbel"}, "gumbel is a relaxation"),
        ({"train": False}, "no shared weights"),
        ({"minutes": 5.0}, "not by minutes"),
    ],
)
def test_what_does_not_go_with_it_is_refused(images: Path, tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        make_plan(a_config(images, **{"strategy": "random", "scores": "training"} | changes), write_table(tmp_path))
