"""What `bench_end_to_end.py` prints and writes."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table as Screen

from hwnas.files import write_text

Row: TypeAlias = Mapping[str, Any]
GAINS = {
    "random": "one random feasible network, trained alike",
    "random search": "random search that saw as many images",
    "mobilenet": "MobileNetV2-like, equal measured latency, as many epochs",
    "mobilenet, longer": "the same, with the images of the search on top",
    "itself from scratch": "the found network, trained as long without the supernet's weights",
}
_STATES = ("met", "missed", "too close", "unstable")
_HEADS = ("budget", "seed", "space", "budget ms", "predicted", "measured [95 %]", "use", "met", "binds", "accuracy")
_PAGE = """\
# Budgets of every runtime and precision

Written by `tools/bench_end_to_end.py`: {runs} searches on {data}, each for one budget, whose exported files were
measured as they ship. An int8 file is the one that its gate let through, with the layers that it left in float. A
verdict is unstable where other work on the machine hid the answer.

| runtime | precision | searches | {states} | budget used, median | layers in float, most |
| --- | --- | --- | {dashes} | --- | --- |
{lines}
{refused}"""


def show(rows: Sequence[Row], refused: Sequence[str]) -> None:
    """Print every run, the verdicts, and what was gained over the rivals."""
    screen = Screen("runtime", *_HEADS, "random")
    for row in rows:
        measured, rival = row["measured_ms"], row["baseline_random"]
        screen.add_row(
            f"{row['runtime']} {row['precision']}",
            row["budget"],
            str(row["seed"]),
            row["space"],
            f"{row['budget_ms']:.4f}",
            f"{row['predicted_ms']:.4f}",
            f"{measured['median']:.4f}, {measured['bounds'][1] or math.nan:.4f}",
            f"{_use(row):.1%}",
            row["verdict"],
            "yes" if row["budget_binds"] else "no",
            f"{row['accuracy']['test']:.4f}{'' if row['trained'] else ' (inherited)'}",
            f"{rival['accuracy']:.4f}" if rival else "",
        )
    Console(width=170).print(screen)
    verdicts = [row["verdict"] for row in rows]
    undecided = f"{verdicts.count('too close')} too close to tell, {verdicts.count('unstable')} unstable"
    print(f"measured within budget: {verdicts.count('met')} of {len(rows)} ({undecided})")
    print(f"not exported, as int8 cost too much: {len(refused)}")
    if rows:
        print(f"budget use, median: {statistics.median(map(_use, rows)):.1%}")
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


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error, as text."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):+.4f} ± {error:.4f}"


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """A line for each run."""
    lines = [
        {
            "runtime": row["runtime"],
            "precision": row["precision"],
            "seed": row["seed"],
            "budget": row["budget"],
            "budget_ms": f"{row['budget_ms']:.5f}",
            "predicted_ms": f"{row['predicted_ms']:.5f}",
            "measured_median_ms": f"{row['measured_ms']['median']:.5f}",
            "measured_at_most_ms": f"{row['measured_ms']['bounds'][1] or math.nan:.5f}",
            "processes": row["measured_ms"]["processes"],
            "rejected": f"{row['measured_ms']['rejected']:.3f}",
            "float_layers": _floats(row),
            "verdict": row["verdict"],
            "table_sha256": row["table_sha256"][:12],
        }
        for row in rows
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, lines[0] if lines else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(path, buffer.getvalue())


def markdown(rows: Sequence[Row], refused: Sequence[str], data: str) -> str:
    """The page of the verdicts, a line for each runtime and precision."""
    lines = []
    for runtime, precision in dict.fromkeys((row["runtime"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["runtime"], row["precision"]) == (runtime, precision)]
        counts = [str([row["verdict"] for row in own].count(state)) for state in _STATES]
        floats = str(max(map(_floats, own))) if precision == "int8" else ""
        used = f"{statistics.median(map(_use, own)):.1%}"
        lines.append("| " + " | ".join([runtime, precision, str(len(own)), *counts, used, floats]) + " |")
    said = "".join(f"\nNot exported, as int8 cost too much: {one}\n" for one in refused)
    return _PAGE.format(
        runs=len(rows) + len(refused),
        data=data,
        states=" | ".join(_STATES),
        dashes=" | ".join(["---"] * len(_STATES)),
        lines="\n".join(lines),
        refused=said,
    )


def _use(row: Row) -> float:
    """Share of the budget that the file takes."""
    return float(row["measured_ms"]["median"] / row["budget_ms"])


def _floats(row: Row) -> int:
    """Layers of an int8 file that stay float."""
    return len((row["int8"] or {}).get("float_layers", ()))
