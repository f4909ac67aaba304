"""Images to search and train on: built-in sets, folders, .npz files, and data sets of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hwnas.data.array_npz import ArrayNpz
from hwnas.data.batches import batches, to_input
from hwnas.data.dataset import Dataset, Images, resized, split
from hwnas.data.digits import Digits
from hwnas.data.from_torch import from_torch
from hwnas.data.image_folder import LAYOUT, Folder
from hwnas.data.jpeg_npz import JpegNpz
from hwnas.data.known import cifar10, mnist, omniglot
from hwnas.data.npz import Archive
from hwnas.data.source import Source
from hwnas.errors import InputError
from hwnas.files import user_path

__all__ = [
    "Dataset",
    "Images",
    "batches",
    "class_names",
    "from_torch",
    "load_dataset",
    "native_shape",
    "resized",
    "split",
    "to_input",
]

_BUILT_IN: Mapping[str, Callable[[], Source]] = {
    "digits": Digits,
    "mnist": mnist,
    "cifar10": cifar10,
    "omniglot": omniglot,
}


def load_dataset(source: str, *, resolution: int, seed: int) -> Dataset:
    """Load images as `resolution` × `resolution` pixels, split by `seed` where they come without a split.

    Args:
        source: `digits`, `mnist`, `cifar10`, `omniglot`, a folder of class folders, or an .npz file.

    Raises:
        InputError: `source` is none of these, or the resolution is not positive.
        DataError: the images cannot be used, or those of `mnist`, `cifar10` or `omniglot` are not on this machine.
    """
    if resolution < 1:
        raise InputError(f"the resolution must be at least 1 pixel, but it is {resolution}", hint="for example 32")
    return _source(source).load(resolution=resolution, seed=seed)


def native_shape(source: str) -> tuple[int, int]:
    """(channels, resolution) that the images of `source` have by nature, without loading them.

    Of files of any size it is the median shorter side in pixels of up to 50 of them.

    Raises:
        InputError: as `load_dataset`.
    """
    return _source(source).native_shape()


def class_names(source: str) -> tuple[str, ...]:
    """The classes of `source`, without reading an image.

    Raises:
        InputError: as `load_dataset`.
    """
    return _source(source).classes()


def _source(source: str) -> Source:
    if source in _BUILT_IN:
        return _BUILT_IN[source]()
    path = user_path(source)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{source!r} is neither a built-in data set nor a folder or .npz file that can be opened: {reason}",
            hint=f"accepted are {', '.join(map(repr, _BUILT_IN))}, the path of an .npz file or a folder; {LAYOUT}",
        ) from error
    if path.suffix.lower() != ".npz" or path.is_dir():
        return Folder(path)
    archive = Archive(path)
    if archive.keys & {"jpeg", "offsets"}:
        return JpegNpz(archive, name=path.stem)
    return ArrayNpz(archive, name=path.stem)
