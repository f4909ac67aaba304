"""A table of what others measured. It knows ops by their key; there are no fingerprints, as nobody says what ran."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hwnas.arch.costs import macs
from hwnas.arch.op import OpSpec
from hwnas.devices.device import Condition
from hwnas.errors import InputError, TableError
from hwnas.files import sha256
from hwnas.latency.external_table import ExternalTable, read_csv, read_fbnet, read_ofa
from hwnas.latency.table import Calibration, LatencyTable, Row
from hwnas.latency.table_files import load_table, save_table

FORMATS = ("fbnet", "ofa", "csv")
UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}
"""Microseconds of each."""
NO_FINGERPRINT = "0" * 16
_LARGEST_FILE = 16 << 20
_SHORTEST_US, _LONGEST_US = 1e-3, 1e9
_SAME = 0.005  # rows of one op differ by no more
_SLOWEST, _FASTEST = 1e7, 1e12  # multiply-adds a second of a believable table, as the median over its rows


@dataclass(frozen=True)
class Imported:
    """A table, and what of its source hwnas has no op for, by how often it came."""

    table: LatencyTable
    left_out: Counter[str]


def import_table(
    path: Path,
    form: str,
    device: str,
    *,
    unit: str = "",
    entry: str = "",
    width: float = 1.0,
    resolution: int = 0,
    channels: int = 3,
    classes: int = 0,
    credit: str = "",
    licence: str = "",
) -> Imported:
    """Read a file of latencies.

    Args:
        form: one of `FORMATS`.
        device: what the table's device is to be called.
        unit: of the file's latencies, one of `UNITS`, where the file's own word for it is not to be taken.
        entry, width, resolution, channels, classes: for `fbnet`, see `read_fbnet`.
        credit, licence: who measured it and where it was published, and under which licence; kept in the table.

    Raises:
        InputError: an option is wrong.
        TableError: the file cannot be read, is not of that form, or holds what cannot be a latency.
    """
    if form not in FORMATS:
        raise InputError(f"tables are imported from {', '.join(FORMATS)}, not {form!r}")
    if unit and unit not in UNITS:
        raise InputError(f"a unit is one of {', '.join(UNITS)}, not {unit!r}")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", device):
        raise InputError(f"a device is called by lower-case letters, digits, '.', '_' and '-', not {device!r}")
    content = _read(path)
    try:
        text = content.decode("utf-8-sig")
        if form == "csv":
            external = read_csv(text)
        elif form == "ofa":
            external = read_ofa(text)
        else:
            external = read_fbnet(
                text, entry=entry, width=width, resolution=resolution, channels=channels, classes=classes
            )
        table = _table(external, device, unit)
    except UnicodeDecodeError as error:
        raise TableError(f"{path} cannot be imported as {form}: it is not UTF-8 text") from error
    except InputError as error:
        raise TableError(f"{path} cannot be imported as {form}: {error}", hint=error.hint) from error
    table.provenance = {"source": path.name, "format": form, "unit": unit or external.unit, "sha256": sha256(content)}
    told = {"credit": credit, "licence": licence}
    table.provenance |= {name: text for name, text in told.items() if text} | dict(external.facts)
    return Imported(table, external.left_out)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TableError(f"{path} is larger than any table to import ({_LARGEST_FILE >> 20} MiB)")
        return path.read_bytes()
    except OSError as error:
        hint = f"name a file of one of the formats {', '.join(FORMATS)}"
        raise TableError(f"cannot read {path}: {error.strerror or error}", hint=hint) from error


def _table(external: ExternalTable, device: str, unit: str) -> LatencyTable:
    factor = UNITS[unit or external.unit]
    found: defaultdict[OpSpec, list[tuple[float, str]]] = defaultdict(list)
    for spec, value, where in external.rows:
        if not spec.graph.nodes:
            raise InputError(f"{where}: {spec.key} computes nothing, so it has no latency")
        found[spec].append((_us(value, factor, where), where))
    if not found:
        others = ", ".join(f"{count} of {reason}" for reason, count in external.left_out.items())
        raise InputError(f"it holds no row for an op of hwnas{others and f', but {others}'}")
    for spec, rows in found.items():
        (low, first), (high, second) = min(rows), max(rows)
        if high > low * (1 + _SAME):
            raise InputError(f"{first} and {second} are one op, {spec.key}, but take {low:g} and {high:g} µs")
    latencies = {spec: round(statistics.fmean(us for us, _ in rows), 3) for spec, rows in found.items()}
    if not unit:
        _check_speed(latencies, external.unit)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    table = LatencyTable(Condition.of_imported_table(device), "imported")
    table.rows = {spec.key: Row(spec.key, NO_FINGERPRINT, us, us, us, 0, now) for spec, us in latencies.items()}
    if external.space is not None:
        intercept_us = _us(external.constant, factor, "all_skip_total_ms")
        table.calibrations[external.space.signature] = Calibration(1.0, intercept_us, 0.0, 0)
        table.folded[external.space.signature] = sorted({spec.key for spec in external.folded})
    return table


def _us(value: Any, factor: float, where: str) -> float:
    """A latency in microseconds."""
    try:
        plain = isinstance(value, int | float | str) and not isinstance(value, bool) and "_" not in str(value)
        number = float(value) if plain else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    us = number * factor
    if not _SHORTEST_US <= us <= _LONGEST_US:
        raise InputError(f"{where}: a latency lies between 1 ns and {_LONGEST_US / 1e6:g} s, not {str(value)[:40]!r}")
    return us


def _check_speed(latencies: dict[OpSpec, float], unit: str) -> None:
    """Milliseconds that are taken for microseconds make a device a thousand times too fast.

    Raises:
        InputError: no device is that fast, or that slow.
    """
    speeds = [macs(spec.graph) / us * 1e6 for spec, us in latencies.items() if macs(spec.graph)]
    speed = statistics.median(speeds) if speeds else None
    if speed is not None and not _SLOWEST <= speed <= _FASTEST:
        raise InputError(
            f"with latencies in {unit}, the device makes {speed:.2g} multiply-adds a second, which no device does: "
            f"between {_SLOWEST:.0e} and {_FASTEST:.0e} are believed",
            hint="if the unit is another one, or is right all the same, say so with --unit",
        )


def save_imported(table: LatencyTable, folder: Path) -> None:
    """Write an imported table, in place of an earlier import.

    Raises:
        TableError: another kind of table is there, or a damaged one.
        StorageError: the folder cannot be written.
    """
    if (folder / "meta.toml").exists() and load_table(folder).kind != "imported":
        raise TableError(f"{folder} holds a table that was not imported", hint="choose another --device or --out")
    save_table(table, folder)
