"""One supernet, several devices: is a network better where it was searched for?

    python tools/bench_devices.py --runtimes onnxruntime,ort-web --data cifar10 --part 20000 --out devices.json

The supernet is trained once on uniform paths. Its weights score every candidate, so that devices differ in their
latency tables alone: evolution searches for the first one within --budget, and for each other one within --share of the
latency that the first one's network has there. What was scored for one device is compared for all. Every found
network is then trained from scratch with several seeds and measured on all devices, side by side in the same processes.

A network is better on its own device if it alone keeps the budget there, or if both do and it is more accurate.
Finished parts are kept in --runs.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bench_crosswise import better, measured
from bench_supernet_rank import all_of
from rivals import trained_accuracy

from hwnas.arch.space import Architecture, SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.cli import console
from hwnas.config import Budget
from hwnas.data import Dataset, load_dataset, native_shape
from hwnas.devices.device import Device, load_device
from hwnas.devices.link import condition_of
from hwnas.errors import InputError
from hwnas.files import write_json
from hwnas.latency.find import find_folder
from hwnas.latency.model import LatencyModel
from hwnas.latency.table_files import load_table
from hwnas.latency.table_model import model_of
from hwnas.nas.comparison import Comparison, OneShotEvaluator
from hwnas.nas.constraint import latency_constraint
from hwnas.nas.feasible_set import FeasibleSet, feasible_set
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategy
from hwnas.run.instance_choice import default_resolution
from hwnas.schema import read_json
from hwnas.train import Recipe, deterministic, resolve


@dataclass(frozen=True)
class Place:
    """A device with the latencies of the space on it."""

    name: str
    device: Device
    model: LatencyModel


def place(runtime: str, space: SearchSpace, tables: Path | None) -> Place:
    """The host with one runtime; a precision may follow a colon."""
    name, _, precision = runtime.partition(":")
    device = load_device("host").with_runtime(name, precision)
    condition = condition_of(device)
    folder = find_folder(condition, tables)
    if folder is None:
        raise InputError(f"there is no latency table of {condition.id}", hint="hwnas profile-device makes one")
    return Place(runtime, device, model_of(load_table(folder), space))


def supernet_scores(space: SearchSpace, dataset: Dataset, epochs: int, seed: int, folder: Path) -> OneShotEvaluator:
    """Scores by the weights of a supernet that was trained on uniform paths."""
    device, settings = resolve("auto"), SearchSettings.for_images(len(dataset.train))
    settings = replace(settings, warmup_epochs=0, epochs=epochs or 2 * settings.all_epochs)
    loop = make_loop(space, [all_of(space)], strategy("random"), dataset, settings, seed=seed, device=device)
    loop.run(checkpoint=folder / "supernet.safetensors", progress=console.progress(quiet=False), log=lambda event: None)
    return OneShotEvaluator(loop.supernet, dataset, device)


def evolve(comparison: Comparison, feasible: FeasibleSet, count: int, seed: int) -> tuple[int, ...]:
    """The most accurate of what evolution finds within a budget and of what is known already."""
    make = strategy("evolution").sampler
    assert make is not None
    sampler = make(feasible, seed)
    comparison.score(iter(sampler.ask, None), count, sampler)
    held = [one for one in comparison.scored if feasible.keeps(one.architecture.choices)]
    return min(held, key=lambda one: one.loss).architecture.choices


def search(
    places: Sequence[Place],
    scores: Callable[[], OneShotEvaluator],
    *,
    budget: str,
    share: float,
    scored: int,
    seed: int,
    kept: Path,
) -> dict[str, dict[str, Any]]:
    """Budget in milliseconds, choices and shared loss for each device, kept in a file."""
    asked = {"places": [one.name for one in places], "budget": budget, "share": share, "scored": scored, "seed": seed}
    if kept.exists() and (known := read_json(kept))["asked"] == asked:
        return dict(known["found"])
    comparison = Comparison(scores(), console.progress(quiet=False))
    found: dict[str, dict[str, Any]] = {}
    for one in places:
        if found:
            first = tuple(found[places[0].name]["choices"])
            budget_ms = one.model.predict_ms(first) * share
        else:
            budget_ms = Budget.parse(budget).ms(one.model)
        feasible = feasible_set(latency_constraint(one.model, one.model.target_ms(budget_ms)))
        choices = evolve(comparison, feasible, scored, seed)
        found[one.name] = {"budget_ms": budget_ms, "choices": choices}
    losses = {known.architecture.choices: known.loss for known in comparison.scored}
    found = {name: one | {"shared_loss": losses[tuple(one["choices"])]} for name, one in found.items()}
    write_json(kept, {"asked": asked, "found": found})
    return found


def main(
    runtimes: Annotated[str, typer.Option(help="Comma-separated; with a precision as in onnxruntime:int8.")] = (
        "onnxruntime,ort-web"
    ),
    data: Annotated[str, typer.Option(help="Data set.")] = "cifar10",
    part: Annotated[int, typer.Option(help="So many of its train images; 0 is all.")] = 20_000,
    space: str = "mobile",
    width: float = 0.25,
    budget: Annotated[str, typer.Option(help="Of the first device, as for --budget-ms.")] = "50%",
    share: Annotated[float, typer.Option(help="Of what the first network takes on the other devices.")] = 0.9,
    supernet_epochs: Annotated[int, typer.Option(help="0 follows the data.")] = 0,
    scored: Annotated[int, typer.Option(help="Candidates for each device.")] = 120,
    epochs: Annotated[int, typer.Option(help="Of each training; 0 follows the data.")] = 0,
    seeds: Annotated[int, typer.Option(help="Trainings of each network.")] = 3,
    seed: int = 0,
    tables: Path | None = None,
    runs: Path = Path("runs/devices"),
    out: Annotated[Path | None, typer.Option(help="JSON file.")] = None,
) -> None:
    """Search for every device, train, and measure crosswise."""
    deterministic(seed, 1)
    resolution = default_resolution(native_shape(data)[1])
    dataset = load_dataset(data, resolution=resolution, seed=seed)
    if part and part < len(dataset.train):
        picked = np.random.default_rng(seed).permutation(len(dataset.train))[:part]
        dataset = replace(dataset, train=dataset.train.subset(np.sort(picked)))
    searched = space_instance(
        space, width=width, resolution=resolution, channels=dataset.channels, classes=len(dataset.classes)
    )
    if not searched.shares_weights:
        raise typer.BadParameter(f"the networks of {space} share no weights")
    places = [place(one, searched, tables) for one in runtimes.split(",")]
    found = search(
        places,
        lambda: supernet_scores(searched, dataset, supernet_epochs, seed, runs),
        budget=budget,
        share=share,
        scored=scored,
        seed=seed,
        kept=runs / "found.json",
    )
    networks = {
        name: searched.network(Architecture(searched.name, tuple(one["choices"]))) for name, one in found.items()
    }

    recipe = Recipe.for_images(len(dataset.train))
    recipe = replace(recipe, epochs=epochs or recipe.epochs)
    accuracies: dict[str, list[float]] = {name: [] for name in found}
    for repeat in range(seeds):
        for name, network in networks.items():
            label = f"{name.replace(':', '-')}-s{repeat}"
            result = trained_accuracy(
                network,
                lambda: dataset,
                recipe,
                runs,
                label,
                seed=repeat,
                device=resolve("auto"),
                progress=console.progress(quiet=False),
            )
            accuracies[name].append(result["accuracy"])

    rows: list[dict[str, Any]] = []
    for target in places:
        for name, verdict in measured(networks, target.device, found[target.name]["budget_ms"]).items():
            row = {"network": name, "measured_on": target.name, "test_accuracies": accuracies[name]} | found[name]
            row |= {"budget_ms": found[target.name]["budget_ms"]}
            rows.append(row | {"predicted_ms": target.model.predict_ms(found[name]["choices"])} | verdict)
    for row in rows:
        values = row["test_accuracies"]
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        print(
            f"network of {row['network']:12} on {row['measured_on']:12}: predicted {row['predicted_ms']:.4f}, measured "
            f"{row['median_ms']:.4f} of {row['budget_ms']:.4f} ms ({row['verdict']}), shared loss "
            f"{row['shared_loss']:.3f}, test accuracy {statistics.mean(values):.4f} ± {error:.4f}"
        )
    for own, rival in permutations(found, 2):
        on = {row["network"]: row for row in rows if row["measured_on"] == own}
        means = statistics.mean(accuracies[own]), statistics.mean(accuracies[rival])
        print(f"on {own}, its network is better than that of {rival}: {better(on[own], on[rival], means)}")
    if out is not None:
        write_json(out, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
