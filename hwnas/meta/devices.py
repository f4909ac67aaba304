"""Costs of a space's options on known devices, for tasks: from latency tables, as far as these reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hwnas.arch.op import OpSpec
from hwnas.arch.space import SearchSpace
from hwnas.errors import InputError, StorageError, TableError
from hwnas.latency.find import all_folders, say_if_here
from hwnas.latency.missing_rows import lacking
from hwnas.latency.model import LatencyModel
from hwnas.latency.space_latency import latency_model
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import load_table
from hwnas.progress import Progress, Silent

_SILENT = Silent()


def device_models(
    space: SearchSpace, devices: Sequence[str], tables: Path | None, progress: Progress = _SILENT
) -> dict[str, LatencyModel]:
    """The sums of rows of every table that holds all options of the space, by DEVICE/CONDITION.

    What is not chosen (say, the classifier, whose row depends on the number of classes) counts where it has a row:
    tasks take their budgets from the range of these sums, so a constant in them matters little.

    Args:
        devices: ids of devices or DEVICE/CONDITION; `all` is every one.
        tables: a folder of latency tables to look in beside those that are always looked in.

    Raises:
        TableError: a device has no such table. Damaged tables are passed over.
    """
    chosen = {spec for slot in space.slots if slot.decision is not None for spec in slot.ops}
    found: dict[str, LatencyModel] = {}
    met = {"all"}
    for folder in all_folders(tables):
        try:
            table = load_table(folder)
            name = f"{table.device}/{table.condition}"
            if table.kind == "adapted" or not {"all", table.device, name} & set(devices):
                continue
            absent = set(lacking(table, space).rows)
        except (InputError, StorageError):
            continue
        if not absent & chosen:
            say_if_here(folder, tables, progress)
            found[name] = latency_model(space, _rows_of(table, absent))
            met |= {name, table.device}
    missing = [one for one in devices if one not in met]
    if missing or not found:
        raise TableError(
            f"no latency table of {', '.join(missing) or 'any device'} holds all options of {space.name}",
            hint="hwnas profile-device with the --space, --width and --resolution of the initialisation makes one; "
            "leave out --devices to learn without latencies",
        )
    return found


def _rows_of(table: LatencyTable, absent: set[OpSpec]) -> Callable[[OpSpec], float]:
    return lambda spec: 0.0 if spec in absent else table.row_ms(spec)
