"""What `hwnas verify` prints of a package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from hwnas.cli import console
from hwnas.cli.verify_view import print_sustained
from hwnas.display import counted, few, ms
from hwnas.errors import HwnasError
from hwnas.metrics import share_error

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
    parts = counted(len(result.says.files), "file")
    console.write(screen, f"[bold]{escape(str(result.folder))}[/]: {parts}, all as they were made")
    if result.strangers:
        console.write(screen, f"no part of it, and not looked at: {escape(few(list(result.strangers)))}")
    console.write(screen, f"on {escape(result.device.id)}\n")
    screen.print(_table(result.files))
    screen.print("")
    for one in result.files:
        if one.partitions:
            parts = ", ".join(map(str, one.partitions))
            console.write(screen, f"{escape(one.name)} in partitions (operators taken): {escape(parts)}")
    for one in result.files:
        if one.latency.sustained is not None:
            console.write(screen, f"\n{escape(one.name)}")
            print_sustained(one.latency.sustained, None)
    if any(one.parity is None for one in result.files if one.golden is not None):
        console.write(screen, "The trained network was not at hand: --run names the run that the package was made of.")
    if any(one.accuracy is None for one in result.files if one.golden is not None):
        console.write(screen, "No test images were classified: --data names them.")
    for one in result.files:
        if one.doubt:
            console.write(screen, f"[yellow]{escape(one.doubt)}.[/]")
    if error is not None:
        raise error
    console.write(screen, _ending(result))


def _ending(result: PackageVerification) -> str:
    """Of a package whose files compute what they should: whether they are fast enough."""
    right, says, judged = _right(result), result.says, result.judged
    if not judged:
        if says.budget_ms is None or says.searched is None:
            return f"{right}; no budget was given."
        return (
            f"{right}. The budget of {ms(says.budget_ms)} ms that the package says is for "
            f"{escape(says.searched.file)}, which was not measured; --budget-ms is for all files."
        )
    budget = f"the budget of {ms(judged[0].latency.budget_ms or 0.0)} ms"
    if result.asked_ms is None:
        names = escape(", ".join(one.name for one in judged))
        budget += f" that the package says for {names}"
        if says.searched is not None and says.searched.device != result.device.id:
            budget += f" on {escape(says.searched.device)}"
    if result.budget_met is None:
        return f"[yellow]{right}[/]; whether {budget} is met could not be told."
    others = len(result.files) - len(judged)
    rest = f" {counted(others, 'file has', 'files have')} none: --budget-ms is for all files." if others else ""
    return f"[green]{right}, and within[/] {budget}.{rest}"


def _right(result: PackageVerification) -> str:
    if any(one.doubt for one in result.files):
        return "Right but for the accuracy that it says"
    whole = all(one.parity is not None and one.accuracy is not None for one in result.files)
    return "Right on all counts" if whole else "Right as far as it was checked"


def _table(files: tuple[FileVerification, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("file", "golden image off by", "trained network off by", "same classes", "test accuracy")
    for column in (*columns, "the package says", "latency, ms", "verdict"):
        table.add_column(column, justify="left" if column in ("file", "verdict") else "right")
    for one in files:
        verdict = one.latency.verdict
        table.add_row(
            one.name,
            _off(one.golden),
            _off(one.parity),
            "" if one.parity is None else f"{one.parity.same_classes} of {one.parity.images}",
            "not told" if one.accuracy is None else _share(one.accuracy, one.test_images),
            "" if one.model.tested is None else _share(one.model.tested.accuracy, one.model.tested.images),
            ms(verdict.judged_ms),
            verdict.state,
        )
    return table


def _off(agreement: Agreement | None) -> str:
    if agreement is None:
        return "not told"
    limit = "" if agreement.limit is None else f" of {agreement.limit:.2g}"
    return f"{agreement.max_difference:.2g}{limit}"


def _share(accuracy: float, images: int) -> str:
    """With its standard error, and on how many images."""
    return f"{accuracy:.4f} ± {share_error(accuracy, images):.2g} on {images}"
