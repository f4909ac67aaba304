"""`hwnas.verify`. Without torch, which would take longer to load than some files to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from hwnas.api.arguments import AtLeast0, AtLeast1, Milliseconds, PathArgument, checked
from hwnas.devices.device import Device
from hwnas.devices.measure_file import MEMORY_GB, STALL_S, Verification, measure_file
from hwnas.devices.statistic import Statistic
from hwnas.devices.verdict import MAX_PROCESSES
from hwnas.errors import InputError
from hwnas.events import Events, OnEvent
from hwnas.exporting.manifest import NAME as MANIFEST
from hwnas.exporting.manifest import is_package, lacks_manifest
from hwnas.latency.find import device_to_measure
from hwnas.latency.known_reference import known_reference
from hwnas.run.exported import exported_model
from hwnas.run.model_choice import model_in
from hwnas.run.verify_package import PackageVerification, verify_package

_MAKE_PACKAGE = "hwnas export RUN --package --out DIR"


@checked
def verify(
    model: PathArgument,
    *,
    device: str | PathLike[str] | None = None,
    budget_ms: Milliseconds = None,
    sustained_s: Annotated[float, AtLeast0] = 0.0,
    runtime: str = "",
    provider: str = "",
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[int, int] | tuple[float, float]] | None = None,
    inputs: PathArgument | Mapping[str, Any] | None = None,
    stall_s: float = STALL_S,
    memory_gb: float = MEMORY_GB,
    latency: Literal["warm", "cold"] | None = None,
    percentile: Annotated[int, AtLeast1] = 50,
    processes: Annotated[int, AtLeast1] = MAX_PROCESSES,
    seed: Annotated[int, AtLeast0] = 0,
    run: PathArgument | None = None,
    data: PathArgument | None = None,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> Verification | PackageVerification:
    """Measure a model file on a device, and tell whether it meets a budget. Random inputs are made up for it.

    Of a package everything is checked: its parts, and of each model file on the device what it makes of the golden
    image, of images of the run and of the test images, and its latency.

    Args:
        model: an .onnx, .ort or .tflite file, whoever made it, or the folder of a finished run: then what is not given
            is that of the run. Or a package that `hwnas.export` made. Any other folder means the only model in it.
        device: id of a device, or the path of its TOML file; None for this machine.
        budget_ms: milliseconds that one call may take; None measures only. Of a package it judges every file, and None
            is what the run was to keep, of the file that was searched for.
        sustained_s: seconds to run it without pause after that, to see how it slows down.
        runtime: in place of the one that the file's ending says.
        provider: execution provider or delegate of the runtime, in place of the device's own.
        shapes: of inputs that the file leaves open, by name.
        ranges: of random values by name of the input, both ends included, such as {"ids": (0, 99)}.
        inputs: arrays by name of the input, or an .npz file that has them, in place of random values.
        stall_s: seconds that it may be silent: to load it, or for six calls or so.
        memory_gb: GiB of memory that it may take with its runtime, where the device's system can limit that.
        latency: what the budget is about: 'warm', the default, is called back to back, 'cold' is one call after work
            that evicts caches, as in an app that classifies a frame now and then.
        percentile: of the calls, alike; 50 is the median.
        processes: fresh processes that measure it at most; 5 are enough where the budget is not close.
        run: of a package, the run that it was exported from; None takes the folder above where it is that.
        data: of a package, images whose test part is classified; None takes those of the run.

    Raises:
        InputError: no model, one that the runtime does not run, or shapes or values that do not fit it; or a package
            that is damaged, or is not what it says.
        DeviceError: the device cannot be reached, or fails.
    """
    events, path, precision = Events.of(on_event), Path(model), ""
    package = is_package(path)
    if package and (shapes or ranges or inputs is not None):
        raise InputError("the models of a package read images, not other inputs", hint="name one of its model files")
    if not package and lacks_manifest(path):
        events.say(
            f"{path} lacks {MANIFEST}, without which it is no package: its model is measured alone, and nothing else "
            f"is checked. Put that file back from a copy, or make the package again: {_MAKE_PACKAGE}"
        )
    if not package and (run is not None or data is not None):
        raise InputError(f"run and data are for packages, and {path} is none", hint=f"{_MAKE_PACKAGE} makes one")
    if not package and (own := exported_model(path)) is not None:
        path, target, precision = own.path, own.target, own.target.precision
        budget_ms = own.budget_ms if budget_ms is None else budget_ms
        provider = provider or ("" if device or runtime else target.provider)
        device, runtime, latency = device or target.device, runtime or target.runtime, latency or target.latency
    found = device_to_measure(str(device or "host"))
    if provider:
        found = found.with_runtime(runtime, provider=provider)

    def measure(path: Path, device: Device, budget_ms: float | None, usual: str = "warm") -> Verification:
        return measure_file(
            path,
            device,
            known_reference(events),
            runtime=runtime,
            budget_ms=budget_ms,
            shapes=shapes,
            ranges=ranges,
            arrays=Path(inputs) if isinstance(inputs, str | PathLike) else inputs,
            stall_s=stall_s,
            memory_gb=memory_gb,
            statistic=Statistic(latency or ("cold" if usual == "cold" else "warm"), percentile),
            processes=processes,
            sustained_s=sustained_s,
            seed=seed,
            progress=events,
        )

    if not package:
        return measure(_chosen(path), found.with_runtime(precision=precision), budget_ms)
    return verify_package(
        path,
        found,
        measure,
        runtime=runtime,
        budget_ms=budget_ms,
        run=None if run is None else Path(run),
        data=None if data is None else str(data),
        stall_s=stall_s,
        memory_gb=memory_gb,
        events=events,
    )


def _chosen(path: Path) -> Path:
    """The only model file of a folder that is no run's; the path itself of what is none."""
    try:
        found = model_in(path, command="hwnas verify")
        return found if found.exists() else path
    except OSError:  # a name that is too long; whoever reads the file says so
        return path
