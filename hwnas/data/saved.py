"""Images as .npy files, for processes that train with them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwnas.data.dataset import Dataset, Images
from hwnas.files import write_bytes


def save_images(dataset: Dataset, folder: Path) -> ImageFacts:
    """Write train and validation images as .npy files; what else is in the data set comes back."""
    for name, part in (("train", dataset.train), ("val", dataset.val)):
        for kind, array in (("pixels", part.pixels), ("labels", part.labels)):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_bytes(folder / f"{name}-{kind}.npy", buffer.getvalue())
    return ImageFacts(dataset.name, dataset.classes, dataset.mean, dataset.std, dataset.flip)


@dataclass(frozen=True)
class ImageFacts:
    """What `save_images` gives; see `Dataset`."""

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool


def load_images(folder: Path, facts: ImageFacts) -> Dataset:
    """The train and validation images that `save_images` wrote; the latter stand for the test images as well."""
    train_part, val = (
        Images(np.load(folder / f"{part}-pixels.npy", mmap_mode="r"), np.load(folder / f"{part}-labels.npy"))
        for part in ("train", "val")
    )
    return Dataset(facts.name, facts.classes, train_part, val, val, facts.mean, facts.std, facts.flip)
