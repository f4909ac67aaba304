"""`hwnas search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.asked_paths import check_there, source_path
from hwnas.cli import console, options
from hwnas.cli.configured import given
from hwnas.cli.program import BEGAN
from hwnas.torchrun import alone

if TYPE_CHECKING:
    from hwnas.config import Configuration

_INIT = "--init takes a parent (see hwnas parents list), a file of hwnas meta-train, or the folder of a finished run"


@console.verb
def search(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(help="TOML file with options by section; flags go before it.")] = None,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="Any option, such as search.lr=0.01; several times.",
        ),
    ] = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Run directory.", show_default="runs/DATA-BUDGET-sSEED")] = None,
    tables: options.Tables = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start a run anew, replacing what is in --out.")] = False,
    any_table: Annotated[
        bool, typer.Option("--any-table", help="Search even with a latency table whose error is too large.")
    ] = False,
    on: options.On = None,
    workers: options.Workers = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find, train, export and verify the best network within a latency budget on a device, or one for each of several.

    Measures the latencies that the device's table lacks, searches, checks the winner on the device, trains it, writes
    model.onnx (model.tflite for LiteRT), measures that file, and writes result.json and report.html. Several budgets
    share one search; each has a folder of its own in the run directory, such as 5ms. So do several devices, each with
    its budgets: --target pi4:50ms --target host@litert:5ms,10ms. One that cannot be reached is left out, and --resume
    finishes it.

    Options with a section above them can be set in a file for --config as well, and with --set. That also reaches every
    hyper-parameter of search and training: docs/configuration.md lists them.
    """
    from hwnas.config import Budget, configure
    from hwnas.executors.place import place_of

    flags = given(ctx)
    if "--budget-ms" in (budget := flags.get("target.budget", {})):
        Budget.parse(budget["--budget-ms"])  # one alone
    asked = configure(config, set_, flags)
    check_paths(asked)
    options.check_devices(asked.targets, tables)
    place_of(on, workers).check()
    import hwnas

    if dry_run:
        alone("--dry-run")
        plan = hwnas.plan_search(
            config=asked,
            out=out,
            tables=tables,
            resume=resume,
            force=force,
            any_table=any_table,
            on=on,
            workers=workers,
            on_event=console.callbacks(quiet=quiet),
            began=ctx.meta[BEGAN],
        )
        if json_:
            console.print_json(plan.to_json())
        else:
            console.print_facts(plan.lines.items())
            console.out().print("\nNext: the same command without --dry-run")
        return

    from hwnas.cli.result_view import finish

    result = hwnas.search(
        config=asked,
        out=out,
        tables=tables,
        resume=resume,
        force=force,
        any_table=any_table,
        on=on,
        workers=workers,
        on_event=console.callbacks(quiet=quiet),
        began=ctx.meta[BEGAN],
    )
    finish(result.to_json(), result.run, json_=json_)


def check_paths(asked: Configuration) -> None:
    """Refuse images, or a start of the search, that are not there.

    Raises:
        InputError: they are not.
    """
    source_path(asked.data.source)
    if asked.started and not asked.from_parent:
        check_there(Path(asked.search.init), hint=_INIT)
