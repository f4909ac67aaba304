"""Decoded pixels, kept so that images are decoded once."""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from numpy.lib import format as npy
from numpy.typing import NDArray

from hwnas.data.reading import Reading
from hwnas.errors import StorageError
from hwnas.files import cache_folder, private_folder, sha256, write_chunks

LARGEST_BYTES = 4 * 2**30
"""What the cache may hold in all; the least recently used goes first."""

_FORMAT = 2  # of an entry
_PATTERNS = ("*.pixels.npy", ".*.pixels.npy.*")  # the second are those of a process that was killed while writing


def cached(
    files: Sequence[Path],
    shape: tuple[int, ...],
    reading: Reading,
    decode: Callable[[], NDArray[np.uint8]],
    *,
    chosen: str = "",
) -> NDArray[np.uint8]:
    """What `decode` gives: uint8 of that shape, from the cache if these very files were decoded to it before, and read
    in that way.

    A file counts as the same while its path, size and time of change are. A damaged entry is decoded again, and an
    entry that cannot be written is done without. `chosen` says which of the images in the files are decoded.
    """
    key = stats_key(files, f"{_FORMAT} {shape} {reading.key} Pillow {PIL.__version__} {chosen}")
    if key is None:
        return decode()
    path = folder() / f"{key}.pixels.npy"
    kept = _read(path, shape)
    if kept is None:
        kept = decode()
        _write(path, kept)
    return kept


def folder() -> Path:
    """Where the entries are."""
    return cache_folder() / "images"


def stats_key(files: Sequence[Path], more: str, *, whole: bool = True) -> str | None:
    """Text that changes with the path, size or time of change of any of the files, and with `more`.

    None if a file is not there and `whole` is true.
    """
    parts = [more]
    folders: dict[Path, Path] = {}
    for file in files:
        try:
            facts = file.stat()
            if file.parent not in folders:
                folders[file.parent] = file.parent.resolve()
            parts.append(f"{facts.st_size} {facts.st_mtime_ns} {folders[file.parent] / file.name}")
        except (OSError, RuntimeError, ValueError):  # gone, a loop of links, no name: whoever reads it says so
            if whole:
                return None
            parts.append(f"missing {file}")
    return sha256(os.fsencode(chr(0).join(parts)))


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """An .npy file with a CRC-32 behind it; None if it is absent, damaged or something else."""
    header, count = _header(shape), math.prod(shape)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != len(header) + count + 4 or file.read(len(header)) != header:
                return None
            array = np.fromfile(file, np.uint8, count).reshape(shape)
            if file.read() != _checksum(array):
                return None
    except (OSError, ValueError, MemoryError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)
    return array


def _write(path: Path, array: NDArray[np.uint8]) -> None:
    if array.nbytes > LARGEST_BYTES:
        return
    with contextlib.suppress(StorageError, OSError):
        private_folder(path.parent)  # people's photos
        write_chunks(path, (_header(array.shape), array.data, _checksum(array)))
        _shrink(path)


def _header(shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def _shrink(newest: Path) -> None:
    """Remove what was not used for longest, until the rest is within the limit."""
    found = [file for pattern in _PATTERNS for file in newest.parent.glob(pattern) if file != newest]
    facts = {file: file.stat() for file in found}
    room = LARGEST_BYTES - newest.stat().st_size
    for file in sorted(found, key=lambda file: facts[file].st_mtime_ns, reverse=True):
        room -= facts[file].st_size
        if room < 0:
            file.unlink(missing_ok=True)


def _checksum(array: NDArray[np.uint8]) -> bytes:
    return zlib.crc32(array.data).to_bytes(4, "big")
