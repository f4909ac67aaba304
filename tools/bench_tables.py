"""How long a large latency table takes to save, to load and to check against what its ops are now.

    python tools/bench_tables.py --rows 100000

The rows are inverted residuals and convolutions of usual sizes. Checked is by the fingerprint of each op, which is
computed the first time and kept on disk; the second check is that of another process. Each number is of one process
that does nothing else: seconds of the clock, seconds of one core, and the largest resident memory.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from hwnas.arch import OpSpec
from hwnas.backends.model_format import format_of
from hwnas.devices.device import Condition
from hwnas.errors import InputError
from hwnas.files import CACHE_VARIABLE
from hwnas.latency.table import LatencyTable, Row
from hwnas.latency.table_files import load_table, save_table

CHANNELS, SIZES = range(8, 248, 8), (4, 7, 8, 14, 16, 28, 32, 56, 64, 112)
WHEN = "2026-01-01T00:00:00+00:00"


def ops() -> Iterator[OpSpec]:
    """Different ops without end, or nearly so."""
    shapes = itertools.product(SIZES, CHANNELS, CHANNELS, (3, 5), (1, 2), (1, 3, 6))
    for size, cin, cout, kernel, stride, expand in shapes:
        yield OpSpec("mbconv", cin, cout, size, size, kernel, stride, expand, act="relu6")
        if expand == 1:
            yield OpSpec("conv", cin, cout, size, size, kernel, stride, act="relu6")


def spread(count: int) -> list[OpSpec]:
    """So many of them, from all over."""
    known = list(ops())
    if count > len(known):
        raise InputError(f"there are {len(known)} ops, not {count}")
    return [known[index * len(known) // count] for index in range(count)]


def step(name: str, folder: Path, count: int) -> None:
    """Do one thing with the table in `folder`, and print its seconds and memory."""
    if name == "measured":  # in place of a device: fingerprints of ones, as nobody measured anything
        table = LatencyTable(Condition("cpu", "onnxruntime", "1.0", 1, "fp32"), reference_us=400.0)
        table.rows = {
            spec.key: Row(spec.key, "1" * 16, 10.0 + index, 9.5 + index, 11.5 + index, 10, WHEN, 400.0)
            for index, spec in enumerate(spread(count))
        }
        begun = now()
        save_table(table, folder)
    elif name == "save":
        table = load_table(folder)
        begun = now()
        save_table(table, folder)
    elif name == "load":
        begun = now()
        load_table(folder)
    else:
        table, specs = load_table(folder), spread(count)
        fingerprints = format_of("onnxruntime").fingerprints
        begun = now()
        assert len(table.lacking(specs, fingerprints)) == count  # all of them are stale
    wall_s, core_s = (after - before for after, before in zip(now(), begun, strict=True))
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<12} {wall_s:9.2f} s  {core_s:9.2f} s of one core  {mib:6.0f} MiB", flush=True)


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main(
    rows: Annotated[int, typer.Option(help="Of the table.")] = 100_000,
    only: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Save, load and check a table, each in a process of its own."""
    if only and folder is not None:
        step(only, folder, rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{rows} rows")
        for name in ("measured", "save", "load", "first check", "check"):
            subprocess.run(
                [sys.executable, __file__, "--rows", str(rows), "--only", name, "--folder", f"{temporary}/table"],
                env=os.environ | {CACHE_VARIABLE: f"{temporary}/cache"},
                check=True,
            )


if __name__ == "__main__":
    typer.run(main)
