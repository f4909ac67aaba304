"""What `hwnas verify` prints of a model file that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hwnas.cli import console
from hwnas.display import counted, ms
from hwnas.errors import BudgetMissedError, UndecidedError
from hwnas.report.disturbed import in_spite_text

if TYPE_CHECKING:
    from hwnas.devices.measure_file import Verification
    from hwnas.devices.sustained import Sustained


def print_verification(result: Verification, plot: Path | None, *, of_run: bool) -> None:
    """What was measured, as tables and sentences; errors are left to whoever raises them."""
    from rich.table import Table

    from hwnas.backends.model_facts import shape_text
    from hwnas.devices.statistic import WARM_MEDIAN

    file, one, screen = result.file, result.verdict, console.out()
    facts = [f"{file.size_bytes / 1024:,.0f} KiB"]
    facts += [] if file.operators is None else [counted(file.operators, "operator")]
    facts += [] if file.opset is None else [f"opset {file.opset}, IR {file.ir_version}"]
    facts += [] if file.precision is None else [file.precision]
    facts += [f"by {file.producer}"] if file.producer else []
    lines = [("model", f"{file.path}: {', '.join(facts)}")]
    for kind, tensors in (("input", file.inputs), ("output", file.outputs)):
        lines += [(kind, f"{tensor.name}: {tensor.dtype}, {shape_text(tensor.shape)}") for tensor in tensors]
    lines.append(("device", f"{result.device.id}, {result.condition}"))
    console.print_facts(lines)
    if of_run:
        console.write(screen, "Of the run: the model, and what the command does not say of budget, device and runtime.")
    for name, shape in result.shapes.items():
        if name in result.taken_as_one:
            console.write(screen, f"The file leaves the batch size of {escape(name)} open: measured with 1.")
        elif is_open(result, name):
            console.write(screen, f"{escape(name)} was measured as {shape_text(shape)}.")
    for name, (first, last) in result.values.ranges.items():
        console.write(screen, f"{escape(name)} was measured with random values from {first} to {last}.")
    if result.values.arrays:
        names = ", ".join(result.values.arrays)
        console.write(screen, f"{escape(names)} was measured with the values of {escape(result.values.source)}.")
    screen.print("")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    if result.budget_ms is not None:
        table.add_row("budget, ms", ms(result.budget_ms))
    low, high = ("unknown" if bound is None else ms(bound) for bound in one.bounds_ms)
    table.add_row("median, ms", ms(one.median_ms))
    if one.cold_ms is not None:
        table.add_row("median after work that evicts caches, ms", ms(one.cold_ms))
    if one.statistic != WARM_MEDIAN:
        table.add_row(f"{one.statistic.label}, median over processes, ms", ms(one.judged_ms))
    table.add_row(f"{one.statistic.label}: at least, at most (95 % each), ms", f"{low}, {high}")
    table.add_row("90th percentile, ms", ms(one.p90_ms))
    table.add_row("99th percentile, ms", "too few calls" if one.p99_ms is None else ms(one.p99_ms))
    table.add_row(
        "rounds accepted, rejected",
        f"{one.n}, {one.rounds - one.n} in {counted(one.processes, 'process', 'processes')}",
    )
    screen.print(table)
    if result.sustained is not None:
        print_sustained(result.sustained, plot)
    if failure(result) is None:
        screen.print("")
        console.write(screen, _verdict(result))


def print_sustained(run: Sustained, plot: Path | None) -> None:
    """Slice by slice, and whether it slows down."""
    from rich.table import Table

    from hwnas.devices.estimate import loaded

    screen = console.out()
    early = f", ended early: {escape(run.ended_early)}" if run.ended_early else ""
    console.write(screen, f"\n[bold]without pause[/] for {_time(run.seconds)} of {_time(run.asked_s)}{early}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("from")
    known = {
        "°C": [one.temperature_c for one in run.slices],
        "MHz": [one.mhz for one in run.slices],
    }
    shown = {name: values for name, values in known.items() if any(value is not None for value in values)}
    for name in ("median, ms", "p90", "p99", *shown, ""):
        table.add_column(name, justify="right")
    for index, one in enumerate(run.slices):
        extra = ["" if values[index] is None else f"{values[index]:.0f}" for values in shown.values()]
        busy = "beside other work" if loaded(one) else ""
        times = [ms(value / 1e3) for value in (one.median_us, one.p90_us, one.p99_us)]
        table.add_row(_time(one.start_s), *times, *extra, busy)
    screen.print(table)
    for line in _told(run):
        console.write(screen, line)
    if plot is not None:
        console.write(screen, f"plot: {escape(str(plot))}")


def _told(run: Sustained) -> list[str]:
    """What a sustained run says, in sentences."""
    lines = [f"last slice against the first: {run.last_ms / run.first_ms - 1:+.1%}"]
    if run.drift is not None and run.drift_ci95 is not None:
        low, high = run.drift_ci95
        lines[0] += f"; drift {run.drift:+.1%} (95 % interval {low:+.1%} to {high:+.1%})"
    before, after = run.reference_us
    if before and after:
        lines.append(f"the reference model right after, against before: {after / before - 1:+.1%}")
    governors = [one.governor for one in run.slices if one.governor is not None]
    lines.append(f"governor: {', '.join(dict.fromkeys(governors)) or 'not told by the system'}")
    lines.append(
        {
            "steady": "[green]Steady[/]: it is as fast at the end as at the beginning.",
            "slows down": "[yellow]It slows down[/] under a sustained load.",
            "speeds up": "[yellow]It speeds up[/]: the device was not warm at the beginning.",
            "unstable": "[yellow]Unstable[/]: other work disturbed it, so nothing can be said. Close other programs.",
            "too short": "[yellow]Too short[/] to tell whether it slows down: let --sustained run to its end.",
        }[run.trend]
    )
    return lines


def _verdict(result: Verification) -> str:
    where, one = escape(result.device.id), result.verdict
    if result.budget_met:
        spite = in_spite_text(one.rejected)
        return f"[green]Budget met[/], measured on {where}. {spite}".rstrip()
    if one.state == "no budget":
        return f"Measured on {where}; no budget was given."
    if one.state == "met":
        return "[yellow]Budget met at first[/]; whether it stays so without pause could not be told."
    return (
        f"[yellow]Verdict unstable[/]: {where} was too busy to tell ({one.rejected:.0%} of the rounds were disturbed). "
        "Close other programs and run the same command again."
    )


def failure(result: Verification) -> BudgetMissedError | UndecidedError | None:
    """The error of a file that is too slow, or too close to the budget to tell."""
    if result.budget_met is None and result.verdict.state == "too close":
        return UndecidedError(
            f"{result.file.path} has a {result.verdict.statistic.label} of {result.verdict.measured} on "
            f"{result.device.id}: too close to the budget of {ms(result.budget_ms or 0.0)} ms to tell",
            hint="ask for a slightly larger budget, or allow more --processes if fewer than 12 were undisturbed",
        )
    if result.budget_met is not False:
        return None
    assert result.budget_ms is not None
    one, file, budget = result.verdict, result.file.path, f"the budget of {ms(result.budget_ms)} ms"
    if one.budget_met is False:
        return BudgetMissedError(
            f"{file} has a {one.statistic.label} of {one.measured} on {result.device.id}, above {budget}",
            hint=_searched(result),
        )
    assert result.sustained is not None
    low, high = result.sustained.late_ms
    return BudgetMissedError(
        f"{file} runs in {ms(one.judged_ms)} ms on {result.device.id} at first, within {budget}, but in {ms(low)} to "
        f"{ms(high)} ms at the end of {_time(result.sustained.seconds)} without pause",
        hint="cool the device, set its governor, or leave more room in the budget",
    )


def _searched(result: Verification) -> str:
    """The search that finds a network within the budget. It judges medians: a percentile takes a smaller budget."""
    one, budget_ms = result.verdict, result.budget_ms or 0.0
    latency = "" if one.statistic.latency == "warm" else f" --latency {one.statistic.latency}"
    if one.statistic.percentile == 50:
        return f"hwnas search --budget-ms {budget_ms:g}{latency} finds a network within it"
    return f"hwnas search{latency} with a smaller --budget-ms, for it judges medians, finds a network within it"


def is_open(result: Verification, name: str) -> bool:
    """Whether the file leaves the shape of that input open."""
    shape = next(one.shape for one in result.file.inputs if one.name == name)
    return shape is None or None in shape


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
