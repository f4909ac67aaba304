"""Images as .npy files, for processes that train with them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hwnas.data.dataset import Dataset, Images
from hwnas.data.read_ahead import in_small_batches, read_ahead
from hwnas.files import write_chunks


def save_images(dataset: Dataset, folder: Path) -> ImageFacts:
    """Write train and validation images as .npy files; what else is in the data set comes back."""
    for name, part in (("train", dataset.train), ("val", dataset.val)):
        pixels = (one.data for one in read_ahead(part.store, in_small_batches(part.store, part.rows)))
        write_chunks(folder / f"{name}-pixels.npy", itertools.chain([_header(part.shape, "|u1")], pixels))
        labels = np.ascontiguousarray(part.labels, "<i8")
        write_chunks(folder / f"{name}-labels.npy", (_header(labels.shape, "<i8"), labels.data))
    return ImageFacts(dataset.name, dataset.classes, dataset.mean, dataset.std, dataset.flip)


def _header(shape: tuple[int, ...], kind: str) -> bytes:
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@dataclass(frozen=True)
class ImageFacts:
    """What `save_images` gives; see `Dataset`."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool


def saved_images(arrays: Mapping[str, NDArray[Any]], facts: ImageFacts) -> Dataset:
    """The train and validation images that `save_images` wrote; the latter stand for the test images as well.

    Args:
        arrays: the content of the files, by their names without .npy.
    """
    train_part, val = (Images(arrays[f"{part}-pixels"], arrays[f"{part}-labels"]) for part in ("train", "val"))
    return Dataset(facts.name, facts.classes, train_part, val, val, facts.mean, facts.std, facts.flip)
