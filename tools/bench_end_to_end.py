"""Whole runs over budgets and seeds: is the budget met when the exported file is measured, and at what accuracy?

    python tools/bench_end_to_end.py --budgets 20%,40%,60%,80% --seeds 0,1,2 --out end_to_end.json

Each run is `hwnas search` in a folder of its own below --runs; finished runs are kept, interrupted ones resume.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.cli import console
from hwnas.errors import BudgetMissedError
from hwnas.files import read_json, write_json
from hwnas.run.config import RunConfig
from hwnas.run.pipeline import run_search


def one_run(config: RunConfig, folder: Path, tables: Path | None) -> dict[str, Any]:
    """The result of one run, also when it missed its budget."""
    try:
        return run_search(config, folder, progress=console.progress(quiet=False), tables=tables, resume=True)
    except BudgetMissedError:
        result: dict[str, Any] = read_json(folder / "result.json")
        return result


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
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Keep inherited weights: latency does not depend on them.")
    ] = False,
    threads: int = 1,
    tables: Path | None = None,
    runs: Path = Path("runs/end_to_end"),
    out: Path | None = None,
) -> None:
    """Run every budget with every seed and print what was measured."""
    rows: list[dict[str, Any]] = []
    for seed in map(int, seeds.split(",")):
        for budget in budgets.split(","):
            config = RunConfig(
                budget, device=device, data=data, strategy=strategy, seed=seed, threads=threads, train=not no_train
            )
            folder = runs / f"{Path(data).name}-{budget.replace('%', 'pct')}-s{seed}"
            rows.append({"budget": budget, "seed": seed} | one_run(config, folder, tables))
    screen = Screen(
        "budget", "seed", "budget ms", "predicted", "measured [95 %]", "use", "met", "binds", "accuracy", "random"
    )
    for row in rows:
        measured = row["measured_ms"]
        screen.add_row(
            row["budget"],
            str(row["seed"]),
            f"{row['budget_ms']:.4f}",
            f"{row['predicted_ms']:.4f}",
            f"{measured['median']:.4f} [{measured['ci95'][0]:.4f}, {measured['ci95'][1]:.4f}]",
            f"{measured['median'] / row['budget_ms']:.1%}",
            row["verdict"],
            "yes" if row["budget_binds"] else "no",
            f"{row['accuracy']['test']:.4f}",
            f"{row['baseline_random']['accuracy']:.4f}",
        )
    Console(width=140).print(screen)
    verdicts = [row["verdict"] for row in rows]
    gain = [row["accuracy"]["test"] - row["baseline_random"]["accuracy"] for row in rows]
    print(f"measured within budget: {verdicts.count('met')} of {len(rows)} ({verdicts.count('unstable')} unstable)")
    print(f"budget use, median: {statistics.median(r['measured_ms']['median'] / r['budget_ms'] for r in rows):.1%}")
    print(f"test accuracy, median: {statistics.median(row['accuracy']['test'] for row in rows):.4f}")
    print(f"accuracy found - random, mean and standard error: {mean_and_error(gain)}")
    if out is not None:
        write_json(out, {"rows": rows})


if __name__ == "__main__":
    typer.run(main)
