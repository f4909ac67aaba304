"""Is a network better where it was searched for? Every found network is measured on the devices of all runs.

    python tools/bench_crosswise.py runs/cpu runs/wasm

A network is better than another one on a device when it meets the budget of that device's run, measured, and the other
misses it or is less accurate. All networks are measured with random weights, side by side in the same processes.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.arch.network import Network
from hwnas.cli import console
from hwnas.config import load_configuration
from hwnas.devices.device import Device, load_device
from hwnas.devices.verdict import measure_verdict
from hwnas.files import write_json
from hwnas.latency.measured_models import write_models, write_reference_model
from hwnas.schema import read_json

HEADS = ("network of", "measured on", "budget ms", "median ms, at most", "verdict", "test accuracy", "own better")


def device_of(run: Path) -> Device:
    """The device that a run searched for."""
    target = load_configuration(run / "config.toml").target
    return load_device(target.device).with_runtime(target.runtime, target.precision, target.provider)


def measured(networks: dict[str, Network], device: Device, budget_ms: float) -> dict[str, dict[str, Any]]:
    """Median, its upper bound, and verdict of each network on one device."""
    with tempfile.TemporaryDirectory() as temporary:
        models = write_models(Path(temporary), networks, device)
        reference = write_reference_model(Path(temporary), device)
        verdicts = measure_verdict(
            device, models, reference, budget_ms=budget_ms, progress=console.progress(quiet=False)
        )
    return {
        name: {"median_ms": one.median_ms, "at_most_ms": one.bounds_ms[1], "verdict": one.state}
        for name, one in verdicts.items()
    }


def better(own: dict[str, Any], other: dict[str, Any], accuracy: tuple[float, float]) -> bool:
    """Whether the first of two networks is the better one, given their measurements and accuracies."""
    return own["verdict"] == "met" and (other["verdict"] == "missed" or accuracy[0] > accuracy[1])


def main(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs, each for another device, runtime or precision.")],
    out: Annotated[Path | None, typer.Option(help="JSON file.")] = None,
) -> None:
    """Measure every run's network on every run's device."""
    results = {run.name: read_json(run / "result.json") for run in runs}
    networks = {run.name: Network.from_json(read_json(run / "architecture.json")["network"]) for run in runs}
    rows: list[dict[str, Any]] = []
    for run in runs:
        place, budget_ms = results[run.name]["condition"], results[run.name]["budget_ms"]
        found = measured(networks, device_of(run), budget_ms)
        for name, one in found.items():
            accuracy = results[run.name]["accuracy"]["test"], results[name]["accuracy"]["test"]
            rows.append(
                {"network": name, "measured_on": place, "budget_ms": budget_ms, "accuracy": accuracy[1]}
                | one
                | {"own_is_better": None if name == run.name else better(found[run.name], one, accuracy)}
            )
    screen = Screen(
        "network of", "measured on", "budget ms", "median ms, at most", "verdict", "test accuracy", "own better"
    )
    for row in rows:
        screen.add_row(
            row["network"],
            row["measured_on"],
            f"{row['budget_ms']:.4f}",
            f"{row['median_ms']:.4f}, {row['at_most_ms'] or math.nan:.4f}",
            row["verdict"],
            f"{row['accuracy']:.4f}",
            {None: "", True: "yes", False: "no"}[row["own_is_better"]],
        )
    Console(width=150).print(screen)
    print(f"distinct networks: {len(set(networks.values()))} of {len(networks)}")
    if out is not None:
        write_json(out, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
