"""The benchmark of strategies that carry over: its numbers, and that it goes on from its runs."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_meta_strategies
from bench_meta_strategies import Curve, main, read_curves
from meta_strategies_report import needed, page, paired, summary

CHOICES = np.array(list(itertools.product(range(3), repeat=5)))


def curve(training: int, seed: int, *regrets: float, quantile: float = 0.5) -> Curve:
    text = " ".join(map(str, regrets))
    return Curve("a", "b", "enas", training, "phone", quantile, seed, text, "")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """243 made-up cells on four made-up devices, whose accuracies on two data sets are related."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    convs = (CHOICES == 2).sum(1) * 2.0 + (CHOICES == 1).sum(1) * 0.3
    latencies = (3.0 + convs) * rng.uniform(1.0, 4.0, size=(4, 1)) * rng.lognormal(0.0, 0.02, size=(4, 243))
    quality = rng.normal(size=(5, 3))[np.arange(5), CHOICES].sum(1)
    accuracy = {f"a_{key}": 60.0 + 4.0 * quality for key in ("val12", "test200")}
    accuracy |= {f"b_{key}": 30.0 + 2.0 * quality for key in ("val12", "test200")}
    np.savez(
        folder / "nasbench201.npz",
        arch_ops=CHOICES.astype(np.uint8),
        ops=np.array(("none", "skip_connect", "nor_conv_3x3")),
        edges=np.array(("1<-0", "2<-0", "2<-1", "3<-0", "3<-2")),
        devices_train=np.array(["x", "y", "z"]),
        devices_valid=np.array(["v"]),
        latency_ms_train=latencies[:3],
        latency_ms_valid=latencies[3:],
        **accuracy,
    )
    return folder


def test_queries_to_equal_regret() -> None:
    assert needed([3.0, 2.0, 1.0, 0.5], 2.0) == 2
    assert needed([3.0, 2.0], 1.9) is None


def test_only_what_was_run_both_ways_is_compared() -> None:
    pair = [curve(-1, 0, 3.0, 2.0), curve(1, 0, 1.0, 1.0)]
    assert paired([*pair, curve(-1, 1, 9.0, 9.0), curve(0, 0, 9.0, 9.0, quantile=0.1)]) == pair


def test_means_are_over_problems_and_errors_over_seeds() -> None:
    flat = [0.0] * 98
    curves = [
        curve(training, seed, level, level, *flat, quantile=quantile)
        for training in (-1, 0)
        for quantile, levels in ((0.1, (1.0, 3.0)), (0.9, (5.0, 5.0)))
        for seed, level in enumerate(levels)
    ]
    rows = summary(curves)
    assert [row["carried"] for row in rows] == [False, True]
    assert rows[0]["regret"][0] == 3.5
    assert rows[0]["error"][0] == pytest.approx(0.5)  # variance 2 / 2 seeds of one problem of two
    assert rows[1]["queries_to_equal"] == {50: 3, 100: 3}
    assert "| b | enas | scratch | 2 |" in page(rows)


def test_it_carries_over_and_goes_on_from_its_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, out = tmp_path / "runs.csv", tmp_path / "out.json"

    def bench(seeds: int) -> None:
        main(data, seeds, 1, 3, "0.5", "metaqnn", "a", "b", runs, out, float("inf"))

    bench(2)
    curves = read_curves(runs)
    assert len(curves) == 2 * 2
    assert all(len(one.regrets.split()) == 100 for one in curves)
    assert out.with_suffix(".svg").stat().st_size > 1000
    scratch, carried = json.loads(out.read_text())
    assert np.mean(carried["regret"][:20]) < np.mean(scratch["regret"][:20])
    first, page_before = runs.read_text(), out.with_suffix(".md").read_text()

    monkeypatch.setattr(bench_meta_strategies, "learn_over", None)  # nothing is learned or run again
    bench(2)
    assert (runs.read_text(), out.with_suffix(".md").read_text()) == (first, page_before)
    with pytest.raises(TypeError):
        bench(3)


def test_an_unknown_data_set_names_the_known_ones(data: Path) -> None:
    with pytest.raises(typer.BadParameter, match="it has a, b"):
        main(data, target="c")
