"""`hwnas profile-device`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hwnas.cli import console, options

if TYPE_CHECKING:
    from hwnas.api.outcomes import TableResult
    from hwnas.api.profiling import FarmResult
    from hwnas.arch.space import SearchSpace
    from hwnas.latency.table import Noise


@console.verb
def profile_device(
    device: options.DeviceIds = "host",
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = "32",
    channels: options.Channels = 3,
    classes: options.Classes = 10,
    runtime: options.Runtime = "",
    precision: options.Precision = "",
    provider: options.Provider = "",
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
    """Measure the ops of a search space on a device, or on many at once, and write its latency table.

    Whole networks are measured beside them: some calibrate the table, others tell how far it can be trusted. Of several
    devices each is measured over its own link; one that fails costs its own table alone.
    """
    import hwnas

    del resume  # rounds are kept until the table is written, so an interrupted measurement always continues
    asked: dict[str, Any] = {
        "space": space,
        "width": width,
        "depth": depth,
        "resolution": resolution,
        "channels": channels,
        "classes": classes,
        "runtime": runtime,
        "precision": precision,
        "provider": provider,
        "out": out,
        "max_minutes": max_minutes,
        "again": again,
        "seed": seed,
        "on_event": console.callbacks(quiet=quiet),
    }
    named = options.OnDevice(device, runtime, precision, space, width, depth, resolution, channels, classes, provider)
    if "," in device:
        names = [name.strip() for name in device.split(",") if name.strip()]
        _show_all(hwnas.profile_devices(names, **asked), named.instance(), json_=json_)
        return
    result = hwnas.profile_device(device, **asked)
    for warning in _warnings(result, named.instance()):
        console.write(console.err(), f"[yellow]{escape(warning)}[/]")
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


def _show_all(result: FarmResult, instance: SearchSpace, *, json_: bool) -> None:
    """The tables of many devices, and what ended the others, of which the first has the exit code."""
    from hwnas.cli.list_commands import print_rows

    for name, table in result.tables.items():
        for warning in _warnings(table, instance):
            console.write(console.err(), f"[yellow]{escape(name)}: {escape(warning)}[/]")
    for name, error in result.errors.items():
        console.write(console.err(), f"[bold red]error:[/] {escape(name)}: {escape(str(error))}")
        if error.hint:
            console.write(console.err(), f"[bold]hint:[/] {escape(error.hint)}")
    if json_:
        console.print_json(result.to_json())
    else:
        done = [
            {
                "device": name,
                "rows": f"{table.measured} of {table.rows} measured",
                "error": f"{table.validation.mape:.1%}",
                "seconds": f"{table.seconds:.0f}",
                "exit code": "0",
                "table": str(table.folder),
            }
            for name, table in result.tables.items()
        ]
        failed = [
            {"device": name, "rows": "", "error": "", "seconds": "", "exit code": str(error.exit_code), "table": "none"}
            for name, error in result.errors.items()
        ]
        print_rows(done + failed, wide=True)
        if failed:
            console.out().print("\nNext: the same command, which goes on with what lacks")
        else:
            first = next(iter(result.tables.values()))
            console.out().print(f"\nNext: hwnas table show {shlex.quote(str(first.folder))}")
    if result.exit_code:
        raise SystemExit(result.exit_code)


def _warnings(result: TableResult, instance: SearchSpace) -> list[str]:
    from hwnas.latency.noise import load_warning

    found = load_warning(result.table, instance)
    refused = f"warning: searches refuse this table: {result.too_far_off}" if result.too_far_off else ""
    return [warning for warning in (found, refused) if warning]


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
