"""Read the arrays of an .npz file that nobody vouches for: never a pickle, and nothing larger than it says."""

from __future__ import annotations

import lzma
import math
import os
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hwnas.data.cache import SHARE, folder
from hwnas.data.resize import LARGEST_BYTES
from hwnas.errors import DataError, StorageError
from hwnas.files import private_folder

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
    struct.error,
    lzma.LZMAError,
)
"""What zipfile and numpy raise on a damaged or hostile file; encryption is a RuntimeError."""

_READ_AT_ONCE = 2**20
_LENGTHS_AT = 26  # of the name and of the extra field, in the header of an entry, which they follow
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class _Member:
    """An array in the archive.

    Attributes:
        file: open at the beginning of the header.
        header_bytes: how long that is.
        offset: where the values are in the archive, if they are not compressed.
    """

    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    header_bytes: int
    offset: int | None


@dataclass(frozen=True)
class Pieces:
    """An array of which pieces are read.

    Attributes:
        read: gives the bytes from `start` to `stop` of an array of uint8 with one axis; for several threads at once.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    read: Callable[[int, int], bytes]


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
        with self._member(key) as member:
            return member.shape

    def read(self, key: str) -> NDArray[Any]:
        """One array.

        Raises:
            DataError: it is damaged, holds Python objects, or is larger than `LARGEST_BYTES`.
        """
        with self._member(key) as member:
            array: NDArray[Any] = npy.read_array(member.file, allow_pickle=False)
        return array

    def pieces(self, key: str) -> Pieces:
        """An array that is not held in memory: where it is compressed, it is unpacked into a file without a name.

        Its checksum is compared once, here. It is in memory all the same where it is compressed and there is no room in
        the cache folder.

        Raises:
            DataError: as `read`.
        """
        with self._member(key) as member:
            read = _unpacked(member) if member.offset is None else self._stored(member.file, member.offset)
        if read is None:
            content = self.read(key)
            return Pieces(member.dtype, member.shape, lambda start, stop: content[start:stop].tobytes())
        return Pieces(member.dtype, member.shape, read)

    def _stored(self, member: IO[bytes], begin: int) -> Callable[[int, int], bytes]:
        """What reads the values of an array from the archive, once its checksum was compared."""
        while member.read(_READ_AT_ONCE):
            pass

        def read(start: int, stop: int) -> bytes:
            with self.path.open("rb", buffering=0) as file:
                file.seek(begin + start)
                return file.read(stop - start)

        return read

    @contextmanager
    def _member(self, key: str) -> Iterator[_Member]:
        """An array, at the beginning of its header, once that is known to be harmless."""
        with self._opened() as archive:
            entry = archive.getinfo(f"{key}.npy")
            with archive.open(entry) as file:
                shape, dtype = _checked_header(file, entry.file_size, key, self.path)
                header_bytes = file.tell()
            plain = entry.compress_type == zipfile.ZIP_STORED
            with archive.open(entry) as file:
                yield _Member(file, shape, dtype, header_bytes, self._begin(entry) + header_bytes if plain else None)

    def _begin(self, entry: zipfile.ZipInfo) -> int:
        """Where the content of an entry is, behind its own header, whose name and extra field may be of any length."""
        with self.path.open("rb") as file:
            file.seek(entry.header_offset + _LENGTHS_AT)
            name, extra = struct.unpack("<HH", file.read(4))
        return entry.header_offset + _LENGTHS_AT + 4 + int(name) + int(extra)

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        with _readable(self.path, ".npz", "np.savez_compressed"), zipfile.ZipFile(self.path) as archive:
            yield archive


def _unpacked(member: _Member) -> Callable[[int, int], bytes] | None:
    """What reads the values of an array from a file that is gone with its last reader; None where there is no room."""
    if not hasattr(os, "pread"):
        return None
    size_bytes = math.prod(member.shape) * member.dtype.itemsize
    try:
        private_folder(folder())  # people's photos
        if size_bytes > SHARE * shutil.disk_usage(folder()).free:
            return None
        file = tempfile.TemporaryFile(dir=folder())  # noqa: SIM115  (closed with its last reader)
    except (OSError, StorageError):
        return None
    member.file.read(member.header_bytes)
    while piece := member.file.read(_READ_AT_ONCE):
        try:
            file.write(piece)
            file.flush()
        except OSError:
            file.close()
            return None
    return lambda start, stop: os.pread(file.fileno(), stop - start, start)


def read_npy(path: Path) -> NDArray[Any]:
    """The array of an .npy file.

    Raises:
        DataError: as `Archive.read`.
    """
    with _readable(path, ".npy", "np.save"), path.open("rb") as file:
        _checked_header(file, os.fstat(file.fileno()).st_size, path.name, path)
        file.seek(0)
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _checked_header(file: IO[bytes], file_bytes: int, key: str, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type in an array's header, once that is known to be harmless."""
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
    return tuple(shape), dtype


@contextmanager
def _readable(path: Path, kind: str, writer: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except _UNREADABLE as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        raise DataError(f"{path} cannot be read as {kind}: {reason}", hint=f"write it again with {writer}") from error
