"""Pages and files of the benchmarks of whole runs and of int8, from rows as these make them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import end_to_end_report
import int8_report
from bench_end_to_end import conditions


def test_runtimes_and_precisions_that_do_not_go_together_are_left_out() -> None:
    """onnxruntime-web computes in fp32 alone."""
    assert [*conditions("", "")] == [("", "")]
    assert [*conditions("", "int8")] == [("", "int8")]
    assert [*conditions("litert,ort-web", "fp32,int8")] == [("litert", "fp32"), ("litert", "int8"), ("ort-web", "fp32")]


def searched(runtime: str, precision: str, verdict: str, median_ms: float) -> dict[str, Any]:
    return {
        "runtime": runtime,
        "precision": precision,
        "seed": 0,
        "budget": "20%",
        "budget_ms": 0.2,
        "predicted_ms": 0.19,
        "measured_ms": {"median": median_ms, "bounds": [None, None], "processes": 5, "rejected": 0.25},
        "int8": {"float_layers": ["a", "b"]} if precision == "int8" else None,
        "verdict": verdict,
        "table_sha256": "0123456789abcdef",
    }


def test_verdicts_are_counted_by_runtime_and_precision(tmp_path: Path) -> None:
    rows = [
        searched("onnxruntime", "fp32", "met", 0.18),
        searched("onnxruntime", "fp32", "unstable", 0.19),
        searched("litert", "int8", "missed", 0.21),
    ]
    page = end_to_end_report.markdown(rows, ["x: quantising costs 9 points"], "digits")
    assert "4 searches on digits" in page
    assert "| onnxruntime | fp32 | 2 | 1 | 0 | 0 | 1 | 92.5% |  |" in page
    assert "| litert | int8 | 1 | 0 | 1 | 0 | 0 | 105.0% | 2 |" in page
    assert "x: quantising costs 9 points" in page
    end_to_end_report.write_csv(tmp_path / "rows.csv", rows)
    (*_, last) = csv.DictReader((tmp_path / "rows.csv").open())
    assert (last["verdict"], last["float_layers"], last["table_sha256"]) == ("missed", "2", "0123456789ab")
    assert last["measured_at_most_ms"] == "nan"


def test_a_row_of_int8_has_what_was_tried_or_why_the_gate_fires() -> None:
    row: dict[str, Any] = {
        "data": "digits",
        "format": "onnx",
        "images": 1000,
        "macs": 1_500_000,
        "accuracy": {"fp32": 0.99, "int8": 0.984},
        "drop": 0.006,
        "error": 0.002,
        "val_drop": -0.001,
        "tried": ["per-channel, min-max: drop 2 points", "per-channel, percentile: drop -0.1 points"],
        "bytes": {"fp32": 4096, "int8": 2048},
    }
    refused = {"data": "digits", "format": "tflite", "why": "model-int8.tflite: quantising costs 9 points"}
    page = int8_report.markdown([row, refused], 1.0)
    begin = "| digits | .onnx | 1,000 | 1.50 | 99.00 | 98.40 | +0.60 ± 0.20 | -0.10 | 2 | 4 → 2 |"
    assert f"{begin} not measured | not measured |" in page
    assert "per-channel, min-max: drop 2 points; per-channel, percentile: drop -0.1 points." in page
    assert "- digits, .tflite: model-int8.tflite: quantising costs 9 points." in page
    assert len(int8_report.cells(row)) == len(int8_report.cells(refused)) == len(int8_report.HEADS)
    measured = row | {"ms": {"fp32": {"median": 0.25}, "int8": {"median": 0.125}}}
    assert int8_report.cells(measured)[-2:] == ["0.2500", "0.1250"]
