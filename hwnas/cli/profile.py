"""`hwnas profile-device`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hwnas.cli import console, options

if TYPE_CHECKING:
    from hwnas.latency.table import Table


@console.verb
def profile_device(
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: Annotated[float, typer.Option(help="Channel multiplier.")] = 0.25,
    depth: Annotated[int, typer.Option(min=0, help="Blocks per stage; 0 is the space's default.")] = 0,
    resolution: Annotated[int, typer.Option(min=1, help="Input size in pixels.")] = 32,
    channels: Annotated[int, typer.Option(min=1, help="Channels of the input images.")] = 3,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    out: options.Tables = None,
    again: Annotated[bool, typer.Option("--again", help="Measure rows anew that the table has already.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted measurement (the default).")] = True,
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure the ops of a search space on a device, and write its latency table.

    Whole networks are measured beside them: some calibrate the table, others tell how far it can be trusted.
    """
    from dataclasses import asdict

    from hwnas.arch import space_instance
    from hwnas.devices.device import load_device
    from hwnas.latency.build import Need, complete, lacking, load_warning, measuring_into, open_table
    from hwnas.latency.calibrate import too_far_off
    from hwnas.latency.find import table_folder

    del resume  # rounds are kept until the table is written, so an interrupted measurement always continues
    instance = space_instance(
        space, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
    )
    target = load_device(device).with_runtime(runtime, precision)
    folder = table_folder(target.condition(), out)
    watch = console.progress(quiet=quiet)

    def needed(table: Table) -> Need:
        return Need(instance.ops, calibration=True) if again else lacking(table, instance)

    table = open_table(target, folder)
    started, need = time.monotonic(), needed(table)
    if need:
        with measuring_into(folder, watch):
            table = open_table(target, folder)
            need = needed(table)
            if need:
                table = complete(table, instance, target, folder, need, progress=watch, seed=seed)
    validation = table.validations[instance.signature]
    reason = too_far_off(validation)
    facts = {
        "table": str(folder),
        "space": instance.name,
        "rows": len(instance.ops),
        "rows_measured": len(need.rows),
        "seconds": round(time.monotonic() - started, 1),
        "validation": asdict(validation),
        "too_far_off": reason or None,
        "noise": asdict(noise) if (noise := table.noise.get(instance.signature)) else None,
    }
    if warning := load_warning(table, instance):
        console.write(console.err(), f"[yellow]{escape(warning)}[/]")
    if reason:
        console.write(console.err(), f"[yellow]warning: searches refuse this table: {escape(reason)}[/]")
    if json_:
        console.print_json(facts)
        return
    screen = console.out()
    screen.print(f"[bold]{folder}[/]")
    screen.print(f"{len(need.rows)} of {len(instance.ops)} rows of {instance.name} measured in {facts['seconds']} s")
    screen.print(
        f"on {validation.n} networks that took no part in the calibration: error {validation.mape:.1%} on average, "
        f"{validation.within_5:.0%} within ±5 %, {validation.within_10:.0%} within ±10 %, "
        f"Spearman {validation.spearman:.3f};"
    )
    screen.print(f"the same networks measured twice differ by {validation.repeatability:.1%}")
    size = f"--width {width:g}{f' --depth {depth}' if depth else ''} --resolution {resolution}"
    where = "" if device == "host" else f" --device {device}"
    where += f" --runtime {runtime}" if runtime else ""
    where += f" --precision {precision}" if precision else ""
    screen.print(f"\nNext: hwnas search{where} --budget-ms 50% --space {space} {size}")
