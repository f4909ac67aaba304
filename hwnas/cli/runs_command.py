"""`hwnas runs list|show|compare|rm`: the runs that there are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hwnas.asked_paths import check_there
from hwnas.cli import console, options
from hwnas.cli.run_commands import RunPath
from hwnas.display import printable
from hwnas.errors import InputError

if TYPE_CHECKING:
    from hwnas.api.runs import Order

runs = typer.Typer(help="Runs on disk: list, show, compare and remove them.", no_args_is_help=True)

RunPaths = Annotated[list[Path], typer.Argument(help="Run directories.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write the numbers to this CSV file as well.")]
Sort = Annotated[
    str, typer.Option(help="name, when, accuracy, latency or size; the newest, the best or the smallest comes first.")
]


@runs.command("list")
@console.verb
def runs_list(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    sort: Sort = "name",
    csv: Csv = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """List runs: finished, unfinished with how to go on, damaged with the reason."""
    import hwnas
    from hwnas.cli.runs_view import list_rows, print_notes, runs_table
    from hwnas.kept_runs.csv_file import write_csv

    order: Order = sort  # type: ignore[assignment]
    found = hwnas.list_runs(folder, sort=order)
    if csv is not None:
        write_csv(csv, list_rows(found))
    if json_:
        console.print_json({"runs": [one.to_json() for one in found], "csv": str(csv) if csv else None})
        return
    screen = console.out(wide=True)
    if not found:
        screen.print(f"there are no runs in {folder}")
        return
    screen.print(runs_table(found))
    print_notes(found)
    finished = next((one for one in found if one.state == "finished"), None)
    if finished is not None:
        screen.print(f"\nNext: hwnas runs show {printable(shlex.quote(str(finished.run)))}")


@runs.command("show")
@console.verb
def runs_show(run: RunPath, json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show what a finished run found, as its search printed it."""
    check_there(run, hint="hwnas runs list tells what runs there are")
    import hwnas
    from hwnas.cli.result_view import print_result, result_table
    from hwnas.run.failures import failure

    found = hwnas.show_run(run).to_json()
    error = failure(found)
    if json_:
        console.print_json(found)
    elif error is None:
        print_result(found, run)
    else:  # to look at a run that missed its budget is no failure
        console.out().print(result_table(found), "")
        console.write(console.out(), f"[yellow]{escape(str(error))}[/]")
        console.write(console.out(), f"Next: {escape(error.hint)}")


@runs.command("compare")
@console.verb
def runs_compare(run: RunPaths, csv: Csv = None, json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Compare runs: the options in which they differ, their results, and which differences are more than errors."""
    for one in run:
        check_there(one, hint="hwnas runs list tells what runs there are")
    import hwnas
    from hwnas.cli.runs_view import compared_rows, print_comparison
    from hwnas.kept_runs.csv_file import write_csv

    found = hwnas.compare_runs(run)
    if csv is not None:
        write_csv(csv, compared_rows(found))
    if json_:
        console.print_json(found.to_json() | {"csv": str(csv) if csv else None})
    else:
        print_comparison(found)


@runs.command("rm")
@console.verb
def runs_rm(
    run: RunPaths,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove runs: what hwnas wrote in their folders; files of others and symbolic links stay."""
    for one in run:
        check_there(one, hint="hwnas runs list tells what runs there are")
    from hwnas.kept_runs.removal import check_removable

    for one in run:
        check_removable(one)
    if not yes and not _agreed(run):
        raise InputError("nothing was removed", hint="answer y, or give --yes")
    import hwnas

    left = hwnas.remove_runs(run)
    if json_:
        gone = [str(one) for one in run if one not in left]
        console.print_json({"removed": gone, "kept": [str(one) for one in left]})
        return
    for one in run:
        rest = "; the folder stays, as others have files in it" if one in left else ""
        console.out().print(f"removed {one}{rest}")


def _agreed(run: list[Path]) -> bool:
    """Whether somebody at a terminal says yes.

    Raises:
        InputError: nobody is there to ask.
    """
    if not console.can_ask():
        raise InputError("hwnas runs rm asks before it removes, and stdin is no terminal", hint="give --yes")
    names = ", ".join(map(str, run))
    return console.ask(f"Remove {names} with all networks in {'it' if len(run) == 1 else 'them'}? [y/N] ").lower() in (
        "y",
        "yes",
    )
