"""What a loaded second core does to latencies: the reference model and whole networks, quiet and loaded in turns.

    python tools/bench_load.py --turns 4 --out load.json

The runner is bound to the first CPU that may be used, the load to the last; the loads are a Python loop (arithmetic)
and copies of 64 MiB arrays (memory). Beside each figure stands its share above the same figure without load. Rounds in
which the machine had other work than that, by the runner's own counter, are left out.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hwnas.arch import space_instance
from hwnas.devices.device import load_device
from hwnas.devices.link import condition_of
from hwnas.devices.measure import measure
from hwnas.devices.rounds import Round
from hwnas.files import write_json
from hwnas.latency.measured_models import write_models, write_reference_model

LOADS = {
    "none": "",
    "python loop": "while True: sum(range(1000))",
    "memory copies": "import numpy\na, b = numpy.ones((2, 1 << 23))\nwhile True: b[:] = a",
    "the same core": "while True: sum(range(1000))",
}


@contextmanager
def loaded(program: str, cpu: int) -> Iterator[None]:
    """A process that runs `program` on one CPU meanwhile."""
    if not program:
        yield
        return
    start = f"import os; os.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\n{program}"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield
        finally:
            child.kill()


def main(
    turns: Annotated[int, typer.Option(help="How often every load is tried.")] = 4,
    networks: Annotated[int, typer.Option(help="Whole networks, spread over the space.")] = 8,
    resolution: int = 32,
    out: Path | None = None,
) -> None:
    """Measure, and print by how much each load slows."""
    cpus = sorted(os.sched_getaffinity(0))
    device = replace(load_device("host"), pin=cpus[0])
    space = space_instance("mobile", width=0.25, resolution=resolution, channels=3, classes=10)
    rng = np.random.default_rng(0)
    taken: dict[str, list[Round]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as temporary:
        reference = write_reference_model(Path(temporary), device)
        drawn = {str(index): space.network(space.drawn(rng.integers)) for index in range(networks)}
        models = write_models(Path(temporary), drawn, device)
        for turn in range(turns):
            for name, program in LOADS.items():
                with loaded(program, cpus[0] if name == "the same core" else cpus[-1]):
                    taken[name] += measure(device, models, reference, rounds=6, first_round=6 * turn)
    rows: list[dict[str, Any]] = []
    for name, every in taken.items():
        rounds = [one for one in every if one.load is not None and abs(one.load - bool(LOADS[name])) < 0.25]
        if not rounds:
            continue
        by_model = [[one.median_us for one in rounds if one.name == model] for model in models]
        rows.append(
            {
                "load": name,
                "rounds": f"{len(rounds)} of {len(every)}",
                "counted": statistics.median(one.load or 0.0 for one in every),
                "reference model floor_us": min(one.reference_us for one in rounds),
                "reference model median_us": statistics.median(one.reference_us for one in rounds),
                "networks floor_us": statistics.mean(map(min, by_model)),
                "networks median_us": statistics.mean(map(statistics.median, by_model)),
            }
        )
    if not rows or rows[0]["load"] != "none":
        raise SystemExit("no round was quiet: other programs are running")
    screen = Table(*rows[0])
    for row in rows:
        shares = [f"{row[key]:.1f} ({row[key] / rows[0][key] - 1:+.1%})" for key in list(row)[3:]]
        screen.add_row(row["load"], row["rounds"], f"{row['counted']:.2f}", *shares)
    Console(width=130).print(screen)
    if out is not None:
        write_json(out, {"condition": condition_of(device).folder.as_posix(), "rows": rows})


if __name__ == "__main__":
    typer.run(main)
