"""Candidate trainings in processes and on a Ray cluster of this machine, where a worker is killed: times and files.

    python tools/bench_executors.py --networks 24 --epochs 2

Both train the same networks from scratch, so many at a time. A worker of the cluster is killed by its process id while
it trains, once a quarter of the scores are there. Every score file must be the same to the byte.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.data import Dataset, load_dataset
from hwnas.errors import InputError
from hwnas.executors.place import Place
from hwnas.nas.from_scratch import FromScratchEvaluator
from hwnas.train import Recipe, deterministic, resolve

_EVERY_S = 0.05


@dataclass(frozen=True)
class Trained:
    """The seconds that all trainings took, the score files by name, and the best network."""

    seconds: float
    files: dict[str, bytes]
    best: tuple[int, ...]


class Killer(threading.Thread):
    """Kills a process of the cluster that this process has started, while it trains."""

    def __init__(self, scores: Path, after: int) -> None:
        super().__init__(daemon=True)
        self._scores, self._after = scores, after
        self.done = threading.Event()
        self.killed = 0

    def run(self) -> None:
        while not self.done.wait(_EVERY_S):
            training = ray_workers() if len(files_of(self._scores)) >= self._after else []
            if training:
                self.killed = training[0]
                os.kill(self.killed, signal.SIGKILL)
                return


def ray_workers() -> list[int]:
    """Processes that compute a task, and whose grandparent is this process; Ray names them by the function."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"ray::_answer") and parent(
                parent(int(path.name))
            ) == os.getpid():
                found.append(int(path.name))
        except OSError:  # it has ended meanwhile
            continue
    return sorted(found)


def parent(pid: int) -> int:
    """Of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def files_of(folder: Path) -> dict[str, bytes]:
    """The score files in a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*-*.json")}


def trained(
    place: Place, space: SearchSpace, dataset: Dataset, recipe: Recipe, chosen: list[tuple[int, ...]], folder: Path
) -> Trained:
    """Train all of them at one place."""
    began = time.monotonic()
    with FromScratchEvaluator(
        space, dataset, recipe, seed=0, threads=1, device=resolve("cpu"), place=place, folder=folder
    ) as evaluator:
        scored = list(evaluator(chosen))
        seconds = time.monotonic() - began
    return Trained(seconds, files_of(folder), min(scored, key=lambda one: one.loss).architecture.choices)


def main(
    networks: Annotated[int, typer.Option(min=4, help="Networks to train.")] = 24,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 2,
    processes: Annotated[int, typer.Option(min=1, help="That train at a time, and CPUs of the cluster.")] = 2,
    resolution: Annotated[int, typer.Option(min=8, help="Input size in pixels.")] = 16,
) -> None:
    """Train twice, and compare."""
    Place.parse("ray").check()
    import ray

    deterministic(0, 1)
    dataset, out = load_dataset("digits", resolution=resolution, seed=0), console.out()
    space = space_instance(
        "mobile", width=0.25, resolution=resolution, channels=dataset.channels, classes=len(dataset.classes)
    )
    rng = np.random.default_rng(0)
    drawn = dict[tuple[int, ...], None]()
    while len(drawn) < networks:
        drawn[tuple(int(rng.integers(count)) for count in space.options)] = None
    chosen, recipe = list(drawn), Recipe(epochs=epochs)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        here = trained(Place(processes), space, dataset, recipe, chosen, folder / "local")
        out.print(f"local:{processes}: {networks} trainings in {here.seconds:.1f} s")
        began = time.monotonic()
        ray.init(address="local", num_cpus=processes, include_dashboard=False, log_to_driver=False)
        out.print(f"ray: a cluster of {processes} CPUs started in {time.monotonic() - began:.1f} s")
        killer = Killer(folder / "ray", networks // 4)
        killer.start()
        there = trained(Place.parse("ray"), space, dataset, recipe, chosen, folder / "ray")
        killer.done.set()
        killer.join()
        ray.shutdown()
        told = f"worker {killer.killed} killed" if killer.killed else "no worker killed"
        out.print(f"ray: {networks} trainings in {there.seconds:.1f} s, {told}")
    same = sum(there.files[one] == content for one, content in here.files.items())
    out.print(f"files that are the same to the byte: {same} of {len(here.files)}")
    out.print(f"the best network: {here.best} and {there.best}")
    if not killer.killed or same < networks or here.best != there.best:
        raise InputError("a worker must be killed, and change nothing", hint="look at the lines above")


if __name__ == "__main__":
    typer.run(main)
