"""Seconds of a step on the supernet by one process and by several that share the batch, on the CPU.

    OMP_NUM_THREADS=1 python tools/bench_ranks.py --processes 1,2

The batch has as many images whatever the number of processes. Images are noise. A step is one on the weights; every
other one comes with one on α. CPU seconds are those of a step in the first process: the rest of its time it waits.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from hwnas.arch import space_instance
from hwnas.data import Dataset, Images
from hwnas.files import write_json
from hwnas.nas.make_loop import following_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.torchrun import launch
from hwnas.train import keep_freed_memory
from hwnas.train.joined_ranks import joined

_WARM = 4  # steps that are not counted
_CPU = torch.device("cpu")


def main(
    processes: Annotated[str, typer.Option(help="Numbers of processes, by commas.")] = "1,2",
    space: str = "mobile",
    name: Annotated[str, typer.Option("--strategy")] = "gumbel",
    width: float = 0.5,
    resolution: int = 32,
    batch_size: int = 64,
    steps: int = 24,
    out: Annotated[Path | None, typer.Option(hidden=True, help="Of one of the processes.")] = None,
) -> None:
    """Time the steps, and print a row for each number of processes."""
    if launch().count > 1 or out is not None:
        _steps(space, name, width, resolution, batch_size, steps, out)
        return
    print("processes  step s  against the first  CPU s a step")
    first = 0.0
    for count in map(int, processes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "steps.json"
            options = {"space": space, "strategy": name, "width": width, "resolution": resolution, "steps": steps}
            options |= {"batch-size": batch_size, "out": file}
            words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
            subprocess.run([sys.executable, *torchrun, __file__, *words], check=True)
            told = json.loads(file.read_text())
        first = first or told["step_s"]
        print(f"{count:>9}  {told['step_s']:6.3f}  {first / told['step_s']:17.2f}  {told['cpu_s']:12.3f}")


def _steps(space: str, name: str, width: float, resolution: int, batch_size: int, steps: int, out: Path | None) -> None:
    """As one of the processes; the first one writes what it took."""
    torch.set_num_threads(1)
    keep_freed_memory()
    rng, classes, count = np.random.default_rng(0), 10, batch_size * (_WARM + steps)
    images = Images(rng.integers(0, 256, (count, 3, resolution, resolution), np.uint8), rng.integers(0, classes, count))
    dataset = Dataset("noise", tuple(map(str, range(classes))), images, images, images, (0.5,) * 3, (0.25,) * 3, True)
    instance = space_instance(space, width=width, resolution=resolution, channels=3, classes=classes)
    settings = SearchSettings(warmup_epochs=0, epochs=1, batch_size=batch_size)
    with joined(_CPU) as ranks:
        loop = following_loop(instance, strategy(name), dataset, settings, budgets=1, seed=0, device=_CPU, ranks=ranks)
        times, cpu = [time.perf_counter()], [time.process_time()]
        for _ in loop.epoch(0):
            times.append(time.perf_counter())
            cpu.append(time.process_time())
    if out is not None and not launch().rank:
        step_s = statistics.median(np.diff(times)[_WARM:].reshape(-1, 2).mean(1))  # one of two has a step on α
        write_json(out, {"step_s": float(step_s), "cpu_s": (cpu[-1] - cpu[_WARM]) / steps})


if __name__ == "__main__":
    typer.run(main)
