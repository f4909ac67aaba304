"""`hwnas meta-train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hwnas.asked_paths import source_path
from hwnas.cli import console, options


@console.verb
def meta_train(
    out: Annotated[Path, typer.Option(help="File to write, for example first.safetensors.")],
    tasks: Annotated[
        list[str],
        typer.Option(help="Images of many classes, as `hwnas search --data` takes them; several times."),
    ] = ["omniglot"],  # noqa: B006
    hold_out: Annotated[
        list[str],
        typer.Option(
            help="A class or a group, such as an alphabet, to validate on; several times.", show_default="the last"
        ),
    ] = [],  # noqa: B006
    devices: Annotated[
        str, typer.Option(help="Devices whose latency tables give tasks their costs: ids with commas, or all.")
    ] = "",
    tables: options.Tables = None,
    space: options.Space = "mobile",
    width: options.OneWidth = 0.25,
    depth: options.OneDepth = 0,
    resolution: options.OneResolution = "32",
    method: Annotated[str, typer.Option(help="reptile, fomaml or maml.")] = "reptile",
    ways: Annotated[int, typer.Option(min=2, help="Classes of a task.")] = 5,
    shots: Annotated[int, typer.Option(min=1, help="Images of each class to adapt to.")] = 5,
    queries: Annotated[int, typer.Option(min=1, help="Images of each class to judge by.")] = 5,
    within: Annotated[bool, typer.Option("--within", help="Draw the classes of a task from one alphabet.")] = False,
    rotate: Annotated[bool, typer.Option("--rotate", help="Turned by 90° a class is another: for letters.")] = False,
    norm: Annotated[
        str, typer.Option(help="Statistics of batch norms on query images: transductive, support or running.")
    ] = "transductive",
    head: Annotated[
        str, typer.Option(help="Classifier of a task: learned, or prototypes, made from the means of its classes.")
    ] = "learned",
    augment: Annotated[
        str, typer.Option(help="Move images: none, small (as in trainings) or strong (for drawn characters).")
    ] = "none",
    mixing: Annotated[
        str,
        typer.Option(help="Options that compute: pair (two are drawn) or soft (all).", show_default="of the method"),
    ] = "",
    inner_steps: Annotated[int, typer.Option(min=0, help="Steps on a task; 0 is the method's default.")] = 0,
    inner_lr: Annotated[float, typer.Option(min=0.0, help="Rate of these; 0 is the method's default.")] = 0.0,
    batch_size: Annotated[int, typer.Option(min=0, help="Images of such a step; 0 is the whole support set.")] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Outer steps.", show_default="1000")] = 0,
    minutes: Annotated[float, typer.Option(min=0.0, help="Instead of --steps: how long it may take, about.")] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted meta-training.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Learn anew, replacing what is at --out.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn initial weights and architecture parameters from many small tasks, for searches to start from.

    Tasks of a few classes with a few images each are drawn from images of many classes; with --devices, each has the
    costs of a made-up device and a budget. Classes that are held out tell how well the initialisation adapts.
    """
    for task in tasks:
        source_path(task)
    import hwnas

    result = hwnas.meta_train(
        out,
        tasks=tasks,
        hold_out=hold_out,
        devices=tuple(filter(None, devices.split(","))),
        tables=tables,
        space=space,
        width=width,
        depth=depth,
        resolution=resolution,
        method=method,
        ways=ways,
        shots=shots,
        queries=queries,
        within=within,
        rotate=rotate,
        norm=norm,  # type: ignore[arg-type]
        head=head,
        augment=augment,
        mixing=mixing,
        inner_steps=inner_steps,
        inner_lr=inner_lr,
        batch_size=batch_size,
        steps=steps,
        minutes=minutes,
        resume=resume,
        force=force,
        threads=threads,
        accelerator=accelerator,
        seed=seed,
        on_event=console.callbacks(quiet=quiet),
    )
    if json_:
        console.print_json(result.to_json())
        return
    metrics, screen = result.facts["metrics"], console.out()
    console.write(screen, f"[bold]{escape(str(out))}[/]")
    screen.print(
        f"{ways}-way {shots}-shot accuracy on held-out classes: {metrics['accuracy']:.3f} ± "
        f"{metrics['standard_error']:.3f}, from {metrics['accuracy_before']:.3f} before ({norm} batch norms)"
    )
    screen.print(f"\nNext: hwnas search --budget-ms 50% --data IMAGES --space {space} --init {out}")
