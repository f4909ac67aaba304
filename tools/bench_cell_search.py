"""Relaxations on NAS-Bench-201: what a supernet of small cells prefers, looked up in the table.

    python tools/bench_cell_search.py --seeds 5 --runs runs/cell-search --out docs/results/cell_search

Each strategy searches the `nasbench201` space at 16 channels, one cell a stage and 8 pixels, on a part of CIFAR-10,
with nothing that binds: no budget takes part, so one search serves all of them. The answer to a budget is the cell that
the search finds likeliest among those that are predicted to keep it, verified as `bench_nasbench201.py` does it (the
same devices, predictions and rules); `judged` is the best of the 16 likeliest by its validation loss with the shared
weights. Each runs with the guard against collapse and without it.

A search has collapsed if at least four of the six edges of its likeliest cell are skip or none. Beside the regrets
stand those of random search on the table at 50 accuracies, and of the largest cell that keeps the budget. Finished
searches are kept in --runs, interrupted ones go on. The CSV file has a line for each answer, with the cell as the
numbers of its options on the edges.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from bench_nasbench201 import FREE, Bench, Problem, as_csv
from bench_supernet_rank import all_of
from cell_table import data_folder, load_table
from numpy.typing import NDArray

from hwnas.arch.spaces import space_instance
from hwnas.arch.spaces.nasbench201 import OPTIONS
from hwnas.cli import console
from hwnas.data import Dataset, load_dataset
from hwnas.files import write_json, write_text
from hwnas.nas.comparison import OneShotEvaluator
from hwnas.nas.make_loop import make_loop
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.strategies import strategies as known_strategies
from hwnas.nas.strategies import strategy
from hwnas.nas.strategies.base import log_probabilities
from hwnas.schema import read_json
from hwnas.train import deterministic, resolve

QUANTILES = (0.2, 0.4, 0.6, 0.8)
WIDTH, CELLS, RESOLUTION = 1.0, 1, 8
JUDGED = 16
WEAK = ("none", "skip_connect")
RANDOM, LARGEST = "random, 50 accuracies", "largest cell"

HEAD = """# Relaxations on NAS-Bench-201

Printed by `tools/bench_cell_search.py`, which says what is done. Regret in points under 16 budgets, mean ± standard
error over searches; *free* is the test accuracy without a budget; seconds are those of a search.

"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A strategy, with the guard against collapse or without it."""

    name: str
    guard: bool

    def __str__(self) -> str:
        return self.name if self.guard else f"{self.name}, no guard"


def methods(names: Sequence[str]) -> Iterator[Method]:
    """Each of the strategies with the guard and without it."""
    for name in names:
        if strategy(name).relaxation is None:
            raise typer.BadParameter(f"{name} is no relaxation")
        yield from (Method(name, True), Method(name, False))


def search(method: Method, dataset: Dataset, bench: Bench, seed: int, folder: Path, settings: SearchSettings) -> Row:
    """Search once: log-probabilities of the options, and validation losses of the likeliest cells of every problem."""
    kept = folder / f"{method.name}-{'guard' if method.guard else 'plain'}-s{seed}"
    if (kept / "found.json").exists():
        found: Row = read_json(kept / "found.json")
        return found
    began, device = time.monotonic(), resolve("auto")
    space = space_instance(
        "nasbench201",
        width=WIDTH,
        depth=CELLS,
        resolution=RESOLUTION,
        channels=dataset.channels,
        classes=len(dataset.classes),
    )
    settings = settings if method.guard else replace(settings, beta_decay=0.0)
    loop = make_loop(space, [all_of(space)], strategy(method.name), dataset, settings, seed=seed, device=device)
    kept.mkdir(parents=True, exist_ok=True)
    loop.run(checkpoint=kept / "search.safetensors", progress=console.progress(quiet=False), log=lambda event: None)
    table = [list(row) for row in log_probabilities(loop.unbudgeted)]
    wanted = {cell for problem in bench.problems for cell in likeliest(table, bench, problem)[:JUDGED]}
    chosen = [tuple(map(int, bench.table.choices[cell])) for cell in sorted(wanted)]
    scored = OneShotEvaluator(loop.supernet, dataset, device)(chosen)
    losses = {str(cell): one.loss for cell, one in zip(sorted(wanted), scored, strict=True)}
    found = {"log_probabilities": table, "losses": losses, "seconds": round(time.monotonic() - began, 1)}
    write_json(kept / "found.json", found)
    return found


def likeliest(table: Sequence[Sequence[float]], bench: Bench, problem: Problem) -> list[int]:
    """The cells that may be asked for, the most probable first."""
    choices = bench.table.choices
    total: NDArray[np.float64] = sum(
        (np.asarray(row)[choices[:, edge]] for edge, row in enumerate(table)), start=np.zeros(len(choices))
    )
    allowed = [cell for cell in np.argsort(-total, kind="stable") if problem.cells.keeps(choices[cell])]
    return [int(cell) for cell in allowed]


def rows_of(method: Method, found: Row, bench: Bench, seed: int) -> Iterator[Row]:
    """The answers to every problem, on every data set of the table."""
    for problem in bench.problems:
        ranked = likeliest(found["log_probabilities"], bench, problem)
        judged = sorted(ranked[:JUDGED], key=lambda cell: found["losses"][str(cell)])
        for rule, cells in (("", ranked), (" (judged)", judged)):
            for dataset in bench.datasets:
                run = bench.answer(cells, dataset, problem, f"{method}{rule}", seed, 0)
                cell = bench.table.choices[run.cell]
                yield {
                    "method": run.sampler,
                    "seed": seed,
                    "dataset": dataset,
                    "device": run.device,
                    "quantile": run.quantile,
                    "cell": "".join(map(str, cell)),
                    "weak": sum(OPTIONS[option] in WEAK for option in cell),
                    "regret": run.regret,
                    "test": run.test,
                    "violated": run.violated,
                    "seconds": found["seconds"],
                }


def beside(bench: Bench, seeds: int) -> Iterator[Row]:
    """Random search on the table, and the largest cell that keeps the budget."""
    for dataset, problem in itertools.product(bench.datasets, bench.problems):
        runs = [
            run for seed in range(seeds) for run in bench.run("random", dataset, problem, seed) if run.queries == 50
        ]
        runs += [run for run in bench.trivial(dataset, problem) if run.sampler == LARGEST]
        for run in runs:
            yield {
                "method": LARGEST if run.sampler == LARGEST else RANDOM,
                "seed": run.seed,
                "dataset": dataset,
                "device": run.device,
                "quantile": run.quantile,
                "cell": "",
                "weak": 0,
                "regret": run.regret,
                "test": run.test,
                "violated": run.violated,
                "seconds": 0.0,
            }


def page(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    """Markdown: regrets under budgets with the standard error over seeds, accuracy without a budget, collapses."""
    heads = [f"Regret {name}" for name in datasets] + [f"Free {name}" for name in datasets]
    lines = [("Method", *heads, "Collapsed", "Over budget", "Seconds"), ("---",) * (4 + 2 * len(datasets))]
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        free = [row for row in own if row["device"] == FREE]
        held = [row for row in own if row["device"] != FREE]
        seeds = sorted({row["seed"] for row in own})
        cells = []
        for group, key in ((held, "regret"), (free, "test")):
            for dataset in datasets:
                means = [
                    statistics.mean(row[key] for row in group if row["dataset"] == dataset and row["seed"] == seed)
                    for seed in seeds
                ]
                error = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
                cells.append(f"{statistics.mean(means):.2f}" + ("" if error is None else f" ± {error:.2f}"))
        collapsed = {row["seed"] for row in free if row["weak"] >= 4}
        searched = any(row["cell"] for row in own)
        lines.append(
            (
                method,
                *cells,
                f"{len(collapsed)} of {len(seeds)}" if searched else "",
                f"{sum(row['violated'] for row in own)} of {len(own)}",
                f"{statistics.median(row['seconds'] for row in own):.0f}" if searched else "",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def genotypes(rows: Sequence[Row], dataset: str) -> str:
    """The cells that are answered without a budget, one line a search."""
    free = [row for row in rows if row["device"] == FREE and row["cell"] and row["dataset"] == dataset]
    ops = (" ".join(OPTIONS[int(option)] for option in row["cell"]) for row in free)
    lines = [
        f"| {row['method']} | {row['seed']} | {cell} | {row['test']:.2f} |" for row, cell in zip(free, ops, strict=True)
    ]
    return (
        "\n".join(["| Method | Seed | 1<-0 2<-0 2<-1 3<-0 3<-1 3<-2 | Test |", "| --- | --- | --- | --- |", *lines])
        + "\n"
    )


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with nasbench201.npz.")] = None,
    images: Annotated[str, typer.Option(help="Data set that the supernet is trained on.")] = "cifar10",
    part: Annotated[int, typer.Option(help="So many of its train images; 0 is all.")] = 12_000,
    names: Annotated[str, typer.Option("--strategies", help="Comma-separated; all relaxations when empty.")] = "",
    seeds: int = 5,
    first_seed: Annotated[int, typer.Option(help="0 to 2 chose the settings, so other seeds confirm them.")] = 10,
    epochs: Annotated[int, typer.Option(help="Of search, after half as many of warm-up; 0 follows the data.")] = 6,
    runs: Annotated[Path, typer.Option(help="Folder of finished searches.")] = Path("runs/cell-search"),
    out: Annotated[Path | None, typer.Option(help="Path without suffix of a CSV file and a page.")] = None,
) -> None:
    """Search what is missing, then print the tables."""
    bench = Bench(load_table((data or data_folder()) / "nasbench201.npz"), margin=-0.3)
    bench.problems = [one for one in bench.problems if one.device == FREE or one.quantile in QUANTILES]
    relaxations = [one.name for one in known_strategies() if one.relaxation is not None and not one.replaces]
    asked = names.split(",") if names else relaxations
    rows = list(beside(bench, max(20, seeds)))
    for seed in range(first_seed, first_seed + seeds):
        deterministic(seed, 1)
        dataset = load_dataset(images, resolution=RESOLUTION, seed=seed)
        if part and part < len(dataset.train):
            picked = np.random.default_rng(seed).permutation(len(dataset.train))[:part]
            dataset = replace(dataset, train=dataset.train.subset(np.sort(picked)))
        settings = SearchSettings.for_images(len(dataset.train))
        if epochs:
            settings = replace(settings, epochs=epochs, warmup_epochs=max(1, round(epochs / 2)))
        for method in methods(asked):
            found = search(method, dataset, bench, seed, runs, settings)
            rows += rows_of(method, found, bench, seed)
            if out is not None:
                write_text(out.with_suffix(".csv"), as_csv(rows, list(rows[0])))
    print(page(rows, bench.datasets))
    print(genotypes(rows, bench.datasets[0]))
    if out is not None:
        write_text(
            out.with_suffix(".md"),
            HEAD + page(rows, bench.datasets) + "\n" + genotypes(rows, bench.datasets[0]),
        )


if __name__ == "__main__":
    typer.run(main)
