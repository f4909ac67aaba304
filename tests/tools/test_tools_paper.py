"""The page of a search on paper, and the page of one search for several runtimes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import bench_targets
import scale_on_paper

from hwnas.arch.primitives import Builder
from hwnas.latency.additive_latency import AdditiveLatency


def test_the_page_shows_what_the_tool_prints(capsys: pytest.CaptureFixture[str]) -> None:
    scale_on_paper.main()
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert "\n".join(table) in (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text()


def test_a_convolution_takes_the_longer_of_arithmetic_and_traffic() -> None:
    builder = Builder((8, 10, 10))
    graph = builder.graph(builder.conv(builder.input(), "conv", 16, kernel=3, norm=False))
    slow_maths = scale_on_paper.Node(tflops=1e-6, arithmetic=1.0, memory_tb_s=1e9)
    assert scale_on_paper.graph_seconds(graph, slow_maths) == pytest.approx(3 * 2 * 16 * 100 * 9 * 8 / 1e6)
    slow_memory = scale_on_paper.Node(tflops=1e9, memory_tb_s=1e-6, traffic=1.0)
    assert scale_on_paper.graph_seconds(graph, slow_memory) == pytest.approx(3 * 2 * (800 + 1600) / 1e6)


def test_a_ring_of_two_moves_the_gradients_once() -> None:
    node = scale_on_paper.Node(gpus=2, link_gb_s=1.0, link=1.0)
    assert scale_on_paper.all_reduce_seconds(1e9, node) == pytest.approx(4.0)


def network(runtime: str, budget: str, accuracy: float, choices: list[int]) -> dict[str, Any]:
    return {
        "runtime": runtime,
        "precision": "fp32",
        "budget": budget,
        "budget_ms": 2.0 if budget == "30%" else 4.0,
        "predicted_ms": 1.0,
        "verdict": "met",
        "accuracy": accuracy,
        "test_images": 10_000,
        "median_ms": 1.0,
        "at_most_ms": 1.1,
        "choices": choices,
    }


def test_networks_are_compared_with_those_that_keep_the_same_budget() -> None:
    latency = AdditiveLatency(((1.0, 2.0), (0.5, 3.0)), fixed_ms=0.25, slope=1.1, intercept_ms=-0.05, sigma=0.01)
    for choices in ([0, 0], [1, 0], [0, 1], [1, 1]):
        predicted_ms = latency.predict_ms(choices)
        limit_ms = latency.budget_ms(predicted_ms)
        for budget_ms, kept in ((1.0001 * limit_ms, True), (0.9999 * limit_ms, False)):
            assert bench_targets.keeps(latency.to_json(), {"choices": choices}, budget_ms) is kept
    small, large = network("litert", "30%", 0.5, [0, 0]), network("litert", "60%", 0.49, [1, 0])
    run = {"command": "", "taken_s": 60.0, "cpu_s": 50.0, "latencies": {"latency-host-litert": latency.to_json()}}
    found = {
        "one search": {**run, "networks": [small, large]},
        "litert 30%": {**run, "networks": [small]},
        "litert 60%": {**run, "networks": [{**large, "verdict": "missed"}]},
    }
    page = bench_targets.page_of(found, 2)
    assert "| 0.5000 | none keeps it | 0.5000, met |" in page
    assert "| 0.4900 | 0.5000 of 1 (-1.4 standard errors) | 0.4900, missed |" in page
    assert "| 2 searches | 120 | 100 | 1 met, 1 missed |" in page
