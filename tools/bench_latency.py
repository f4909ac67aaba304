"""Predicted against measured latency on random networks that took no part in calibration.

    python tools/bench_latency.py --resolutions 32,96 --networks 120 --out latency.json

Profiles the default device (timing it), then measures fresh networks of each instance in two processes, beside the
reference network. `repeatability` is one process against the other: no prediction beats it.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.arch import space_instance
from hwnas.devices.device import load_device
from hwnas.files import write_json
from hwnas.latency.build import Need, complete, open_table
from hwnas.latency.fresh import measure_fresh
from hwnas.progress import Silent


def main(
    space: str = "mobile",
    width: float = 0.25,
    resolutions: Annotated[str, typer.Option(help="Comma-separated.")] = "32,96",
    networks: Annotated[int, typer.Option(help="Fresh networks per resolution.")] = 120,
    device: str = "host",
    runtime: Annotated[str, typer.Option(help="Instead of the device's own.")] = "",
    tables: Annotated[Path | None, typer.Option(help="Where the tables are written. [default: a fresh folder]")] = None,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Profile, then compare predictions with measurements."""
    target = load_device(device).with_runtime(runtime)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (tables or Path(temporary)) / target.condition().folder
        for resolution in map(int, resolutions.split(",")):
            instance = space_instance(space, width=width, resolution=resolution, channels=3, classes=10)
            started = time.monotonic()
            need = Need(instance.ops, calibration=True)
            table = complete(open_table(target, folder), instance, target, folder, need, progress=Silent(), seed=seed)
            seconds = time.monotonic() - started
            fresh = measure_fresh(table, instance, target, networks, seed=seed, progress=Silent())
            rows.append(
                {"space": instance.name, "rows": len(instance.ops), "seconds": seconds} | asdict(fresh.validation)
            )
    screen = Screen("space", "rows", "s", "n", "Spearman", "Kendall", "MAPE", "±5 %", "±10 %", "repeatability")
    for row in rows:
        screen.add_row(
            row["space"],
            str(row["rows"]),
            f"{row['seconds']:.0f}",
            str(row["n"]),
            f"{row['spearman']:.4f}",
            f"{row['kendall']:.4f}",
            f"{row['mape']:.2%}",
            f"{row['within_5']:.1%}",
            f"{row['within_10']:.1%}",
            f"{row['repeatability']:.2%}",
        )
    Console(width=110).print(screen)
    if out is not None:
        write_json(out, {"condition": str(target.condition().folder), "seed": seed, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
