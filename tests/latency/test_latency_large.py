"""Tables of many rows: work is counted, not timed, and grows as the rows do."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from latency_fakes import table_of

from hwnas.arch import OpSpec
from hwnas.backends import kept_fingerprints, onnx
from hwnas.backends.model_format import format_of
from hwnas.latency.table_files import load_table, save_table

FEW, MANY = 60, 240


def ops(count: int) -> list[OpSpec]:
    shapes = itertools.product((8, 16, 24, 32), (8, 16, 24), (1, 3, 5), (1, 2), (4, 6, 8, 10))
    found = [OpSpec("conv", cin, cout, size, size, kernel, stride) for cin, cout, kernel, stride, size in shapes]
    return found[:count]


def calls(action: Callable[[], object]) -> int:
    """How many functions are called meanwhile, those that are written in C as well."""
    count = 0

    def seen(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def work(specs: list[OpSpec], folder: Path) -> dict[str, int]:
    """Calls of everything that is done with a table of these rows."""
    table, fingerprints = table_of(specs), format_of("onnxruntime").fingerprints
    onnx.fingerprint.cache_clear()
    kept_fingerprints._known.cache_clear()
    found = {
        "first save": calls(lambda: save_table(table, folder)),
        "save": calls(lambda: save_table(table, folder)),
        "load": calls(lambda: load_table(folder)),
        "first check": calls(lambda: table.lacking(specs, fingerprints)),
    }
    onnx.fingerprint.cache_clear()
    kept_fingerprints._known.cache_clear()  # as in another process
    return found | {"check": calls(lambda: table.lacking(specs, fingerprints))}


def test_work_grows_as_the_rows_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = {}, {}
    for found, count in ((few, FEW), (many, MANY)):
        monkeypatch.setenv("HWNAS_CACHE", str(tmp_path / f"cache of {count}"))
        assert len(ops(count)) == count
        found |= work(ops(count), tmp_path / str(count))
    for name, count in many.items():
        assert count <= 1.1 * MANY / FEW * few[name], f"{name}: {few[name]} calls for {FEW} rows, {count} for {MANY}"
    assert many["check"] < many["first check"] / 5  # nothing was computed again
