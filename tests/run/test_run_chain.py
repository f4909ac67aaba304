"""Whole runs on MetaQNN's chains: scored by training, within the budget, killed and resumed, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import run_fakes
from run_fakes import FakeVerdicts, a_config, install, install_short_scores, row_ms, write_table
from test_run_resume import outcome

from hwnas.arch import Network, space_instance
from hwnas.config import Configuration
from hwnas.errors import InfeasibleBudgetError, InputError
from hwnas.run.pipeline import run_search
from hwnas.run.plan import make_plan

CHAIN = space_instance("chain", width=0.05, depth=3, resolution=8, channels=3, classes=3)
GREY = space_instance("chain", width=0.05, depth=4, resolution=8, channels=1, classes=10)
MARGIN = 1 + 1.749 / 0.789 * 0.01  # of the made-up table


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("machine") / "tables", spaces=(CHAIN, GREY))


def chain_config(images: Path, **changes: Any) -> Configuration:
    common = {"space": "chain", "width": 0.05, "depth": 3, "score_epochs": 1, "epochs": 1, "baseline": False}
    return a_config(images, **common | changes)


def ms_of(choices: tuple[int, ...]) -> float:
    """What the made-up machine takes for a chain."""
    return sum(row_ms(spec) for _, spec in CHAIN.network(CHAIN.architecture(choices)).ops)


def evaluated(folder: Path) -> dict[tuple[int, ...], float]:
    """Choices of a run, and the milliseconds that it predicts for them."""
    lines = [line.split(",") for line in (folder / "evaluated.csv").read_text().splitlines()[1:]]
    return {tuple(map(int, line[0].split("-"))): float(line[1]) for line in lines}


def test_digits_become_a_verified_file(tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setattr)
    install_short_scores(monkeypatch.setattr)
    config = chain_config(Path("digits"), depth=4, budget="40%", baseline=True)
    assert (config.search.strategy, config.search.evaluator) == ("metaqnn", "from-scratch")
    result = run_search(config, tmp_path, tables=tables)
    low, high = result["range_ms"]
    assert result["budget_ms"] == pytest.approx(low + 0.4 * (high - low))
    for one in (result, result["baseline_random"]):
        assert one["predicted_ms"] <= result["budget_ms"] / MARGIN
    assert result["budget_met"] is True
    assert result["accuracy"]["test"] > 0.3  # three times chance, after one epoch
    kept = json.loads((tmp_path / "architecture.json").read_text())
    network = Network.from_json(kept["network"])
    assert network == GREY.network(GREY.architecture(kept["choices"]))
    assert result["architecture"] == GREY.describe(GREY.architecture(kept["choices"]))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_outputs()[0].shape[1] == 10
    assert not (tmp_path / "state" / "search.safetensors").exists(), "there is no supernet"
    assert len(evaluated(tmp_path)) == 5


@pytest.mark.parametrize("strategy", ["enas", "evolution"])
def test_other_samplers_stay_within_the_budget(
    strategy: str, images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    install_short_scores(monkeypatch.setattr)
    result = run_search(chain_config(images, strategy=strategy), tmp_path, tables=tables)
    found = evaluated(tmp_path)
    assert len(found) == 5
    for choices, predicted_ms in found.items():
        assert predicted_ms == pytest.approx(ms_of(choices), abs=1e-5)
        assert predicted_ms <= result["budget_ms"] / MARGIN


def test_several_budgets_and_a_network_that_measures_too_slow(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first network that is checked misses; what takes its place is predicted to be faster by as much."""
    install(monkeypatch.setattr, FakeVerdicts("missed", "met"))
    install_short_scores(monkeypatch.setattr)
    result = run_search(chain_config(images, budget="40%,80%"), tmp_path, tables=tables)
    tight, loose = result["front"]
    assert [one["folder"] for one in result["front"]] == ["40pct", "80pct"]
    assert tight["budget_ms"] < loose["budget_ms"]
    assert set(evaluated(tmp_path / "40pct")) < set(evaluated(tmp_path / "80pct"))
    lines = map(json.loads, (tmp_path / "40pct" / "log.jsonl").read_text().splitlines())
    first, second = (tuple(line["choices"]) for line in lines if line["event"] == "check")
    assert ms_of(second) <= ms_of(first) / 1.1
    assert tight["predicted_ms"] == pytest.approx(ms_of(second))
    assert loose["predicted_ms"] <= loose["budget_ms"] / MARGIN


@pytest.mark.dear
def test_killed_while_candidates_are_trained(images: Path, tables: Path, tmp_path: Path) -> None:
    """Resumed with another number of workers, it ends with the bytes of a run that nobody interrupted."""

    def command(name: str, *more: str) -> list[str]:
        words = "after none 1 search --space chain --width 0.05 --depth 3 --resolution 8 --budget-ms 60% --no-baseline"
        words += f" --score-epochs 1 --accelerator cpu --data {images} --tables {tables} --out {tmp_path / name}"
        return [sys.executable, run_fakes.__file__, *words.split(), *more]

    done = subprocess.run(command("whole"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    child = subprocess.Popen(command("cut"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    scores = tmp_path / "cut" / "state" / "scores"
    while len(list(scores.glob("*-*-*.json"))) < 3 and child.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.02)
    child.kill()
    complaint = child.communicate()[1]
    assert child.returncode == -signal.SIGKILL, complaint
    assert not (tmp_path / "cut" / "architecture.json").exists()
    resumed = subprocess.run(command("cut", "--resume", "--workers", "2"), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "rule", "instead"),
    [
        ({"scores": "supernet"}, "cannot share weights", "--evaluator from-scratch"),
        ({"strategy": "gumbel"}, "gumbel is a relaxation", "metaqnn"),
        ({"strategy": "darts2"}, "darts2 is a relaxation", "metaqnn"),
        ({"train": False}, "no shared weights", "--no-train"),
        ({"minutes": 5.0}, "not by minutes", "--evaluator-epochs"),
        ({"max_size_kb": 100.0}, "--max-size-kb is no limit of chain", "--width"),
        ({"max_peak_kb": 100.0}, "--max-peak-kb is no limit of chain", "--width"),
    ],
)
def test_what_chains_cannot_do_is_explained(
    images: Path, tables: Path, changes: dict[str, Any], rule: str, instead: str
) -> None:
    with pytest.raises(InputError, match=rule) as caught:
        make_plan(chain_config(images, **changes), tables)
    assert instead in caught.value.hint


def test_a_budget_below_the_fastest_chain_names_what_is_reachable(
    images: Path, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch.setattr)
    fastest_ms = min(ms_of(CHAIN.architecture((option, 0, 0)).choices) for option, _, _ in CHAIN.steps(CHAIN.start))
    with pytest.raises(InfeasibleBudgetError) as caught:
        run_search(chain_config(images, budget="1"), tmp_path / "run", tables=tables)
    assert caught.value.smallest_ms == pytest.approx(fastest_ms)
    assert not (tmp_path / "run" / "config.toml").exists()
