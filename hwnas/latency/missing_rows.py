"""Tables as they are on disk, and the rows that one lacks for a space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.backends.model_format import format_of
from hwnas.devices.device import Device
from hwnas.devices.link import condition_of
from hwnas.errors import InputError
from hwnas.latency.find import find_adapted, find_folder
from hwnas.latency.held_instance import folded_keys
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import load_table


@dataclass(frozen=True)
class MissingRows:
    """The rows that a table lacks for a space.

    Attributes:
        rows: ops without a row, or whose row is stale.
        calibration: whether whole networks of the space are to be measured.
    """

    rows: tuple[OpSpec, ...]
    calibration: bool

    def __bool__(self) -> bool:
        return bool(self.rows) or self.calibration


def open_table(device: Device, folder: Path) -> LatencyTable:
    """The table in `folder`, or an empty one for the device's condition.

    Raises:
        TableError: there is a table, but it is corrupt.
        InputError: the table is of another condition.
    """
    condition = condition_of(device)
    if not (folder / "meta.toml").exists():
        return LatencyTable(condition)
    table = load_table(folder)
    if table.under != condition:
        raise InputError(
            f"the table in {folder} is of {table.device}/{table.condition}, "
            f"but this device is {condition.device}/{condition.id}",
            hint="tables never serve another CPU, runtime, thread count or precision: profile this one",
        )
    return table


def lacking(table: LatencyTable, space: SearchSpace) -> MissingRows:
    """The rows to measure before `space` can be searched with `table`, or those that an imported one does not hold."""
    if table.kind == "imported":
        known = table.rows.keys() | folded_keys(table, space)
        return MissingRows(tuple(spec for spec in space.ops if spec.key not in known), calibration=False)
    rows = table.lacking(space.ops, format_of(table.under.runtime, table.under.precision).fingerprints)
    return MissingRows(tuple(rows), bool(rows) or space.signature not in table.calibrations)


def table_for(device: Device, space: SearchSpace, tables: Path | None) -> tuple[LatencyTable, Path | None]:
    """The table that a space is searched with, and its folder: a measured one, else an adapted one.

    Where neither holds all of the space, it is the measured one or an empty one, which can be completed.

    Raises:
        TableError: a table is corrupt.
    """
    condition = condition_of(device)
    folder = find_folder(condition, tables)
    table = open_table(device, folder) if folder else LatencyTable(condition)
    if lacking(table, space) and device.reachable:
        other = find_adapted(condition, space.signature, tables)
        adapted = open_table(device, other) if other else None
        if adapted and not lacking(adapted, space):
            return adapted, other
    return table, folder
