"""How fast a model file runs on a device, whoever made it, and whether it meets a budget."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwnas.backends.model_facts import READERS, ModelFile, describe, shape_text
from hwnas.devices.device import Condition, Device
from hwnas.devices.input_shapes import Shapes, input_shapes
from hwnas.devices.input_values import InputValues, Ranges, input_values, pixel_ranges
from hwnas.devices.job import Inputs
from hwnas.devices.link import condition_of
from hwnas.devices.measure import Stream, stream_rounds
from hwnas.devices.refusals import hint_for, shortened
from hwnas.devices.runner_aid import INTEGERS
from hwnas.devices.statistic import WARM_MEDIAN, Statistic
from hwnas.devices.sustained import Sustained, check_sustained, run_sustained
from hwnas.devices.verdict import MAX_PROCESSES, Verdict, measure_verdict
from hwnas.display import table_html
from hwnas.errors import ArgumentError, DeviceError, InputError, ModelError, UnreachableError
from hwnas.progress import Progress, Silent
from hwnas.runtimes import RUNTIMES

STALL_S = 30.0
MEMORY_GB = 2.0
LEAST_MEMORY_GB = 0.25
"""With less, runtimes do not start."""


@dataclass(frozen=True)
class ReferenceModel:
    """The model that runs beside a file, so that a disturbed measurement is told from a slow file.

    Attributes:
        write: writes it into a folder, in the format of the device's runtime, and tells its path.
        undisturbed_us: its latency on an undisturbed device of a condition, in microseconds; None where nobody knows.
    """

    write: Callable[[Path, Device], Path]
    undisturbed_us: Callable[[Condition], float | None]


@dataclass(frozen=True)
class Verification:
    """What was measured of a model file.

    Attributes:
        device: with the runtime that ran the file.
        condition: what the latency holds under; its precision is that of the device's tables, not of the file.
        shapes: of every input, as measured.
        taken_as_one: inputs of which the file leaves the batch size open, so that it was 1.
        values: of inputs, where they were given.
        sustained: the run without pause, where one was asked for.
    """

    file: ModelFile
    device: Device
    condition: str
    shapes: Shapes
    taken_as_one: tuple[str, ...]
    budget_ms: float | None
    verdict: Verdict
    sustained: Sustained | None
    values: InputValues = field(default_factory=InputValues)

    @property
    def budget_met(self) -> bool | None:
        """False where it is missed, cool or after a sustained run; None without a budget, or when that is open.

        A sustained run tells medians of calls back to back: above the budget, others are above it, too; within it, that
        is open for them.
        """
        met = self.verdict.budget_met
        if self.budget_ms is None or met is not True or self.sustained is None:
            return met
        within = self.sustained.within(self.budget_ms)
        return None if within and self.verdict.statistic != WARM_MEDIAN else within

    def _repr_html_(self) -> str:
        facts = {"device": f"{self.device.id}, {self.condition}", self.verdict.statistic.label: self.verdict.measured}
        return table_html(f"{self.file.path}: {self.verdict.state}", facts)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; latencies are milliseconds of one call."""
        one = self.verdict
        return {
            "model": str(self.file.path),
            "file": self.file.to_json(),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "taken_as_one": list(self.taken_as_one),
            "values": self.values.to_json(),
            "device": self.device.id,
            "runtime": self.device.runtime,
            **({} if self.device.provider is None else {"provider": self.device.provider}),
            "threads": self.device.threads,
            "pin": self.device.pin,
            "condition": self.condition,
            "budget_ms": self.budget_ms,
            "budget_met": self.budget_met,
            "verdict": one.state,
            "measured_ms": {
                "median": one.median_ms,
                "p90": one.p90_ms,
                "p99": one.p99_ms,
                "cold": one.cold_ms,
                "judged": one.judged_ms,
                "statistic": one.statistic.label,
                "bounds": list(one.bounds_ms),
                "processes": one.processes,
                "n": one.n,
                "rejected": one.rejected,
                "rejected_rounds": one.rounds - one.n,
                "calls": one.calls,
                "all_rounds_median": one.all_rounds_median_ms,
            },
            "sustained": None if self.sustained is None else self.sustained.to_json(),
        }


def measure_file(
    path: Path,
    device: Device,
    reference_model: ReferenceModel,
    *,
    runtime: str = "",
    budget_ms: float | None = None,
    shapes: Shapes | None = None,
    ranges: Ranges | None = None,
    arrays: Path | Mapping[str, Any] | None = None,
    stall_s: float = STALL_S,
    memory_gb: float = MEMORY_GB,
    statistic: Statistic = WARM_MEDIAN,
    processes: int = MAX_PROCESSES,
    sustained_s: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
    stream: Stream | None = None,
) -> Verification:
    """Measure a model file on a device: alone, beside the reference model, and on request without pause as well.

    Args:
        reference_model: what is measured beside it.
        runtime: what runs the file; by default what its ending says.
        budget_ms: None measures only.
        shapes: of inputs by name; those that the file leaves open need one, but for the batch size, which is 1.
        ranges: of random values by name of the input, both ends included; files that say that they read pixels have
            one from 0 to 255.
        arrays: inputs by name, or an .npz file that has them; in place of random values.
        stall_s: longest time that it may take to load, and for six calls or so, in seconds.
        memory_gb: the most memory that it may take with its runtime, in GiB.
        statistic: the latency that the budget is about.
        processes: how many fresh processes measure it at most; 5 are enough where the budget is not close.
        sustained_s: seconds to run it without pause after that; 0 does not.
        stream: measures one process; another than `stream_rounds` in tests.

    Raises:
        InputError: no model, one that the runtime does not run, or shapes or values that do not fit it.
        DeviceError: the device cannot be reached, or fails.
    """
    check_limits(stall_s, memory_gb)
    file = describe(path)
    device = reader(device, file, runtime)
    values = input_values(file, (ranges or {}) if arrays else pixel_ranges(file, device) | dict(ranges or {}), arrays)
    shapes = _with_arrays(shapes or {}, values)
    resolved, taken_as_one = input_shapes(file, shapes)
    _check_device(device, file, shapes, values)
    _check_size(file, memory_gb)
    if sustained_s:
        check_sustained(device, sustained_s)
    given = {name: shape for name, shape in resolved.items() if name in shapes}
    condition = condition_of(device)
    progress = progress or Silent()
    name, reference_us = path.name, reference_model.undisturbed_us(condition)
    with tempfile.TemporaryDirectory() as folder:
        reference = reference_model.write(Path(folder), device)
        inputs = Inputs(given, values.ranges, tuple(values.arrays), values.write(Path(folder)))
        limits: dict[str, Any] = {"stall_s": stall_s, "memory_bytes": int(memory_gb * 2**30)}
        own = stream or functools.partial(
            stream_rounds,
            singles=True,
            cold=statistic.told_by(device),
            inputs={name: inputs},
            label=f"measuring {name}",
            **limits,
        )
        try:
            verdict = measure_verdict(
                device,
                {name: path},
                reference,
                budget_ms=budget_ms,
                statistic=statistic,
                reference_us=reference_us,
                processes=processes,
                seed=seed,
                progress=progress,
                label=f"measuring {name}",
                stream=own,
            )[name]
            sustained = None
            if sustained_s:
                sustained = run_sustained(
                    device,
                    name,
                    path,
                    reference,
                    sustained_s,
                    inputs=inputs,
                    seed=seed,
                    progress=progress,
                    **limits,
                )
        except UnreachableError:
            raise
        except DeviceError as error:
            if f"model {name!r}" not in str(error):
                raise
            raise _refusal(error, device, file) from error
    at = condition.folder.as_posix()
    return Verification(file, device, at, resolved, taken_as_one, budget_ms, verdict, sustained, values)


def check_limits(stall_s: float, memory_gb: float) -> None:
    """Refuse limits that nothing could run within.

    Raises:
        ArgumentError: they are that; the command line says its option in place of the argument.
    """
    for name, limit, least in (("stall_s", stall_s, 1.0), ("memory_gb", memory_gb, LEAST_MEMORY_GB)):
        if not least <= limit <= 1e6:
            rule = f"must be from {least:g} to a million, not {limit:g}"
            raise ArgumentError(f"{name} {rule}", argument=name, rule=rule)


def _refusal(error: DeviceError, device: Device, file: ModelFile) -> InputError | DeviceError:
    """The error that the file does not run: bad input where the runtime refuses it, else the device's fault."""
    text = str(error).removeprefix("measuring failed: ")
    if not isinstance(error, ModelError):
        return DeviceError(text, hint=hint_for(text))
    reason = text.removeprefix(f"model {file.path.name!r}: ")
    integer = next((one.name for one in file.inputs if one.dtype in INTEGERS), "INPUT")
    return InputError(
        f"{device.runtime} on {device.id} does not run {file.path}: {shortened(reason)}",
        hint=hint_for(reason).replace("INPUT", integer),
    )


def _with_arrays(shapes: Shapes, values: InputValues) -> Shapes:
    """The shapes that are given, and those of arrays."""
    for name, array in values.arrays.items():
        if name in shapes and tuple(shapes[name]) != array.shape:
            raise InputError(
                f"the input {name!r} is given the shape {shape_text(shapes[name])} and an array of the shape "
                f"{shape_text(array.shape)}",
                hint="leave out the shape",
            )
    return {**shapes, **{name: array.shape for name, array in values.arrays.items()}}


def reader(device: Device, file: ModelFile, runtime: str = "") -> Device:
    """The device with the runtime that runs the file: the one that is asked for, its own, or what the ending says.

    Raises:
        InputError: the runtime that is asked for does not read such files, or there is no such runtime.
    """
    suffix = f".{file.format}"
    known = READERS[suffix]
    chosen = device.with_runtime(runtime or (device.runtime if device.runtime in known else known[0]))
    if chosen.runtime not in known:
        raise InputError(
            f"{file.path} is a {suffix} file, which {chosen.runtime} does not run",
            hint=f"leave out --runtime, or name {known[0]}",
        )
    return chosen


def _check_size(file: ModelFile, memory_gb: float) -> None:
    lacking = [name for name in file.external if not (file.path.parent / name).is_file()]
    if lacking:
        raise InputError(
            f"{file.path} keeps its weights in {lacking[0]}, which is no file beside it",
            hint="copy that file too, or save the model as one file: onnx.save(onnx.load(...), ...)",
        )
    if file.size_bytes > memory_gb * 2**30:
        raise InputError(
            f"{file.path} has {file.size_bytes / 2**30:.3g} GiB, more than the {memory_gb:g} GiB of memory that it may "
            "take",
            hint="--memory-gb gives it more, if the device has it",
        )


def _check_device(device: Device, file: ModelFile, shapes: Shapes, values: InputValues) -> None:
    if device.adb is not None and device.adb.runner is not None:
        if not RUNTIMES[device.runtime].has_benchmark_model:
            raise InputError(f"{device.id} measures with benchmark_model, which runs .tflite files, not {file.path}")
        if shapes or values.ranges:
            raise InputError(
                f"{device.id} measures with benchmark_model, to which hwnas cannot tell shapes and values of inputs",
                hint="write the shapes into the file, or name a Python on the phone in [adb] python",
            )
    if device.transport != "local" and file.external:
        raise InputError(
            f"{file.path} keeps its weights in {file.external[0]}, which is not copied to {device.id}",
            hint="save it as one file: onnx.save(onnx.load(...), ...)",
        )
