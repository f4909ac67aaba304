"""A table of each runtime, really measured on this machine: rows, calibration and what fingerprints they carry."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from latency_fakes import HOST, TOY

from hwnas.backends.model_format import format_of
from hwnas.devices.device import Condition
from hwnas.errors import InputError, TableError
from hwnas.latency import journal
from hwnas.latency.build import complete
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import load_table, save_table
from hwnas.latency.table_model import model_of
from hwnas.progress import Silent
from hwnas.resources import resource_folder


@pytest.mark.dear  # tests/run/test_run_devices.py does it by sample
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
    assert (kept.under.runtime, kept.under.precision) == (runtime, precision)
    assert not lacking(kept, TOY)
    fingerprint = format_of(runtime, precision).fingerprint
    assert {row.fingerprint for row in kept.rows.values()} == {fingerprint(spec) for spec in TOY.ops}
    assert 0.0 < model_of(kept, TOY).smallest_ms < model_of(kept, TOY).largest_ms
    other = HOST.with_runtime("litert" if runtime == "onnxruntime" else "onnxruntime")
    for wrong in (other, other.with_runtime(precision="fp32" if precision == "int8" else "int8")):
        with pytest.raises(InputError, match="is of"):
            open_table(wrong, tmp_path)


CONDITIONS = [
    Condition("cpu", "onnxruntime", "1.32.0", 1, "fp32"),
    Condition("cpu", "onnxruntime", "1.33.0.dev20260101+gpu-t2", 16, "int8"),
    Condition("cpu", "litert", "2.3.0", 2, "int8"),
    Condition("cpu", "litert", "bm710d5ccd", 1, "fp32"),
    Condition("cpu", "litert", "tflite2.14.0", 4, "int8"),
    Condition("cpu", "ort-web", "1.30.0-node20", 1, "fp32"),
    Condition.of_imported_table("cpu"),
]


def without_fields(path: Path, **changes: str) -> None:
    """Make the meta data those of an older version."""
    meta = tomllib.loads(path.read_text())
    for name in ("sha256_meta", "runtime", "runtime_version", "threads", "precision"):
        del meta[name]
    path.write_text(tomli_w.dumps(meta | changes))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda one: one.id)
def test_the_condition_of_a_table_is_kept_in_fields_and_read_from_its_id_in_old_tables(
    condition: Condition, tmp_path: Path
) -> None:
    table = LatencyTable(condition)
    save_table(table, tmp_path)
    assert load_table(tmp_path) == table
    without_fields(tmp_path / "meta.toml")
    assert load_table(tmp_path) == table


def test_a_table_says_its_provider_where_it_has_one(tmp_path: Path) -> None:
    table = LatencyTable(replace(CONDITIONS[0], provider="cuda"))
    assert table.condition == "onnxruntime-1.32.0-cuda-t1-fp32"
    save_table(table, tmp_path / "cuda")
    assert load_table(tmp_path / "cuda") == table
    save_table(LatencyTable(CONDITIONS[0]), tmp_path / "usual")
    assert "provider" not in tomllib.loads((tmp_path / "usual" / "meta.toml").read_text())


@pytest.mark.parametrize("condition", ["tvm-0.1-t1-fp32", "onnxruntime", "onnxruntime-1.0", "litert2.0-t1-fp32"])
def test_an_old_table_of_no_known_runtime_is_refused(condition: str, tmp_path: Path) -> None:
    save_table(LatencyTable(CONDITIONS[0]), tmp_path)
    without_fields(tmp_path / "meta.toml", condition=condition)
    with pytest.raises(TableError, match="condition must name one of onnxruntime, litert, ort-web, not"):
        load_table(tmp_path)


def test_shipped_tables_hold_for_known_runtimes() -> None:
    for path in resource_folder("latency_tables").glob("*/*/meta.toml"):
        assert load_table(path.parent).under.folder == path.parent.relative_to(path.parents[2])


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(InputError, match="unknown runtime 'tvm'"):
        HOST.with_runtime("tvm")
    with pytest.raises(InputError, match="unknown precision 'int4'"):
        HOST.with_runtime(precision="int4")
    with pytest.raises(InputError, match="unknown runtime 'tvm'"):
        format_of("tvm")
    assert HOST.with_runtime("") == HOST == replace(HOST)
