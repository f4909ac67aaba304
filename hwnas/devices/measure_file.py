"""How fast a model file runs on a device, whoever made it, and whether it meets a budget."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.backends.model_facts import READERS, ModelFile, describe
from hwnas.devices.device import Condition, Device
from hwnas.devices.input_shapes import Shapes, input_shapes
from hwnas.devices.link import condition_of
from hwnas.devices.measure import Stream, stream_rounds
from hwnas.devices.sustained import Sustained, check_sustained, run_sustained
from hwnas.devices.verdict import MIN_PROCESSES, Verdict, measure_verdict
from hwnas.display import ms, table_html
from hwnas.errors import InputError, ModelError
from hwnas.progress import Progress, Silent
from hwnas.runtimes import RUNTIMES

_LONGEST_TEXT = 300


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

    def _repr_html_(self) -> str:
        facts = {"device": f"{self.device.id}, {self.condition}", "median": f"{ms(self.verdict.median_ms)} ms"}
        return table_html(f"{self.file.path}: {self.verdict.state}", facts)

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


def measure_file(
    path: Path,
    device: Device,
    reference_model: ReferenceModel,
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
        reference_model: what is measured beside it.
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
    name, reference_us = path.name, reference_model.undisturbed_us(condition)
    own = stream or functools.partial(stream_rounds, singles=True, shapes={name: given}, label=f"measuring {name}")
    with tempfile.TemporaryDirectory() as folder:
        reference = reference_model.write(Path(folder), device)
        try:
            for count in (processes, 3 * processes):
                verdict = measure_verdict(
                    device,
                    {name: path},
                    reference,
                    budget_ms=budget_ms,
                    reference_us=reference_us,
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
        if not RUNTIMES[device.runtime].has_benchmark_model:
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
