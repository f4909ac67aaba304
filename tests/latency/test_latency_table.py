"""The table on disk: what is written, what comes back, and what is refused."""

from __future__ import annotations

import csv
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from latency_fakes import HOST, TOY, table_of

from hwnas.arch import OpSpec
from hwnas.arch.op import _graph, _kinds
from hwnas.arch.primitives import Builder, Value
from hwnas.backends.onnx import fingerprint
from hwnas.cli import app
from hwnas.devices.device import Condition
from hwnas.devices.host import host_facts
from hwnas.devices.link import condition_of
from hwnas.errors import InputError, MissingRowsError, TableError
from hwnas.files import sha256
from hwnas.latency.missing_rows import lacking, open_table
from hwnas.latency.table import Calibration, LatencyTable, Noise, Row, Validation
from hwnas.latency.table_files import load_table, save_table

COLUMNS = "key,fingerprint,median_us,p10_us,p90_us,runs,measured_at,reference_us"
CALIBRATION = Calibration(0.9, 20.0, -3.0, 24)
VALIDATION = Validation(24, 0.99, 0.95, 0.01, 1.0, 1.0, 0.012, 0.005)

times = st.integers(1, 10**12).map(lambda thousandths: thousandths / 1000)
specs = st.builds(
    lambda channels, size, kernel, stride: OpSpec("conv", channels, 8, size, size, kernel=kernel, stride=stride),
    st.integers(1, 512),
    st.integers(4, 256),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([1, 2]),
)
rows = st.builds(
    lambda spec, mark, median, p10, p90, runs, reference: Row(
        spec.key, mark, median, p10, p90, runs, "2026-01-01T00:00:00+00:00", reference
    ),
    specs,
    st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}"),
    times,
    times,
    times,
    st.integers(1, 1000),
    times,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
spaces = st.tuples(
    st.builds(Calibration, finite, finite, finite, st.integers(0, 99)),
    st.builds(Validation, st.integers(0, 99), *[finite] * 7),
)
tables = st.builds(
    lambda version, entries, reference, known: LatencyTable(
        Condition("some-cpu", "litert", version, 4, "int8"),
        provenance={"cpu": "Some “CPU”", "threads": 1, "packages": {"numpy": "2"}},
        reference_us=reference,
        rows={row.key: row for row in entries},
        calibrations={name: calibration for name, (calibration, _) in known.items()},
        validations={name: validation for name, (_, validation) in known.items()},
    ),
    st.text(max_size=12),
    st.lists(rows, max_size=8),
    st.floats(1e-3, 1e9),
    st.dictionaries(st.text(max_size=12), spaces, max_size=2),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound table of the toy space."""
    table = table_of()
    table.provenance = host_facts() | {"threads": 1, "precision": "fp32", "pin": None}
    table.calibrations[TOY.signature], table.validations[TOY.signature] = CALIBRATION, VALIDATION
    save_table(table, tmp_path / "table")
    return tmp_path / "table"


def rewrite(folder: Path, content: bytes, **meta: Any) -> None:
    """Replace the rows, with a checksum that fits, and entries of the meta data."""
    (folder / "table.csv").write_bytes(content)
    before = tomllib.loads((folder / "meta.toml").read_text())
    (folder / "meta.toml").write_text(tomli_w.dumps(before | {"sha256": sha256(content)} | meta))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables)
def test_what_is_saved_comes_back(table: LatencyTable, tmp_path: Path) -> None:
    save_table(table, tmp_path)
    assert load_table(tmp_path) == table
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == COLUMNS
    keys = [line[0] for line in csv.reader(lines[1:])]
    assert keys == sorted(table.rows)


def test_saving_again_writes_the_same_rows(folder: Path) -> None:
    before = (folder / "table.csv").read_bytes()
    save_table(load_table(folder), folder)
    assert (folder / "table.csv").read_bytes() == before


def test_the_meta_data_say_where_the_rows_come_from(folder: Path) -> None:
    meta = tomllib.loads((folder / "meta.toml").read_text())
    content = (folder / "table.csv").read_bytes()
    assert (meta["schema"], meta["kind"], meta["rows"]) == (1, "measured", len(TOY.ops))
    assert meta["sha256"] == sha256(content)
    assert {"cpu", "threads", "precision", "packages", "python", "platform"} <= meta["provenance"].keys()
    assert {"onnxruntime", "numpy"} <= meta["provenance"]["packages"].keys()
    assert meta["calibration"][TOY.signature] == {"slope": 0.9, "intercept_us": 20.0, "per_op_us": -3.0, "n": 24}
    assert {"n", "spearman", "mape", "within_5", "repeatability"} <= meta["validation"][TOY.signature].keys()


def test_an_edited_table_is_refused(folder: Path) -> None:
    path = folder / "table.csv"
    path.write_text(path.read_text().replace("160.250", "16.025", 1))
    with pytest.raises(TableError, match="checksum") as caught:
        load_table(folder)
    assert "table.csv" in str(caught.value)
    assert "hwnas profile-device" in caught.value.hint


def test_a_kill_before_the_first_rows_leaves_an_empty_table(folder: Path) -> None:
    (folder / "table.csv").unlink()
    table = load_table(folder)
    assert (table.rows, table.calibrations, table.validations) == ({}, {}, {})
    save_table(table_of(list(TOY.ops)), folder)
    (folder / "table.csv").write_bytes(b"")
    with pytest.raises(TableError, match="checksum"):
        load_table(folder)


def test_a_kill_between_the_two_writes_leaves_the_rows_of_before(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "before")
    more = OpSpec("conv", 3, 5, 8, 8, kernel=3)
    table = load_table(folder)
    table.rows |= table_of([more]).rows
    table.reference_us *= 2
    save_table(table, folder)
    shutil.copy(tmp_path / "before" / "table.csv", folder / "table.csv")
    interrupted, before = load_table(folder), load_table(tmp_path / "before")
    assert (interrupted.rows, interrupted.reference_us) == (before.rows, before.reference_us)
    assert not interrupted.calibrations  # those of the meta data belong to rows that were never written
    save_table(table, folder)
    assert load_table(folder).rows == table.rows
    save_table(table, folder)
    shutil.copy(tmp_path / "before" / "table.csv", folder / "table.csv")
    with pytest.raises(TableError, match="checksum"):
        load_table(folder)


MARK, WHEN = "0" * 16, "2026-01-01T00:00:00+00:00,400.000"


def lines(*of: str) -> bytes:
    return "\n".join((COLUMNS, *of, "")).encode()


KEY = OpSpec("conv", 1, 8, 8, 8).key
BAD_ROWS = {
    "empty": b"",
    "other columns": b"key,median_us\n",
    "swapped columns": COLUMNS.replace("p10_us,p90_us", "p90_us,p10_us").encode() + b"\n",
    "cut short": lines(f"{KEY},{MARK},1,1"),
    "cut short by one": lines(f"{KEY},{MARK},1,1,1,5"),
    "one too many": lines(f"{KEY},{MARK},1,1,1,5,{WHEN},more"),
    "not a number": lines(f"{KEY},{MARK},fast,1,1,5,{WHEN}"),
    "NaN": lines(f"{KEY},{MARK},nan,1,1,5,{WHEN}"),
    "infinite": lines(f"{KEY},{MARK},1,1,1e999,5,{WHEN}"),
    "zero": lines(f"{KEY},{MARK},0,1,1,5,{WHEN}"),
    "negative": lines(f"{KEY},{MARK},-1,1,1,5,{WHEN}"),
    "negative speed": lines(f"{KEY},{MARK},1,1,1,5,{WHEN.replace('400', '-400')}"),
    "speed that is not a number": lines(f"{KEY},{MARK},1,1,1,5,{WHEN.replace('400.000', 'nan')}"),
    "runs as text": lines(f"{KEY},{MARK},1,1,1,many,{WHEN}"),
    "fingerprint": lines(f"{KEY},0123,1,1,1,5,{WHEN}"),
    "fingerprint with a line break": lines(f'{KEY},"{MARK}\n",1,1,1,5,{WHEN}'),
    "unknown op": lines(f"nonsense,{MARK},1,1,1,5,{WHEN}"),
    "key not canonical": lines(f"{KEY} ,{MARK},1,1,1,5,{WHEN}"),
    "key twice": lines(*[f"{KEY},{MARK},1,1,1,5,{WHEN}"] * 2),
    "huge field": lines("x" * 200_000),
    "quote that never ends": lines('"' + "x" * 200_000),
    "not UTF-8": lines() + b"\xff\xfe",
    "zero bytes": lines() + b"\x00" * 100,
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_malformed_rows_are_a_table_error(folder: Path, case: str) -> None:
    rewrite(folder, BAD_ROWS[case])
    with pytest.raises(TableError) as caught:
        load_table(folder)
    assert str(folder) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": "1"},
        {"kind": "guessed"},
        {"kind": 1},
        {"device": 7},
        {"condition": ["a"]},
        {"reference_us": "fast"},
        {"reference_us": float("nan")},
        {"reference_us": 10**400},
        {"reference_us": True},
        {"provenance": "mine"},
        {"calibration": [1]},
        {"calibration": {TOY.name: 3}},
        {"calibration": {TOY.name: {"slope": 1.0}}},
        {"calibration": {TOY.name: {"slope": 1.0, "intercept_us": float("inf"), "per_op_us": 0.0, "n": 4}}},
        {"validation": {TOY.name: {"n": 3}}},
        {"validation": {}},
        {"sha256": ["x"]},
    ],
)
def test_malformed_meta_data_are_a_table_error(folder: Path, changes: dict[str, Any]) -> None:
    rewrite(folder, (folder / "table.csv").read_bytes(), **changes)
    with pytest.raises(TableError):
        load_table(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"schema = ", b"\xff\xfe", b"schema = 1", b"schema = 1\n" * 2, b"x = " + b"[" * 20_000, b"\x00" * 64],
)
def test_meta_data_that_are_no_table_are_a_table_error(folder: Path, content: bytes) -> None:
    (folder / "meta.toml").write_bytes(content)
    with pytest.raises(TableError):
        load_table(folder)


@pytest.mark.parametrize("name", ["meta.toml", "table.csv"])
def test_a_file_that_is_not_there_or_no_file_or_huge_is_a_table_error(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(TableError, match="must be at most 64 MiB, not 1048576 MiB"):
        load_table(folder)
    (folder / name).unlink()
    if name == "meta.toml":
        with pytest.raises(TableError, match=name):
            load_table(folder)
    (folder / name).mkdir()
    with pytest.raises(TableError, match=name):
        load_table(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), name=st.sampled_from(["meta.toml", "table.csv"]), at=st.integers(0, 900))
def test_random_damage_is_a_table_error_or_harmless(folder: Path, content: bytes, name: str, at: int) -> None:
    sound = {path: path.read_bytes() for path in folder.iterdir()}
    path = folder / name
    damaged = sound[path][:at] + content + sound[path][at + len(content) :]
    try:
        if name == "table.csv":
            rewrite(folder, damaged)
        else:
            path.write_bytes(damaged)
        try:
            table = load_table(folder)
        except TableError:
            return
        assert all(row.median_us > 0 for row in table.rows.values())
    finally:
        for path, content in sound.items():
            path.write_bytes(content)


def test_lacking_names_missing_and_stale_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of()
    table.calibrations[TOY.signature] = CALIBRATION
    assert not lacking(table, TOY)
    del table.rows[TOY.ops[3].key]
    missing = lacking(table, TOY)
    assert (missing.rows, missing.calibration) == ((TOY.ops[3],), True)
    del table.calibrations[TOY.signature]
    assert lacking(table_of(), TOY).calibration

    table = table_of()
    table.calibrations[TOY.signature] = CALIBRATION

    def changed(b: Builder, spec: OpSpec, x: Value) -> Value:
        return b.conv(x, "conv", spec.cout, kernel=spec.kernel, stride=spec.stride, act="relu6")

    with monkeypatch.context() as patch:
        patch.setitem(_kinds, "conv", replace(_kinds["conv"], lower=changed))
        _graph.cache_clear()
        fingerprint.cache_clear()
        assert set(lacking(table, TOY).rows) == {spec for spec in TOY.ops if spec.kind == "conv"}
    _graph.cache_clear()
    fingerprint.cache_clear()
    assert not lacking(table, TOY)


def test_a_missing_row_names_the_command_that_measures_it() -> None:
    with pytest.raises(MissingRowsError) as caught:
        table_of([]).row_ms(TOY.ops[0])
    assert caught.value.keys == (TOY.ops[0].key,)
    assert TOY.ops[0].key in str(caught.value)
    command = caught.value.hint.partition("hwnas ")[2].split()[0]
    assert command in {entry.name for entry in app.registered_commands}


def test_a_table_serves_its_own_condition_only(tmp_path: Path) -> None:
    condition = condition_of(HOST)
    assert open_table(HOST, tmp_path).rows == {}
    save_table(table_of(condition=condition), tmp_path)
    assert len(open_table(HOST, tmp_path).rows) == len(TOY.ops)
    for other in (replace(condition, device="another-cpu"), replace(condition, runtime_version="0.1")):
        save_table(table_of(condition=other), tmp_path)
        with pytest.raises(InputError, match=other.id) as caught:
            open_table(HOST, tmp_path)
        assert other.device in str(caught.value)
        assert condition.id in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("slope = 0.9", "slope = 0.4"),
        ("sigma = 0.012", "sigma = 0.0"),
        ("reference_us = 400.0", "reference_us = 800.0"),
        ("threads = 1", "threads = 2"),
        ("rejected = 0.25", "rejected = 0.0"),
    ],
)
def test_edited_meta_data_are_refused(old: str, new: str, tmp_path: Path) -> None:
    table = table_of()
    table.provenance = {"threads": 1}
    table.calibrations[TOY.signature], table.validations[TOY.signature] = CALIBRATION, VALIDATION
    table.noise[TOY.signature] = Noise(0.25, None)
    save_table(table, tmp_path)
    assert load_table(tmp_path).noise == table.noise
    meta = tmp_path / "meta.toml"
    assert old in meta.read_text()
    meta.write_text(meta.read_text().replace(old, new))
    with pytest.raises(TableError, match=r"meta\.toml was changed after it was measured"):
        load_table(tmp_path)


def test_rows_of_an_older_version_hold_for_the_speed_of_their_table(tmp_path: Path) -> None:
    save_table(table_of(), tmp_path)
    before = load_table(tmp_path)
    rows = (tmp_path / "table.csv").read_text().splitlines()
    older = "".join(row.rpartition(",")[0] + "\n" for row in rows).encode()
    meta = tomllib.loads((tmp_path / "meta.toml").read_text()) | {"sha256": sha256(older)}
    del meta["sha256_meta"]
    (tmp_path / "table.csv").write_bytes(older)
    (tmp_path / "meta.toml").write_text(tomli_w.dumps(meta))
    assert load_table(tmp_path) == before


def test_a_table_without_noise_and_its_checksum_is_one_of_an_older_version(tmp_path: Path) -> None:
    table = table_of()
    save_table(table, tmp_path)
    before = load_table(tmp_path)
    meta = tomllib.loads((tmp_path / "meta.toml").read_text())
    del meta["noise"], meta["sha256_meta"]
    (tmp_path / "meta.toml").write_text(tomli_w.dumps(meta))
    assert load_table(tmp_path) == before
