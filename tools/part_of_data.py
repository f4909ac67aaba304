"""Part of a data set as one .npz file, so that a benchmark on it fits many epochs into few minutes.

    python tools/part_of_data.py --data cifar10 --images 12000 --resolution 16 --out runs/cifar10-12000.npz

The first of a shuffle of the train images, and all test images. `hwnas search --data FILE` splits off the validation
images anew. The files of one seed are equal.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hwnas.data import load_dataset
from hwnas.files import write_bytes


def main(
    data: str = "cifar10",
    images: Annotated[int, typer.Option(min=1, help="Train images to keep, at most.")] = 12_000,
    resolution: int = 16,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("runs/part.npz"),
) -> None:
    """Write the part and say what is in it."""
    dataset = load_dataset(data, resolution=resolution, seed=seed)
    picked = np.random.default_rng(seed).permutation(len(dataset.train))[:images]
    part = dataset.train.subset(picked)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        x_train=part.pixels.transpose(0, 2, 3, 1),
        y_train=part.labels,
        x_test=dataset.test.pixels.transpose(0, 2, 3, 1),
        y_test=dataset.test.labels,
        classes=np.array(dataset.classes),
    )
    write_bytes(out, content.getvalue())
    print(f"{out}: {len(part)} train and {len(dataset.test)} test images of {len(dataset.classes)} classes")


if __name__ == "__main__":
    typer.run(main)
