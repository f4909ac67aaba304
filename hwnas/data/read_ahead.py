"""Read images in threads while earlier ones are used."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from hwnas.data.stores import Store

AHEAD = 3
"""Batches that are read, or being read, beside the one that is used."""

_FEW_BYTES = 2 * 2**20
_PIECE = 8  # images of a batch that a thread reads at once

Room = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Makes an array of a shape to read into."""


def _room(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


def read_ahead(store: Store, batches: Iterable[NDArray[np.int64]], room: Room = _room) -> Iterator[NDArray[np.uint8]]:
    """Pixels (B, C, H, W) of one batch of rows after the other.

    The threads of the store read up to `AHEAD` further batches meanwhile. What comes, and in which order, does not
    depend on them. They end with the iterator, whether it is used up, closed or let go.

    Raises:
        DataError: an image cannot be read; it comes in the place of the batch that it is in.
    """
    if not store.threads:
        for rows in batches:
            pixels = room((len(rows), *store.shape))
            store.read(rows, pixels)
            yield pixels
        return
    waiting: deque[tuple[NDArray[np.uint8], list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(store.threads, thread_name_prefix="hwnas-images")
    try:
        for rows in batches:
            pixels = room((len(rows), *store.shape))
            starts = range(0, len(rows), _PIECE)
            pieces = [(rows[start : start + _PIECE], pixels[start : start + _PIECE]) for start in starts]
            waiting.append((pixels, [pool.submit(store.read, *piece) for piece in pieces]))
            if len(waiting) > AHEAD:
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def in_small_batches(store: Store, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows in batches of about 2 MiB, for those who look at every image once."""
    size = max(1, _FEW_BYTES // math.prod(store.shape))
    return np.split(rows, range(size, len(rows), size))


def _finished(pixels: NDArray[np.uint8], pieces: list[Future[None]]) -> NDArray[np.uint8]:
    for piece in pieces:
        piece.result()
    return pixels
