"""Does the search earn its place? The found network against the random one of equal latency that the run itself trains.

    python tools/bench_demo.py --data shapes,digits --seeds 0,1,2 --minutes 5 --out demo.json

Each run is `hwnas search` with --minutes, in a folder of its own below --runs: finished ones are kept, interrupted ones
resume, and rows that are in --out are not run again. A run wins where the found network classifies more test images
rightly than `baseline_random` of its result.json, and ties where as many. Beside the counts stand the 95 % interval of
the share of wins among the runs that are no ties (Clopper and Pearson, 1934), and that of the mean difference over the
seeds (Student's t). Seeds are best ones that no choice was made on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from bench_end_to_end import one_run
from rich.console import Console
from rich.table import Table as Screen
from scipy.stats import binomtest, t

from hwnas.config import Compute, Configuration, Data, Search, Target, Train
from hwnas.files import write_json
from hwnas.schema import read_json

Row = dict[str, Any]
_LEVEL = 0.95


def row_of(result: Row) -> Row:
    """What is kept of a run."""
    rival = result["baseline_random"]
    return {
        "data": Path(result["data"]).stem,
        "seed": result["seed"],
        "strategy": result["strategy"],
        "space": result["space"],
        "budget_ms": result["budget_ms"],
        "found_ms": result["predicted_ms"],
        "random_ms": rival["predicted_ms"],
        "matched": rival["matched"],
        "found": result["accuracy"]["test"],
        "random": rival["accuracy"],
        "test_images": result["accuracy"]["test_images"],
        "told_apart": result["candidates_told_apart"],
        "verdict": result["verdict"],
        "epochs": result["epochs"],
        "seconds": result["seconds"],
    }


def ahead(row: Row) -> int:
    """By how many test images the found network is ahead."""
    gain: float = row["found"] - row["random"]
    return round(gain * int(row["test_images"]))


def summary(rows: Sequence[Row]) -> str:
    """Wins, ties, losses and the mean difference of some runs, as one line."""
    leads = [ahead(row) for row in rows]
    wins, losses = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    text = f"{wins} wins, {len(leads) - wins - losses} ties, {losses} losses"
    if decided := wins + losses:
        share = binomtest(wins, decided).proportion_ci(_LEVEL, method="exact")
        text += f"; wins of those decided {wins / decided:.0%} [{share.low:.0%}, {share.high:.0%}]"
    gains = [100 * (row["found"] - row["random"]) for row in rows]
    text += f"; found less random {statistics.mean(gains):+.2f} points"
    if len(gains) > 1:
        error = t.ppf((1 + _LEVEL) / 2, len(gains) - 1) * statistics.stdev(gains) / math.sqrt(len(gains))
        text += f" [{statistics.mean(gains) - error:+.2f}, {statistics.mean(gains) + error:+.2f}]"
    apart = sum(not row["matched"] for row in rows)
    return text + (f"; {apart} random networks were not of equal latency" if apart else "")


def table(rows: Sequence[Row]) -> Screen:
    """A line for each run."""
    screen = Screen("data", "seed", "space", "found ms", "random ms", "found", "random", "images ahead", "verdict", "s")
    for row in rows:
        screen.add_row(
            row["data"],
            str(row["seed"]),
            row["space"],
            f"{row['found_ms']:.4f}",
            f"{row['random_ms']:.4f}",
            f"{row['found']:.4f}",
            f"{row['random']:.4f}",
            f"{ahead(row):+d} of {row['test_images']}",
            row["verdict"],
            f"{row['seconds']:.0f}",
        )
    return screen


def main(
    data: Annotated[str, typer.Option(help="Comma-separated.")] = "shapes,digits",
    seeds: Annotated[str, typer.Option(help="Comma-separated.")] = "0,1,2,3,4,5,6,7,8,9",
    budget: Annotated[str, typer.Option(help="As for --budget-ms.")] = "50%",
    strategy: Annotated[str, typer.Option(help="As for hwnas search; its default when empty.")] = "",
    minutes: Annotated[float, typer.Option(min=0.0, help="Of each run; 0 follows the data.")] = 5.0,
    threads: int = 1,
    tables: Path | None = None,
    runs: Path = Path("runs/bench-demo"),
    out: Annotated[Path, typer.Option(help="JSON file of all results.")] = Path("demo.json"),
) -> None:
    """Run what is missing, seed by seed, then print all runs and a line for each data set."""
    asked: Row = {"budget": budget, "strategy": strategy, "minutes": minutes, "threads": threads}
    kept: Row = read_json(out) if out.exists() else {"options": asked, "rows": []}
    if kept["options"] != asked:
        raise typer.BadParameter(f"{out} is of {kept['options']}, not of {asked}; name another file with --out")
    rows: list[Row] = kept["rows"]
    wanted = [(source, seed) for seed in map(int, seeds.split(",")) for source in data.split(",")]
    for source, seed in wanted:
        if any((row["data"], row["seed"]) == (Path(source).stem, seed) for row in rows):
            continue
        config = Configuration(
            data=Data(source=source),
            target=Target(budget=budget),
            search=Search(strategy=strategy) if strategy else Search(),
            train=Train(minutes=minutes),
            compute=Compute(seed=seed, threads=threads),
        )
        rows.append(row_of(one_run(config, runs / f"{Path(source).stem}-s{seed}", tables)))
        write_json(out, kept)
    Console(width=150).print(table(rows))
    for name in dict.fromkeys(row["data"] for row in rows):
        print(f"{name}: {summary([row for row in rows if row['data'] == name])}")


if __name__ == "__main__":
    typer.run(main)
