"""Small pools of images whose classes can be told apart, and latencies that are made up."""

from __future__ import annotations

import numpy as np

from hwnas.data import Images
from hwnas.meta.pools import ClassPool


def a_pool(classes: int = 10, images: int = 12, size: int = 8, groups: int = 0, textures: bool = False) -> ClassPool:
    """Each class a pattern of its own in noise; the names of its classes have groups if there are any.

    Args:
        textures: the patterns are stripes of some grey in some direction, which a small network can learn to tell.
    """
    rng = np.random.default_rng(0)
    patterns = rng.integers(40, 216, (classes, 1, size, size))
    if textures:
        rows, columns = np.mgrid[:size, :size]
        turns = [rows % 2, columns % 2, (rows + columns) % 2, np.ones_like(rows)]
        levels = np.linspace(30, 225, (classes + 3) // 4)
        patterns = np.stack([levels[k // 4] * turns[k % 4] for k in rng.permutation(classes)])[:, None]
    noise = rng.normal(0, 25, (classes, images, 1, size, size))
    pixels = (patterns[:, None] + noise).clip(0, 255).astype(np.uint8).reshape(-1, 1, size, size)
    names = [f"letters{index % groups}/{index}" if groups else f"c{index}" for index in range(classes)]
    return ClassPool("patterns", tuple(names), Images(pixels, np.repeat(np.arange(classes), images)), (0.5,), (0.25,))
