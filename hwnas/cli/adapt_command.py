"""`hwnas adapt-device`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hwnas.cli import console, options
from hwnas.display import counted


@console.verb
def adapt_device(
    device: options.DeviceId = "host",
    samples: Annotated[int, typer.Option(min=3, help="Whole networks to measure; more make the margin smaller.")] = 10,
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = "32",
    channels: options.Channels = 3,
    classes: options.Classes = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    provider: options.Provider = "",
    sources: Annotated[
        Path | None, typer.Option(help="Folder of tables of known devices, beside those that are always looked in.")
    ] = None,
    out: options.Tables = None,
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Predict the latency table of a device from those of known devices and a few networks measured on it.

    The method chooses the networks itself. `hwnas search` uses the table until there is a measured one.
    """
    import hwnas
    from hwnas.latency.noise import load_warning

    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes, provider)
    result = hwnas.adapt_device(
        device,
        samples=samples,
        space=space,
        width=width,
        depth=depth,
        resolution=resolution,
        channels=channels,
        classes=classes,
        runtime=runtime,
        precision=precision,
        provider=provider,
        sources=sources,
        out=out,
        seed=seed,
        on_event=console.callbacks(quiet=quiet),
    )
    if warning := load_warning(result.table, named.instance()):
        console.write(console.err(), f"[yellow]{escape(warning)}[/]")
    if result.too_far_off:
        reason = f"{escape(result.too_far_off)}; measure more networks with --samples"
        console.write(console.err(), f"[yellow]warning: searches refuse this table: {reason}[/]")
    if json_:
        facts = result.to_json()
        console.print_json(facts | {"samples": facts.pop("measured")})
        return
    screen = console.out()
    console.write(screen, f"[bold]{escape(str(result.folder))}[/]")
    screen.print(
        f"{counted(result.rows, 'row')} of {result.space} predicted in {result.seconds} s from {samples} measured "
        f"networks and {counted(len(result.sources), 'table')}: {', '.join(result.sources)}"
    )
    screen.print(
        f"each of these networks predicted from the others: error {result.validation.mape:.1%} on average; "
        f"searches leave {result.margin:.1%} of a budget"
    )
    screen.print(f"\nNext: {named.search(out)}")
