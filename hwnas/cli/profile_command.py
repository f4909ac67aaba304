"""`hwnas profile-device`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hwnas.cli import console, options

if TYPE_CHECKING:
    from hwnas.latency.table import LatencyTable, Noise


@console.verb
def profile_device(
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = 32,
    channels: options.Channels = 3,
    classes: options.Classes = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    out: options.Tables = None,
    max_minutes: Annotated[
        float, typer.Option(min=0.0, help="Stop measuring after so long, with a rougher table; 0 measures to the end.")
    ] = 0.0,
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

    from hwnas.devices.link import condition_of
    from hwnas.latency.build import MissingRows, complete, lacking, measuring_into, open_table
    from hwnas.latency.calibrate import too_far_off
    from hwnas.latency.find import table_folder
    from hwnas.latency.noise import load_warning

    del resume  # rounds are kept until the table is written, so an interrupted measurement always continues
    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes)
    instance, target = named.instance(), named.target()
    folder = table_folder(condition_of(target), out)
    watch = console.progress(quiet=quiet)

    def needed(table: LatencyTable) -> MissingRows:
        return MissingRows(instance.ops, calibration=True) if again else lacking(table, instance)

    table = open_table(target, folder)
    started, missing = time.monotonic(), needed(table)
    if missing:
        with measuring_into(folder, watch):
            table = open_table(target, folder)
            missing = needed(table)
            if missing:
                limit = max_minutes or math.inf
                table = complete(table, instance, target, folder, missing, progress=watch, seed=seed, max_minutes=limit)
    validation = table.validations[instance.signature]
    stopped = 0 < 60 * max_minutes <= time.monotonic() - started
    reason, noise = too_far_off(validation), table.noise.get(instance.signature)
    seconds = round(time.monotonic() - started, 1)
    facts = {
        "table": str(folder),
        "space": instance.name,
        "rows": len(instance.ops),
        "rows_measured": len(missing.rows),
        "seconds": seconds,
        "stopped": stopped,
        "validation": asdict(validation),
        "too_far_off": reason or None,
        "noise": asdict(noise) if noise else None,
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
    screen.print(f"{len(missing.rows)} of {len(instance.ops)} rows of {instance.name} measured in {seconds} s")
    if stopped:
        screen.print("measuring stopped at --max-minutes: rows rest on fewer rounds, and --again measures them anew")
    screen.print(
        f"on {validation.n} networks that took no part in the calibration: error {validation.mape:.1%} on average, "
        f"{validation.within_5:.0%} within ±5 %, {validation.within_10:.0%} within ±10 %, "
        f"Spearman {validation.spearman:.3f};"
    )
    screen.print(f"the same networks measured twice differ by {validation.repeatability:.1%}")
    for sentence in _noise(noise):
        screen.print(sentence)
    screen.print(f"\nNext: {escape(named.search(out))}")


def _noise(noise: Noise | None) -> list[str]:
    """What stood in the way of the measurement, in sentences."""
    if noise is None:
        return []
    found = [f"{noise.rejected:.0%} of the rounds were disturbed"]
    if noise.disagreement is not None:
        found[0] += f"; the two fastest processes agree within {noise.disagreement:.1%} (nine of ten rows and networks)"
    if noise.drift is not None:
        found.append(f"the reference model drifted by {noise.drift:+.1%} from begin to end")
    return found
