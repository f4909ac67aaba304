"""What int8 costs networks that were searched and trained: accuracy on all test images, and what it does to latency.

    python tools/bench_int8.py digits=digits:50%:25 photos=photos:5:10m --out int8.json --page docs/results/int8.md

Each NAME=DATA:BUDGET:EPOCHS is searched hastily and trained in fp32 for that many epochs of at most 100 steps, with
`10m` for ten minutes in all, or taken from --runs where it is there. Then `hwnas.export` writes it in fp32 and in int8,
as .onnx and as .tflite, and both files classify the test images. Rows of --out that are of the same weights and the
same --max-drop are kept. With --latency both files are measured, which takes a quiet machine; rows that were measured
are not measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from int8_report import HEADS, cells, markdown
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table as Screen

import hwnas
from hwnas.cli import console
from hwnas.config import load_configuration
from hwnas.data import Images
from hwnas.errors import ExportError
from hwnas.exporting.predict import ModelReader
from hwnas.files import sha256_of, write_json, write_text
from hwnas.run.images import images_of
from hwnas.run.run_folder import RunFolder
from hwnas.schema import read_json

FORMATS = ("onnx", "tflite")
HASTY = {
    "space.width": 0.25,
    "search.warmup_epochs": 1,
    "search.epochs": 1,
    "search.epoch_steps": 50,
    "search.candidates": 2,
    "search.score_images": 500,
    "train.epoch_steps": 100,
}
_AT_ONCE = 500  # images


def main(
    sources: Annotated[list[str], typer.Argument(help="NAME=DATA:BUDGET:EPOCHS, or NAME=DATA:BUDGET:MINUTESm.")],
    runs: Annotated[Path, typer.Option(help="Where the runs are kept.")] = Path("runs/int8"),
    tables: Path | None = None,
    max_drop: Annotated[float, typer.Option(help="Percentage points on the validation images that int8 may cost.")] = 1,
    seed: int = 0,
    setting: Annotated[list[str] | None, typer.Option("--set", help="SECTION.OPTION=VALUE of searches.")] = None,
    latency: Annotated[bool, typer.Option("--latency", help="Measure the files as well.")] = False,
    out: Path = Path("int8.json"),
    page: Annotated[Path | None, typer.Option(help="Markdown file.")] = None,
) -> None:
    """Train, export and compare what is missing, and print a row for each data set and format."""
    rows: dict[str, Any] = read_json(out) if out.exists() else {}
    for source in sources:
        name, _, told = source.partition("=")
        settings = dict(one.split("=", 1) for one in setting or ())
        data, budget, long = told.split(":")
        run = trained(data, budget, long, runs / name, tables, settings | {"compute.seed": seed})
        for form in FORMATS:
            key, marks = f"{name} {form}", [sha256_of(run.weights)[:16], max_drop]
            if rows.get(key, {}).get("marks") != marks:
                rows[key] = {"data": name, "format": form, "marks": marks} | compared(run, form, max_drop)
                write_json(out, rows)
            if latency and "why" not in rows[key] and "ms" not in rows[key]:
                rows[key]["ms"] = {bits: measured(path) for bits, path in files(run, form).items()}
                write_json(out, rows)
    screen = Screen(*HEADS)
    for row in rows.values():
        screen.add_row(*cells(row))
    Console(width=200).print(screen)
    if page is not None:
        write_text(page, markdown(list(rows.values()), max_drop))


def trained(
    data: str, budget: str, long: str, folder: Path, tables: Path | None, settings: Mapping[str, Any]
) -> RunFolder:
    """The run that finds and trains a network in fp32, finished before or now. Its budget may be missed."""
    run = RunFolder(folder)
    if not run.result.exists():
        time = {"train.minutes": float(long[:-1])} if long[-1] == "m" else HASTY | {"train.epochs": int(long)}
        hwnas.search(
            data,
            budget_ms=budget,
            out=folder,
            tables=tables,
            any_table=True,
            resume=folder.exists(),
            settings={"train.baseline": False, **time, **settings},
            on_event=console.callbacks(quiet=False),
            threads=1,
        )
    return run


def files(run: RunFolder, form: str) -> dict[str, Path]:
    """The exported files by their precision."""
    return {bits: _place(run, form, bits) / f"model{'-int8' * (bits == 'int8')}.{form}" for bits in ("fp32", "int8")}


def compared(run: RunFolder, form: str, max_drop: float) -> dict[str, Any]:
    """Accuracy of both files on all test images, the drop with its standard error, and the ways that were tried."""
    found: dict[str, Any] = {}
    for bits in ("fp32", "int8"):
        allowed = max_drop if bits == "int8" else None
        try:
            (made,) = hwnas.export(
                run.path, formats=form, precisions=bits, max_drop=allowed, out=_place(run, form, bits)
            ).files
        except ExportError as error:
            return {"why": str(error)}
        found[bits] = made
    images = images_of(load_configuration(run.config), ModelReader(run.exported).size, counted=1, tell=print).test
    right = {bits: _right(made.path, images) for bits, made in found.items()}
    lost = right["fp32"].astype(float) - right["int8"]
    int8 = found["int8"].int8
    return {
        "images": len(images),
        "macs": read_json(run.result)["macs"],
        "accuracy": {bits: float(one.mean()) for bits, one in right.items()},
        "drop": float(lost.mean()),
        "error": float(lost.std(ddof=1) / math.sqrt(len(lost))),
        "val_drop": int8.drop,
        "taken": str(int8.taken),
        "tried": [str(one) for one in int8.tried],
        "bytes": {bits: made.size_bytes for bits, made in found.items()},
    }


def measured(path: Path) -> Mapping[str, Any]:
    """Milliseconds of one call: the median, what it is at most, and the share of rounds that were disturbed."""
    told = hwnas.verify(path, on_event=console.callbacks(quiet=False)).to_json()["measured_ms"]
    return {"median": told["median"], "at_most": told["bounds"][1], "rejected": told["rejected"]}


def _place(run: RunFolder, form: str, bits: str) -> Path:
    return run.path.with_name(f"{run.path.name}-{form}-{bits}")


def _right(path: Path, images: Images) -> NDArray[np.bool_]:
    """Which images a file classifies rightly."""
    reader = ModelReader(path)
    found = []
    for start in range(0, len(images), _AT_ONCE):
        part = images.subset(np.arange(start, min(start + _AT_ONCE, len(images))))
        found.append(reader.probabilities(list(part.pixels)).argmax(1) == np.asarray(part.labels))
    return np.concatenate(found)


if __name__ == "__main__":
    typer.run(main)
