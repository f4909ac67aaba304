from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from made_up_parents import CLASSES, SIZE

from hwnas.data import Dataset, Images


@pytest.fixture
def dataset() -> Callable[[int], Dataset]:
    """A data set of so many channels, whose classes are seen in its brightness and noise."""

    def made(channels: int = 3) -> Dataset:
        rng = np.random.default_rng(0)

        def images(count: int) -> Images:
            labels = np.arange(count) % CLASSES
            noise = rng.normal(0, 10 + 10 * labels[:, None, None, None], (count, channels, SIZE, SIZE))
            pixels = np.clip(40 + 35 * labels[:, None, None, None] + noise, 0, 255).astype(np.uint8)
            return Images(pixels, labels.astype(np.int64))

        parts = images(60), images(20), images(20)
        return Dataset("made up", tuple("abcde"), *parts, (0.4,) * channels, (0.2,) * channels, flip=True)

    return made
