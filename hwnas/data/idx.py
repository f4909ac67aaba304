"""IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from hwnas.errors import DataError

_UINT8 = 0x08
_LARGEST_BYTES = 2**30


def read_idx(path: Path, *, axes: int) -> NDArray[np.uint8]:
    """The array of a file of unsigned bytes, gzipped if its name ends in .gz.

    Args:
        axes: how many the array must have: 3 for images, 1 for labels.

    Raises:
        DataError: the file cannot be read, holds something else, or is shorter or longer than its header says.
    """
    with _opened(path, axes) as (file, shape):
        content = file.read(math.prod(shape))
        if len(content) < math.prod(shape) or file.read(1):
            raise EOFError(f"it is cut off, or something is behind its end: its header says {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def idx_shape(path: Path, *, axes: int) -> tuple[int, ...]:
    """The shape in the header of a file.

    Raises:
        DataError: as `read_idx`.
    """
    with _opened(path, axes) as (_, shape):
        return shape


@contextmanager
def _opened(path: Path, axes: int) -> Iterator[tuple[BinaryIO, tuple[int, ...]]]:
    """The file, behind its header, and the shape in the header."""
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb") as file:
            magic, expected = file.read(4), bytes([0, 0, _UINT8, axes])
            if magic != expected:
                raise ValueError(f"it must start with {expected.hex()}, but starts with {magic.hex() or 'nothing'}")
            shape: tuple[int, ...] = struct.unpack(f">{axes}I", file.read(4 * axes))
            if math.prod(shape) > _LARGEST_BYTES:
                raise ValueError(f"its header says {shape} bytes, which is more than {_LARGEST_BYTES >> 20} MiB")
            yield file, shape
    except (OSError, ValueError, EOFError, zlib.error, struct.error, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as IDX: {reason}", hint="fetch the file again") from error
