"""How fast a model file runs on a device, whoever made it, and whether it meets a budget."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.backends.model_facts import READERS, ModelFile, Tensor, describe, shape_text
from hwnas.devices.device import Device
from hwnas.devices.link import condition_of
from hwnas.devices.measure import Stream, stream_rounds
from hwnas.devices.sustained import Sustained, check_sustained, run_sustained
from hwnas.devices.verdict import MIN_PROCESSES, Verdict, measure_verdict
from hwnas.errors import InputError, ModelError, TableError
from hwnas.latency.find import find_folder
from hwnas.latency.measured_models import write_reference_model
from hwnas.latency.table_files import load_table
from hwnas.progress import Progress, Silent

_LONGEST_TEXT = 300
Shapes = Mapping[str, Sequence[int]]
_MADE_UP = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64")  # what the runner has random values of


@dataclass(frozen=True)
class Verification:
    """What was measured of a model file.

    Attributes:
        device: with the runtime that ran the file.
        condition: what the latency holds under; its precision is that of the device's tables, not of the file.
        shapes: of every input, as measured.
        taken_as_one: inputs of which the file leaves the batch size open, so that it was 1.
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

    @property
    def budget_met(self) -> bool | None:
        """False where it is missed, cool or after a sustained run; None without a budget, or when that is open."""
        met = self.verdict.budget_met
        if self.budget_ms is None or met is not True or self.sustained is None:
            return met
        return self.sustained.within(self.budget_ms)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; latencies are milliseconds of one call."""
        one = self.verdict
        return {
            "model": str(self.file.path),
            "file": self.file.to_json(),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "taken_as_one": list(self.taken_as_one),
            "device": self.device.id,
            "runtime": self.device.runtime,
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
                "ci95": list(one.ci95_ms),
                "n": one.n,
                "rejected": one.rejected,
                "rejected_rounds": one.rounds - one.n,
                "calls": one.calls,
                "all_rounds_median": one.all_rounds_median_ms,
            },
            "sustained": None if self.sustained is None else self.sustained.to_json(),
        }


def verify(
    path: Path,
    device: Device,
    *,
    runtime: str = "",
    budget_ms: float | None = None,
    shapes: Shapes | None = None,
    processes: int = MIN_PROCESSES,
    sustained_s: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
    stream: Stream | None = None,
) -> Verification:
    """Measure a model file on a device: alone, beside the reference model, and on request without pause as well.

    Args:
        runtime: what runs the file; by default what its ending says.
        budget_ms: None measures only.
        shapes: of inputs by name; those that the file leaves open need one, but for the batch size, which is 1.
        processes: how many fresh processes measure it; three times as many where the interval straddles the budget.
        sustained_s: seconds to run it without pause after that; 0 does not.
        stream: measures one process; another than `stream_rounds` in tests.

    Raises:
        InputError: no model, one that the runtime does not run, or shapes that do not fit it.
        DeviceError: the device cannot be reached, or fails.
    """
    file, shapes = describe(path), shapes or {}
    device = reader(device, file, runtime)
    resolved, taken_as_one = input_shapes(file, shapes)
    _check_device(device, file, shapes)
    if sustained_s:
        check_sustained(device, sustained_s)
    given = {name: shape for name, shape in resolved.items() if name in shapes}
    condition = condition_of(device)
    progress = progress or Silent()
    name = path.name
    own = stream or functools.partial(stream_rounds, singles=True, shapes={name: given})
    with tempfile.TemporaryDirectory() as folder:
        reference = write_reference_model(Path(folder), device)
        try:
            for count in (processes, 3 * processes):
                verdict = measure_verdict(
                    device,
                    {name: path},
                    reference,
                    budget_ms=budget_ms,
                    reference_us=_reference_us(device, progress),
                    processes=count,
                    seed=seed,
                    progress=progress,
                    stream=own,
                )[name]
                if verdict.state != "straddles":
                    break
            sustained = None
            if sustained_s:
                sustained = run_sustained(
                    device, name, path, reference, sustained_s, shapes=given, seed=seed, progress=progress
                )
        except ModelError as error:
            if f"model {name!r}" not in str(error):
                raise
            text = " ".join(str(error).removeprefix(f"measuring failed: model {name!r}: ").split())
            raise InputError(
                f"{device.runtime} on {device.id} does not run {path}: {text[:_LONGEST_TEXT]}",
                hint="it is damaged, its inputs are of another kind or shape than its ops take, or an op is not known "
                "to this version of the runtime",
            ) from error
    return Verification(
        file, device, condition.folder.as_posix(), resolved, taken_as_one, budget_ms, verdict, sustained
    )


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


def _check_device(device: Device, file: ModelFile, shapes: Shapes) -> None:
    if device.adb is not None and device.adb.runner is not None:
        if device.runtime != "litert":
            raise InputError(f"{device.id} measures with benchmark_model, which runs .tflite files, not {file.path}")
        if shapes:
            raise InputError(
                f"{device.id} measures with benchmark_model, to which hwnas cannot tell shapes",
                hint="write the shapes into the file",
            )
    if device.transport != "local" and file.external:
        raise InputError(
            f"{file.path} keeps its weights in {file.external[0]}, which is not copied to {device.id}",
            hint="save it as one file: onnx.save(onnx.load(...), ...)",
        )


def input_shapes(file: ModelFile, given: Shapes) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
    """The shapes that inputs are measured with, and which of them have a batch size of 1 that the file leaves open.

    Raises:
        InputError: there is no input of a name in `given`, a shape contradicts the file, or one is missing.
    """
    names = [one.name for one in file.inputs]
    for name in given:
        if name not in names:
            raise InputError(f"{file.path} has no input {name!r}", hint=f"its inputs: {', '.join(names) or 'none'}")
    result: dict[str, tuple[int, ...]] = {}
    taken = []
    for one in file.inputs:
        if one.dtype not in _MADE_UP:
            raise InputError(
                f"{file.path} has an input {one.name!r} of the type {one.dtype}, for which there are no random values",
                hint=f"inputs of {', '.join(_MADE_UP)} can be measured",
            )
        if one.name in given:
            result[one.name] = _fitting(file, one, given[one.name])
        elif one.shape is None:
            raise _open(file, one, "without a shape")
        else:
            first, rest = one.shape[:1], one.shape[1:]
            if None in rest:
                raise _open(file, one, f"of the open shape {shape_text(one.shape)}")
            if None in first:
                taken.append(one.name)
            result[one.name] = tuple(size or 1 for size in one.shape)
    return result, tuple(taken)


def _open(file: ModelFile, one: Tensor, what: str) -> InputError:
    example = ",".join("1" if index == 0 else str(size or 224) for index, size in enumerate(one.shape or (1, 3, 0, 0)))
    return InputError(
        f"{file.path} has an input {one.name!r} {what}, on which its latency depends",
        hint=f"say with which to measure it: --shape {one.name}={example}",
    )


def _fitting(file: ModelFile, one: Tensor, given: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(given)
    sizes = one.shape if one.shape is not None else (None,) * len(shape)
    fits = len(shape) == len(sizes) and all(own in (None, size) for own, size in zip(sizes, shape, strict=True))
    if not fits or min(shape, default=1) < 1:
        raise InputError(
            f"the input {one.name!r} of {file.path} is {shape_text(one.shape)}, which {shape_text(shape)} does not fit",
            hint="sizes that the file fixes cannot be changed; those shown as ? can",
        )
    return shape


def _reference_us(device: Device, progress: Progress) -> float | None:
    """What the reference model takes undisturbed, by the device's latency table, where there is one."""
    folder = find_folder(condition_of(device), None)
    if folder is None:
        return None
    try:
        return load_table(folder).reference_us or None
    except TableError as error:
        progress.say(f"{error}: what the reference model took before is not known")
        return None
