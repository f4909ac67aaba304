"""Read the arrays of an .npz file that nobody vouches for: never a pickle, and nothing larger than it says."""

from __future__ import annotations

import lzma
import math
import os
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
                shape = _checked_shape(file, entry.file_size, key, self.path)
            with archive.open(entry) as file:
                yield file, shape

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        with _readable(self.path, ".npz", "np.savez_compressed"), zipfile.ZipFile(self.path) as archive:
            yield archive


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        DataError: as `Archive.read`.
    """
    with _readable(path, ".npy", "np.save"), path.open("rb") as file:
        _checked_shape(file, os.fstat(file.fileno()).st_size, path.name, path)
        file.seek(0)
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _checked_shape(file: IO[bytes], file_bytes: int, key: str, path: Path) -> tuple[int, ...]:
    """The shape in an array's header, once that is known to be harmless."""
    version = npy.read_magic(file)
    if version not in _READERS:
        raise ValueError(f"the array {key!r} has format version {version[0]}.{version[1]}")
    shape, _, dtype = _READERS[version](file)
    if dtype.hasobject:
        raise DataError(
            f"arrays must hold numbers or text, but {key!r} of {path} holds Python objects",
            hint="hwnas never unpickles; store it with a type such as np.uint8 or str",
        )
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes > LARGEST_BYTES:
        raise DataError(
            f"an array may take {LARGEST_BYTES / 2**30:.3g} GiB, but {key!r} of {path} has shape "
            f"{shape} and type {dtype}, {size_bytes / 2**30:.3g} GiB",
            hint="store fewer or smaller images, as uint8",
        )
    if min(shape, default=0) < 0 or file_bytes != file.tell() + size_bytes:
        raise ValueError(f"the array {key!r} has another length than its header says")
    return tuple(shape)


@contextmanager
def _readable(path: Path, kind: str, writer: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as {kind}: {reason}", hint=f"write it again with {writer}") from error
