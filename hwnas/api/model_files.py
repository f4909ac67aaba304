"""`hwnas.verify`, `hwnas.predict` and `hwnas.write_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.devices.device import load_device
from hwnas.devices.measure_file import MEMORY_GB, STALL_S, Verification, measure_file
from hwnas.devices.statistic import Statistic
from hwnas.devices.verdict import MAX_PROCESSES
from hwnas.events import Events, OnEvent
from hwnas.exporting.predict import OnUnreadable, Prediction
from hwnas.exporting.predict import predict as classify
from hwnas.latency.known_reference import known_reference
from hwnas.report import page
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_marker import check_replaceable


@checked
def verify(
    model: PathArgument,
    *,
    device: str | PathLike[str] = "host",
    budget_ms: float | None = None,
    sustained_s: Annotated[float, AtLeast0] = 0.0,
    runtime: str = "",
    shapes: Mapping[str, Sequence[int]] | None = None,
    ranges: Mapping[str, tuple[int, int] | tuple[float, float]] | None = None,
    inputs: PathArgument | Mapping[str, Any] | None = None,
    stall_s: float = STALL_S,
    memory_gb: float = MEMORY_GB,
    latency: Literal["warm", "cold"] = "warm",
    percentile: Annotated[int, AtLeast1] = 50,
    processes: Annotated[int, AtLeast1] = MAX_PROCESSES,
    seed: Annotated[int, AtLeast0] = 0,
    on_event: OnEvent | Sequence[OnEvent] = (),
) -> Verification:
    """Measure a model file on a device, and tell whether it meets a budget. Random inputs are made up for it.

    Args:
        model: an .onnx, .ort or .tflite file, whoever made it.
        device: id of a device, or the path of its TOML file.
        budget_ms: milliseconds that one call may take; None measures only.
        sustained_s: seconds to run it without pause after that, to see how it slows down.
        runtime: in place of the one that the file's ending says.
        shapes: of inputs that the file leaves open, by name.
        ranges: of random values by name of the input, both ends included, such as {"ids": (0, 99)}.
        inputs: arrays by name of the input, or an .npz file that has them, in place of random values.
        stall_s: seconds that it may be silent: to load it, or for six calls or so.
        memory_gb: GiB of memory that it may take with its runtime, where the device's system can limit that.
        latency: what the budget is about: 'warm' is called back to back, 'cold' is one call after work that evicts
            caches, as in an app that classifies a frame now and then.
        percentile: of the calls, alike; 50 is the median.
        processes: fresh processes that measure it at most; 5 are enough where the budget is not close.

    Raises:
        InputError: no model, one that the runtime does not run, or shapes or values that do not fit it.
        DeviceError: the device cannot be reached, or fails.
    """
    events = Events.of(on_event)
    return measure_file(
        Path(model),
        load_device(str(device)),
        known_reference(events),
        runtime=runtime,
        budget_ms=budget_ms,
        shapes=shapes,
        ranges=ranges,
        arrays=Path(inputs) if isinstance(inputs, str | PathLike) else inputs,
        stall_s=stall_s,
        memory_gb=memory_gb,
        statistic=Statistic(latency, percentile),
        processes=processes,
        sustained_s=sustained_s,
        seed=seed,
        progress=events,
    )


@checked
def predict(
    model: PathArgument,
    images: Sequence[str | PathLike[str]] | str | PathLike[str],
    *,
    top: Annotated[int, AtLeast1] = 3,
    on_unreadable: OnUnreadable | None = None,
) -> tuple[Prediction, ...]:
    """Classify images with an exported model, as an app does: from the metadata of the file alone.

    Args:
        model: a model file, or the folder of a finished run.
        images: image files, and folders of which all images are taken, those of sub-folders included; also .npy and
            .npz files, which may hold several images.
        top: classes to tell for each.
        on_unreadable: is told of every image that cannot be read, and the others are classified; without it, the first
            one raises.

    Raises:
        InputError: the model is missing, damaged, or was not exported by hwnas.
        DataError: an image cannot be read.
        ExportError: the model computes what is no number.
    """
    path = Path(model)
    files = [images] if isinstance(images, str | PathLike) else images
    file = RunFolder(path).exported if path.is_dir() else path
    return tuple(classify(file, list(map(Path, files)), top=top, on_unreadable=on_unreadable))


@checked
def write_report(run: PathArgument) -> Path:
    """Write `report.html` of a finished run again.

    Raises:
        InputError: the folder holds no finished run, or a report.html of somebody else.
        StorageError: the page cannot be written.
    """
    folder = RunFolder(Path(run))
    check_replaceable(folder.path, folder.report)
    (page.write_front if page.is_front(folder) else page.write_report)(folder)
    return folder.report
