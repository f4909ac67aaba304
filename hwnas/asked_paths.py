"""Paths that users name: one that is missing is refused before anything is imported that takes time to load."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hwnas.errors import DataError, InputError
from hwnas.files import user_path
from hwnas.runtimes import readers

BUILT_IN = ("digits", "shapes", "mnist", "cifar10", "omniglot")
"""Names of data sets that are no paths."""

MODELS = f"name a file that ends in {', '.join(readers())}, or the folder of a run or of a package"

LAYOUT = "the layout is FOLDER/CLASS/IMAGE or FOLDER/train/CLASS/IMAGE, or images and a CSV file of labels"


def source_path(source: str) -> Path | None:
    """The path of a data set, which is there; None of a built-in one.

    Raises:
        InputError: it is neither.
    """
    if source in BUILT_IN:
        return None
    path = user_path(source)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{source!r} is neither a built-in data set nor a folder or file that can be opened: {reason}",
            hint=f"accepted are {', '.join(map(repr, BUILT_IN))}, and the path of an .npz, CSV or Parquet file or a "
            f"folder; {LAYOUT}",
        ) from error
    return path


def is_missing(path: Path) -> bool:
    """Whether nothing is there; what cannot be told, whoever reads it tells."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def check_there(path: Path, *, hint: str) -> None:
    """Refuse a path where nothing is.

    Raises:
        InputError: nothing is there.
    """
    if is_missing(path):
        raise InputError(f"cannot read {path}: {os.strerror(errno.ENOENT)}", hint=hint)


def run_folder(path: Path, *, hint: str = "name the folder of a finished run") -> Path:
    """A folder that is there, for a run to be read from.

    Raises:
        InputError: nothing is there, or a file is.
    """
    if is_missing(path):
        raise InputError(f"there is no folder {path}", hint=hint)
    if path.is_file():
        raise InputError(f"{path} is a file, but a run is a folder", hint=hint)
    return path


def missing_model(path: Path) -> InputError:
    """The error of a model file that is not there."""
    return InputError(f"there is no file {path}", hint=MODELS)


def missing_image(path: Path) -> DataError:
    """The error of an image to classify that is not there."""
    return DataError(f"cannot read the image {path}: {os.strerror(errno.ENOENT)}", hint="check the path")
