"""A folder that holds one sub-folder of images per class."""

from __future__ import annotations

import contextlib
import os
import statistics
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from hwnas.data import image
from hwnas.data.dataset import SMALLEST_CLASS, Dataset, Images, assemble
from hwnas.errors import DataError

LAYOUT = "the layout is FOLDER/CLASS/IMAGE, with JPEG, PNG, WebP or BMP files"
PROBED = 50
SHOWN = 5


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
            f"a class needs at least {SMALLEST_CLASS} images, but in {folder} {_few(small)}",
            hint=f"add images or remove the class folder; {LAYOUT}",
        )
    return classes


def probe(folder: Path) -> int:
    """The median shorter side, in pixels, of up to 50 images spread over the folder; only headers are read.

    Raises:
        DataError: as `scan`, or none of these images can be read.
    """
    files = [file for files in scan(folder).values() for file in files]
    chosen = files[:: -(-len(files) // PROBED)]
    sides = []
    with _bombs_are_errors():
        for file in chosen:
            with contextlib.suppress(*image.UNREADABLE):
                sides.append(image.short_side(file))
    if not sides:
        raise DataError(f"none of {len(chosen)} images tried in {folder} can be read", hint=LAYOUT)
    return int(statistics.median(sides))


def load(folder: Path, *, resolution: int, seed: int) -> Dataset:
    """All images as RGB at `resolution` × `resolution`, split by `seed`; they may be mirrored in training.

    Raises:
        DataError: as `scan`, or images that cannot be read; the message names them.
    """
    classes = scan(folder)
    files = [file for files in classes.values() for file in files]
    labels = np.repeat(np.arange(len(classes)), [len(files) for files in classes.values()]).astype(np.int64)
    pixels = np.empty((len(files), 3, resolution, resolution), dtype=np.uint8)

    def read_into(index: int) -> str:
        try:
            pixels[index] = image.read(files[index], resolution=resolution)
        except image.UNREADABLE as error:
            reason = str(error).replace(repr(str(files[index])), "the file") or type(error).__name__
            return f"{str(files[index].relative_to(folder))!r} ({reason})"
        return ""

    with _bombs_are_errors(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        failures = [failure for failure in pool.map(read_into, range(len(files))) if failure]
    if failures:
        raise DataError(
            f"{len(failures)} of {len(files)} images in {folder} cannot be read: {_few(failures)}",
            hint="replace or remove these files",
        )
    name = folder.resolve().name or str(folder)
    return assemble(name, tuple(classes), Images(pixels, labels), seed=seed, flip=True)


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


@contextlib.contextmanager
def _bombs_are_errors() -> Iterator[None]:
    """Refuse images above `PIL.Image.MAX_IMAGE_PIXELS`, where Pillow alone only warns up to twice as many."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _few(items: list[str]) -> str:
    more = f", and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more
