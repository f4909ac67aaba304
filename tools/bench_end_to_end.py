"""Whole runs over budgets and seeds: is the budget met when the exported file is measured, and at what accuracy?

    python tools/bench_end_to_end.py --budgets 20%,40%,60%,80% --seeds 0,1,2 --out end_to_end.json

Each run is `hwnas search` in a folder of its own below --runs; finished runs are kept, interrupted ones resume, and
runs whose verdict was unstable are measured again. --runtime and --precision take several each, and what does not go
together is left out. Beside each found network stands one random feasible network. With --rivals two more do: the
network of a random search that saw as many images, and a MobileNetV2-like network of equal measured latency, trained as
long as the found one; with --longer once more with the images of the search on top, and the found network from scratch.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from end_to_end_report import markdown, show, write_csv
from rivals import Rival, mobilenet_of_equal_latency, trained_accuracy

from hwnas.arch import mobilenet_v2
from hwnas.arch.network import Network
from hwnas.cli import console
from hwnas.config import Compute, Configuration, Data, Search, Space, Target, Train, load_configuration
from hwnas.data import Dataset, load_dataset
from hwnas.devices.device import load_device
from hwnas.errors import ExportError
from hwnas.files import write_json, write_text
from hwnas.nas.search_settings import SearchSettings
from hwnas.run.pipeline import run_search
from hwnas.runtimes import DEFAULT, RUNTIMES
from hwnas.schema import read_json
from hwnas.train import Recipe, resolve


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


def conditions(runtimes: str, precisions: str) -> Iterator[tuple[str, str]]:
    """Each runtime with each precision that it takes; '' is the device's own."""
    for runtime in runtimes.split(","):
        for precision in precisions.split(","):
            if precision in ("", RUNTIMES.get(runtime, RUNTIMES[DEFAULT]).only.get("precision", precision)):
                yield runtime, precision


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
    runtime: Annotated[str, typer.Option(help="Comma-separated; the device's own if not given.")] = "",
    precision: Annotated[str, typer.Option(help="Comma-separated; the device's own if not given.")] = "",
    max_drop: Annotated[float, typer.Option(help="Percentage points that int8 may cost.")] = 1.0,
    tables: Path | None = None,
    runs: Path = Path("runs/end_to_end"),
    out: Annotated[Path | None, typer.Option(help="JSON file of all results.")] = None,
    rows_csv: Annotated[Path | None, typer.Option("--csv", help="CSV file of a row for each run.")] = None,
    page: Annotated[Path | None, typer.Option(help="Markdown file of the verdicts by runtime and precision.")] = None,
) -> None:
    """Run every budget with every seed and print what was measured."""
    rows: list[dict[str, Any]] = []
    refused: list[str] = []
    few = 1 if hasty else None
    asked = [budgets] if front else budgets.split(",")
    for (run_by, in_bits), seed, budget in itertools.product(
        conditions(runtime, precision), map(int, seeds.split(",")), asked
    ):
        trained = not no_train or (train_every > 0 and len(rows) % train_every == 0)
        config = Configuration(
            data=Data(source=data),
            target=Target(budget=budget, device=device, runtime=run_by, precision=in_bits, max_drop=max_drop),
            space=Space(width=width),
            search=Search(strategy=strategy, warmup_epochs=few, epochs=few, candidates=2 if hasty else None),
            train=Train(enabled=trained, epochs=epochs, minutes=minutes),
            compute=Compute(seed=seed, threads=threads),
        )
        name = f"{Path(data).stem}-{budget.replace('%', 'pct').replace(',', '-')}-s{seed}"
        folder = runs / "-".join(filter(None, (name, run_by, in_bits)))
        try:
            result = one_run(config, folder, tables)
        except ExportError as error:
            refused.append(f"{folder.name}: {error}")
            print(refused[-1], file=sys.stderr)
            continue
        found = result.get("front", [result])
        rows += [{"budget": one.get("folder", budget), "seed": seed} | one for one in found]
        if with_rivals and trained and not front:
            rows[-1]["rivals"] = rivals(config, folder, result, tables, longer=with_longer)
        if out is not None:
            write_json(out, {"rows": rows, "refused": refused})
        if rows_csv is not None:
            write_csv(rows_csv, rows)
    show(rows, refused)
    if page is not None:
        write_text(page, markdown(rows, refused, data))


if __name__ == "__main__":
    typer.run(main)
