"""Commands on a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hwnas.asked_paths import check_there, is_missing, missing_image, run_folder
from hwnas.cli import console, options
from hwnas.display import counted, ms, printable
from hwnas.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hwnas.exporting.predict import Prediction
    from hwnas.kept_runs.latencies import TableLatency

_RUN = "Run directory, for example runs/digits-50pct-s0."


def _there(path: Path) -> Path:
    return run_folder(path)


RunPath = Annotated[Path, typer.Argument(help=_RUN, callback=_there)]


@console.verb
def predict(
    run: Annotated[Path, typer.Argument(help=_RUN)],
    images: Annotated[
        list[Path], typer.Argument(help="Image files, or folders of them; also .npy and .npz files of arrays.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes to show per image.")] = 3,
    form: Annotated[
        str, typer.Option("--format", help="Of the model, where a folder holds several: onnx, ort or tflite.")
    ] = "",
    precision: Annotated[str, typer.Option(help="Likewise: fp32, fp16 or int8.")] = "",
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Classify images with the model of a run, or of a folder that it was exported to.

    Images that cannot be read are told and left out; then the exit code is 2.
    """
    check_there(run, hint="name the folder of a finished run, or a model file of hwnas")
    predictions: Sequence[Prediction] = ()
    errors = [(path, missing_image(path)) for path in images if is_missing(path)]
    if len(errors) < len(images):
        import hwnas

        errors = []
        predictions = hwnas.predict(
            run,
            images,
            top=top,
            format=form,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            on_unreadable=lambda *one: errors.append(one),
        )
    failed = None
    if errors:
        count = "an image" if len(errors) == 1 else f"{len(errors)} images"
        failed = DataError(f"{count} could not be read", hint=errors[0][1].hint)
    if json_:
        unreadable = [{"image": str(path), "error": str(error)} for path, error in errors]
        told = {"unreadable": unreadable, "error": str(failed), "hint": failed.hint, "exit_code": 2} if failed else {}
        console.print_json({"predictions": [prediction.to_json() for prediction in predictions]} | told)
    elif predictions:
        console.out(wide=True).print(_table(predictions))
    for _, error in errors:
        console.write(console.err(), f"[yellow]warning:[/] {escape(str(error))}")
    if failed is None:
        return
    if not json_:
        raise failed
    raise SystemExit(failed.exit_code)


def _table(predictions: Sequence[Prediction]) -> Table:
    """A row for each class that is told."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("image", "class", "probability"):
        table.add_column(column)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes):
            table.add_row(str(prediction.image) if rank == 0 else "", name, f"{probability:.3f}")
    return table


@console.verb
def report(run: RunPath, json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Write report.html of a finished run again."""
    import hwnas

    page = hwnas.write_report(run)
    if json_:
        console.print_json({"report": str(page)})
    else:
        console.out().print(f"{page}")


@console.verb
def where(
    run: RunPath, tables: options.Tables = None, json_: options.Json = False, quiet: options.Quiet = False
) -> None:
    """Predict where else the network of a run would be fast enough: its latency by every table that is known.

    Tables are those of --tables, of your data folder, of the package and of ./latency_tables. One that lacks a row of
    the network, or holds a stale one, gives no number. Searches leave the margin of a budget for a table's error.
    """
    check_there(run, hint="hwnas runs list tells what runs there are")
    import hwnas

    found = hwnas.where(run, tables=tables)
    if json_:
        console.print_json(found.to_json())
        return
    told = [one for one in found.tables if one.predicted_ms is not None]
    silent = [one for one in found.tables if one.predicted_ms is None]
    screen = console.out(wide=True)
    if told:
        screen.print(_by_table(told))
    if found.measured_ms is not None:
        on = f" on {found.measured_on}" if found.measured_on else ""
        screen.print(f"\nmeasured{on}: {ms(found.measured_ms)} ms")
    if silent:
        tables_ = counted(len(silent), "latency table")
        screen.print(f"\nno prediction by {tables_}:")
    for one in silent:
        console.write(console.out(), f"{escape(_name(one))}: {escape(printable(one.note))}")
        if one.next:
            console.write(console.out(), f"  {escape(printable(one.next))}")
    if not found.tables:
        screen.print("there is no latency table: hwnas profile-device makes one")
    next_ = "hwnas verify FILE --device DEVICE measures the file of the run there"
    screen.print(f"\nNext: {next_}")


def _by_table(told: list[TableLatency]) -> Table:
    """A row for each table that tells."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("device")
    table.add_column("condition")
    for name in ("predicted, ms", "margin", "error"):
        table.add_column(name, justify="right")
    table.add_column("table")
    table.add_column("")
    for one in told:
        assert one.predicted_ms is not None
        unknown = "not known"
        margin = unknown if one.margin is None else f"{one.margin:.1%}"
        error = unknown if one.mape is None else f"{one.mape:.1%}"
        kind = f"{one.kind} {one.measured_at[:10]}".strip()
        note = f"too far off to search with: {one.note}" if one.note else ""
        table.add_row(one.device, one.condition, ms(one.predicted_ms), margin, error, printable(kind), printable(note))
    return table


def _name(one: TableLatency) -> str:
    return printable(f"{one.device}/{one.condition}" if one.device else str(one.folder))
