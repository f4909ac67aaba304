"""Options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.runtimes import RUNTIMES, known_precision, known_provider, known_runtime

if TYPE_CHECKING:
    from hwnas.arch.space import SearchSpace
    from hwnas.config.targets import DeviceTarget
    from hwnas.devices.device import Device

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[
    int, typer.Option(min=0, help="Seed of everything that is random; the same seed gives the same answer.")
]
DeviceId = Annotated[str, typer.Option("--device", help="Device id (see `hwnas devices list`), or a TOML file.")]
DeviceIds = Annotated[
    str,
    typer.Option("--device", help="Device id (see `hwnas devices list`), or a TOML file; several, by commas, at once."),
]
Runtime = Annotated[
    str, typer.Option(help=f"Instead of the device's own: {', '.join(RUNTIMES)}.", callback=known_runtime)
]
Provider = Annotated[
    str,
    typer.Option(
        help="Instead of the device's own: an execution provider or delegate, such as openvino.",
        callback=known_provider,
    ),
]
Precision = Annotated[str, typer.Option(help="Instead of the device's own: fp32 or int8.", callback=known_precision)]
Tables = Annotated[
    Path | None, typer.Option(help="Folder of latency tables.", show_default="yours, then ./latency_tables")
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="local:N|ray[://HOST:PORT]",
        help="Where candidates are trained for scores: N processes of this machine, or a Ray cluster.",
        show_default="local:1",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="The same as --on local:N.", show_default=False)]
Space = Annotated[str, typer.Option(help="Search space (see `hwnas spaces list`).")]
Width = Annotated[float, typer.Option(min=0.0, help="Channel multiplier of the search space; 0 follows the budget.")]
Depth = Annotated[int, typer.Option(min=0, help="Blocks per stage, cells or layers; 0 follows the budget.")]

# Constants of one instance of a space, for commands that choose none.
OneWidth = Annotated[float, typer.Option(help="Channel multiplier.")]
OneDepth = Annotated[int, typer.Option(min=0, help="Blocks per stage, cells or layers; 0 is the space's default.")]
OneResolution = Annotated[
    str, typer.Option(help="Input size in pixels: one number for squares, or height x width such as 96x160.")
]
Channels = Annotated[int, typer.Option(min=1, help="Channels of the input images.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]


def check_devices(targets: Iterable[DeviceTarget], tables: Path | None) -> None:
    """Refuse devices that there are not, and what they have no use for, before anything is loaded that takes time.

    Raises:
        InputError: there is no such device, runtime, precision or provider, or the file of a device is wrong.
    """
    from hwnas.latency.find import device_or_imported

    for one in targets:
        device_or_imported(one.device, tables).with_runtime(**one.runs_there)


def where(device: str, runtime: str, precision: str, provider: str) -> str:
    """The options that name a table in the commands that come next."""
    named = {"--device": "" if device == "host" else device, "--runtime": runtime, "--precision": precision}
    named["--provider"] = provider
    return "".join(f" {option} {value}" for option, value in named.items() if value)


@dataclass(frozen=True)
class OnDevice:
    """An instance of a space on a device, as the options of a command name them."""

    device: str
    runtime: str
    precision: str
    space: str
    width: float
    depth: int
    resolution: str
    channels: int
    classes: int
    provider: str = ""

    def instance(self) -> SearchSpace:
        """The instance.

        Raises:
            InputError: the space is unknown, or a constant is out of range.
        """
        from hwnas.arch import space_instance

        return space_instance(
            self.space,
            width=self.width,
            depth=self.depth,
            resolution=self.resolution,
            channels=self.channels,
            classes=self.classes,
        )

    def target(self) -> Device:
        """The device, with what runs models there.

        Raises:
            InputError: it is unknown, or its file is wrong.
        """
        from hwnas.latency.find import device_to_measure

        return device_to_measure(self.device).with_runtime(self.runtime, self.precision, self.provider)

    @property
    def where(self) -> str:
        """The options that name the device in the commands that come next."""
        return where(self.device, self.runtime, self.precision, self.provider)

    @property
    def size(self) -> str:
        """The options that name the instance in the commands that come next."""
        depth = f" --depth {self.depth}" if self.depth else ""
        return f"--space {self.space} --width {self.width:g}{depth} --resolution {self.resolution}"

    def search(self, tables: Path | None) -> str:
        """The search that takes a table of it; without --data it is on the digits: grey, ten classes."""
        images = "" if (self.channels, self.classes) == (1, 10) else " --data IMAGES"
        place = "" if tables is None else f" --tables {shlex.quote(str(tables))}"
        return f"hwnas search{images}{self.where}{place} --budget-ms 50% {self.size}"
