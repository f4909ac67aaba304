"""Latency of a device from 0 to 20 measured networks and the tables of other devices.

    python tools/bench_fewshot_latency.py --out docs/results/fewshot_latency

Two protocols: *valid* learns from all `devices_train` and adapts to each of `devices_valid`; *family* leaves one family
of `devices_train` out (all whose names begin alike, as 1080ti_1 and 1080ti_32 do) and adapts to each of its devices.
The measured networks are all that a method knows of a device. Networks that were measured count in the scores too:
at most 20 of thousands.

Rows: `prior` is hwnas.latency.transfer with networks of its own choice, `unlike` as in `learn_prior`; `ridge` counts
ops, and `sources` mixes the latencies that the sources have on all networks, what HELP does by meta-learning, both
fitted to random networks, mean of 20 seeds; `all` fits every edge to all networks, the ceiling of what adds up;
`best source` is the train device that in hindsight ranks the networks best; `MACs` counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from cell_table import Floats, LatencyTable, data_folder, load_table
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from hwnas.arch import space_instance
from hwnas.arch.costs import macs
from hwnas.files import write_json, write_text
from hwnas.latency.transfer import learn_prior, one_hot

FILES = {"nasbench201.npz": "nasbench201", "fbnet_latency.npz": "fbnet"}
SAMPLES = (0, 3, 5, 10, 20)
SEEDS = 20
UNLIKE = (10.0, 0.0)
POOL = 1000
HEAD = """# Latency of an unseen device from few measured networks

Written by `tools/bench_fewshot_latency.py`, whose first lines say what the rows and the protocols are. *Gap* is the
mean distance in Spearman to the additive ceiling, ± the standard error over devices.
"""


@dataclass(frozen=True)
class Task:
    """A device to adapt to, and the devices that may be learned from."""

    protocol: str
    device: str
    sources_ms: Floats
    true_ms: Floats


def tasks(table: LatencyTable) -> Iterator[Task]:
    """Both protocols."""
    for device, true_ms in zip(table.valid, table.valid_ms, strict=True):
        yield Task("valid", device, table.train_ms, true_ms)
    families = [device.split("_")[0] for device in table.train]
    for device, own, true_ms in zip(table.train, families, table.train_ms, strict=True):
        others = [i for i, family in enumerate(families) if family != own]
        yield Task("family", device, table.train_ms[others], true_ms)


class Scores:
    """How predictions compare with the truth, for one task."""

    def __init__(self, task: Task) -> None:
        self._true_ms = task.true_ms
        ranks = rankdata(task.true_ms)
        self._ranks = (ranks - ranks.mean()) / ranks.std()

    def spearman(self, predicted: Floats) -> float:
        ranks = rankdata(predicted)
        return float(np.mean((ranks - ranks.mean()) / max(1e-12, ranks.std()) * self._ranks))

    def of(self, predicted: Floats, *, in_ms: bool) -> dict[str, float | None]:
        within = np.abs(predicted - self._true_ms) <= 0.1 * self._true_ms
        return {
            "spearman": self.spearman(predicted),
            "kendall": float(kendalltau(predicted, self._true_ms).statistic),
            "within_10": float(within.mean()) if in_ms else None,
        }


def adapted(table: LatencyTable, task: Task, unlike: float) -> Iterator[tuple[int, Floats]]:
    """Predictions of the prior with each number of samples."""
    prior = learn_prior(table.options, table.choices, task.sources_ms, table.without_dead, unlike=unlike)
    rows = prior.rows(table.choices, table.without_dead)
    pool = np.arange(len(rows))
    if rows.shape[1] > 100:  # the choice costs the square of the columns for each network
        pool = np.random.default_rng(0).choice(len(rows), min(POOL, len(rows)), replace=False)
    for count in SAMPLES:
        used = pool[prior.design(rows[pool], count)]
        yield count, prior.adapt(rows[used], task.true_ms[used]).predict_ms(rows) if count else rows @ prior.mean


def ridge(features: Floats, picked: NDArray[np.int64], true_ms: Floats) -> Floats:
    """Least squares with a constant and a penalty of one hundredth of a standardised column's weight."""
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)
    own, y = scaled[picked], true_ms[picked]
    off = own - own.mean(0)
    weights = np.linalg.solve(off.T @ off + 0.01 * len(y) * np.eye(off.shape[1]), off.T @ (y - y.mean()))
    predicted: Floats = (scaled - own.mean(0)) @ weights + y.mean()
    return predicted


def rows_of(table: LatencyTable, space: str, task: Task) -> Iterator[dict[str, Any]]:
    """All rows of one task."""
    scores = Scores(task)
    head = {"table": table.name, "protocol": task.protocol, "device": task.device}
    coded = one_hot(table.options, table.choices)
    for unlike in UNLIKE:
        for count, predicted in adapted(table, task, unlike):
            found = scores.of(predicted, in_ms=count > 0)
            yield head | {"method": f"prior (unlike {unlike:g})", "samples": count} | found
    design = np.hstack([np.ones((len(coded), 1)), coded - coded.mean(0)])
    normal = design.T @ design + 1e-6 * np.eye(design.shape[1])
    everything = design @ np.linalg.solve(normal, design.T @ task.true_ms)
    yield head | {"method": "all", "samples": len(coded)} | scores.of(everything, in_ms=True)
    best = max(task.sources_ms, key=scores.spearman)
    yield head | {"method": "best source", "samples": 0} | scores.of(best, in_ms=False)
    yield head | {"method": "MACs", "samples": 0} | scores.of(macs_of(table, space), in_ms=False)
    counts = np.stack([(table.choices == k).sum(1) for k in range(len(table.ops))], axis=1).astype(np.float64)
    for name, features in (("ridge", counts), ("sources", task.sources_ms.T)):
        for count in SAMPLES[1:]:
            found_by_seed = []
            for seed in range(SEEDS):
                drawn = np.random.default_rng(seed).choice(len(coded), count, replace=False)
                found_by_seed.append(scores.spearman(ridge(features, drawn, task.true_ms)))
            yield head | {"method": name, "samples": count, "spearman": float(np.mean(found_by_seed))}


def macs_of(table: LatencyTable, space: str) -> Floats:
    """Multiply-adds of every network, up to a constant."""
    instance = space_instance(space, width=1.0, resolution=32, channels=3, classes=10)
    total = np.zeros(len(table.choices))
    for slot in instance.slots:
        if slot.decision is not None:
            total += np.array([macs(spec.graph) for spec in slot.ops], dtype=np.float64)[
                table.choices[:, slot.decision]
            ]
    return total


def page(rows: Sequence[dict[str, Any]], seconds: dict[str, float]) -> str:
    """The means, and then every device."""
    lines = []
    for table in dict.fromkeys(row["table"] for row in rows):
        for protocol in ("valid", "family"):
            part = [row for row in rows if (row["table"], row["protocol"]) == (table, protocol)]
            lines += [f"\n## {table}, {protocol}\n", "| method | samples | Spearman | geometric | gap | ±10 % |"]
            lines.append("| --- | --- | --- | --- | --- | --- |")
            ceiling = {row["device"]: row["spearman"] for row in part if row["method"] == "all"}
            for method, count in dict.fromkeys((row["method"], row["samples"]) for row in part):
                own = [row for row in part if (row["method"], row["samples"]) == (method, count)]
                rho = np.array([row["spearman"] for row in own])
                gap = np.array([ceiling[row["device"]] - row["spearman"] for row in own])
                error = gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else 0.0
                within = [row["within_10"] for row in own if row.get("within_10") is not None]
                lines.append(
                    f"| {method} | {count} | {rho.mean():.4f} | {np.exp(np.log(np.maximum(rho, 0.01)).mean()):.3f} | "
                    f"{gap.mean():.4f} ± {error:.4f} | {f'{np.mean(within):.1%}' if within else ''} |"
                )
        lines.append(f"\n`prior` with all its choices and samples took {seconds[table]:.1f} s of processor time.")
    lines += ["\n## Every device\n", "| table | protocol | device | method | samples | Spearman | Kendall | ±10 % |"]
    lines.append("| " + " | ".join(["---"] * 8) + " |")
    for row in rows:
        if row.get("kendall") is not None:
            names = " | ".join(str(row[key]) for key in ("table", "protocol", "device", "method", "samples"))
            within_10 = "" if row["within_10"] is None else f"{row['within_10']:.1%}"
            lines.append(f"| {names} | {row['spearman']:.4f} | {row['kendall']:.4f} | {within_10} |")
    return HEAD + "\n".join(lines) + "\n"


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with nasbench201.npz and fbnet_latency.npz.")] = None,
    out: Annotated[Path | None, typer.Option(help="Path without suffix of a JSON file and a page.")] = None,
) -> None:
    """Print the means; with --out keep all rows."""
    rows: list[dict[str, Any]] = []
    seconds = {}
    for file, space in FILES.items():
        table = load_table((data or data_folder()) / file)
        before = time.process_time()
        for task in tasks(table):
            list(adapted(table, task, UNLIKE[0]))
        seconds[table.name] = time.process_time() - before
        for task in tasks(table):
            rows += rows_of(table, space, task)
    text = page(rows, seconds)
    print(text[: text.index("\n## Every device")])
    if out is not None:
        write_json(out.with_suffix(".json"), rows)
        write_text(out.with_suffix(".md"), text)


if __name__ == "__main__":
    typer.run(main)
