"""`hwnas.predict` and `hwnas.write_report`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Literal

from hwnas.api.arguments import AtLeast1, PathArgument, checked
from hwnas.exporting.predict import OnUnreadable, Prediction
from hwnas.exporting.predict import predict as classify
from hwnas.report import page
from hwnas.run.model_choice import model_in
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_marker import check_replaceable


@checked
def predict(
    model: PathArgument,
    images: Sequence[str | PathLike[str]] | str | PathLike[str],
    *,
    top: Annotated[int, AtLeast1] = 3,
    format: Literal["", "onnx", "ort", "tflite"] = "",
    precision: Literal["", "fp32", "fp16", "int8"] = "",
    on_unreadable: OnUnreadable | None = None,
) -> tuple[Prediction, ...]:
    """Classify images with an exported model, as an app does: from the metadata of the file alone.

    Args:
        model: a model file, the folder of a finished run, or one that a run was exported to.
        images: image files, and folders of which all images are taken, those of sub-folders included; also .npy and
            .npz files, which may hold several images.
        top: classes to tell for each.
        format, precision: of the file, where a folder holds several; '' is any.
        on_unreadable: is told of every image that cannot be read, and the others are classified; without it, the first
            one raises.

    Raises:
        InputError: the model is missing, damaged, or was not exported by hwnas, or a folder holds several such.
        DataError: an image cannot be read.
        ExportError: the model computes what is no number.
    """
    path = Path(model)
    files = [images] if isinstance(images, str | PathLike) else images
    file = model_in(path, form=format, precision=precision)
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
