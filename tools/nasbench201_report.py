"""What `bench_nasbench201.py` prints and keeps: means over seeds, and the tables of a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwnas.files import write_text

if TYPE_CHECKING:
    from bench_nasbench201 import Run

Row = dict[str, Any]

BASELINE = "random"
PUBLISHED = {  # test accuracy in percent: Dong and Yang, ICLR 2020, and the papers that the names stand for
    "optimum": {"cifar10": 94.37, "imagenet16_120": 47.31},
    "regularised evolution": {"cifar10": 93.92, "imagenet16_120": 45.54},
    "REINFORCE": {"cifar10": 93.85, "imagenet16_120": 45.24},
    "random search": {"cifar10": 93.70, "imagenet16_120": 44.57},
    "DrNAS, β-DARTS": {"cifar10": 94.36, "imagenet16_120": 46.34},
    "DARTS, ENAS with shared weights": {"cifar10": 54.30, "imagenet16_120": 16.32},
}
HEAD = """# Search under latency budgets on NAS-Bench-201

Written by `tools/bench_nasbench201.py`, whose first lines say what is measured and by which rules. Regret is in points
of test accuracy, averaged over budgets and devices, ± one standard error over seeds; *against random* is the
difference to random search, and how many of its standard errors that is. *Verified* is how many winners had to be
measured until one kept the budget.
"""


def summary(runs: Sequence[Run]) -> list[Row]:
    """One row for each dataset, sampler, number of queries, device and budget."""
    groups: dict[tuple[str, str, int, str, float], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.dataset, run.sampler, run.queries, run.device, run.quantile].append(run)
    rows = []
    for (dataset, sampler, queries, device, quantile), group in sorted(groups.items()):
        regret = np.array([run.regret for run in group])
        rows.append(
            {
                "dataset": dataset,
                "sampler": sampler,
                "queries": queries,
                "device": device,
                "quantile": quantile,
                "seeds": len(group),
                "regret": round(float(regret.mean()), 4),
                "regret_sd": round(float(regret.std(ddof=1)), 4) if len(group) > 1 else 0.0,
                "test": round(float(np.mean([run.test for run in group])), 4),
                "verified": round(float(np.mean([run.verified for run in group])), 3),
                "violations": sum(run.violated for run in group),
            }
        )
    return rows


def mean_and_error(rows: Sequence[Row], key: str = "regret") -> tuple[float, float]:
    """Mean over problems, and its standard error over seeds: the problems are given, only seeds are drawn."""
    variances = [row["regret_sd"] ** 2 / row["seeds"] for row in rows]
    return float(np.mean([row[key] for row in rows])), float(np.sqrt(np.sum(variances)) / len(rows))


def page(rows: Sequence[Row], free: str) -> str:
    """All tables as Markdown."""
    budgeted = [row for row in rows if row["device"] != free]
    datasets = sorted({row["dataset"] for row in rows})
    parts = [HEAD, "## Regret under budgets\n", _budgets(budgeted, datasets), _violations(budgeted)]
    parts += ["\n## Without a budget: test accuracy\n", _free([row for row in rows if row["device"] == free], datasets)]
    return "\n".join(parts)


def write_page(path: Path, rows: Sequence[Row], free: str) -> None:
    write_text(path, page(rows, free))


def _budgets(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    lines = [
        ["sampler", "queries", "seeds", *(f"{name}{end}" for name in datasets for end in ("", ": against random"))]
    ]
    lines[0].append("verified")
    names = dict.fromkeys((row["queries"], row["sampler"]) for row in sorted(rows, key=lambda row: row["queries"]))
    for queries, sampler in names:
        own = [row for row in rows if (row["queries"], row["sampler"]) == (queries, sampler)]
        cells = [sampler, str(queries or ""), str(min(row["seeds"] for row in own) if queries else "")]
        for dataset in datasets:
            mean, error = mean_and_error([row for row in own if row["dataset"] == dataset])
            cells.append(f"{mean:.3f} ± {error:.3f}" if queries else f"{mean:.3f}")
            base = [r for r in rows if (r["queries"], r["sampler"], r["dataset"]) == (queries, BASELINE, dataset)]
            if queries and base and sampler != BASELINE:
                base_mean, base_error = mean_and_error(base)
                off = mean - base_mean
                cells.append(f"{off:+.3f} ({off / max(1e-9, np.hypot(error, base_error)):+.1f})")
            else:
                cells.append("")
        lines.append([*cells, f"{np.mean([row['verified'] for row in own]):.2f}"])
    return _markdown(lines)


def _violations(rows: Sequence[Row]) -> str:
    searched = [row for row in rows if row["queries"]]
    return (
        f"\n{sum(r['violations'] for r in searched)} budget violations in {sum(r['seeds'] for r in searched)} answers."
    )


def _free(rows: Sequence[Row], datasets: Sequence[str]) -> str:
    lines = [["sampler", "queries", "seeds", *datasets]]
    for queries, sampler in dict.fromkeys((row["queries"], row["sampler"]) for row in rows):
        own = {row["dataset"]: row for row in rows if (row["queries"], row["sampler"]) == (queries, sampler)}
        cells = [
            f"{own[name]['test']:.2f} ± {own[name]['regret_sd'] / own[name]['seeds'] ** 0.5:.2f}" if name in own else ""
            for name in datasets
        ]
        lines.append([sampler, str(queries or ""), str(max(row["seeds"] for row in own.values())), *cells])
    for name, values in PUBLISHED.items():
        lines.append(
            [f"published: {name}", "", "", *(f"{values[one]:.2f}" if one in values else "" for one in datasets)]
        )
    return _markdown(lines)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])
