"""A latency table on disk: a folder with `table.csv` (sorted by key) and `meta.toml`, which holds checksums of both.

Both are replaced atomically, first `meta.toml`; what it says of the rows before is kept, so that a kill between the two
leaves those: a valid table that is to be calibrated again.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tomli_w

from hwnas.arch.op import OpSpec
from hwnas.devices.device import ALLOWED, IMPORTED, Condition
from hwnas.errors import InputError, TableError
from hwnas.files import sha256, write_bytes, write_text
from hwnas.latency.table import Calibration, ColdCalibration, LatencyTable, Noise, Validation
from hwnas.latency.table_rows import csv_of, rows_of
from hwnas.runtimes import RUNTIMES
from hwnas.schema import Rule, between, checked, one_of, read_file, toml_as

SCHEMA = 1
_NEW_NAMES = {"canary_us": "reference_us", "canary_us_before": "reference_us_before"}
"""Entries that earlier versions called otherwise."""
_UNREADABLE = "make a table with hwnas profile-device"
_PAIR = Rule("a predicted and a measured latency", lambda pair: len(pair) == 2)


@dataclass(frozen=True)
class _Meta:
    """What `meta.toml` holds, `rows` and the checksum of itself aside; see `LatencyTable`. Older versions lack some.

    Attributes:
        sha256: of `table.csv`.
        sha256_before, reference_us_before: of the rows before the last measurement.
    """

    device: str
    kind: Annotated[str, one_of("measured", "imported", "adapted")]
    runtime: Annotated[str, one_of(*RUNTIMES, IMPORTED)]
    runtime_version: str
    threads: Annotated[int, between(0, 1024)]
    precision: Annotated[str, one_of(*ALLOWED["precision"])]
    reference_us: float
    reference_us_before: float = 0.0
    provider: str = ""
    sha256: str = ""
    sha256_before: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Calibration] = field(default_factory=dict)
    validation: dict[str, Validation] = field(default_factory=dict)
    noise: dict[str, Noise] = field(default_factory=dict)
    cold: dict[str, ColdCalibration] = field(default_factory=dict)
    pairs: dict[str, list[Annotated[list[float], _PAIR]]] = field(default_factory=dict)
    folded: dict[str, list[str]] = field(default_factory=dict)

    @property
    def under(self) -> Condition:
        return Condition(self.device, self.runtime, self.runtime_version, self.threads, self.precision, self.provider)


def save_table(table: LatencyTable, folder: Path) -> None:
    """Write `table.csv` and `meta.toml`, replacing what is there.

    Raises:
        TableError: what is there was edited.
        StorageError: a file cannot be written.
    """
    content = csv_of(table.rows)
    before: _Stored | None = None
    if (folder / "table.csv").is_file():
        before = _Stored.of(folder)
        before.check_seal()
    meta = {
        "schema": SCHEMA,
        "kind": table.kind,
        "device": table.device,
        "condition": table.condition,
        "runtime": table.under.runtime,
        "runtime_version": table.under.runtime_version,
        "threads": table.under.threads,
        "precision": table.under.precision,
        **({"provider": table.under.provider} if table.under.provider else {}),
        "rows": len(table.rows),
        "reference_us": table.reference_us,
        "reference_us_before": before.reference_us if before else 0.0,
        "sha256_meta": "",
        "sha256": sha256(content),
        "sha256_before": before.checksum if before else "",
        "provenance": _known(table.provenance),
        "calibration": {name: asdict(entry) for name, entry in sorted(table.calibrations.items())},
        "validation": {name: asdict(entry) for name, entry in sorted(table.validations.items())},
        "noise": {name: _known(asdict(entry)) for name, entry in sorted(table.noise.items())},
        "cold": {name: asdict(entry) for name, entry in sorted(table.cold.items())},
        "pairs": dict(sorted(table.pairs.items())),
        "folded": dict(sorted(table.folded.items())),
    }
    write_text(folder / "meta.toml", tomli_w.dumps(meta | {"sha256_meta": _seal(meta)}))
    write_bytes(folder / "table.csv", content)


def load_table(folder: Path) -> LatencyTable:
    """Read a table.

    Raises:
        TableError: a file is missing, malformed, or was edited (its checksum does not match).
    """
    stored = _Stored.of(folder)
    meta, again = stored.meta, f"delete {folder} and measure again"
    try:
        folded = {name: [OpSpec.parse(key).key for key in keys] for name, keys in meta.folded.items()}
    except InputError as error:
        raise TableError(f"{folder / 'meta.toml'}: folded: {error}", hint=again) from error
    table = LatencyTable(
        under=meta.under,
        kind=meta.kind,
        provenance=meta.provenance,
        reference_us=stored.reference_us,
        rows=rows_of(stored.content, folder / "table.csv", again) if stored.content is not None else {},
        folded=folded,
    )
    if not stored.interrupted:
        table.calibrations, table.validations, table.noise = meta.calibration, meta.validation, meta.noise
        table.cold, table.pairs = meta.cold, meta.pairs
    for key, row in table.rows.items():
        if not row.reference_us:  # of an older version, which knew one speed of the whole table
            table.rows[key] = replace(row, reference_us=table.reference_us)
    if table.calibrations.keys() != table.validations.keys() and table.kind != "imported":
        raise TableError(
            f"{folder / 'meta.toml'}: a calibration and its validation must come together, but one is missing",
            hint=again,
        )
    stored.check_seal()
    return table


@dataclass(frozen=True)
class _Stored:
    """The files of a table, of which the rows are not read yet.

    Attributes:
        meta: the entries of `meta.toml`.
        seal: the checksum of these, and `noted`, the one that is told there.
        content: of `table.csv`; None where whoever wrote it first was killed before there was one.
        checksum: of the content; empty where there is none.
    """

    folder: Path
    meta: _Meta
    noted: str
    seal: str
    content: bytes | None = None
    checksum: str = ""

    @property
    def interrupted(self) -> bool:
        """Whether the rows are those from before the last change."""
        return self.checksum != self.meta.sha256

    def check_seal(self) -> None:
        """Raise a `TableError` where the entries were edited."""
        if self.seal != self.noted:
            raise _changed(self.folder / "meta.toml", self.seal, self.noted)

    @property
    def reference_us(self) -> float:
        """What the reference model took when the rows were measured."""
        return self.meta.reference_us_before if self.interrupted else self.meta.reference_us

    @classmethod
    def of(cls, folder: Path) -> _Stored:
        """The table in a folder.

        Raises:
            TableError: a file is missing, `meta.toml` is malformed, or the checksum of the rows is not the noted one.
        """
        meta, noted, seal = _read_meta(folder / "meta.toml")
        path = folder / "table.csv"
        if not meta.sha256_before and not path.exists():
            return cls(folder, meta, noted, seal)
        content = read_file(path, error=TableError, hint=_UNREADABLE)
        checksum = sha256(content)
        if checksum not in (meta.sha256, meta.sha256_before):
            raise _changed(path, checksum, meta.sha256)
        return cls(folder, meta, noted, seal, content, checksum)


def _changed(path: Path, found: str, noted: str) -> TableError:
    return TableError(
        f"{path} was changed after it was measured: its checksum is {found[:12]}…, not {noted[:12]}…",
        hint=f"restore the file, or delete {path.parent} and measure again with hwnas profile-device",
    )


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that are known: TOML has no null."""
    return {name: _known(fact) if isinstance(fact, dict) else fact for name, fact in facts.items() if fact is not None}


def _read_meta(path: Path) -> tuple[_Meta, str, str]:
    """The entries, the checksum noted there, and the one that they have; older versions note none."""
    hint = f"delete {path.parent} and measure again"
    content = read_file(path, error=TableError, hint=_UNREADABLE)
    entries = toml_as(content, dict[str, Any], path, error=TableError, hint=hint)
    if entries.get("schema") != SCHEMA:
        raise TableError(
            f"{path} has table schema {entries.get('schema')!r}; this version of hwnas reads schema {SCHEMA}", hint=hint
        )
    own_seal = _seal(entries)
    if "runtime" not in entries:
        entries |= asdict(_told_by_id(entries, path, hint))
    meta = checked(_renamed(entries), _Meta, path, error=TableError, hint=hint)
    return meta, str(entries.get("sha256_meta", own_seal)), own_seal


def _told_by_id(entries: dict[str, Any], path: Path, hint: str) -> Condition:
    """The condition of a table of an older version, which tells it by its id alone.

    Raises:
        TableError: the id starts with the name of no runtime.
    """
    device, id = str(entries.get("device")), str(entries.get("condition"))
    if id == IMPORTED:
        return Condition.of_imported_table(device)
    known = "|".join(map(re.escape, RUNTIMES))
    match = re.fullmatch(rf"({known})-(.+)-t([0-9]{{1,4}})-([a-z0-9]+)", id)
    if match is None:
        raise TableError(f"{path}: condition must name one of {', '.join(RUNTIMES)}, not {id[:200]!r}", hint=hint)
    return Condition(device, match[1], match[2], int(match[3]), match[4])


def _renamed(meta: dict[str, Any]) -> dict[str, Any]:
    """The entries under today's names, those of `noise` as well."""
    noise = meta.get("noise")
    if isinstance(noise, dict):
        meta = meta | {"noise": {name: _renamed(one) if isinstance(one, dict) else one for name, one in noise.items()}}
    return {_NEW_NAMES.get(name, name): value for name, value in meta.items()}


def _seal(meta: dict[str, Any]) -> str:
    """Checksum of everything in `meta` but the checksum."""
    return sha256(json.dumps(meta | {"sha256_meta": ""}, sort_keys=True, default=str).encode())
