"""One search for several runtimes of this machine, beside a search for each: what it costs, and which network is best.

    python tools/bench_targets.py --data cifar10 --budgets 30%,60% --late host@onnxruntime:int8:40% --out targets.json

Every run is one command line in a folder of its own below --runs; what is in --out already is not run again. Each
network of the one search is compared with the others of it that are predicted to keep the budget on the same runtime.
Verdicts need a machine without other work; accuracy does not.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hwnas.files import write_json, write_text
from hwnas.latency.model import margin
from hwnas.schema import read_json

_TOLD = ("runtime", "precision", "budget", "budget_ms", "predicted_ms", "verdict", "accuracy", "test_images")


def main(
    data: Annotated[str, typer.Option(help="Data set or folder.")] = "digits",
    runtimes: Annotated[str, typer.Option(help="Comma-separated.")] = "onnxruntime,litert,ort-web",
    budgets: Annotated[str, typer.Option(help="Comma-separated, of every runtime.")] = "30%,60%",
    late: Annotated[str, typer.Option(help="A target that comes after the search; '' for none.")] = "",
    options: Annotated[str, typer.Option(help="Further options of every search.")] = "--no-baseline --threads 1",
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/targets"),
    out: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("targets.json"),
    page: Annotated[Path | None, typer.Option(help="Markdown file for the tables.")] = None,
) -> None:
    """Run what is missing, and print the tables."""
    found: dict[str, dict[str, Any]] = read_json(out) if out.exists() else {}
    each = [(runtime, budget) for runtime in runtimes.split(",") for budget in budgets.split(",")]
    common = ["--data", data, *options.split()]
    targets = [f"--target=host@{runtime}:{budgets}" for runtime in runtimes.split(",")]
    commands = {"one search": ["search", *common, *targets]}
    if late:
        commands["late"] = ["specialise", str(runs / "one-search"), "--target", late]
    for runtime, budget in each:
        commands[f"{runtime} {budget}"] = ["search", *common, "--runtime", runtime, "--budget-ms", budget]
    for name, command in commands.items():
        if name not in found:
            found[name] = _run(command, runs / name.replace(" ", "-").replace("%", "pct"))
            write_json(out, found)
    text = page_of(found, len(each))
    print(text)
    if page is not None:
        write_text(page, text)


def _run(command: list[str], folder: Path) -> dict[str, Any]:
    """Seconds of a command line, and every network that it left in `folder`."""
    before, began = os.times(), time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("w") as log:
        code = subprocess.run(
            [sys.executable, "-m", "hwnas", *command, "--out", str(folder), "--force"], stderr=log, stdout=log
        ).returncode
    if code not in (0, 4, 9):
        raise SystemExit(f"hwnas {' '.join(command)}: exit code {code}; see {folder.with_suffix('.log')}")
    seconds, after = time.monotonic() - began, os.times()
    parts = sorted({folder, *(path.parent for path in folder.glob("*/architecture.json"))})
    return {
        "command": " ".join(("hwnas", *command)),
        "taken_s": round(seconds, 1),
        "cpu_s": round(after.children_user + after.children_system - before.children_user - before.children_system, 1),
        "networks": [_network(part) for part in parts if (part / "architecture.json").exists()],
        "latencies": {path.stem: read_json(path)["model"] for path in folder.glob("state/latency*.json")},
    }


def _network(part: Path) -> dict[str, Any]:
    """What is told of one network; its choices tell its latency on the other runtimes."""
    result = read_json(part / "result.json")
    told = {**result, "accuracy": result["accuracy"]["test"], "test_images": result["accuracy"]["test_images"]}
    measured = result["measured_ms"]
    return {
        **{name: told[name] for name in _TOLD},
        "median_ms": measured["median"],
        "at_most_ms": measured["bounds"][1],
        "choices": read_json(part / "architecture.json")["choices"],
    }


def keeps(model: dict[str, Any], network: dict[str, Any], budget_ms: float) -> bool:
    """Whether a network is predicted to keep a budget, margin included; from the numbers that a run keeps."""
    raw_ms = sum(costs[choice] for costs, choice in zip(model["costs_ms"], network["choices"], strict=True))
    predicted_ms = model["intercept_ms"] + model["slope"] * (model["fixed_ms"] + raw_ms)
    return bool(predicted_ms <= budget_ms * (1.0 - margin(model["sigma"])))


def page_of(found: dict[str, dict[str, Any]], pairs: int) -> str:
    """Both tables in Markdown."""
    joint = found["one search"]
    late = [run for name, run in found.items() if name == "late"]
    alone = [run for name, run in found.items() if name not in ("one search", "late")]
    own = {(one["runtime"], one["budget"]): one for run in alone for one in run["networks"]}
    lines = [
        "| runtime | budget | ms | measured, at most | verdict | accuracy | best other one that keeps it here | "
        "from a search of its own |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in joint["networks"]:
        there = own[one["runtime"], one["budget"]]
        cells = (
            one["runtime"],
            one["budget"],
            f"{one['budget_ms']:.4f}",
            f"{one['at_most_ms']:.4f}",
            one["verdict"],
            f"{one['accuracy']:.4f}",
            _best_other(one, joint),
            f"{there['accuracy']:.4f}, {there['verdict']}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| run | seconds | CPU seconds | verdicts |", "| --- | --- | --- | --- |"]
    groups = {f"one search for {pairs} pairs": [joint], f"{pairs} searches": alone, "a late target": late}
    for name, runs in groups.items():
        states = [one["verdict"] for run in runs for one in run["networks"]]
        counted = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        taken_s, cpu_s = (sum(run[key] for run in runs) for key in ("taken_s", "cpu_s"))
        lines.append(f"| {name} | {taken_s:.0f} | {cpu_s:.0f} | {counted} |")
    return "\n".join(lines) + "\n"


def _best_other(one: dict[str, Any], joint: dict[str, Any]) -> str:
    """The best accuracy among the other networks that keep the budget of this one, and how far this one is above."""
    model = next(model for name, model in joint["latencies"].items() if one["runtime"] in name)
    others = [other for other in joint["networks"] if other is not one and keeps(model, other, one["budget_ms"])]
    if not others:
        return "none keeps it"
    best = max(other["accuracy"] for other in others)
    error = math.sqrt(2 * best * (1 - best) / one["test_images"])
    return f"{best:.4f} of {len(others)} ({(one['accuracy'] - best) / error:+.1f} standard errors)"


if __name__ == "__main__":
    typer.run(main)
