"""`hwnas adapt-device`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hwnas.cli import console, options


@console.verb
def adapt_device(
    device: options.DeviceId = "host",
    samples: Annotated[int, typer.Option(min=3, help="Whole networks to measure; more make the margin smaller.")] = 10,
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = 32,
    channels: options.Channels = 3,
    classes: options.Classes = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
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
    from dataclasses import asdict

    from hwnas.devices.link import condition_of
    from hwnas.latency.adapt import adapt_table, adaptation_prior, source_tables
    from hwnas.latency.calibrate import too_far_off
    from hwnas.latency.find import adapted_folder, writable_root
    from hwnas.latency.noise import load_warning
    from hwnas.latency.trust import trust

    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes)
    instance, target = named.instance(), named.target()
    condition, started = condition_of(target), time.monotonic()
    known = adaptation_prior(instance, source_tables(instance, condition, sources or out), seed=seed)
    folder = writable_root(out) / adapted_folder(condition, instance.signature)
    watch = console.progress(quiet=quiet)
    table = adapt_table(known, target, folder, samples, progress=watch, seed=seed)
    validation = table.validations[instance.signature]
    reason, margin = too_far_off(validation), trust(table, instance.signature)["margin"]
    seconds = round(time.monotonic() - started, 1)
    if warning := load_warning(table, instance):
        console.write(console.err(), f"[yellow]{escape(warning)}[/]")
    if reason:
        again = "measure more networks with --samples"
        console.write(console.err(), f"[yellow]warning: searches refuse this table: {escape(reason)}; {again}[/]")
    if json_:
        facts = {"table": str(folder), "space": instance.name, "kind": table.kind, "rows": len(table.rows)}
        facts |= {"samples": samples, "sources": list(known.sources), "seconds": seconds, "margin": margin}
        console.print_json(facts | {"validation": asdict(validation), "too_far_off": reason or None})
        return
    screen = console.out()
    screen.print(f"[bold]{escape(str(folder))}[/]")
    screen.print(
        f"{len(table.rows)} rows of {instance.name} predicted in {seconds} s from {samples} measured networks and "
        f"{len(known.sources)} tables: {', '.join(known.sources)}"
    )
    screen.print(
        f"each of these networks predicted from the others: error {validation.mape:.1%} on average; "
        f"searches leave {margin:.1%} of a budget"
    )
    screen.print(f"\nNext: {escape(named.search(out))}")
