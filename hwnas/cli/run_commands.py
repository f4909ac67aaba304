"""Commands on a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import console, options

RunPath = Annotated[Path, typer.Argument(help="Run directory, for example runs/digits-50pct-s0.")]


@console.verb
def predict(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(min=1, help="Classes to show per image.")] = 3,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Classify images with the model of a run."""
    import hwnas

    predictions = hwnas.predict(run, images, top=top)
    if json_:
        console.print_json({"predictions": [prediction.to_json() for prediction in predictions]})
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("image", "class", "probability"):
        table.add_column(column)
    for prediction in predictions:
        for rank, (name, probability) in enumerate(prediction.classes):
            table.add_row(str(prediction.image) if rank == 0 else "", name, f"{probability:.3f}")
    console.out().print(table)


@console.verb
def report(run: RunPath, json_: options.Json = False, quiet: options.Quiet = False) -> None:
    """Write report.html of a finished run again."""
    import hwnas

    page = hwnas.write_report(run)
    if json_:
        console.print_json({"report": str(page)})
    else:
        console.out().print(f"{page}")
