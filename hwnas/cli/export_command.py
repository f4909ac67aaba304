"""`hwnas export`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from hwnas.cli import console, options
from hwnas.cli.run_commands import RunPath

if TYPE_CHECKING:
    from rich.table import Table


@console.verb
def export(
    run: RunPath,
    formats: Annotated[
        str, typer.Option("--format", help="Any of onnx, tflite, ort and coreml, with commas.")
    ] = "onnx",
    precisions: Annotated[str, typer.Option("--precision", help="Any of fp32, fp16 and int8, with commas.")] = "fp32",
    input_: Annotated[
        str,
        typer.Option(
            "--input", help="Pixels from 0 to 255 as float or uint8.", show_default="uint8 for int8, else float"
        ),
    ] = "",
    output: Annotated[str, typer.Option(help="What the files end in: probabilities or logits.")] = "probabilities",
    layout: Annotated[
        str, typer.Option(help="Axes of the input: nchw or nhwc.", show_default="nhwc for tflite, else nchw")
    ] = "",
    providers: Annotated[
        str,
        typer.Option(
            help="nnapi, coreml or both: .onnx and .ort files are written so that these take them as a whole."
        ),
    ] = "",
    opset: Annotated[int, typer.Option(help="Opset of .onnx and .ort files.")] = 18,
    ir_version: Annotated[
        int, typer.Option(min=0, help="IR version of ONNX.", show_default="the oldest for the opset, at least 8")
    ] = 0,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Percentage points of the run's metric that int8 may cost.", show_default="as the run allowed"
        ),
    ] = None,
    package: Annotated[
        bool,
        typer.Option(
            "--package",
            help="Write a package: the files with all else that an app needs, which is a test image with its scores, "
            "checksums, README.md, and sources in Kotlin, Swift, JavaScript, Python and C++.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into.", show_default="RUN/export, or RUN/app for a package")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace a package of hwnas that is there, unless it has other or changed files."),
    ] = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write the network of a finished run to other formats and precisions, without another search.

    Each file takes pixels, ends in probabilities, and is compared with the trained network. Nothing is written unless
    all files are right. Latency is not measured: hwnas verify does that.
    """
    import hwnas

    result = hwnas.export(
        run,
        formats=_names(formats),
        precisions=_names(precisions),
        input=input_,  # type: ignore[arg-type]
        output=output,  # type: ignore[arg-type]
        layout=layout,  # type: ignore[arg-type]
        providers=_names(providers),
        opset=opset,
        ir_version=ir_version,
        max_drop=max_drop,
        package=package,
        out=out,
        force=force,
        on_event=console.callbacks(quiet=quiet),
    )
    if json_:
        console.print_json(result.to_json())
        return
    facts = result.to_json()
    screen = console.out(wide=True)
    console.write(screen, f"[bold]{escape(facts['folder'])}[/]")
    if facts["files"]:
        screen.print(_table(facts["files"]))
    for one in facts["coreml"]:
        console.write(
            screen, f"{escape(Path(one['path']).name)}: {one['bytes'] / 1024:.0f} KiB, not run: only macOS can"
        )
    if facts["files"]:
        upcoming = facts["folder"] if result.package else facts["files"][0]["path"]
        console.write(screen, f"\nNext: hwnas verify {escape(shlex.quote(upcoming))}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _table(files: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("file", "input", "output", "KiB", "logits off by", "test images", "int8 costs, points"):
        table.add_column(column, justify="left" if column in ("file", "input", "output") else "right")
    for one in files:
        drop, parity = one["val_drop"], one["parity"]
        table.add_row(
            Path(one["path"]).name,
            f"{one['input']} {one['layout']}",
            one["output"],
            f"{one['bytes'] / 1024:.0f}",
            *((f"{parity['max_difference']:.2g}", str(parity["images"])) if drop is None else ("", "")),
            "" if drop is None else f"{100 * drop:.2f} ± {100 * one['int8']['val_drop_error']:.2g}",
        )
    return table
