"""`hwnas profile-device`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hwnas.cli import console, options

if TYPE_CHECKING:
    from hwnas.latency.table import Noise


@console.verb
def profile_device(
    device: options.DeviceId = "host",
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = "32",
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
    import hwnas
    from hwnas.latency.noise import load_warning

    del resume  # rounds are kept until the table is written, so an interrupted measurement always continues
    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes)
    result = hwnas.profile_device(
        device,
        space=space,
        width=width,
        depth=depth,
        resolution=resolution,
        channels=channels,
        classes=classes,
        runtime=runtime,
        precision=precision,
        out=out,
        max_minutes=max_minutes,
        again=again,
        seed=seed,
        on_event=console.callbacks(quiet=quiet),
    )
    if warning := load_warning(result.table, named.instance()):
        console.write(console.err(), f"[yellow]{escape(warning)}[/]")
    if result.too_far_off:
        console.write(console.err(), f"[yellow]warning: searches refuse this table: {escape(result.too_far_off)}[/]")
    if json_:
        facts = result.to_json()
        console.print_json(facts | {"rows_measured": facts.pop("measured")})
        return
    screen, validation = console.out(), result.validation
    console.write(screen, f"[bold]{escape(str(result.folder))}[/]")
    screen.print(f"{result.measured} of {result.rows} rows of {result.space} measured in {result.seconds} s")
    if result.stopped:
        screen.print("measuring stopped at --max-minutes: rows rest on fewer rounds, and --again measures them anew")
    screen.print(
        f"on {validation.n} networks that took no part in the calibration: error {validation.mape:.1%} on average, "
        f"{validation.within_5:.0%} within ±5 %, {validation.within_10:.0%} within ±10 %, "
        f"Spearman {validation.spearman:.3f};"
    )
    screen.print(f"the same networks measured twice differ by {validation.repeatability:.1%}")
    for sentence in _noise(result.noise):
        screen.print(sentence)
    screen.print(f"\nNext: {named.search(out)}")


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
