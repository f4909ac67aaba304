"""Whether `hwnas search --minutes` takes the minutes that it is given, and what it does with them.

    python tools/bench_minutes.py --data digits,mnist,photos/train --minutes 0.5,2 --out minutes.json

Every pair of data and minutes is one run of the command line, so imports count as well; --no-baseline is the default
here, so that one network is trained. Pairs that are in --out already are not run again. Other programs on the machine
make a run longer than it planned: run it alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Screen

from hwnas.files import write_json
from hwnas.schema import json_as, read_json

_TRAINING = ("train", "train baseline")


def main(
    data: Annotated[str, typer.Option(help="Data sets and folders, with commas between.")] = "digits",
    minutes: Annotated[str, typer.Option(help="Minutes, with commas between.")] = "0.5,2",
    budget: Annotated[str, typer.Option(help="--budget-ms of every run.")] = "50%",
    options: Annotated[str, typer.Option(help="Further options of every run.")] = "--no-baseline",
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/minutes"),
    out: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("minutes.json"),
) -> None:
    """Run what is missing, and print a table."""
    found: dict[str, dict[str, Any]] = read_json(out) if out.exists() else {}
    for source in data.split(","):
        for asked in minutes.split(","):
            key = f"{source} {asked}"
            if key not in found:
                folder = runs / "-".join((*Path(source).parts[-2:], asked)).strip("-/")
                found[key] = _run(source, float(asked), budget, options.split(), folder)
                write_json(out, found)
    Console().print(_table(found))


def _run(source: str, asked: float, budget: str, options: list[str], folder: Path) -> dict[str, Any]:
    command = ["search", "--data", source, "--budget-ms", budget, "--minutes", f"{asked:g}", *options]
    before, began = os.times(), time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = folder.parent / f"{folder.name}.log"
    with written.open("w") as log:
        code = subprocess.run(
            [sys.executable, "-m", "hwnas", *command, "--out", str(folder), "--force"], stderr=log, stdout=log
        ).returncode
    taken_s, after = time.monotonic() - began, os.times()
    if code not in (0, 4, 9):
        raise SystemExit(f"hwnas {' '.join(command)}: exit code {code}\n{written.read_text()}")
    result, recipe = read_json(folder / "result.json"), read_json(folder / "state" / "recipe.json")
    log_file = folder / "log.jsonl"
    entries = [json_as(line, dict[str, Any], log_file) for line in log_file.read_text().splitlines()]
    stages: dict[str, float] = {}
    for entry in entries:
        if entry["event"] == "end":
            stages[entry["stage"]] = stages.get(entry["stage"], 0.0) + entry["seconds"]
    return {
        "asked_s": 60.0 * asked,
        "taken_s": round(taken_s, 1),
        "cpu_s": round(after.children_user + after.children_system - before.children_user - before.children_system, 1),
        "stages_s": stages,
        "training_share": round(sum(stages.get(name, 0.0) for name in _TRAINING) / taken_s, 3),
        "epochs": recipe["epochs"],
        "epoch_steps": recipe.get("epoch_steps", 0),
        "kept": [entry["weights"] for entry in entries if entry["event"] == "kept"],
        "accuracy": result["accuracy"]["test"],
        "told_apart": result.get("candidates_told_apart"),
        "verdict": result["verdict"],
    }


def _table(found: dict[str, dict[str, Any]]) -> Screen:
    columns = ("data and minutes", "asked, s", "taken, s", "taken / asked", "training", "epochs", "accuracy", "verdict")
    screen = Screen(*columns)
    for key, one in found.items():
        part = f" of {one['epoch_steps']} steps" if one["epoch_steps"] else ""
        screen.add_row(
            key,
            f"{one['asked_s']:.0f}",
            f"{one['taken_s']:.0f}",
            f"{one['taken_s'] / one['asked_s']:.2f}",
            f"{one['training_share']:.0%}",
            f"{one['epochs']}{part}",
            f"{one['accuracy']:.4f}",
            one["verdict"],
        )
    return screen


if __name__ == "__main__":
    typer.run(main)
