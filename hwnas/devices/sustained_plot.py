"""A sustained run as a picture: the latency of its slices over time."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from hwnas.devices.estimate import loaded
from hwnas.devices.sustained import Sustained
from hwnas.errors import InputError
from hwnas.files import write_bytes

_FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path) -> None:
    """Whether a picture can have this name, before minutes are spent on measuring.

    Raises:
        InputError: it ends in something else than .png, .svg or .pdf.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"a plot ends in {', '.join(_FORMATS)}, not {path.suffix or 'nothing'}: {path}")


def write_plot(path: Path, sustained: Sustained, *, title: str, budget_ms: float | None = None) -> None:
    """Draw median and 90th percentile of every slice, the temperature where it is known, and the budget.

    Raises:
        InputError: as `check_plot`.
        StorageError: the file cannot be written.
    """
    check_plot(path)
    slices = sustained.slices
    unit_s, unit = (60.0, "min") if sustained.seconds >= 120 else (1.0, "s")
    times = [(one.start_s + one.seconds / 2) / unit_s for one in slices]
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(times, [one.median_us / 1e3 for one in slices], "o-", label="median")
    axes.plot(times, [one.p90_us / 1e3 for one in slices], ".", color="0.6", label="90th percentile")
    busy = [(time, one.median_us / 1e3) for time, one in zip(times, slices, strict=True) if loaded(one)]
    if busy:
        axes.plot(*zip(*busy, strict=True), "rx", label="beside other work")
    if budget_ms is not None:
        axes.axhline(budget_ms, color="black", linestyle="--", linewidth=1, label="budget")
    top_ms = 1.5 * max(budget_ms or 0.0, *(one.median_us / 1e3 for one in slices))  # a tail above it is left out
    axes.set(title=title, xlabel=f"time, {unit}", ylabel="latency of one call, ms", ylim=(0, top_ms))
    handles, labels = axes.get_legend_handles_labels()
    known = [
        (time, one.temperature_c) for time, one in zip(times, slices, strict=True) if one.temperature_c is not None
    ]
    if known:
        right = axes.twinx()
        handles += right.plot(*zip(*known, strict=True), color="tab:red", linewidth=1)
        labels.append("temperature")
        right.set_ylabel("temperature, °C")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lower()[1:], dpi=150)
    write_bytes(path, buffer.getvalue())
