"""`hwnas specialise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import console, options
from hwnas.cli.run_commands import RunPath


@console.verb
def specialise(
    run: RunPath,
    target: Annotated[
        list[str],
        typer.Option(help="A device with its budgets, such as pi4:50ms or host@litert:5ms,10ms; several times."),
    ],
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="RUN-DEVICE-BUDGET")] = None,
    tables: options.Tables = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, or one with devices that were left out.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Start anew, replacing what is in --out.")] = False,
    any_table: Annotated[
        bool, typer.Option("--any-table", help="Search even with a latency table whose error is too large.")
    ] = False,
    on: options.On = None,
    workers: options.Workers = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Networks for other devices or budgets from the search of a finished run; no supernet is trained.

    Each gets its table, an exact choice from the weights and scores of the run, a check on its device, a training, a
    model file and a verdict, in a run directory of its own.
    """
    from hwnas.config.targets import parse_targets

    options.check_devices(parse_targets(target), tables)
    import hwnas
    from hwnas.cli.result_view import finish

    result = hwnas.specialise(
        run,
        target,
        out=out,
        tables=tables,
        resume=resume,
        force=force,
        any_table=any_table,
        on=on,
        workers=workers,
        on_event=console.callbacks(quiet=quiet),
    )
    finish(result.to_json(), result.run, json_=json_)
