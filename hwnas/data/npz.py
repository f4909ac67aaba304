"""Read the arrays of an .npz file that nobody vouches for: never a pickle, and nothing larger than it says."""

from __future__ import annotations

import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from hwnas.data.resize import LARGEST_BYTES
from hwnas.errors import DataError

_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    KeyError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile and numpy raise on a damaged or hostile file; encryption is a RuntimeError."""

_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Archive:
    """The arrays of one file, by key. It is opened for every access and held open by none."""

    def __init__(self, path: Path) -> None:
        """Look at the list of arrays.

        Raises:
            DataError: the file cannot be read or is no .npz file.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a file", hint="give the path of an .npz file")
        with self._opened() as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        self.keys = frozenset(members)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array, from its header.

        Raises:
            DataError: as `read`.
        """
        with self._member(key) as (_, shape):
            return shape

    def read(self, key: str) -> NDArray[Any]:
        """One array.

        Raises:
            DataError: it is damaged, holds Python objects, or is larger than `LARGEST_BYTES`.
        """
        with self._member(key) as (file, _):
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array

    @contextmanager
    def _member(self, key: str) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
        """An array's file, at its beginning, and the shape in its header, once that is known to be harmless."""
        with self._opened() as archive:
            entry = archive.getinfo(f"{key}.npy")
            with archive.open(entry) as file:
                version = npy.read_magic(file)
                if version not in _READERS:
                    raise ValueError(f"the array {key!r} has format version {version[0]}.{version[1]}")
                shape, _, dtype = _READERS[version](file)
                header_bytes = file.tell()
            if dtype.hasobject:
                raise DataError(
                    f"arrays must hold numbers or text, but {key!r} of {self.path} holds Python objects",
                    hint="hwnas never unpickles; store it with a type such as np.uint8 or str",
                )
            size_bytes = math.prod(shape) * dtype.itemsize
            if size_bytes > LARGEST_BYTES:
                raise DataError(
                    f"an array may take {LARGEST_BYTES / 2**30:.3g} GiB, but {key!r} of {self.path} has shape "
                    f"{shape} and type {dtype}, {size_bytes / 2**30:.3g} GiB",
                    hint="store fewer or smaller images, as uint8",
                )
            if min(shape, default=0) < 0 or entry.file_size != header_bytes + size_bytes:
                raise ValueError(f"the array {key!r} has another length than its header says")
            with archive.open(entry) as file:
                yield file, shape

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except DataError:
            raise
        except _UNREADABLE as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            raise DataError(
                f"{self.path} cannot be read as .npz: {reason}", hint="write it again with np.savez_compressed"
            ) from error
