"""`hwnas.profile_device`, for one device or many, and `hwnas.adapt_device`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.api.outcomes import TableResult
from hwnas.api.profiling import FarmResult, Profiling
from hwnas.arch.spaces import space_instance
from hwnas.devices.farm import on_each
from hwnas.devices.link import condition_of
from hwnas.errors import InputError
from hwnas.events import Events, OnEvent
from hwnas.latency.adapt import adapt_table, adaptation_prior, source_tables
from hwnas.latency.find import adapted_folder, device_to_measure, writable_root


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
    provider: str = "",
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
        runtime, precision, provider: in place of the device's own.
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
    target = device_to_measure(str(device)).with_runtime(runtime, precision, provider)
    asked = Profiling(instance, None if out is None else Path(out), max_minutes, again=again, seed=seed)
    return asked.of(target, Events.of(on_event))


@checked
def profile_devices(
    devices: Sequence[str | PathLike[str]],
    *,
    space: str = "mobile",
    width: float = 0.25,
    depth: Annotated[int, AtLeast0] = 0,
    resolution: int | str = 32,
    channels: Annotated[int, AtLeast1] = 3,
    classes: int = 10,
    runtime: str = "",
    precision: str = "",
    provider: str = "",
    out: PathArgument | None = None,
    max_minutes: Annotated[float, AtLeast0] = 0.0,
    again: bool = False,
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> FarmResult:
    """Measure the ops of a search space on many devices at once, and write the latency table of each.

    Devices that are one machine take turns. One that fails costs its own table alone; its error is in the result, and
    the same call again goes on from there.

    Args:
        devices: as `device` of `profile_device`, of which all else is, too; `max_minutes` are those of each device.

    Raises:
        InputError: a name or number is wrong; nothing was measured.
    """
    names = [str(one) for one in devices]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not names or twice:
        raise InputError(f"devices must be named once, but {twice} is named twice" if twice else "there is no device")
    instance = space_instance(
        space, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
    )
    targets = {name: device_to_measure(name).with_runtime(runtime, precision, provider) for name in names}
    asked = Profiling(instance, None if out is None else Path(out), max_minutes, again=again, seed=seed)
    return FarmResult(on_each(targets, asked.of, Events.of(on_event), label="profiling"))


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
    provider: str = "",
    sources: PathArgument | None = None,
    out: PathArgument | None = None,
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> TableResult:
    """Predict the latency table of a device from those of known devices and a few networks measured on it.

    Args:
        samples: whole networks to measure, at least 3; the method chooses them.
        sources: folder of tables of known devices, beside those that are always looked in.
        device, space, width, depth, resolution, channels, classes, runtime, precision, provider, out: as
            `profile_device`.

    Raises:
        InputError: a name or number is wrong.
        TableError: no table of another device holds all ops of the space.
        DeviceError: the device cannot measure.
        StorageError: the table cannot be written.
    """
    instance = space_instance(
        space, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
    )
    target = device_to_measure(str(device)).with_runtime(runtime, precision, provider)
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
