"""Predicted against measured latency on random networks that took no part in calibration, condition by condition.

    python tools/bench_latency.py --resolutions 32,96 --tables latency_tables --out docs/measured-accuracy

Makes the table of each condition (timing it), or takes the one that is there, then measures fresh networks of each
instance in two processes beside the reference model. `repeatability` is one process against the other: no
prediction beats it. With --out the numbers go to a JSON file, which keeps those of other conditions, and a page.
"""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.arch import space_instance
from hwnas.arch.space import SearchSpace
from hwnas.devices.device import Device, load_device
from hwnas.devices.host import cpu_model
from hwnas.devices.link import condition_of
from hwnas.errors import InputError
from hwnas.files import write_json, write_text
from hwnas.latency.build import complete
from hwnas.latency.fresh import measure_fresh
from hwnas.latency.missing_rows import MissingRows, lacking, open_table
from hwnas.progress import Silent
from hwnas.schema import read_json

CONDITIONS = "onnxruntime-t1-fp32,onnxruntime-t2-fp32,onnxruntime-t1-int8,litert-t1-fp32,litert-t1-int8,ort-web-t1-fp32"
HEADS = ("condition", "space", "rows", "s", "n", "Spearman", "Kendall", "MAPE", "±5 %", "±10 %", "repeatability")
PAGE = """# How far tables can be trusted

Latencies that tables predict, against random networks that were measured: drawn uniformly from the space, none of
them part of any calibration. Written by `tools/bench_latency.py` on {cpu}.

- *rows* and *s*: rows of the table, and seconds that it took to measure and calibrate them.
- *MAPE*: mean absolute error of the prediction, beside the *repeatability* of the measurement: the mean difference of
  the same networks in two processes. No prediction beats that.
- *disturbed*: share of the rounds that were rejected because the reference model ran slower beside them.

{table}
"""


def condition(text: str, device: Device) -> Device:
    """The device under a condition such as `onnxruntime-t2-fp32`.

    Raises:
        InputError: the text names none.
    """
    match = re.fullmatch(r"(.+)-t(\d+)-(.+)", text)
    if match is None:
        raise InputError(f"a condition is RUNTIME-tTHREADS-PRECISION, not {text!r}", hint="such as litert-t1-int8")
    return replace(device.with_runtime(match[1], match[3]), threads=int(match[2]))


def measured(instance: SearchSpace, device: Device, folder: Path, networks: int, seed: int) -> dict[str, Any]:
    """One row of the result; the table is made first unless it is there."""
    table, started = open_table(device, folder), time.monotonic()
    if lacking(table, instance):
        table = complete(
            table, instance, device, folder, MissingRows(instance.ops, calibration=True), progress=Silent(), seed=seed
        )
        seconds: float | None = time.monotonic() - started
    else:
        seconds = None
    fresh = measure_fresh(table, instance, device, networks, seed=seed, progress=Silent())
    return {
        "condition": condition_of(device).id,
        "space": instance.name,
        "rows": len(instance.ops),
        "seconds": seconds,
        "drift": fresh.drift,
        "rejected": fresh.noise.rejected,
    } | asdict(fresh.validation)


def cells(row: dict[str, Any]) -> list[str]:
    """One row as text, in the order of `HEADS` and then the share of disturbed rounds."""
    return [
        row["condition"],
        row["space"],
        str(row["rows"]),
        "" if row["seconds"] is None else f"{row['seconds']:.0f}",
        str(row["n"]),
        f"{row['spearman']:.4f}",
        f"{row['kendall']:.4f}",
        f"{row['mape']:.2%}",
        f"{row['within_5']:.1%}",
        f"{row['within_10']:.1%}",
        f"{row['repeatability']:.2%}",
        f"{row['rejected']:.0%}",
    ]


def page(rows: list[dict[str, Any]]) -> str:
    """All rows as a page."""
    lines = [[*HEADS, "disturbed"], ["---"] * (len(HEADS) + 1), *map(cells, rows)]
    return PAGE.format(cpu=cpu_model(), table="\n".join("| " + " | ".join(line) + " |" for line in lines))


def main(
    space: str = "mobile",
    width: float = 0.25,
    resolutions: Annotated[str, typer.Option(help="Comma-separated.")] = "32,96",
    conditions: Annotated[str, typer.Option(help="Comma-separated RUNTIME-tTHREADS-PRECISION.")] = CONDITIONS,
    networks: Annotated[int, typer.Option(help="Fresh networks per resolution.")] = 200,
    device: str = "host",
    tables: Annotated[Path | None, typer.Option(help="Where the tables are. [default: a fresh folder]")] = None,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="Path without suffix of a JSON file and a page.")] = None,
) -> None:
    """Profile, then compare predictions with measurements."""
    listed = out.with_suffix(".json") if out is not None else None
    rows: list[dict[str, Any]] = read_json(listed) if listed is not None and listed.exists() else []
    with tempfile.TemporaryDirectory() as temporary:
        for text in conditions.split(","):
            target = condition(text, load_device(device))
            folder = (tables or Path(temporary)) / condition_of(target).folder
            for resolution in map(int, resolutions.split(",")):
                instance = space_instance(space, width=width, resolution=resolution, channels=3, classes=10)
                row = measured(instance, target, folder, networks, seed)
                same = [one for one in rows if (one["condition"], one["space"]) == (row["condition"], row["space"])]
                for one in same:
                    row["seconds"] = row["seconds"] or one["seconds"]
                    rows.remove(one)
                rows.append(row)
                if out is not None and listed is not None:
                    write_json(listed, rows)
                    write_text(out.with_suffix(".md"), page(rows))
    screen = Screen(*HEADS, "disturbed")
    for row in rows:
        screen.add_row(*cells(row))
    Console(width=150).print(screen)


if __name__ == "__main__":
    typer.run(main)
