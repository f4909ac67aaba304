"""A table of each runtime, really measured on this machine: rows, calibration and what fingerprints they carry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from latency_fakes import HOST, TOY

from hwnas.backends.model_format import format_of
from hwnas.errors import InputError
from hwnas.latency import journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_model import model_of
from hwnas.progress import Silent


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("litert", "fp32"), ("litert", "int8"), ("ort-web", "fp32")],
)
def test_a_table_is_measured_with_the_runtime_and_precision_that_it_names(
    runtime: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if runtime == "ort-web":
        request.getfixturevalue("ort_web")
    else:
        pytest.importorskip({"litert": "ai_edge_litert"}.get(runtime, runtime))
    monkeypatch.setattr(journal, "_ROUNDS_PER_PROCESS", 2)
    monkeypatch.setattr(journal, "_MOST_PASSES", 0)
    device = HOST.with_runtime(runtime, precision)
    table = open_table(device, tmp_path)
    complete(table, TOY, device, tmp_path, lacking(table, TOY), progress=Silent())
    kept = open_table(device, tmp_path)
    assert (kept.runtime, kept.precision) == (runtime, precision)
    assert not lacking(kept, TOY)
    fingerprint = format_of(runtime, precision).fingerprint
    assert {row.fingerprint for row in kept.rows.values()} == {fingerprint(spec) for spec in TOY.ops}
    assert 0.0 < model_of(kept, TOY).smallest_ms < model_of(kept, TOY).largest_ms
    other = HOST.with_runtime("litert" if runtime == "onnxruntime" else "onnxruntime")
    for wrong in (other, other.with_runtime(precision="fp32" if precision == "int8" else "int8")):
        with pytest.raises(InputError, match="is of"):
            open_table(wrong, tmp_path)


@pytest.mark.parametrize(
    "condition", ["onnxruntime-1.32.0-t1-fp32", "litert-2.3.0-t2-int8", "ort-web-1.30.0-node20-t1-fp32"]
)
def test_the_runtime_and_the_precision_of_a_condition(condition: str) -> None:
    assert condition.startswith(LatencyTable("cpu", condition).runtime + "-")
    assert LatencyTable("cpu", condition).runtime in ("onnxruntime", "litert", "ort-web")
    assert condition.endswith("-" + LatencyTable("cpu", condition).precision)
    assert LatencyTable("cpu", condition).precision in ("fp32", "int8")


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(InputError, match="unknown runtime 'tvm'"):
        HOST.with_runtime("tvm")
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        HOST.with_runtime(precision="int4")
    with pytest.raises(InputError, match="unknown runtime 'tvm'"):
        format_of("tvm")
    assert HOST.with_runtime("") == HOST == replace(HOST)
