"""Search under latency budgets on NAS-Bench-201: what samplers find with few accuracy and few latency queries.

    python tools/bench_nasbench201.py --seeds 100 --runs runs/nasbench201.csv --out docs/results/nasbench201

Problems: every device of `devices_valid` × budgets at the 0.1 ... 0.9 quantiles of its latencies, and no budget at all.
A sampler is told `<dataset>_val12` (divided by 100) of the cells that it asks for and is judged by `<dataset>_test200`
of the one it answers with; regret is the distance to the best cell that keeps the budget.

Latency is known from ten measured cells of the device and the tables of `devices_train`: a cell may be asked for if
its predicted latency plus --margin standard deviations is within the budget (a negative margin asks for cells that may
be too slow: a few queries are wasted, and no cell that keeps the budget is missed). The answer must hold under the true
latency: winners are proposed best first, each is verified, and the first that holds is the answer. The rule that
ranks winners is the best score seen; `bayesian` ranks by what its model believes instead, and `bayesian, best seen` is
the same sampler under the common rule. The row with a prior knows val12 of all cells on the other datasets.

Finished runs are kept in --runs, one line each, and not repeated.
"""

from __future__ import annotations

import csv
import io
import itertools
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from cell_table import Floats, LatencyTable, data_folder, load_table
from nasbench201_report import page, summary, write_page
from numpy.typing import NDArray

from hwnas.arch.paths import paths_of
from hwnas.arch.spaces.nasbench201 import nasbench201
from hwnas.files import write_text
from hwnas.latency.transfer import learn_prior
from hwnas.nas.choice_set import ChoiceSet, WithFeatures
from hwnas.nas.strategies import strategies, strategy
from hwnas.nas.strategies.base import Sampler
from hwnas.nas.strategies.gp import normal_quantiles

QUANTILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MARKS = (50, 100)
MEASURED = 10
PRIOR, SEEN, FREE = "bayesian+prior", "bayesian, best seen", "no budget"


@dataclass(frozen=True)
class Run:
    """The answer of one sampler to one problem after `queries` accuracy queries.

    Attributes:
        verified: winners whose latency was measured, the answer included.
        violated: whether the answer is slower than the budget.
    """

    dataset: str
    sampler: str
    device: str
    quantile: float
    seed: int
    queries: int
    cell: int
    regret: float
    test: float
    verified: int
    violated: int


class Cells:
    """The cells that may be asked for: `ChoiceSet` by a table."""

    features = None

    def __init__(self, table: LatencyTable, mask: NDArray[np.bool_]) -> None:
        self.options = table.options
        self._choices = [tuple(map(int, row)) for row in table.choices[mask]]
        self._kept = set(self._choices)
        self._mask = np.zeros(table.options, dtype=np.bool_)
        self._mask[tuple(table.choices[mask].T)] = True

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        completions = self._mask[tuple(prefix)].reshape(self.options[len(prefix)], -1)
        return tuple(map(bool, completions.any(axis=1)))

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        return self._choices[int(rng.integers(len(self._choices)))]

    def keeps(self, choices: Sequence[int]) -> bool:
        return tuple(choices) in self._kept


@dataclass(frozen=True)
class Problem:
    """A budget on a device.

    Attributes:
        holds: (n,) which cells truly keep it.
        cells: those that are predicted to, with the margin.
        by_prediction: all cells, the fastest first: the last resort of an answer.
    """

    device: str
    quantile: float
    holds: NDArray[np.bool_]
    cells: Cells
    by_prediction: NDArray[np.intp]


def problems(table: LatencyTable, margin: float) -> Iterator[Problem]:
    """All budgets on all devices, and then no budget."""
    prior = learn_prior(table.options, table.choices, table.train_ms, table.without_dead)
    rows = prior.rows(table.choices, table.without_dead)
    picked = prior.pick(rows, MEASURED)
    for device, true_ms in zip(table.valid, table.valid_ms, strict=True):
        posterior = prior.adapt(rows[picked], true_ms[picked])
        predicted = posterior.predict_ms(rows)
        careful = predicted + margin * posterior.deviation_ms(rows)
        careful[picked] = true_ms[picked]
        for quantile in QUANTILES:
            budget = float(np.quantile(true_ms, quantile))
            within = careful <= budget
            within[int(careful.argmin())] = True
            yield Problem(device, quantile, true_ms <= budget, Cells(table, within), np.argsort(careful))
    every = np.ones(len(table.choices), dtype=np.bool_)
    yield Problem(FREE, 1.0, every, Cells(table, every), np.arange(len(every)))


class Bench:
    """The table and who takes part."""

    def __init__(self, table: LatencyTable, margin: float) -> None:
        self.table = table
        self.problems = list(problems(table, margin))
        space = nasbench201(cells=1)
        self.paths = paths_of(space) if space.options == table.options else None
        self.index = {tuple(map(int, row)): i for i, row in enumerate(table.choices)}
        self.datasets = sorted(key.removesuffix("_val12") for key in table.values if key.endswith("_val12"))

    def accuracy(self, dataset: str, key: str) -> Floats:
        return self.table.values[f"{dataset}_{key}"]

    def run(self, name: str, dataset: str, problem: Problem, seed: int) -> Iterator[Run]:
        """One sampler on one problem, with an answer at every mark; `bayesian` answers by both rules."""
        val = self.accuracy(dataset, "val12")
        sampler, seen = self._sampler(name, dataset, problem, seed), dict[int, float]()
        for query in range(1, MARKS[-1] + 1):
            choices = sampler.ask()
            cell = self.index[choices]
            seen[cell] = float(val[cell]) / 100.0
            sampler.tell(choices, seen[cell])
            if query in MARKS:
                by_score = sorted(seen, key=lambda one: -seen[one])
                believed = [self.index[one] for one in getattr(sampler, "winners", lambda _: ())(len(self.index))]
                yield self.answer(believed or by_score, dataset, problem, name, seed, query)
                if believed and name == "bayesian":
                    yield self.answer(by_score, dataset, problem, SEEN, seed, query)

    def _sampler(self, name: str, dataset: str, problem: Problem, seed: int) -> Sampler:
        make = strategy(name.removesuffix("+prior")).sampler
        assert make is not None
        if name == PRIOR:
            others = [normal_quantiles(self.accuracy(one, "val12")) for one in self.datasets if one != dataset]
            guess = np.mean(others, axis=0)
            make = partial(make, prior=lambda choices: float(guess[self.index[tuple(choices)]]))  # type: ignore[call-arg]
        own = f"{dataset} {problem.device} {problem.quantile} {seed}"  # problems share no random numbers
        return make(self.described(problem.cells), zlib.crc32(own.encode()))

    def described(self, cells: Cells) -> ChoiceSet:
        """The cells with their paths, as a search of the space has them."""
        return cells if self.paths is None else WithFeatures(cells, self.paths)

    def answer(self, ranked: Sequence[int], dataset: str, problem: Problem, name: str, seed: int, queries: int) -> Run:
        """The first winner that holds."""
        verified = 0
        for cell in (*ranked, *map(int, problem.by_prediction)):
            verified += 1
            if problem.holds[cell]:
                break
        test = self.accuracy(dataset, "test200")
        return Run(
            dataset,
            name,
            problem.device,
            problem.quantile,
            seed,
            queries,
            cell,
            round(float(test[problem.holds].max() - test[cell]), 4),
            round(float(test[cell]), 4),
            verified,
            int(not problem.holds[cell]),
        )

    def trivial(self, dataset: str, problem: Problem) -> Iterator[Run]:
        """Rows that search nothing; the first two need true latencies of all cells."""
        val, size = self.accuracy(dataset, "val12"), self._size()
        every = np.flatnonzero(problem.holds)
        asked = [i for choices, i in self.index.items() if problem.cells.keeps(choices)]
        ranked: dict[str, list[int]] = {
            "val12 of all cells": every[np.argsort(-val[every], kind="stable")].tolist(),
            "largest cell": every[np.argsort(-size[every], kind="stable")].tolist(),
            "val12 of all that may be asked for": sorted(asked, key=lambda i: -val[i]),
        }
        for name, cells in ranked.items():
            yield self.answer(cells, dataset, problem, name, 0, 0)

    def _size(self) -> Floats:
        """MFLOPs that the choices add: 35.82 a 3×3, 4.36 a 1×1 and 1.29 a pool."""
        cost = {"nor_conv_3x3": 35.81952, "nor_conv_1x1": 4.36224, "avg_pool_3x3": 1.29024}
        per_op = np.array([cost.get(op, 0.0) for op in self.table.ops])
        size: Floats = per_op[self.table.choices].sum(axis=1)
        return size


def read_runs(path: Path | None) -> list[Run]:
    """The finished runs of a CSV file."""
    if path is None or not path.exists():
        return []
    kinds = {"quantile": float, "regret": float, "test": float, "dataset": str, "sampler": str, "device": str}
    with path.open(newline="") as file:
        return [Run(**{key: kinds.get(key, int)(value) for key, value in row.items()}) for row in csv.DictReader(file)]


def as_csv(rows: Sequence[dict[str, Any]], heads: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with nasbench201.npz.")] = None,
    seeds: int = 100,
    samplers: Annotated[str, typer.Option(help="Comma-separated; all when empty.")] = "",
    margin: Annotated[
        float, typer.Option(help="Standard deviations that predictions stay below the budget; negative: may be above.")
    ] = -0.3,
    runs: Annotated[Path | None, typer.Option(help="CSV file of all runs, to go on from.")] = None,
    out: Annotated[Path | None, typer.Option(help="Path without suffix of a CSV file and a page.")] = None,
    minutes: Annotated[float, typer.Option(help="Start nothing after these.")] = float("inf"),
) -> None:
    """Run what is missing, then print the tables."""
    if runs is not None and out is not None and runs == out.with_suffix(".csv"):
        raise typer.BadParameter(f"--out must not write over the runs, but both are {runs}: choose another name")
    started = time.monotonic()
    bench = Bench(load_table((data or data_folder()) / "nasbench201.npz"), margin)
    known = [entry.name for entry in strategies() if entry.sampler is not None] + [PRIOR]
    asked = samplers.split(",") if samplers else known
    done = read_runs(runs)
    finished = {(run.dataset, run.sampler, run.device, run.quantile, run.seed) for run in done}
    for dataset in bench.datasets:
        for problem in bench.problems:
            if (dataset, "largest cell", problem.device, problem.quantile, 0) not in finished:
                done += bench.trivial(dataset, problem)
    for seed, name in itertools.product(range(seeds), asked):
        if time.monotonic() - started > 60.0 * minutes:
            break
        before = len(done)
        for dataset, problem in itertools.product(bench.datasets, bench.problems):
            if (dataset, name, problem.device, problem.quantile, seed) not in finished:
                done += bench.run(name, dataset, problem, seed)
        if runs is not None and len(done) > before:
            write_text(runs, as_csv([asdict(run) for run in done], [field.name for field in fields(Run)]))
    rows = summary(done)
    print(page(rows, FREE))
    if out is not None:
        write_text(out.with_suffix(".csv"), as_csv(rows, list(rows[0])))
        write_page(out.with_suffix(".md"), rows, FREE)


if __name__ == "__main__":
    typer.run(main)
