"""What every kind of image source can do."""

from __future__ import annotations

from typing import Protocol

from hwnas.data.dataset import Dataset
from hwnas.image_size import Size


class Source(Protocol):
    """Images somewhere, found but not loaded yet."""

    def native_shape(self) -> tuple[int, Size]:
        """(channels, size) that the images have by nature; as few of them are read as can be.

        Raises:
            DataError: they cannot be read.
        """
        ...

    def classes(self) -> tuple[str, ...]:
        """The name of each class; no image is read.

        Raises:
            DataError: they cannot be read.
        """
        ...

    def load(self, *, resolution: Size, seed: int) -> Dataset:
        """All images at a size, split by `seed`.

        Raises:
            DataError: the images or labels cannot be used.
        """
        ...
