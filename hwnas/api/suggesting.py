"""`hwnas.suggest_search`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import annotated_types

from hwnas.api.arguments import PathArgument, checked
from hwnas.api.nearby_images import image_folders
from hwnas.asked_paths import BUILT_IN, source_path
from hwnas.config.budget import parse_budgets
from hwnas.devices.device import list_devices, load_device
from hwnas.errors import InputError
from hwnas.latency.find import device_or_imported, devices_of_imported_tables

_MOST_FILES = 100  # TOML files that may describe a device
_MINUTES = 10.0


@dataclass(frozen=True)
class SearchSuggestion:
    """A search that somebody could run.

    Attributes:
        data, device, budget, minutes: what it is for.
        found_data: folders of images by class that were found, and the names of built-in sets.
        found_devices: ids of devices and files that describe one.
        command: the command line.
    """

    data: str
    device: str
    budget: str
    minutes: float
    found_data: tuple[str, ...]
    found_devices: tuple[str, ...]

    @property
    def command(self) -> str:
        budgets = "--budgets-ms" if "," in self.budget else "--budget-ms"
        options = {"--data": self.data, "--device": self.device, budgets: self.budget, "--minutes": f"{self.minutes:g}"}
        return shlex.join(["hwnas", "search", *(word for pair in options.items() for word in pair)])


@checked
def suggest_search(
    folder: PathArgument = ".",
    *,
    data: str = "",
    device: str = "",
    budget_ms: str = "",
    minutes: Annotated[float, annotated_types.Gt(0)] = _MINUTES,
) -> SearchSuggestion:
    """The command of a first search: what is not named is found by looking.

    >>> hwnas.suggest_search(budget_ms="20").command  # doctest: +SKIP

    Args:
        folder: where folders of images and files of devices are looked for.
        data: '' is the first folder of images by class, or the digits that hwnas has with it.
        device: '' is this machine.
        budget_ms: milliseconds or a share; '' is the middle of what networks take there.
        minutes: how long the whole run may take.

    Raises:
        InputError: the data or the device are not there, or the budget is none.
    """
    path = Path(folder)
    found_data = (*(str(one) for one in image_folders(path)), *BUILT_IN)
    known = [one.id for one in list_devices()]
    found_devices = ("host", *(one for one in known if one != "host"), *devices_of_imported_tables(), *_files(path))
    asked = SearchSuggestion(
        data.strip() or found_data[0],
        device.strip() or found_devices[0],
        budget_ms.replace(" ", "").removesuffix("ms") or "50%",
        minutes,
        found_data,
        found_devices,
    )
    source_path(asked.data)
    device_or_imported(asked.device, None)
    parse_budgets(asked.budget)
    return asked


def _files(folder: Path) -> list[str]:
    """TOML files that describe a device."""
    found = []
    for path in sorted(folder.glob("*.toml"))[:_MOST_FILES]:
        try:
            load_device(str(path))
        except InputError:
            continue
        found.append(str(path))
    return found
