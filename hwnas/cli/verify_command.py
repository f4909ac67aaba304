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
from hwnas.cli.verify_view import failure, is_open, print_verification
from hwnas.errors import INTERRUPTED_EXIT_CODE, InputError
from hwnas.runtimes import known_provider, known_runtime

if TYPE_CHECKING:
    from hwnas.devices.measure_file import Verification
    from hwnas.devices.statistic import Statistic

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@console.verb
def verify(
    model: Annotated[
        Path,
        typer.Argument(
            help="Model file: .onnx, .ort or .tflite, whoever made it; or the folder of a run, or of a package."
        ),
    ],
    device: Annotated[
        str,
        typer.Option(
            help="Device id (see `hwnas devices list`), or a TOML file.", show_default="host, or that of the run"
        ),
    ] = "",
    budget: Annotated[
        str,
        typer.Option(
            "--budget-ms",
            metavar="FLOAT",
            help="Milliseconds that one call may take; of a package, of every file.",
            show_default="none; of a run its own, of a package that of the run, for the file that was searched for",
        ),
    ] = "",
    sustained: Annotated[
        str, typer.Option(help="Then run it without pause for so long, such as 10m or 90s, and see how it slows down.")
    ] = "",
    runtime: Annotated[
        str, typer.Option(help="What runs the file, instead of what its ending says.", callback=known_runtime)
    ] = "",
    provider: Annotated[
        str,
        typer.Option(
            help="Execution provider or delegate that runs it, such as openvino.",
            show_default="the device's own, or that of the run",
            callback=known_provider,
        ),
    ] = "",
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
            help="The latency that the budget is about: warm (back to back) or cold (now and then).",
            show_default="warm, or as the run had it",
        ),
    ] = "",
    percentile: Annotated[
        int,
        typer.Option(min=50, max=99, help="The percentile of the calls that the budget is about; 50 is the median."),
    ] = 50,
    processes: Annotated[int, typer.Option(min=5, help="Fresh processes that measure it at most.")] = 15,
    run: Annotated[
        Path | None, typer.Option(help="Of a package, the run that it was made of.", show_default="the folder above")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Of a package, images whose test part is classified.", show_default="those of the run")
    ] = "",
    plot: Annotated[Path | None, typer.Option(help="Picture of the sustained run: .png, .svg or .pdf.")] = None,
    seed: options.Seed = 0,
    json_: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure a model file on a device, and tell whether it meets a budget.

    Random inputs are made up for it. A missed budget is exit code 4, and one that is too close to tell is 9. Of a run
    the exported model is measured, within the budget and on the device of the run. Of a package everything is checked:
    its parts, and what each model makes of images on the device; other scores than packed are exit code 6. With
    --data, and where the run is at hand, the accuracy that the package claims is measured as well.
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
        provider=provider,
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
        missed_by = [one for one in (failure(file.latency) for file in result.files) if one is not None]
        slowest = min(missed_by, key=lambda one: one.exit_code, default=None)
        end_package(result, result.failure or slowest, json_=json_)
        return
    missed = failure(result)
    interrupted = result.sustained is not None and result.sustained.ended_early == "interrupted"
    code = INTERRUPTED_EXIT_CODE if interrupted else 0 if missed is None else missed.exit_code
    if plot is not None and result.sustained is not None:
        from hwnas.devices.sustained_plot import write_plot

        write_plot(plot, result.sustained, title=model.name, budget_ms=budget_ms)
    if json_:
        ending = {} if missed is None else console.failed(missed)
        if interrupted:
            ending |= {"error": "interrupted", "hint": "let it run to its end", "exit_code": code}
        console.print_json(result.to_json() | ending)
    else:
        print_verification(result, plot, of_run=(model / "result.json").exists())
        if missed is not None and not interrupted:
            raise missed
        if not code:
            asked = ["--runtime", runtime] if runtime else []
            asked += ["--provider", provider] if provider else []
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


def _next(result: Verification, model: Path, device: str, asked: list[str]) -> str:
    """The command to run next about a model or a run, with what was `asked` for and holds for it too."""
    from hwnas.devices.statistic import WARM_MEDIAN

    path = str(model)
    command = ["hwnas", "verify", f"./{path}" if path.startswith("-") else path]
    command += [] if device in ("", "host") else ["--device", device]
    for name, shape in result.shapes.items():
        if name not in result.taken_as_one and name not in result.values.arrays and is_open(result, name):
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
