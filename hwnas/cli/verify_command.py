"""`hwnas verify`."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from hwnas.asked_paths import is_missing, missing_model
from hwnas.cli import console, options
from hwnas.display import counted, ms
from hwnas.errors import INTERRUPTED_EXIT_CODE, BudgetMissedError, InputError, UndecidedError
from hwnas.report.disturbed import in_spite_text

if TYPE_CHECKING:
    from hwnas.devices.measure_file import Verification
    from hwnas.devices.statistic import Statistic
    from hwnas.devices.sustained import Sustained

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@console.verb
def verify(
    model: Annotated[
        Path, typer.Argument(help="Model file: .onnx, .ort or .tflite, whoever made it; or a run, or a package.")
    ],
    device: Annotated[
        str,
        typer.Option(help="Device id (see `hwnas devices list`), or a TOML file. [default: host, or that of the run]"),
    ] = "",
    budget: Annotated[
        str, typer.Option("--budget-ms", metavar="FLOAT", help="Milliseconds that one call may take.")
    ] = "",
    sustained: Annotated[
        str, typer.Option(help="Then run it without pause for so long, such as 10m or 90s, and see how it slows down.")
    ] = "",
    runtime: Annotated[str, typer.Option(help="What runs the file, instead of what its ending says.")] = "",
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Shape of an input that the file leaves open, such as input=1,3,224,224; may be repeated."),
    ] = None,
    range_: Annotated[
        list[str] | None,
        typer.Option(
            "--range", help="Range of an input's random values, both ends included, such as ids=0:99; may be repeated."
        ),
    ] = None,
    input_: Annotated[
        Path | None,
        typer.Option("--input", help="An .npz file with arrays by name of the input, not random ones."),
    ] = None,
    stall_s: Annotated[float, typer.Option(help="Seconds that the model may take to load, and for six calls.")] = 30.0,
    memory_gb: Annotated[float, typer.Option(help="GiB of memory that the model may take.")] = 2.0,
    latency: Annotated[
        str,
        typer.Option(
            help="The latency that the budget is about: warm (back to back) or cold (now and then). [default: warm, or "
            "that of the run]"
        ),
    ] = "",
    percentile: Annotated[
        int, typer.Option(min=50, max=99, help="Of the calls, which the budget is about; 50 is the median.")
    ] = 50,
    processes: Annotated[int, typer.Option(min=5, help="Fresh processes that measure it at most.")] = 15,
    run: Annotated[
        Path | None, typer.Option(help="Of a package, the run that it was made of. [default: the folder above]")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Of a package, images whose test part is classified. [default: those of the run]")
    ] = "",
    plot: Annotated[Path | None, typer.Option(help="Picture of the sustained run: .png, .svg or .pdf.")] = None,
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model file on a device, and tell whether it meets a budget.

    Random inputs are made up for it. A missed budget is exit code 4, and one that is too close to tell is 9. Of a run
    the exported model is measured, within the budget and on the device of the run. Of a package everything is checked:
    its parts, and what each model makes of images on the device.
    """
    if is_missing(model):
        raise missing_model(model)
    budget_ms = _milliseconds(budget) if budget else None
    import hwnas
    from hwnas.cli.package_view import end_package
    from hwnas.exporting.manifest import is_package
    from hwnas.run.verify_package import PackageVerification

    sustained_s = _seconds(sustained) if sustained else 0.0
    if plot is not None:
        if not sustained:
            raise InputError("--plot draws a sustained run", hint="add --sustained 10m")
        from hwnas.devices.sustained_plot import check_plot  # which loads matplotlib

        check_plot(plot)
        if is_package(model):
            raise InputError("--plot draws one model, and a package may have several", hint="name one of its models")
    result = hwnas.verify(
        model,
        device=device or None,
        budget_ms=budget_ms,
        sustained_s=sustained_s,
        runtime=runtime,
        shapes=dict(map(_shape, shape or [])),
        ranges=dict(map(_range, range_ or [])),
        inputs=input_,
        stall_s=stall_s,
        memory_gb=memory_gb,
        latency=_latency(latency) if latency else None,
        percentile=percentile,
        processes=processes,
        seed=seed,
        run=run,
        data=data or None,
        on_event=console.callbacks(quiet=quiet),
    )
    if isinstance(result, PackageVerification):
        missed_by = [one for one in (_failure(file.latency) for file in result.files) if one is not None]
        slowest = min(missed_by, key=lambda one: one.exit_code, default=None)
        end_package(result, result.failure or slowest, json_=json_)
        return
    missed = _failure(result)
    interrupted = result.sustained is not None and result.sustained.ended_early == "interrupted"
    code = INTERRUPTED_EXIT_CODE if interrupted else 0 if missed is None else missed.exit_code
    if plot is not None and result.sustained is not None:
        from hwnas.devices.sustained_plot import write_plot

        write_plot(plot, result.sustained, title=model.name, budget_ms=budget_ms)
    if json_:
        ending = {} if missed is None else console.failed(missed)
        console.print_json(result.to_json() | ending | ({"exit_code": code} if code else {}))
    else:
        _print(result, plot, of_run=(model / "result.json").exists())
        if missed is not None and not interrupted:
            raise missed
        if not code:
            asked = ["--runtime", runtime] if runtime else []
            asked += [word for text in range_ or [] for word in ("--range", text)]
            asked += [] if input_ is None else ["--input", str(input_)]
            asked += [] if stall_s == 30.0 else ["--stall-s", f"{stall_s:g}"]
            asked += [] if memory_gb == 2.0 else ["--memory-gb", f"{memory_gb:g}"]
            if processes != 15 and result.verdict.state != "unstable":
                asked += ["--processes", str(processes)]
            console.write(console.out(), f"\nNext: {escape(_next(result, model, device, asked))}")
    if code:
        raise SystemExit(code)


def _seconds(text: str) -> float:
    """Of a duration such as '10m', '90s', '1.5h' or '600'."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+) ?(h|min|m|s|)", text.strip())
    if match is None or not float(match[1]):
        raise InputError(f"--sustained {text!r} is not a duration", hint="for example 10m, 90s or 1h")
    return float(match[1]) * _UNITS_S[match[2]]


def _milliseconds(text: str) -> float:
    """Of a budget."""
    if text.strip().endswith("%"):
        raise InputError(
            f"--budget-ms {text!r} is a share of a range, which a search space has and a model file has not",
            hint="give milliseconds, for example --budget-ms 5",
        )
    try:
        budget_ms = float(text)
    except ValueError:
        budget_ms = math.nan
    if not 0 < budget_ms < math.inf:
        raise InputError(f"--budget-ms is milliseconds above 0, not {text!r}", hint="for example --budget-ms 5")
    return budget_ms


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name of an input, and its shape."""
    name, found, sizes = text.rpartition("=")
    if not found or not re.fullmatch(r"(\d{1,18}(,\d{1,18})*)?", sizes, re.ASCII):
        raise InputError(
            f"--shape {text!r} is not a name and a shape",
            hint="for example --shape input=1,3,224,224, or --shape input= for a scalar",
        )
    return name, tuple(map(int, filter(None, sizes.split(","))))


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """Name of an input, and the ends of its range; whole numbers stay integers."""
    name, _, ends = text.rpartition("=")
    low, _, high = ends.partition(":")
    try:
        return name, (_number(low), _number(high))
    except ValueError:
        raise InputError(f"--range {text!r} is not a name and a range", hint="for example --range ids=0:99") from None


def _number(text: str) -> float:
    if re.fullmatch(r"[+-]?\d{1,30}", text.strip(), re.ASCII):
        return int(text)
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


def _latency(text: str) -> Literal["warm", "cold"]:
    if text not in ("warm", "cold"):
        raise InputError(f"--latency {text!r} is neither warm nor cold", hint="--latency cold")
    return "cold" if text == "cold" else "warm"


def _failure(result: Verification) -> BudgetMissedError | UndecidedError | None:
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


def _print(result: Verification, plot: Path | None, *, of_run: bool) -> None:
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
        elif _open(result, name):
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
        _print_sustained(result.sustained, plot)
    if _failure(result) is None:
        screen.print("")
        console.write(screen, _verdict(result))


def _print_sustained(run: Sustained, plot: Path | None) -> None:
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
            "too short": "[yellow]Too short[/] to tell whether it slows down.",
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


def _open(result: Verification, name: str) -> bool:
    """Whether the file leaves the shape of that input open."""
    shape = next(one.shape for one in result.file.inputs if one.name == name)
    return shape is None or None in shape


def _next(result: Verification, model: Path, device: str, asked: list[str]) -> str:
    """The command to run next about a model or a run, with what was `asked` for and holds for it too."""
    from hwnas.devices.statistic import WARM_MEDIAN

    path = str(model)
    command = ["hwnas", "verify", f"./{path}" if path.startswith("-") else path]
    command += [] if device in ("", "host") else ["--device", device]
    for name, shape in result.shapes.items():
        if name not in result.taken_as_one and name not in result.values.arrays and _open(result, name):
            command += ["--shape", f"{name}={','.join(map(str, shape))}"]
    command += asked
    budget_ms, statistic = result.budget_ms, result.verdict.statistic
    command += _asked(statistic)
    if result.verdict.state == "unstable":
        command += ["--processes", "30"]
    elif result.budget_ms is None:
        budget_ms = float(f"{1.1 * result.verdict.judged_ms:.2g}")
    elif result.sustained is None and statistic == WARM_MEDIAN:
        command += ["--sustained", "10m"]
    else:
        command = ["hwnas", "devices", "check", device or result.device.id]
        budget_ms = None
    command += [] if budget_ms is None else ["--budget-ms", f"{budget_ms:g}"]
    return shlex.join(command)


def _asked(statistic: Statistic) -> list[str]:
    """The options that ask for it."""
    asked = [] if statistic.latency == "warm" else ["--latency", statistic.latency]
    return asked + ([] if statistic.percentile == 50 else ["--percentile", str(statistic.percentile)])


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
