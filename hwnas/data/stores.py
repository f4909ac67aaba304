"""Where pixels are: in memory, or in image files behind a file of those that were decoded already."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwnas.data.cache import folder
from hwnas.data.record_file import RecordFile
from hwnas.data.resize import fitted
from hwnas.files import CACHE_VARIABLE
from hwnas.image_size import Size
from hwnas.torchrun import launch

Shape = tuple[int, int, int]
"""(channels, height, width)."""

_MOST_THREADS = 8
_HASHED, _NAMED = 256, 65_536  # images at a time, by their pixels and by their contents


class Store(Protocol):
    """Pixels of equal shape by row; rows are never removed or changed.

    Attributes:
        shape: of one image.
        threads: that read ahead while images are used; 0 where that would gain nothing.
    """

    @property
    def shape(self) -> Shape: ...

    @property
    def threads(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Fill `out`, contiguous and of shape (len(rows), C, H, W); may be called by several threads at once.

        Raises:
            DataError: an image cannot be read, or is no longer as it was.
        """
        ...

    def identity(self, rows: NDArray[np.int64]) -> Iterator[bytes | memoryview]:
        """Pieces of bytes that are the same if and only if the pixels are."""
        ...

    def resized(self, rows: NDArray[np.int64], resolution: Size) -> tuple[Store, NDArray[np.int64]]:
        """A store with these images at another size, and their rows in it."""
        ...


class ArrayStore:
    """An array of shape (N, C, H, W), values 0..255."""

    threads = 0

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels

    @property
    def shape(self) -> Shape:
        _, channels, height, width = self.pixels.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        out[:] = self.pixels[rows]

    def identity(self, rows: NDArray[np.int64]) -> Iterator[memoryview]:
        for start in range(0, len(rows), _HASHED):
            yield np.ascontiguousarray(self.pixels[rows[start : start + _HASHED]]).data

    def resized(self, rows: NDArray[np.int64], resolution: Size) -> tuple[Store, NDArray[np.int64]]:
        return ArrayStore(fitted(self.pixels[rows], resolution, "crop")), np.arange(len(rows))


class FileStore:
    """Image files, each decoded when it is first read and kept in a file of records from then on.

    What cannot be kept, for want of room or of permission, is decoded anew each time, and told once.
    """

    def __init__(
        self,
        shape: Shape,
        decode: Callable[[int], NDArray[np.uint8]],
        contents: NDArray[np.bytes_],
        *,
        reading: str,
        at: Callable[[Size], FileStore],
        keep: Callable[[int, int], RecordFile | None],
        tell: Callable[[str], None],
        threads: int,
    ) -> None:
        """Prepare it; no image is read.

        Args:
            decode: gives the pixels of a row, of that shape.
            contents: of each row, a hash of the file, by which sets are compared.
            reading: names the way in which files become pixels.
            at: gives the store of the same files at another size.
            keep: opens the file of so many records of so many bytes; None where there is none to be.
            tell: where a message goes that is not worth an error.
        """
        self.shape, self.threads = shape, threads
        self._decode, self._contents, self._reading, self._at, self._tell = decode, contents, reading, at, tell
        self._kept: RecordFile | None = None
        self._room, self._lock = True, threading.Lock()
        try:
            self._kept = keep(len(contents), math.prod(shape))
        except OSError as error:
            self._give_up(error)

    def __len__(self) -> int:
        return len(self._contents)

    def read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        for row, pixels in zip(map(int, rows), out, strict=True):
            if self._kept is not None and self._kept.read(row, pixels):
                continue
            pixels[:] = self._decode(row)
            if self._kept is not None and self._room:
                try:
                    self._kept.write(row, pixels)
                except OSError as error:
                    self._give_up(error)

    def identity(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        yield self._reading.encode()
        for start in range(0, len(rows), _NAMED):
            yield self._contents[rows[start : start + _NAMED]].tobytes()

    def resized(self, rows: NDArray[np.int64], resolution: Size) -> tuple[Store, NDArray[np.int64]]:
        return self._at(resolution), rows

    def _give_up(self, error: OSError) -> None:
        """Go on without keeping more."""
        with self._lock:
            first, self._room = self._room, False
        if first:
            self._tell(
                f"images are decoded in every epoch, as they cannot be kept in {folder()}: {error.strerror or error}; "
                f"free some space there, or name another folder in {CACHE_VARIABLE}"
            )


def loader_threads(threads: int) -> int:
    """How many threads read ahead by default: the cores that `threads` of training leave, but at least one.

    Processes of torchrun share the cores of their machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, max(1, cores // launch().local_count - threads))
