"""A search from a pre-trained parent beside plain ways to use the parent, within the same budget and the same minutes.

    python tools/bench_from_parent.py ../shared/data/clothing --shares 1,0.5,0.25,0.12 --seeds 0,1,2 --minutes 12

Budgets are shares of the parent's own latency at its own input size. Rows of each budget and seed:

    hwnas          hwnas search --init PARENT
    parent         the parent as it is, fine-tuned, where it is within the budget
    smaller input  the parent at the largest input size that meets the budget, fine-tuned
    random         a random elastic network within the budget, at the input size that hwnas chose, fine-tuned

Each row is a process of its own, whose peak memory is told. Rows that --out has are not run again, and an interrupted
search goes on. Other programs on the machine spoil latencies and minutes: run it alone.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from parent_rivals import elastic, fine_tuned, largest_side, measured, random_member, sizes_ms
from rich.console import Console
from rich.table import Table as Screen

from hwnas.cli import console
from hwnas.config import Compute, Configuration, Data, Search, Space, Target, Train, load_configuration
from hwnas.data import load_dataset
from hwnas.devices.device import load_device
from hwnas.files import write_json
from hwnas.parents import find_parent, weights_of
from hwnas.run.pipeline import run_search
from hwnas.schema import read_json
from hwnas.train import training_session

ROWS = ("hwnas", "parent", "smaller input", "random")


def configuration(data: str, parent: str, budget_ms: float, seed: int, minutes: float, device: str) -> Configuration:
    """Of the search; its recipe is that of all rows."""
    return Configuration(
        data=Data(source=data),
        target=Target(budget=f"{budget_ms:.6g}", device=device),
        space=Space(name=parent),
        search=Search(init=parent),
        train=Train(minutes=minutes, baseline=False),
        compute=Compute(seed=seed, threads=1),
    )


def searched(config: Configuration, folder: Path, tables: Path | None) -> dict[str, Any]:
    """The row of hwnas itself."""
    events = console.callbacks(quiet=False)
    result = run_search(config, folder, on_event=events, tables=tables, resume=folder.exists())
    return {
        "accuracy": result["accuracy"]["test"],
        "network": result["space"],
        "measured_ms": result["measured_ms"]["median"],
        "verdict": result["verdict"],
        "seconds": result["seconds"],
    }


def rival(row: str, config: Configuration, side: int, memory_gb: float) -> dict[str, Any]:
    """The row of a network that is fine-tuned."""
    parent, device = weights_of(find_parent(config.search.init)), load_device(config.target.device)
    progress, seed, budget_ms = console.progress(quiet=False), config.compute.seed, config.budgets[0].value
    dataset = parent.parent.prepared(load_dataset(config.data.source, resolution=side, seed=seed))
    space = elastic(config, side, dataset.channels, len(dataset.classes))
    with training_session(seed, config.compute.threads):
        if row == "random":
            network = random_member(space, budget_ms, seed, device, progress)
        else:
            network = space.network(space.architecture([0] * len(space.decisions)))
        found = fine_tuned(
            parent, network, dataset, config, memory_gb=memory_gb, device=torch.device("cpu"), progress=progress
        )
    (verdict,) = measured({"rival": network}, budget_ms, device, progress)
    told = {"network": f"{row} at {side} px", "measured_ms": verdict.median_ms, "verdict": verdict.state}
    return asdict(found) | told


def main(
    data: str,
    parent: str = "efficientnet-lite0",
    shares: Annotated[str, typer.Option(help="Budgets, of the parent's own latency.")] = "1,0.5,0.25,0.12",
    seeds: str = "0,1,2",
    minutes: float = 12.0,
    rows: Annotated[str, typer.Option(help="Which rows, with commas between.")] = ",".join(ROWS),
    device: str = "host",
    memory_gb: Annotated[float, typer.Option(help="GiB that a step of the rivals' training may take.")] = 1.5,
    tables: Path | None = None,
    runs: Path = Path("runs/from_parent"),
    out: Path = Path("from_parent.json"),
    one: Annotated[str, typer.Option(hidden=True, help="The one row that this process is for.")] = "",
) -> None:
    """Run every row of every budget with every seed, and print what was measured."""
    kept: dict[str, Any] = read_json(out) if out.exists() else {}
    if "sizes_ms" not in kept:
        weights, images = weights_of(find_parent(parent)), load_dataset(data, resolution=64, seed=0)
        progress = console.progress(quiet=False)
        found = sizes_ms(weights, images.channels, len(images.classes), load_device(device), progress)
        kept = {"parent": parent, "data": data, "sizes_ms": {str(side): value for side, value in found.items()}}
        write_json(out, kept | {"rows": {}})
        kept["rows"] = {}
    latencies_ms = {int(side): value for side, value in kept["sizes_ms"].items()}
    own_side = find_parent(parent).resolution
    own_ms = latencies_ms.get(own_side, max(latencies_ms.values()))
    for share in shares.split(","):
        budget_ms = float(share) * own_ms
        for seed in seeds.split(","):
            config = configuration(data, parent, budget_ms, int(seed), minutes, device)
            folder = runs / f"{share}-s{seed}"
            for row in rows.split(","):
                key = f"{row} {share} {seed}"
                side = _side(row, latencies_ms, budget_ms, own_side, folder)
                if side is None or (one and key != one):
                    continue
                if one:
                    result = searched(config, folder, tables) if row == "hwnas" else rival(row, config, side, memory_gb)
                    write_json(runs / "row.json", result)
                elif key not in kept["rows"]:
                    runs.mkdir(parents=True, exist_ok=True)
                    kept["rows"][key] = _in_a_process(key, runs) | {"budget_ms": budget_ms}
                    write_json(out, kept)
    if not one:
        _print(kept["rows"])


def _side(row: str, latencies_ms: dict[int, float], budget_ms: float, own: int, folder: Path) -> int | None:
    """Of the row's input; None where there is no such row, and 0 where the search chooses it."""
    if row == "hwnas":
        return 0
    if row == "parent":
        return own if latencies_ms.get(own, math.inf) <= budget_ms else None
    if row == "smaller input":
        return largest_side(latencies_ms, budget_ms)
    chosen = folder / "config.toml"
    return int(load_configuration(chosen).space.resolution) if chosen.exists() else None


def _in_a_process(key: str, runs: Path) -> dict[str, Any]:
    """What a process of its own finds for a row, with its peak memory and its time."""
    result, began = runs / "row.json", time.monotonic()
    result.unlink(missing_ok=True)
    child = subprocess.Popen([sys.executable, *sys.argv, "--one", key])
    _, status, usage = os.wait4(child.pid, 0)
    if status or not result.exists():
        raise SystemExit(f"{key}: the process ended with {os.waitstatus_to_exitcode(status)}")
    found: dict[str, Any] = read_json(result)
    cpu_s = usage.ru_utime + usage.ru_stime
    taken = {"wall_s": time.monotonic() - began, "cpu_s": cpu_s, "peak_mib": usage.ru_maxrss / 1024}
    return found | {name: round(value, 1) for name, value in taken.items()}


def mean_and_error(values: list[float]) -> str:
    """Mean and standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.4f} ± {error:.4f}"


def _print(rows: dict[str, dict[str, Any]]) -> None:
    columns = (
        "row",
        "share",
        "runs",
        "test accuracy",
        "measured ms",
        "budget ms",
        "met",
        "minutes",
        "peak MiB",
        "less hwnas",
    )
    screen = Screen(*columns)
    parts = {key: key.rsplit(" ", 2) for key in rows}
    for row, share in dict.fromkeys((row, share) for row, share, _ in parts.values()):
        keys = [key for key, found in parts.items() if found[:2] == [row, share]]
        own = [rows[key] for key in keys]
        beside = [(rows[key], rows.get(f"hwnas {share} {parts[key][2]}")) for key in keys]
        gains = [one["accuracy"] - other["accuracy"] for one, other in beside if other is not None]
        screen.add_row(
            row,
            share,
            str(len(own)),
            mean_and_error([one["accuracy"] for one in own]),
            f"{statistics.mean(one['measured_ms'] for one in own):.3f}",
            f"{own[0]['budget_ms']:.3f}",
            f"{sum(one['verdict'] == 'met' for one in own)} of {len(own)}",
            f"{statistics.mean(one['wall_s'] for one in own) / 60:.1f}",
            f"{max(one['peak_mib'] for one in own):.0f}",
            mean_and_error(gains) if gains and row != "hwnas" else "",
        )
    Console(width=150).print(screen)


if __name__ == "__main__":
    typer.run(main)
