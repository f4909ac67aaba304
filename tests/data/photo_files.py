"""Folders of tiny photographs, in every layout that people have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def pixels(number: int, *, width: int = 24, height: int = 24) -> NDArray[np.uint8]:
    """Colours that no other number has, with contrast, shape (height, width, 3)."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, image: NDArray[Any] | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path, **options)
    return path


def draw(root: Path, counts: Mapping[str, int], *, suffix: str = ".png", first: int = 0, **size: int) -> Path:
    """Images below `root`, as many as said in each folder, all different."""
    number = first
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            save(root / folder / f"{index:03d}{suffix}", pixels(number, **size))
            number += 1
    return root
