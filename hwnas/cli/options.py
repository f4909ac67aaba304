"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Seed = Annotated[
    int, typer.Option(min=0, help="Seed of everything that is random; the same seed gives the same answer.")
]
DeviceId = Annotated[str, typer.Option("--device", help="Device id (see `hwnas devices list`), or a TOML file.")]
Runtime = Annotated[str, typer.Option(help="Instead of the device's own: onnxruntime, litert or ort-web.")]
Precision = Annotated[str, typer.Option(help="Instead of the device's own: fp32 or int8.")]
Tables = Annotated[Path | None, typer.Option(help="Folder of latency tables. [default: ./latency_tables, then yours]")]
Space = Annotated[str, typer.Option(help="Search space (see `hwnas spaces list`).")]
Width = Annotated[float, typer.Option(min=0.0, help="Channel multiplier of the search space; 0 follows the budget.")]
Depth = Annotated[int, typer.Option(min=0, help="Blocks per stage, cells or layers; 0 follows the budget.")]
Resolution = Annotated[int, typer.Option(min=0, help="Input size in pixels; 0 follows the data.")]

# Constants of one instance of a space, for commands that choose none.
OneWidth = Annotated[float, typer.Option(help="Channel multiplier.")]
OneDepth = Annotated[int, typer.Option(min=0, help="Blocks per stage, cells or layers; 0 is the space's default.")]
OneResolution = Annotated[int, typer.Option(min=1, help="Input size in pixels.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of the input images.")]
Classes = Annotated[int, typer.Option(min=2, help="Number of classes.")]
