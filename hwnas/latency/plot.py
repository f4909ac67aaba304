"""Predicted against measured latency, as a picture."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from hwnas.errors import InputError
from hwnas.files import write_bytes
from hwnas.latency.table import LatencyTable

FORMATS = (".png", ".svg")


def plot_pairs(table: LatencyTable, signatures: list[str], path: Path) -> None:
    """Draw the networks of the validations of these space instances, with the line of no error and ±10 % about it.

    Raises:
        InputError: the file's name ends in something else than `FORMATS`, or the table keeps no such networks.
        StorageError: the file cannot be written.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"a plot is a {' or '.join(FORMATS)} file, not {path}")
    points = {name: table.pairs[name] for name in signatures if table.pairs.get(name)}
    if not points:
        raise InputError(
            "the table does not keep which networks it was validated on: it is imported, or of an earlier version",
            hint="hwnas table validate --update measures some and keeps them",
        )
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    axes = figure.add_subplot(xlabel="predicted latency, ms", ylabel="measured latency, ms")
    values = [value for pairs in points.values() for pair in pairs for value in pair]
    ends = [0.95 * min(values), 1.05 * max(values)]
    axes.fill_between(ends, [0.9 * end for end in ends], [1.1 * end for end in ends], alpha=0.15, color="grey")
    axes.plot(ends, ends, color="grey", linewidth=1.0)
    for name, pairs in points.items():
        axes.plot(*zip(*pairs, strict=True), linestyle="none", marker="o", markersize=4, alpha=0.7, label=name)
    axes.set_aspect("equal")
    axes.legend(loc="upper left")
    axes.set_title(f"{table.device}\n{table.condition}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=150)
    write_bytes(path, buffer.getvalue())
