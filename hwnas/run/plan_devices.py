"""The devices of a plan: those that answer, each with the table that it has, and those that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwnas.arch.space import SearchSpace
from hwnas.config import Configuration
from hwnas.devices.device import Condition, Device
from hwnas.devices.link import condition_of
from hwnas.errors import DeviceError
from hwnas.latency.find import device_or_imported, find_folder, say_if_here, table_folder
from hwnas.latency.missing_rows import MissingRows, lacking, open_table, table_for
from hwnas.latency.table import LatencyTable, missing_rows_error
from hwnas.progress import Progress
from hwnas.run.plan_checks import check_latency, say_if_held


@dataclass(frozen=True)
class LeftOut:
    """A device of a run that is done without, for now, as it cannot be reached or cannot measure.

    Attributes:
        index: which of the targets of the configuration it is.
    """

    index: int
    error: DeviceError


@dataclass(frozen=True)
class PlannedDevice:
    """A device that answers.

    Attributes:
        index: which of the targets of the configuration it is.
        condition: what its latencies hold under.
        place: the folder of its table; None where it has none.
        table: the device's table as it is now; an empty one where it has none.
        folder: where the completed table goes.
    """

    index: int
    device: Device
    condition: Condition
    place: Path | None
    table: LatencyTable
    folder: Path

    @property
    def texts(self) -> tuple[str, str]:
        """What the metadata of a file says of it."""
        return self.device.id, self.condition.folder.as_posix()

    def rows(self, space: SearchSpace, tables: Path | None, progress: Progress) -> tuple[LatencyTable, MissingRows]:
        """The table that a space is searched with, and what that lacks.

        Raises:
            MissingRowsError: it is an imported one, which nothing can complete, and lacks something.
            TableError: it is corrupt.
        """
        table, place = self.table, self.place
        if self.device.reachable:
            table, place = table_for(self.device, space, tables)
        say_if_here(place, tables, progress)
        missing = lacking(table, space)
        if missing and not self.device.reachable:
            raise missing_rows_error(table, missing.rows, space=space.name)
        say_if_held(table, space, progress)
        return table, missing


@dataclass(frozen=True)
class Devices:
    """Those of a run.

    Attributes:
        found: those that answer, at least one.
    """

    found: tuple[PlannedDevice, ...]
    left_out: tuple[LeftOut, ...] = ()


def devices_of(config: Configuration, tables: Path | None) -> tuple[Device, ...]:
    """The devices that a configuration names, with what runs there; none is asked for anything.

    Raises:
        InputError: there is no such device, runtime, provider or precision, or it cannot tell the latency that is
            asked for.
    """
    devices = tuple(
        device_or_imported(target.device, tables).with_runtime(**target.runs_there) for target in config.targets
    )
    for device in devices:
        check_latency(config, device)
    return devices


def reached(devices: Sequence[Device], tables: Path | None, progress: Progress) -> Devices:
    """Those that answer; of several, one that does not is left out, which a message tells.

    Raises:
        DeviceError: none of them answers.
        TableError: a table is corrupt.
    """
    found, left_out = list[PlannedDevice](), list[LeftOut]()
    for index, device in enumerate(devices):
        try:
            found.append(_asked(index, device, tables, progress))
        except DeviceError as error:
            left_out.append(LeftOut(index, error))
    if not found:
        raise left_out[0].error
    for one in left_out:
        progress.say(f"{devices[one.index].place} is left out: {one.error}")
    return Devices(tuple(found), tuple(left_out))


def _asked(index: int, device: Device, tables: Path | None, progress: Progress) -> PlannedDevice:
    if device.reachable and device.transport != "local":
        progress.say(f"asking {device.id}, over {device.transport}, for its CPU and its version of {device.runtime}")
    condition = condition_of(device)
    folder, place = table_folder(condition, tables), find_folder(condition, tables)
    return PlannedDevice(index, device, condition, place, open_table(device, place or folder), folder)
