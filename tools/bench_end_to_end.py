"""Whole runs over budgets and seeds: is the budget met when the exported file is measured, and at what accuracy?

    python tools/bench_end_to_end.py --budgets 20%,40%,60%,80% --seeds 0,1,2 --out end_to_end.json

Each run is `hwnas search` in a folder of its own below --runs; finished runs are kept, interrupted ones resume, and
runs whose verdict was unstable are measured again. Beside each found network stands one random feasible network. With
--rivals two more do: the network of a random search that saw as many images, and a MobileNetV2-like network of equal
measured latency, trained as long as the found one; with --longer once more with the images of the search on top, and
the found network from scratch.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen
from rivals import Rival, mobilenet_of_equal_latency, trained_accuracy

from hwnas.arch import mobilenet_v2
from hwnas.arch.network import Network
from hwnas.cli import console
from hwnas.config import Compute, Configuration, Data, Search, Space, Target, Train, load_configuration
from hwnas.data import Dataset, load_dataset
from hwnas.devices.device import load_device
from hwnas.files import write_json
from hwnas.nas.search_settings import SearchSettings
from hwnas.run.pipeline import run_search
from hwnas.schema import read_json
from hwnas.train import Recipe, resolve

GAINS = {
    "random": "one random feasible network, trained alike",
    "random search": "random search that saw as many images",
    "mobilenet": "MobileNetV2-like, equal measured latency, as many epochs",
    "mobilenet, longer": "the same, with the images of the search on top",
    "itself from scratch": "the found network, trained as long without the supernet's weights",
}


def one_run(config: Configuration, folder: Path, tables: Path | None) -> dict[str, Any]:
    """The result of one run, also when it missed its budget."""
    return run_search(config, folder, on_event=console.callbacks(quiet=False), tables=tables, resume=folder.exists())


def rivals(
    config: Configuration, folder: Path, result: dict[str, Any], tables: Path | None, *, longer: bool
) -> dict[str, float]:
    """Test accuracy of each rival of a finished run; with `longer`, of the longest training too."""
    resolved = load_configuration(folder / "config.toml")
    other = resolved.changed(
        search={"strategy": "random"}, train={"epochs": result["epochs"], "minutes": 0.0, "baseline": False}
    )
    searched = one_run(other, folder.with_name(f"{folder.name}-random-search"), tables)
    progress = console.progress(quiet=False)
    images: list[Dataset] = []

    def dataset() -> Dataset:
        if not images:
            images.append(
                load_dataset(config.data.source, resolution=resolved.space.resolution, seed=config.compute.seed)
            )
        return images[0]

    rival = _rival(folder, resolved, result, dataset)
    recipe = Recipe(**read_json(folder / "state" / "recipe.json"))
    settings = SearchSettings(**read_json(folder / "state" / "search.json"))
    all_epochs = recipe.epochs + math.ceil(settings.images(1, relaxed=True))
    accuracy = {"random": result["baseline_random"]["accuracy"], "random search": searched["accuracy"]["test"]}
    found = Network.from_json(read_json(folder / "architecture.json")["network"])
    for name, network, epochs in (
        ("mobilenet", rival.network, recipe.epochs),
        *([("itself from scratch", found, recipe.epochs)] if longer else []),
        *([("mobilenet, longer", rival.network, all_epochs)] if longer else []),
    ):
        trained = trained_accuracy(
            network,
            dataset,
            replace(recipe, epochs=epochs),
            folder,
            name.replace(", ", " ").replace(" ", "-"),
            seed=config.compute.seed,
            device=resolve(config.compute.accelerator),
            progress=progress,
        )
        accuracy[name] = trained["accuracy"]
    return accuracy


def _rival(folder: Path, config: Configuration, result: dict[str, Any], dataset: Any) -> Rival:
    """The MobileNetV2-like network of a run, chosen once."""
    path = folder / "mobilenet-width.json"
    size, channels, classes = dataset().size, dataset().channels, len(dataset().classes)
    if not path.exists():
        found = mobilenet_of_equal_latency(
            folder / "model.onnx",
            load_device(config.target.device),
            size=size,
            channels=channels,
            classes=classes,
            progress=console.progress(quiet=False),
        )
        write_json(path, {"width": found.width, "median_ms": found.median_ms, "found_ms": found.found_ms})
    kept = read_json(path)
    network = mobilenet_v2(kept["width"], size, channels, classes, small=size.short <= 64)
    return Rival(kept["width"], network, kept["median_ms"], kept["found_ms"])


def mean_and_error(values: list[float]) -> str:
    """Mean and standard error, as text."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):+.4f} ± {error:.4f}"


def main(
    budgets: Annotated[str, typer.Option(help="Comma-separated, as for --budget-ms.")] = "20%,40%,60%,80%",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    data: str = "digits",
    device: str = "host",
    strategy: str = "gumbel",
    width: float = 0.0,
    epochs: int = 0,
    minutes: float = 0.0,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Keep inherited weights: latency does not depend on them.")
    ] = False,
    hasty: Annotated[
        bool, typer.Option("--hasty", help="Search for two epochs: latencies do not depend on how good a network is.")
    ] = False,
    front: Annotated[bool, typer.Option("--front", help="All budgets of a seed from one search.")] = False,
    train_every: Annotated[int, typer.Option(help="With --no-train: train every n-th run all the same.")] = 0,
    with_rivals: Annotated[bool, typer.Option("--rivals", help="Train the rivals of every trained run.")] = False,
    with_longer: Annotated[bool, typer.Option("--longer", help="With --rivals: two more trainings.")] = False,
    threads: int = 1,
    tables: Path | None = None,
    runs: Path = Path("runs/end_to_end"),
    out: Path | None = None,
) -> None:
    """Run every budget with every seed and print what was measured."""
    rows: list[dict[str, Any]] = []
    few = 1 if hasty else None
    for seed in map(int, seeds.split(",")):
        for asked in [budgets] if front else budgets.split(","):
            trained = not no_train or (train_every > 0 and len(rows) % train_every == 0)
            config = Configuration(
                data=Data(source=data),
                target=Target(budget=asked, device=device),
                space=Space(width=width),
                search=Search(strategy=strategy, warmup_epochs=few, epochs=few, candidates=2 if hasty else None),
                train=Train(enabled=trained, epochs=epochs, minutes=minutes),
                compute=Compute(seed=seed, threads=threads),
            )
            folder = runs / f"{Path(data).stem}-{asked.replace('%', 'pct').replace(',', '-')}-s{seed}"
            result = one_run(config, folder, tables)
            found = result.get("front", [result])
            rows += [{"budget": one.get("folder", asked), "seed": seed} | one for one in found]
            if with_rivals and trained and not front:
                rows[-1]["rivals"] = rivals(config, folder, result, tables, longer=with_longer)
            if out is not None:
                write_json(out, {"rows": rows})
    _print(rows)


def _print(rows: list[dict[str, Any]]) -> None:
    screen = Screen(
        "budget",
        "seed",
        "space",
        "budget ms",
        "predicted",
        "measured [95 %]",
        "use",
        "met",
        "binds",
        "accuracy",
        "random",
    )
    for row in rows:
        measured, rival = row["measured_ms"], row["baseline_random"]
        screen.add_row(
            row["budget"],
            str(row["seed"]),
            row["space"],
            f"{row['budget_ms']:.4f}",
            f"{row['predicted_ms']:.4f}",
            f"{measured['median']:.4f}, {measured['bounds'][1] or math.nan:.4f}",
            f"{measured['median'] / row['budget_ms']:.1%}",
            row["verdict"],
            "yes" if row["budget_binds"] else "no",
            f"{row['accuracy']['test']:.4f}{'' if row['trained'] else ' (inherited)'}",
            f"{rival['accuracy']:.4f}" if rival else "",
        )
    Console(width=150).print(screen)
    verdicts = [row["verdict"] for row in rows]
    undecided = f"{verdicts.count('too close')} too close to tell, {verdicts.count('unstable')} unstable"
    print(f"measured within budget: {verdicts.count('met')} of {len(rows)} ({undecided})")
    print(f"budget use, median: {statistics.median(r['measured_ms']['median'] / r['budget_ms'] for r in rows):.1%}")
    trained = [row for row in rows if row["trained"]]
    if trained:
        print(
            f"test accuracy, median of {len(trained)}: {statistics.median(r['accuracy']['test'] for r in trained):.4f}"
        )
    for name, meaning in GAINS.items():
        scores = [(row["accuracy"]["test"], row.get("rivals", {}).get(name)) for row in trained]
        if name == "random":
            scores = [(row["accuracy"]["test"], (row["baseline_random"] or {}).get("accuracy")) for row in trained]
        gains = [own - other for own, other in scores if other is not None]
        if gains:
            print(f"found less {name}, n = {len(gains)}: {mean_and_error(gains)}  ({meaning})")


if __name__ == "__main__":
    typer.run(main)
