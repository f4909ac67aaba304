"""What every kind of image source can do."""

from __future__ import annotations

from typing import Protocol

from hwnas.data.dataset import Dataset


class Source(Protocol):
    """Images somewhere, found but not loaded yet."""

    def native_shape(self) -> tuple[int, int]:
        """(channels, resolution in pixels) that the images have by nature; as few of them are read as can be.

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

    def load(self, *, resolution: int, seed: int) -> Dataset:
        """All images at `resolution` × `resolution` pixels, split by `seed`.

        Raises:
            DataError: the images or labels cannot be used.
        """
        ...
