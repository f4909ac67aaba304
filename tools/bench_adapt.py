"""Latency tables of unseen conditions from those of the others and a few measured networks, on the shipped tables.

Every condition is left out in turn: the other tables of the same CPU are the sources of the prior, or with --across all
tables of other CPUs. The networks are those of its own
validation, whose latencies the table keeps, so nothing is measured here. They are split into six parts: networks are
chosen among five of them by the method itself, and the sixth is predicted. *error* is the mean absolute error, *z* the
root mean square of errors over the deviations that were predicted (1: honest), *met* the share of networks that take no
longer than predicted plus the margin of a search, *at* which share of a budget that margin is. *profiled* is the error
of the condition's own fully measured table. The constants of `op_prior` and of the margin were chosen on the
tables of amd-epyc-f25m1, among about twenty settings, so its rows flatter; those of other CPUs do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hwnas.latency.adapt import adaptation_prior
from hwnas.latency.build import validation_networks
from hwnas.latency.calibrate import predict as calibrated_us
from hwnas.latency.calibrate import row_sum
from hwnas.latency.model import margin
from hwnas.latency.op_prior import op_counts, priced
from hwnas.latency.table import LatencyTable
from hwnas.latency.table_files import load_table
from hwnas.latency.trust import space_of

SAMPLES = (3, 5, 10, 20)
PARTS = 6


def line(target: LatencyTable, others: list[LatencyTable], signature: str) -> list[str]:
    """One row of the page."""
    space = space_of(signature)
    networks = validation_networks(space, 0)
    pairs = np.array(target.pairs[signature])
    own = [calibrated_us(target.calibrations[signature], *row_sum(target, one)) / 1e3 for one in networks]
    if not np.allclose(own, pairs[:, 0], rtol=1e-3):
        raise SystemExit(f"the networks of {target.condition}, {signature} are not those of seed 0")
    known = adaptation_prior(space, [other for other in others if signature in other.calibrations])
    rows, true_ms = op_counts(priced(space), networks), pairs[:, 1]
    cells = [target.device, target.condition, signature, str(len(known.sources))]
    for samples in SAMPLES:
        off, deviation = np.zeros(len(rows)), np.zeros(len(rows))
        margins = np.zeros(len(rows))
        for part in range(PARTS):
            held = np.arange(part, len(rows), PARTS)
            rest = np.setdiff1d(np.arange(len(rows)), held)
            used = rest[known.prior.design(rows[rest], samples)]
            found = known.prior.adapt(rows[used], true_ms[used])
            predicted = found.predict_ms(rows[held])
            off[held] = true_ms[held] / predicted - 1.0
            deviation[held] = found.deviation_ms(rows[held]) / predicted
            margins[held] = 1.0 / (1.0 - margin(known.sigma(found))) - 1.0
        error = np.mean(np.abs(1.0 / (1.0 + off) - 1.0))
        z = np.sqrt(np.mean((off / deviation) ** 2))
        cells.append(
            f"{error:.1%}, z {z:.2f}, met {np.mean(off <= margins):.0%} at {np.mean(1 - 1 / (1 + margins)):.0%}"
        )
    return [*cells, f"{np.mean(np.abs(pairs[:, 0] / true_ms - 1.0)):.1%}"]


def main(
    tables: Annotated[Path, typer.Option(help="Folder of latency tables.")] = Path("latency_tables"),
    across: Annotated[bool, typer.Option("--across", help="Learn from other CPUs, not from the same one.")] = False,
) -> None:
    """Print one row for each condition and space instance."""
    found = [load_table(path.parent) for path in sorted(tables.glob("*/*/meta.toml"))]
    heads = ["CPU", "condition", "space", "sources", *(f"{count} networks" for count in SAMPLES), "profiled"]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for target in found:
        others = [other for other in found if other is not target and (other.device != target.device) == across]
        for signature in sorted(target.pairs):
            if not any(signature in other.calibrations for other in others):
                continue
            print("| " + " | ".join(line(target, others, signature)) + " |")


if __name__ == "__main__":
    typer.run(main)
