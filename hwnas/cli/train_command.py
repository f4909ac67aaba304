"""`hwnas train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.markup import escape

from hwnas.asked_paths import source_path
from hwnas.cli import console, options
from hwnas.cli.run_commands import RunPath
from hwnas.display import counted
from hwnas.errors import InputError


@console.verb
def train(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Run directory to write.", show_default="RUN-trained")] = None,
    data: Annotated[
        str,
        typer.Option(help="Other images of the same channels, as for hwnas search.", show_default="those of the run"),
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.", show_default="that of the run")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the training.", show_default="follows the data")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="Any option of data, train or compute, such as train.lr=0.004; several times.",
        ),
    ] = None,
    start: Annotated[
        str,
        typer.Option(
            help="scratch: random weights; weights: those of the run; auto: weights where the run began from a parent "
            "or another run, and its images are not split otherwise here."
        ),
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace a run that is in --out.")] = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train the architecture of a finished run again, without another search, and export it.

    On other images, with another seed, or by another recipe. Its latency is that of the architecture, and is not
    measured again.
    """
    from hwnas.config.read import parsed_settings
    from hwnas.config.starts import TrainStart

    settings = parsed_settings(set_ or [])
    if data:
        source_path(data)
    if start not in (known := get_args(TrainStart)):
        raise InputError(f"--start is one of {', '.join(known)}, not {start!r}", hint="leave it out for auto")
    import hwnas

    result = hwnas.retrain(
        run,
        out,
        data=data or None,
        seed=seed,
        epochs=epochs,
        settings=settings,
        start=start,  # type: ignore[arg-type]
        force=force,
        on_event=console.callbacks(quiet=quiet),
    )
    if json_:
        console.print_json(result.to_json())
        return
    facts = result.facts
    begun = "random weights" if facts["init"] is None else f"the weights of {facts['init']['from']}"
    lines = [
        ("model", str(result.model)),
        ("test", f"accuracy {result.accuracy:.4f} on {counted(facts['accuracy']['test_images'], 'image')}"),
        ("training", f"{counted(facts['epochs'], 'epoch')} from {begun}, {facts['seconds']:.0f} s in all"),
    ]
    console.print_facts(lines)
    console.write(console.out(), f"\nNext: hwnas verify {escape(shlex.quote(str(result.run)))}")
