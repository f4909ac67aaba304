"""`hwnas.profile_device` and `hwnas.adapt_device`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.api.outcomes import TableResult
from hwnas.arch.spaces import space_instance
from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of
from hwnas.events import Events, OnEvent
from hwnas.latency.adapt import adapt_table, adaptation_prior, source_tables
from hwnas.latency.build import complete, measuring_into
from hwnas.latency.find import adapted_folder, say_if_here, table_folder, writable_root
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.latency.table import LatencyTable


@checked
def profile_device(
    device: str | PathLike[str] = "host",
    *,
    space: str = "mobile",
    width: float = 0.25,
    depth: Annotated[int, AtLeast0] = 0,
    resolution: int | str = 32,
    channels: Annotated[int, AtLeast1] = 3,
    classes: int = 10,
    runtime: str = "",
    precision: str = "",
    out: PathArgument | None = None,
    max_minutes: Annotated[float, AtLeast0] = 0.0,
    again: bool = False,
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> TableResult:
    """Measure the ops of a search space on a device, and write its latency table.

    Whole networks are measured beside them: some calibrate the table, others tell its error. An interrupted
    measurement continues.

    Args:
        device: id of a device, or the path of its TOML file.
        space, width, depth, resolution, channels, classes: the instance of the space.
        runtime, precision: in place of the device's own.
        out: folder of latency tables; the user's own by default.
        max_minutes: stop measuring after so long, with a rougher table; 0 measures to the end.
        again: measure rows anew that the table has already.

    Raises:
        InputError: a name or number is wrong.
        DeviceError: the device cannot measure.
        StorageError: the table cannot be written.
    """
    instance = space_instance(
        space, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
    )
    target = load_device(str(device)).with_runtime(runtime, precision)
    root = None if out is None else Path(out)
    folder = table_folder(condition_of(target), root)
    events = Events.of(on_event)
    say_if_here(folder, root, events)

    def missing_of(table: LatencyTable) -> MissingRows:
        return MissingRows(instance.ops, calibration=True) if again else lacking(table, instance)

    started, table = time.monotonic(), open_table(target, folder)
    missing = missing_of(table)
    if missing:
        with measuring_into(folder, events):
            table = open_table(target, folder)
            missing = missing_of(table)
            if missing:
                limit = max_minutes or math.inf
                table = complete(
                    table, instance, target, folder, missing, progress=events, seed=seed, max_minutes=limit
                )
    seconds = time.monotonic() - started
    return TableResult(
        folder=folder,
        table=table,
        space=instance.name,
        signature=instance.signature,
        rows=len(instance.ops),
        measured=len(missing.rows),
        seconds=round(seconds, 1),
        stopped=0 < 60 * max_minutes <= seconds,
    )


@checked
def adapt_device(
    device: str | PathLike[str] = "host",
    *,
    samples: int = 10,
    space: str = "mobile",
    width: float = 0.25,
    depth: Annotated[int, AtLeast0] = 0,
    resolution: int | str = 32,
    channels: Annotated[int, AtLeast1] = 3,
    classes: int = 10,
    runtime: str = "",
    precision: str = "",
    sources: PathArgument | None = None,
    out: PathArgument | None = None,
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> TableResult:
    """Predict the latency table of a device from those of known devices and a few networks measured on it.

    Args:
        samples: whole networks to measure, at least 3; the method chooses them.
        sources: folder of tables of known devices, beside those that are always looked in.
        device, space, width, depth, resolution, channels, classes, runtime, precision, out: as `profile_device`.

    Raises:
        InputError: a name or number is wrong.
        TableError: no table of another device holds all ops of the space.
        DeviceError: the device cannot measure.
        StorageError: the table cannot be written.
    """
    instance = space_instance(
        space, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
    )
    target = load_device(str(device)).with_runtime(runtime, precision)
    condition, root, started = condition_of(target), None if out is None else Path(out), time.monotonic()
    events = Events.of(on_event)
    known = source_tables(instance, condition, root if sources is None else Path(sources), progress=events)
    prior = adaptation_prior(instance, known, seed=seed)
    folder = writable_root(root) / adapted_folder(condition, instance.signature)
    table = adapt_table(prior, target, folder, samples, progress=events, seed=seed)
    return TableResult(
        folder=folder,
        table=table,
        space=instance.name,
        signature=instance.signature,
        rows=len(table.rows),
        measured=samples,
        seconds=round(time.monotonic() - started, 1),
        sources=tuple(prior.sources),
    )
