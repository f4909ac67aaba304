"""A folder that holds one sub-folder of images per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwnas.data import image
from hwnas.data.cache import cached
from hwnas.data.dataset import SMALLEST_CLASS, Dataset, Images, assemble
from hwnas.data.encoded import decode, few, median_side, spread
from hwnas.errors import DataError

LAYOUT = "the layout is FOLDER/CLASS/IMAGE, with JPEG, PNG, WebP or BMP files"


def scan(folder: Path) -> dict[str, list[Path]]:
    """The image files of each class, both sorted by name; no file is opened. Hidden files are ignored.

    Raises:
        DataError: the folder is missing or not a folder, has fewer than two classes, or has a class with fewer
            than 3 images.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise DataError(f"the image folder {folder} {problem}", hint=LAYOUT)
    classes = {entry.name: _images(entry) for entry in _entries(folder) if entry.is_dir()}
    if not classes:
        raise DataError(f"{folder} has no class folders", hint=LAYOUT)
    unprintable = [name for name in classes if not name.isprintable()]
    if unprintable:
        raise DataError(f"a class name must be printable text, but {folder} has {unprintable[0]!r}", hint="rename it")
    if len(classes) == 1:
        raise DataError(
            f"at least two classes are needed, but {folder} has one class folder, {next(iter(classes))!r}", hint=LAYOUT
        )
    small = [f"{name!r} has {len(files)}" for name, files in classes.items() if len(files) < SMALLEST_CLASS]
    if small:
        raise DataError(
            f"a class needs at least {SMALLEST_CLASS} images, but in {folder} {few(small)}",
            hint=f"add images or remove the class folder; {LAYOUT}",
        )
    return classes


class Folder:
    """The images of a folder, in RGB; they may be mirrored in training."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def native_shape(self) -> tuple[int, int]:
        files = [file for files in scan(self._path).values() for file in files]
        return 3, median_side(spread(files), where=self._path)

    def classes(self) -> tuple[str, ...]:
        return tuple(scan(self._path))

    def load(self, *, resolution: int, seed: int) -> Dataset:
        found = scan(self._path)
        files = [file for files in found.values() for file in files]
        labels = np.repeat(np.arange(len(found)), [len(files) for files in found.values()]).astype(np.int64)
        pixels = cached(
            files,
            (len(files), 3, resolution, resolution),
            lambda: decode(
                len(files),
                files.__getitem__,
                lambda index: repr(str(files[index].relative_to(self._path))),
                resolution=resolution,
                where=self._path,
            ),
        )
        name = self._path.resolve().name or str(self._path)
        return assemble(name, tuple(found), Images(pixels, labels), seed=seed, flip=True)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror or error}", hint="check the permissions of the folder"
        ) from error


def _images(folder: Path) -> list[Path]:
    # A dangling link counts, to be reported when it is read; pipes and devices do not: opening them could block.
    return [
        entry
        for entry in _entries(folder)
        if entry.suffix.lower() in image.SUFFIXES and (entry.is_file() or not entry.exists())
    ]
