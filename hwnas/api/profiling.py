"""One profile of a device, which is asked for of one device or of many."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hwnas.api.outcomes import TableResult
from hwnas.arch.space import SearchSpace
from hwnas.devices.device import Device
from hwnas.devices.link import condition_of
from hwnas.display import table_html
from hwnas.errors import HwnasError
from hwnas.latency.build import complete, measuring_into
from hwnas.latency.find import say_if_here, table_folder
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.latency.table import LatencyTable
from hwnas.progress import Progress


@dataclass(frozen=True)
class Profiling:
    """What is to be measured, whatever the device; see `hwnas.profile_device`.

    Attributes:
        instance: the instance of a space.
        root: folder of latency tables; None is the user's own.
        max_minutes: of each device; 0 measures to the end.
        again: measure rows anew that a table has already.
    """

    instance: SearchSpace
    root: Path | None
    max_minutes: float
    again: bool
    seed: int

    def of(self, device: Device, progress: Progress) -> TableResult:
        """Measure what the table of a device lacks.

        Raises:
            DeviceError: the device cannot measure.
            StorageError: the table cannot be written.
        """
        instance, folder = self.instance, table_folder(condition_of(device), self.root)
        say_if_here(folder, self.root, progress)
        started, table = time.monotonic(), open_table(device, folder)
        missing = self._missing(table)
        if missing:
            with measuring_into(folder, progress):
                table = open_table(device, folder)
                missing = self._missing(table)
                if missing:
                    limit = self.max_minutes or math.inf
                    table = complete(
                        table, instance, device, folder, missing, progress=progress, seed=self.seed, max_minutes=limit
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
            stopped=0 < 60 * self.max_minutes <= seconds,
        )

    def _missing(self, table: LatencyTable) -> MissingRows:
        return MissingRows(self.instance.ops, calibration=True) if self.again else lacking(table, self.instance)


@dataclass(frozen=True)
class FarmResult:
    """Latency tables of many devices, and what ended the others.

    Attributes:
        outcomes: the table or the error of each device, by the name that it was given.
    """

    outcomes: Mapping[str, TableResult | HwnasError]

    @cached_property
    def tables(self) -> dict[str, TableResult]:
        """The tables, by device."""
        return {name: one for name, one in self.outcomes.items() if isinstance(one, TableResult)}

    @cached_property
    def errors(self) -> dict[str, HwnasError]:
        """The errors, by device; each has its `exit_code`."""
        return {name: one for name, one in self.outcomes.items() if isinstance(one, HwnasError)}

    @property
    def exit_code(self) -> int:
        """0 where every device has its table, else that of the first one that has none."""
        return next((error.exit_code for error in self.errors.values()), 0)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; the rows stay in their files."""
        return {
            "devices": {name: one.to_json() for name, one in self.outcomes.items()},
            "exit_code": self.exit_code,
        }

    def _repr_html_(self) -> str:
        facts = {
            name: f"error {one.validation.mape:.1%}" if isinstance(one, TableResult) else one
            for name, one in self.outcomes.items()
        }
        return table_html(f"latency tables of {len(facts)} devices", facts)
