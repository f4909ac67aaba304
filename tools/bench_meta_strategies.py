"""Strategies that carry over: queries that a sampler needs from scratch, and from what it learned on other tasks.

    python tools/bench_meta_strategies.py --seeds 5 --runs runs/meta.csv --out docs/results/meta_strategies.json

Learning: every device of `devices_train` × budgets at the 0.1 ... 0.9 quantiles of its latencies, in a random order,
100 scores `<source>_val12` each, told on a scale of its own; or --tasks of them, drawn at random. It is repeated
--trainings times with other random numbers.

Use: every device of `devices_valid` × the same budgets, with `<target>_val12`; which cells may be asked for is known
as in bench_nasbench201.py, from ten measured cells and the tables of `devices_train`. Regret is the distance of the
answer's `<target>_test200` to that of the best cell that keeps the budget. The answer is the best cell by val12 so far
that keeps it, and the fastest by prediction where none does. Rows called *believed* are answers at the marks that the
sampler's model ranks.

Carried over and from scratch have the same seeds. The queries to equal regret are the fewest after which the mean
regret of what carried over is at most that from scratch after 50 and after 100. Those spent on learning are not
counted: they are those of earlier searches. Runs are kept in --runs, one line each, and not repeated; what was learned
is made again.
"""

from __future__ import annotations

import csv
import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from bench_nasbench201 import FREE, MARKS, QUANTILES, Bench, Cells, Problem, as_csv
from cell_table import data_folder, load_table
from meta_strategies_report import page, plot, summary

from hwnas.files import write_json, write_text
from hwnas.meta.sampler_tasks import SamplerTask, learn_over
from hwnas.nas.choice_set import ChoiceSet
from hwnas.nas.strategies import strategy
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.strategies.warm_start import warm_start

_ALL = ",".join(map(str, QUANTILES))
SAMPLERS = "metaqnn,bayesian,enas"
QUERIES = MARKS[-1]


@dataclass(frozen=True)
class Curve:
    """One sampler on one problem.

    Attributes:
        training: which of the trainings it started from; -1: from scratch.
        regrets: after each query, in points, separated by spaces.
        believed: at the marks, of answers that the model ranks; empty where there is none.
    """

    source: str
    target: str
    sampler: str
    training: int
    device: str
    quantile: float
    seed: int
    regrets: str
    believed: str


@dataclass(frozen=True)
class Plan:
    """What is learned on, and what it is used on."""

    source: str
    target: str
    tasks: int
    trainings: int
    seeds: int
    quantiles: tuple[float, ...]


def maker(name: str) -> Callable[[ChoiceSet, int], Sampler]:
    make = strategy(name).sampler
    if make is None:
        raise typer.BadParameter(f"--samplers names samplers, but {name} is a relaxation")
    return make


def drawn_tasks(bench: Bench, source: str, count: int, seed: int) -> list[SamplerTask]:
    """So many of the train devices' budgets, in a random order."""
    table, accuracy = bench.table, bench.accuracy(source, "val12")

    def score(choices: tuple[int, ...]) -> float:
        return float(accuracy[bench.index[choices]]) / 100.0

    pairs = [(device_ms, quantile) for device_ms in table.train_ms for quantile in QUANTILES]
    drawn = np.random.default_rng(seed).permutation(len(pairs))[:count]
    return [
        SamplerTask(bench.described(Cells(table, device_ms <= np.quantile(device_ms, quantile))), score)
        for device_ms, quantile in (pairs[int(i)] for i in drawn)
    ]


def run(bench: Bench, name: str, plan: Plan, problem: Problem, seed: int, training: int, sampler_state: Any) -> Curve:
    """One search of 100 queries, with its answer after each."""
    target = plan.target
    val, test = bench.accuracy(target, "val12"), bench.accuracy(target, "test200")
    own = f"{target} {problem.device} {problem.quantile} {seed}"  # problems share no random numbers
    sampler = maker(name)(bench.described(problem.cells), zlib.crc32(own.encode()))
    if sampler_state is not None:
        warm_start(sampler, sampler_state)
    best = float(test[problem.holds].max())
    answer = last = int(next(i for i in problem.by_prediction if problem.holds[i]))
    found = False
    regrets, believed = [], []
    for query in range(1, QUERIES + 1):
        choices = sampler.ask()
        cell = bench.index[choices]
        sampler.tell(choices, float(val[cell]) / 100.0)
        if problem.holds[cell] and (not found or val[cell] > val[answer]):
            answer, found = cell, True
        regrets.append(best - float(test[answer]))
        if query in MARKS and hasattr(sampler, "winners"):
            ranked = (bench.index[one] for one in sampler.winners(len(bench.index)))
            believed.append(best - float(test[next((i for i in ranked if problem.holds[i]), last)]))
    texts = (" ".join(f"{one:.2f}" for one in values) for values in (regrets, believed))
    return Curve(plan.source, target, name, training, problem.device, problem.quantile, seed, *texts)


def missing(bench: Bench, name: str, plan: Plan, done: list[Curve]) -> Iterator[Curve]:
    """The runs of a sampler that are not done yet; learns only what one of them starts from."""
    finished = {(c.source, c.target, c.sampler, c.training, c.device, c.quantile, c.seed) for c in done}
    problems = [problem for problem in bench.problems if problem.device != FREE and problem.quantile in plan.quantiles]
    sampler_state: dict[int, Any] = {-1: None}
    for seed, problem in itertools.product(range(plan.seeds), problems):
        for training in (-1, seed % plan.trainings):
            if (plan.source, plan.target, name, training, problem.device, problem.quantile, seed) in finished:
                continue
            if training not in sampler_state:
                started = time.process_time()
                found = drawn_tasks(bench, plan.source, plan.tasks, training)
                sampler_state[training] = learn_over(maker(name), found, queries=QUERIES, seed=1000 * training)
                size = len(json.dumps(sampler_state[training])) / 1024
                typer.echo(f"{name}: learned in {time.process_time() - started:.0f} s of CPU, {size:.0f} KiB", err=True)
            yield run(bench, name, plan, problem, seed, training, sampler_state[training])


def read_curves(path: Path | None) -> list[Curve]:
    if path is None or not path.exists():
        return []
    kinds: dict[str, Callable[[str], Any]] = {"training": int, "seed": int, "quantile": float}
    with path.open(newline="") as file:
        return [
            Curve(**{key: kinds.get(key, str)(value) for key, value in row.items()}) for row in csv.DictReader(file)
        ]


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with nasbench201.npz.")] = None,
    seeds: int = 5,
    trainings: Annotated[int, typer.Option(help="How often the learning is repeated; seeds take turns.")] = 2,
    tasks: Annotated[int, typer.Option(help="How many tasks are learned from, at most.")] = 1000,
    quantiles: Annotated[str, typer.Option(help="Budgets of the use, comma-separated.")] = _ALL,
    samplers: Annotated[str, typer.Option(help="Comma-separated.")] = SAMPLERS,
    source: Annotated[str, typer.Option(help="Data set that is learned from.")] = "cifar10",
    target: Annotated[str, typer.Option(help="Data set that is searched on.")] = "imagenet16_120",
    runs: Annotated[Path | None, typer.Option(help="CSV file of all runs, to go on from.")] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file; a page and a plot are written beside it.")] = None,
    minutes: Annotated[float, typer.Option(help="Start nothing after these.")] = float("inf"),
) -> None:
    """Run what is missing, then print the tables over all runs."""
    torch.set_num_threads(1)
    started = time.monotonic()
    bench = Bench(load_table((data or data_folder()) / "nasbench201.npz"), margin=-0.3)
    for name in (source, target):
        if name not in bench.datasets:
            raise typer.BadParameter(f"the table has no {name}_val12; it has {', '.join(bench.datasets)}")
    plan = Plan(source, target, tasks, trainings, seeds, tuple(map(float, quantiles.split(","))))
    done = read_curves(runs)

    def save() -> None:
        if runs is not None:
            write_text(runs, as_csv([asdict(one) for one in done], [field.name for field in fields(Curve)]))

    for name in samplers.split(","):
        for nth, curve in enumerate(missing(bench, name, plan, list(done))):
            done.append(curve)
            if nth % 20 == 0:
                save()
            if time.monotonic() - started > 60.0 * minutes:
                break
    save()
    rows = summary(done)
    print(page(rows))
    if out is not None:
        write_json(out, rows)
        write_text(out.with_suffix(".md"), page(rows, out.with_suffix(".svg").name))
        plot(rows, out.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(main)
