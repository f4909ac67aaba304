"""What `bench_meta_strategies.py` prints and keeps: mean curves, queries to equal regret, a page and a plot."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bench_nasbench201 import MARKS
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hwnas.files import write_bytes

if TYPE_CHECKING:
    from bench_meta_strategies import Curve

Row = dict[str, Any]
Floats = NDArray[np.float64]

SHOWN = (5, 10, 25, 50, 100)
HEAD = """# Strategies that carry over

Written by `tools/bench_meta_strategies.py`, whose first lines say what is measured and by which rules. Regret is in
points of test accuracy, averaged over budgets and devices, ± one standard error over seeds. *Runs* are seeds ×
devices × budgets, the same ones from scratch and carried over. *Queries to equal regret*:
the fewest after which the mean regret is at most that of the same sampler from scratch after 50, and after 100.
"""


def summary(curves: Sequence[Curve]) -> list[Row]:
    """One row for each pair of data sets, sampler, and way to start."""
    groups: dict[tuple[str, str, str, bool], list[Curve]] = defaultdict(list)
    for curve in paired(curves):
        groups[curve.source, curve.target, curve.sampler, curve.training >= 0].append(curve)
    rows = []
    for (source, target, sampler, carried), group in sorted(groups.items()):
        mean, error = _over_seeds(group, [curve.regrets for curve in group])
        row: Row = {"source": source, "target": target, "sampler": sampler, "carried": carried}
        row |= {"seeds": len({curve.seed for curve in group}), "runs": len(group)}
        row |= {"regret": mean.round(4).tolist(), "error": error.round(4).tolist()}
        if all(curve.believed for curve in group):
            believed, its_error = _over_seeds(group, [curve.believed for curve in group])
            row |= {"believed": believed.round(4).tolist(), "believed_error": its_error.round(4).tolist()}
        rows.append(row)
    for row in rows:
        scratch = next((one for one in rows if not one["carried"] and _of(one) == _of(row)), None)
        if row["carried"] and scratch is not None:
            row["queries_to_equal"] = {mark: needed(row["regret"], scratch["regret"][mark - 1]) for mark in MARKS}
    return rows


def paired(curves: Sequence[Curve]) -> list[Curve]:
    """The runs whose problem and seed were searched from scratch and with what was carried over: only they compare."""

    def key(curve: Curve) -> tuple[Any, ...]:
        return curve.source, curve.target, curve.sampler, curve.device, curve.quantile, curve.seed

    both = {key(one) for one in curves if one.training < 0} & {key(one) for one in curves if one.training >= 0}
    return [curve for curve in curves if key(curve) in both]


def needed(regret: Sequence[float], level: float) -> int | None:
    """The fewest queries after which the regret is at most `level`; None where it never is."""
    return next((query for query, value in enumerate(regret, 1) if value <= level), None)


def page(rows: Sequence[Row], picture: str = "") -> str:
    """The table as Markdown, with a line of its own for answers that the model ranks."""
    heads = ["learned on", "used on", "sampler", "start", "seeds", "runs", *(f"regret at {query}" for query in SHOWN)]
    lines = [[*heads, *(f"queries to scratch's {mark}" for mark in MARKS)]]
    for row in rows:
        start = [row["source"] if row["carried"] else "", row["target"], row["sampler"]]
        start += ["carried over" if row["carried"] else "scratch", str(row["seeds"]), str(row["runs"])]
        shown = [_number(row, row["regret"][query - 1], row["error"][query - 1]) for query in SHOWN]
        equal = row.get("queries_to_equal", {})
        lines.append([*start, *shown, *(str(equal.get(mark) or "never") if equal else "" for mark in MARKS)])
        if "believed" in row:
            at = dict(zip(MARKS, zip(row["believed"], row["believed_error"], strict=True), strict=True))
            shown = [_number(row, *at[query]) if query in at else "" for query in SHOWN]
            lines.append([*start[:2], f"{row['sampler']}, believed", *start[3:], *shown, *[""] * len(MARKS)])
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])
    return f"{HEAD}\n{table}\n" + (f"\n![regret against queries]({picture})\n" if picture else "")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Mean regret against queries: a panel for each pair of data sets, a colour for each sampler."""
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    names = list(dict.fromkeys(row["sampler"] for row in rows))
    figure = Figure(figsize=(5.5 * len(pairs), 4.0), layout="constrained")
    for nth, pair in enumerate(pairs, 1):
        axes = figure.add_subplot(1, len(pairs), nth, xscale="log", yscale="log")
        axes.set(title=f"{pair[0]} → {pair[1]}", xlabel="queries", ylabel="regret, points")
        for row in (row for row in rows if (row["source"], row["target"]) == pair):
            style, how = ("-", "carried over") if row["carried"] else ("--", "scratch")
            queries = range(1, len(row["regret"]) + 1)
            colour = f"C{names.index(row['sampler'])}"
            axes.plot(queries, row["regret"], style, color=colour, label=f"{row['sampler']}, {how}")
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=150, metadata={"Date": None})
    write_bytes(path, buffer.getvalue())


def _number(row: Row, value: float, error: float) -> str:
    """One seed has no standard error."""
    return f"{value:.2f}" if row["seeds"] < 2 else f"{value:.2f} ± {error:.2f}"


def _of(row: Row) -> tuple[str, str, str]:
    return row["source"], row["target"], row["sampler"]


def _over_seeds(group: Sequence[Curve], texts: Sequence[str]) -> tuple[Floats, Floats]:
    """Mean over problems and seeds, and its standard error over seeds: the problems are given."""
    values: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for curve, text in zip(group, texts, strict=True):
        values[curve.device, curve.quantile].append([float(one) for one in text.split()])
    problems = [np.array(one) for one in values.values()]
    mean = np.mean([one.mean(axis=0) for one in problems], axis=0)
    variances = [one.var(axis=0, ddof=1) / len(one) if len(one) > 1 else 0.0 * one[0] for one in problems]
    return mean, np.sqrt(np.sum(variances, axis=0)) / len(problems)
