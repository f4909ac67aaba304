"""What `hwnas verify` prints of a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from hwnas.cli import console
from hwnas.cli.verify_view import print_sustained
from hwnas.display import few, ms
from hwnas.errors import HwnasError

if TYPE_CHECKING:
    from rich.table import Table

    from hwnas.run.verify_package import Agreement, FileVerification, PackageVerification


def end_package(result: PackageVerification, error: HwnasError | None, *, json_: bool) -> None:
    """Print it, and end with the error's exit code where there is one.

    Raises:
        HwnasError: the error, where it is not in the JSON already.
        SystemExit: with its exit code otherwise.
    """
    if json_:
        console.print_json(result.to_json() | ({} if error is None else console.failed(error)))
        if error is not None:
            raise SystemExit(error.exit_code)
        return
    screen = console.out(wide=True)
    console.write(screen, f"[bold]{escape(str(result.folder))}[/]: {result.parts} files, all as they were made")
    if result.strangers:
        console.write(screen, f"no part of it, and not looked at: {escape(few(list(result.strangers)))}")
    console.write(screen, f"on {escape(result.device.id)}\n")
    screen.print(_table(result.files))
    screen.print("")
    for one in result.files:
        if one.partitions:
            name = one.model.file.path.name
            console.write(
                screen, f"{escape(name)} in partitions: {escape(', '.join(map(str, one.partitions)))} operators"
            )
    for one in result.files:
        if one.latency.sustained is not None:
            console.write(screen, f"\n{escape(one.model.file.path.name)}")
            print_sustained(one.latency.sustained, None)
    if any(one.parity is None for one in result.files if one.golden is not None):
        console.write(screen, "The trained network was not at hand: --run names the run that the package was made of.")
    if any(one.accuracy is None for one in result.files if one.golden is not None):
        console.write(screen, "No test images were classified: --data names them.")
    if error is not None:
        raise error
    budget_ms = result.files[0].latency.budget_ms
    if budget_ms is None:
        console.write(screen, "Right on all counts; no budget was given.")
    elif result.budget_met:
        console.write(screen, f"[green]Right on all counts, and within the budget[/] of {ms(budget_ms)} ms.")
    else:
        console.write(screen, "[yellow]Right on all counts[/]; whether the budget is met could not be told.")


def _table(files: tuple[FileVerification, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("file", "golden image off by", "trained network off by", "same classes", "test accuracy", "latency, ms")
    for column in (*columns, "verdict"):
        table.add_column(column, justify="left" if column in ("file", "verdict") else "right")
    for one in files:
        verdict = one.latency.verdict
        table.add_row(
            one.model.file.path.name,
            _off(one.golden),
            _off(one.parity),
            "" if one.parity is None else f"{one.parity.same_classes} of {one.parity.images}",
            _accuracy(one),
            ms(verdict.judged_ms),
            verdict.state,
        )
    return table


def _off(agreement: Agreement | None) -> str:
    if agreement is None:
        return "not told"
    limit = "" if agreement.limit is None else f" of {agreement.limit:.2g}"
    return f"{agreement.max_difference:.2g}{limit}"


def _accuracy(one: FileVerification) -> str:
    if one.accuracy is None:
        return "not told"
    before = one.model.tested
    when_packed = "" if before is None else f" (packed: {before.accuracy:.4f})"
    return f"{one.accuracy:.4f}{when_packed}"
