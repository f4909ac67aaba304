"""Batches that several processes compute together, each its own part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """Which images of every batch a process computes.

    Attributes:
        index, count: number of the process, from 0, and how many there are.
    """

    index: int = 0
    count: int = 1

    def of(self, images: int) -> slice:
        """Its part of a batch of so many images: consecutive ones, as many as others have, or one more or less.

        A batch of fewer than two images for each process is computed by all of them, whole.
        """
        if images < 2 * self.count:
            return slice(0, images)
        return slice(images * self.index // self.count, images * (self.index + 1) // self.count)


EVERY = slice(None)
"""All images of a batch."""

WHOLE = Shard()
"""Of a process alone: all images."""
