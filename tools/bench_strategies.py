"""Strategies beside each other: whole runs at one budget and in equal wall time, random search among them.

    python tools/bench_strategies.py --data digits --strategies gumbel,enas,random --seeds 0,1,2 --minutes 2 --out FILE

Each run is `hwnas search --minutes` in a folder of its own below --runs: all of it, from the start of the search to the
measured file, takes that long whatever the strategy, so a dear step means fewer of them. No baseline is trained, as
random search is a row of its own. Finished runs are kept, interrupted ones resume.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from bench_end_to_end import one_run

from hwnas.config import Compute, Configuration, Data, Search, Space, Target, Train
from hwnas.files import write_text
from hwnas.nas.strategies import strategies as known_strategies

Row = dict[str, Any]


def row_of(config: Configuration, result: Row) -> Row:
    """What is kept of a run."""
    return {
        "data": Path(config.data.source).stem,
        "space": result["space"],
        "strategy": config.search.strategy,
        "evaluator": config.search.evaluator,
        "seed": config.compute.seed,
        "budget_ms": round(result["budget_ms"], 5),
        "measured_ms": round(result["measured_ms"]["median"], 5),
        "verdict": result["verdict"],
        "binds": result["budget_binds"],
        "epochs": result["epochs"],
        "test_accuracy": result["accuracy"]["test"],
        "seconds": round(result["seconds"]),
    }


def mean_and_error(values: Sequence[float], digits: int) -> str:
    """Mean with its standard error, as text."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values) / math.sqrt(len(values)):.{digits}f}"


def page(rows: Sequence[Row]) -> str:
    """A table with one line per data set, space and strategy; differences to random are over common seeds."""
    heads = (
        "Data",
        "Space",
        "Strategy",
        "n",
        "Test accuracy",
        "less random",
        "Measured ms",
        "of the budget",
        "Met",
        "s",
    )
    lines = [heads, ("---",) * len(heads)]
    for key in dict.fromkeys((row["data"], row["space"], row["strategy"], row["evaluator"]) for row in rows):
        own = [row for row in rows if (row["data"], row["space"], row["strategy"], row["evaluator"]) == key]
        random = {
            row["seed"]: row["test_accuracy"]
            for row in rows
            if (row["data"], row["space"], row["strategy"], row["evaluator"]) == (*key[:2], "random", key[3])
        }
        gains = [row["test_accuracy"] - random[row["seed"]] for row in own if row["seed"] in random]
        use = statistics.median(row["measured_ms"] / row["budget_ms"] for row in own)
        lines.append(
            (
                *key[:2],
                key[2] + (" (scores by training)" if key[3] == "from-scratch" else ""),
                str(len(own)),
                mean_and_error([row["test_accuracy"] for row in own], 4),
                mean_and_error(gains, 4) if gains and key[2] != "random" else "",
                f"{statistics.median(row['measured_ms'] for row in own):.4f}",
                f"{use:.1%}",
                f"{sum(row['verdict'] == 'met' for row in own)} of {len(own)}",
                f"{statistics.median(row['seconds'] for row in own):.0f}",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(
    data: str = "digits",
    space: str = "mobile",
    strategies: Annotated[str, typer.Option(help="Comma-separated; all when empty.")] = "",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2",
    budget: Annotated[str, typer.Option(help="As for --budget-ms.")] = "40%",
    minutes: Annotated[float, typer.Option(help="Of each run; 0 follows the data.")] = 2.0,
    evaluator: Annotated[str, typer.Option(help="As for hwnas search.")] = "one-shot",
    width: float = 0.0,
    depth: int = 0,
    resolution: int = 0,
    evaluator_epochs: int = 0,
    threads: int = 1,
    tables: Path | None = None,
    runs: Path = Path("runs/strategies"),
    out: Annotated[Path | None, typer.Option(help="CSV file.")] = None,
) -> None:
    """Run what is missing, seed by seed, then print the table."""
    names = strategies.split(",") if strategies else [entry.name for entry in known_strategies() if not entry.replaces]
    rows: list[Row] = []
    for seed in map(int, seeds.split(",")):
        for name in names:
            search = {"strategy": name, "evaluator": evaluator, "evaluator_epochs": evaluator_epochs}
            config = Configuration(
                data=Data(source=data),
                target=Target(budget=budget),
                space=Space(name=space, width=width, depth=depth, resolution=resolution),
                search=Search.model_validate(search),
                train=Train(minutes=minutes, baseline=False),
                compute=Compute(seed=seed, threads=threads),
            )
            result = one_run(config, runs / f"{Path(data).stem}-{space}-{name}-{evaluator}-s{seed}", tables)
            rows.append(row_of(config, result))
            if out is not None:
                write_text(out, as_csv(rows))
    print(page(rows), end="")


if __name__ == "__main__":
    typer.run(main)
