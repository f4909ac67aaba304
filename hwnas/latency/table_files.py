"""A latency table on disk: a folder with `table.csv` (sorted by key) and `meta.toml`, which holds checksums of both.

Both are replaced atomically, first `meta.toml`; what it says of the rows before is kept, so that a kill between the two
leaves those: a valid table that is to be calibrated again.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import tomllib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from hwnas.arch.op import OpSpec
from hwnas.errors import InputError, TableError
from hwnas.files import sha256, write_bytes, write_text
from hwnas.latency.table import Calibration, LatencyTable, Noise, Row, Validation

SCHEMA = 1
_KINDS = ("measured", "imported", "adapted")
_LARGEST_FILE = 64 << 20
_NEW_NAMES = {"canary_us": "reference_us", "canary_us_before": "reference_us_before"}
"""Columns and entries that earlier versions called otherwise."""
_Record = TypeVar("_Record", Calibration, Validation)


def save_table(table: LatencyTable, folder: Path) -> None:
    """Write `table.csv` and `meta.toml`, replacing what is there.

    Raises:
        StorageError: a file cannot be written.
    """
    content = _csv(table).encode()
    before = folder / "table.csv"
    meta = {
        "schema": SCHEMA,
        "kind": table.kind,
        "device": table.device,
        "condition": table.condition,
        "rows": len(table.rows),
        "reference_us": table.reference_us,
        "reference_us_before": _reference_before(folder),
        "sha256_meta": "",
        "sha256": sha256(content),
        "sha256_before": sha256(before.read_bytes()) if before.is_file() else "",
        "provenance": _known(table.provenance),
        "calibration": {name: asdict(entry) for name, entry in sorted(table.calibrations.items())},
        "validation": {name: asdict(entry) for name, entry in sorted(table.validations.items())},
        "noise": {name: _known(asdict(entry)) for name, entry in sorted(table.noise.items())},
        "pairs": dict(sorted(table.pairs.items())),
        "folded": dict(sorted(table.folded.items())),
    }
    write_text(folder / "meta.toml", tomli_w.dumps(meta | {"sha256_meta": _seal(meta)}))
    write_bytes(before, content)


def load_table(folder: Path) -> LatencyTable:
    """Read a table.

    Raises:
        TableError: a file is missing, malformed, or was edited (its checksum does not match).
    """
    meta, seal = _read_meta(folder / "meta.toml")
    first = not meta["sha256_before"] and not (folder / "table.csv").exists()  # killed before there were any rows
    content = b"" if first else _read(folder / "table.csv")
    interrupted = first or (sha256(content) == meta["sha256_before"] != meta["sha256"])
    if sha256(content) != meta["sha256"] and not interrupted:
        raise TableError(
            f"{folder / 'table.csv'} was changed after it was measured: its checksum is {sha256(content)[:12]}…, "
            f"not {str(meta['sha256'])[:12]}…",
            hint=f"restore the file, or delete {folder} and measure again with hwnas profile-device",
        )
    try:
        table = LatencyTable(
            device=_text(meta, "device"),
            condition=_text(meta, "condition"),
            kind=_text(meta, "kind"),
            provenance=dict(meta["provenance"]),
            reference_us=_number(meta, "reference_us"),
            rows={} if first else _rows(content.decode()),
            calibrations={name: _record(Calibration, entry) for name, entry in meta["calibration"].items()},
            validations={name: _record(Validation, entry) for name, entry in meta["validation"].items()},
            noise={name: _noise(entry) for name, entry in meta["noise"].items()},
            pairs={name: [_pair(pair) for pair in entry] for name, entry in meta["pairs"].items()},
            folded={name: [OpSpec.parse(key).key for key in entry] for name, entry in meta["folded"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, csv.Error, InputError) as error:
        raise TableError(
            f"the table in {folder} is malformed: {error}", hint=f"delete {folder} and measure again"
        ) from error
    if interrupted:
        table.reference_us = _number(meta, "reference_us_before")
        table.calibrations, table.validations, table.noise, table.pairs = {}, {}, {}, {}
    for key, row in table.rows.items():
        if not row.reference_us:  # of an older version, which knew one speed of the whole table
            table.rows[key] = replace(row, reference_us=table.reference_us)
    if table.calibrations.keys() != table.validations.keys() and table.kind != "imported":
        raise TableError(
            f"the table in {folder} is malformed: a calibration and its validation come together",
            hint=f"delete {folder} and measure again",
        )
    if meta.get("sha256_meta", seal) != seal:
        raise TableError(
            f"{folder / 'meta.toml'} was changed after it was measured: its checksum is {seal[:12]}…, "
            f"not {str(meta['sha256_meta'])[:12]}…",
            hint=f"restore the file, or delete {folder} and measure again with hwnas profile-device",
        )
    if table.kind not in _KINDS:
        raise TableError(f"the kind of the table in {folder} is one of {', '.join(_KINDS)}, not {table.kind!r}")
    return table


def _reference_before(folder: Path) -> float:
    """What the reference model took when the rows that are on disk were measured."""
    if not (folder / "table.csv").is_file():
        return 0.0
    return load_table(folder).reference_us


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that are known: TOML has no null."""
    return {name: _known(fact) if isinstance(fact, dict) else fact for name, fact in facts.items() if fact is not None}


def _csv(table: LatencyTable) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(column.name for column in fields(Row))
    for key in sorted(table.rows):
        row = table.rows[key]
        numbers = (f"{value:.3f}" for value in (row.median_us, row.p10_us, row.p90_us))
        writer.writerow([row.key, row.fingerprint, *numbers, row.runs, row.measured_at, f"{row.reference_us:.3f}"])
    return buffer.getvalue()


def _rows(text: str) -> dict[str, Row]:
    reader = csv.DictReader(io.StringIO(text))
    reader.fieldnames = [_NEW_NAMES.get(name, name) for name in reader.fieldnames or []]
    columns = [column.name for column in fields(Row)]
    if reader.fieldnames == columns[:-1]:  # of an older version
        columns = columns[:-1]
    if reader.fieldnames != columns:
        raise ValueError(f"the columns are {','.join(columns)}, not {','.join(reader.fieldnames)}")
    rows: dict[str, Row] = {}
    for line in reader:
        if None in line or None in line.values():
            raise ValueError(f"line {reader.line_num}: a row has {len(columns)} fields")
        try:
            spec = OpSpec.parse(line["key"])
        except InputError as error:
            raise ValueError(f"line {reader.line_num}: {error}") from error
        median, p10, p90 = (float(line[name]) for name in ("median_us", "p10_us", "p90_us"))
        reference = float(line.get("reference_us", 0.0))
        if not all(math.isfinite(time) and time > 0 for time in (median, p10, p90)) or not 0 <= reference < math.inf:
            raise ValueError(f"line {reader.line_num}: latencies are positive numbers")
        if not re.fullmatch(r"[0-9a-f]{16}", line["fingerprint"]) or spec.key in rows:
            raise ValueError(f"line {reader.line_num}: bad fingerprint or repeated key")
        runs, when = int(line["runs"]), line["measured_at"]
        rows[spec.key] = Row(spec.key, line["fingerprint"], median, p10, p90, runs, when, reference)
    return rows


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TableError(f"{path} is larger than any latency table ({_LARGEST_FILE >> 20} MiB)")
        return path.read_bytes()
    except OSError as error:
        raise TableError(
            f"cannot read {path}: {error.strerror or error}", hint="make a table with hwnas profile-device"
        ) from error


def _read_meta(path: Path) -> tuple[dict[str, Any], str]:
    """The entries, and the checksum that they have; those of older versions lack some, the checksum too."""
    try:
        meta = tomllib.loads(_read(path).decode())
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"{path} is not valid TOML: {error}", hint=f"delete {path.parent} and measure again"
        ) from error
    if meta.get("schema") != SCHEMA:
        raise TableError(
            f"{path} has table schema {meta.get('schema')!r}; this version of hwnas reads schema {SCHEMA}",
            hint=f"delete {path.parent} and measure again",
        )
    defaults: dict[str, Any] = {
        "sha256": "",
        "sha256_before": "",
        "reference_us_before": 0.0,
        "provenance": {},
        "calibration": {},
        "validation": {},
        "noise": {},
        "pairs": {},
        "folded": {},
    }
    return defaults | _renamed(meta), _seal(meta)


def _renamed(meta: dict[str, Any]) -> dict[str, Any]:
    """The entries under today's names, those of `noise` as well."""
    noise = meta.get("noise")
    if isinstance(noise, dict):
        meta = meta | {"noise": {name: _renamed(one) if isinstance(one, dict) else one for name, one in noise.items()}}
    return {_NEW_NAMES.get(name, name): value for name, value in meta.items()}


def _seal(meta: dict[str, Any]) -> str:
    """Checksum of everything in `meta` but the checksum."""
    return sha256(json.dumps(meta | {"sha256_meta": ""}, sort_keys=True, default=str).encode())


def _text(meta: dict[str, Any], name: str) -> str:
    if not isinstance(meta[name], str):
        raise TypeError(f"{name} must be a text, not {meta[name]!r}")
    return str(meta[name])


def _number(meta: dict[str, Any], name: str) -> float:
    value = meta[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{name} must be a finite number, not {value!r}")
    return value


def _record(cls: type[_Record], entry: dict[str, Any]) -> _Record:
    values: dict[str, Any] = {column.name: _number(entry, column.name) for column in fields(cls)}
    return cls(**values | {"n": int(values["n"])})


def _noise(entry: dict[str, Any]) -> Noise:
    known = {column.name: _number(entry, column.name) for column in fields(Noise) if column.name in entry}
    return Noise(known.pop("rejected"), known.pop("load", None), **known)


def _pair(pair: Any) -> list[float]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise TypeError(f"a pair is a predicted and a measured latency, not {pair!r}")
    return [_number({"latency": value}, "latency") for value in pair]
