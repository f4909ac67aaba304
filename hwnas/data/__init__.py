"""Images to search and train on: a built-in set, or a folder with one sub-folder per class."""

from __future__ import annotations

from pathlib import Path

from hwnas.data import digits, folder
from hwnas.data.batches import batches, to_input
from hwnas.data.dataset import Dataset, Images, split
from hwnas.errors import InputError

__all__ = ["Dataset", "Images", "batches", "class_names", "load_dataset", "native_shape", "split", "to_input"]


def load_dataset(source: str, *, resolution: int, seed: int) -> Dataset:
    """Load `digits` or a folder of class folders, as `resolution` × `resolution` pixels, split by `seed`.

    Raises:
        InputError: `source` is neither, or the resolution is not positive.
        DataError: the folder or its images cannot be used.
    """
    if resolution < 1:
        raise InputError(f"the resolution must be at least 1 pixel, but it is {resolution}", hint="for example 32")
    if source == "digits":
        return digits.load(resolution=resolution, seed=seed)
    return folder.load(_existing(source), resolution=resolution, seed=seed)


def native_shape(source: str) -> tuple[int, int]:
    """(channels, resolution) that the images of `source` have by nature, without loading them.

    For a folder: 3 channels, and the median shorter side in pixels of up to 50 images.

    Raises:
        InputError: as `load_dataset`.
    """
    if source == "digits":
        return 1, digits.NATIVE_RESOLUTION
    return 3, folder.probe(_existing(source))


def class_names(source: str) -> tuple[str, ...]:
    """The classes of `source`, without reading an image.

    Raises:
        InputError: as `load_dataset`.
    """
    if source == "digits":
        return digits.CLASSES
    return tuple(folder.scan(_existing(source)))


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{source!r} is neither a built-in data set nor a folder that can be opened: {reason}",
            hint=f"accepted are 'digits' and the path of a folder; {folder.LAYOUT}",
        ) from error
    return path
