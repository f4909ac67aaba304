"""`hwnas.verify`, `hwnas.predict` and `hwnas.write_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated

from hwnas.api.arguments import AtLeast0, AtLeast1, PathArgument, checked
from hwnas.devices.device import load_device
from hwnas.devices.measure_file import Verification, measure_file
from hwnas.devices.verdict import MIN_PROCESSES
from hwnas.events import Events, OnEvent
from hwnas.export.predict import Prediction
from hwnas.export.predict import predict as classify
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
    processes: Annotated[int, AtLeast1] = MIN_PROCESSES,
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
        processes: fresh processes that measure it.

    Raises:
        InputError: no model, one that the runtime does not run, or shapes that do not fit it.
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
) -> tuple[Prediction, ...]:
    """Classify images with an exported model, as an app does: from the metadata of the file alone.

    Args:
        model: a model file, or the folder of a finished run.
        images: image files.
        top: classes to tell for each.

    Raises:
        InputError: the model is missing, damaged, or was not exported by hwnas.
        DataError: an image cannot be read.
    """
    path = Path(model)
    files = [images] if isinstance(images, str | PathLike) else images
    return tuple(classify(RunFolder(path).exported if path.is_dir() else path, list(map(Path, files)), top=top))


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
