"""Images as .npy files, for processes that train with them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.data.dataset import Dataset, Images
from hwnas.files import write_bytes


def save_images(dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Write train and validation images as .npy files; what else is in the data set, as JSON."""
    for name, part in (("train", dataset.train), ("val", dataset.val)):
        for kind, array in (("pixels", part.pixels), ("labels", part.labels)):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_bytes(folder / f"{name}-{kind}.npy", buffer.getvalue())
    return {
        "name": dataset.name,
        "classes": list(dataset.classes),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "flip": dataset.flip,
    }


def load_images(folder: Path, facts: dict[str, Any]) -> Dataset:
    """The train and validation images that `save_images` wrote; the latter stand for the test images as well."""
    train_part, val = (
        Images(np.load(folder / f"{part}-pixels.npy", mmap_mode="r"), np.load(folder / f"{part}-labels.npy"))
        for part in ("train", "val")
    )
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    return Dataset(facts["name"], tuple(facts["classes"]), train_part, val, val, mean, std, facts["flip"])
