"""`hwnas search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwnas.cli import console, options
from hwnas.cli.configured import given

if TYPE_CHECKING:
    from hwnas.config import Configuration


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
    out: Annotated[Path | None, typer.Option(help="Run directory. [default: runs/DATA-BUDGET-sSEED]")] = None,
    tables: options.Tables = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Start a run anew, replacing what is in --out.")] = False,
    any_table: Annotated[
        bool, typer.Option("--any-table", help="Search even with a latency table whose error is too large.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train for scores.")] = 1,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find, train, export and verify the best network within a latency budget on a device, or one for each of several.

    Measures the latencies that the device's table lacks, searches, checks the winner on the device, trains it, writes
    model.onnx (model.tflite for LiteRT), measures that file, and writes result.json and report.html. Several budgets
    share one search; each has a folder of its own in the run directory, such as 5ms.

    Options with a section above them can be set in a file for --config as well, and with --set. That also reaches every
    hyper-parameter of search and training: docs/configuration.md lists them.
    """
    from hwnas.config import Budget, configure

    flags = given(ctx)
    if "--budget-ms" in (budget := flags.get("target.budget", {})):
        Budget.parse(budget["--budget-ms"])  # one alone
    asked = configure(config, set_, flags)
    if dry_run:
        from hwnas.cli.plan_view import print_plan
        from hwnas.run.plan import make_plan

        plan = make_plan(asked, tables, any_table=any_table, progress=console.progress(quiet=quiet))
        print_plan(plan, as_json=json_)
        return

    from hwnas.cli.result_view import print_result, result_table
    from hwnas.errors import BudgetMissedError
    from hwnas.files import read_json
    from hwnas.run.pipeline import run_search

    folder = out or default_folder(asked)
    try:
        result = run_search(
            asked,
            folder,
            progress=console.progress(quiet=quiet),
            tables=tables,
            resume=resume,
            force=force,
            any_table=any_table,
            workers=workers,
        )
    except BudgetMissedError:
        if not json_:
            console.out().print(result_table(read_json(folder / "result.json")), "")
        raise
    if json_:
        console.print_json(result)
    else:
        print_result(result, folder)


def default_folder(config: Configuration) -> Path:
    """The run directory when none is named, for example `runs/digits-50pct-s0`, or `runs/digits-50pct-litert-s0`."""
    target = config.target
    variants = (target.runtime, target.precision, "init" if config.search.init else "")
    data, budget = Path(config.data.source).name or "data", target.budget.replace("%", "pct")
    name = "-".join([data, budget, *filter(None, variants), f"s{config.compute.seed}"])
    return Path("runs") / "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
