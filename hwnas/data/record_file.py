"""One sparse file of equal records with a checksum each, which several processes may read and fill at the same time."""

from __future__ import annotations

import contextlib
import os
import weakref
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CRC_BYTES = 4
_ABSENT = bytes(_CRC_BYTES)


class RecordFile:
    """Records of one size by row, behind a table of their CRC-32, in which 0 says that a record is not there yet.

    A record is written first and its checksum second, so that whatever ends a process, a record that is not whole has
    no checksum that fits, and counts as absent. Two processes that write the same record write the same bytes. Reads
    copy: the pages of a mapping would count as memory of the process, and a disk that is full would kill it.

    While it is open, the file is locked against `remove_unused`.
    """

    def __init__(self, path: Path, count: int, record_bytes: int) -> None:
        """Open the file, or make it.

        Raises:
            OSError: it cannot be opened, made or locked.
        """
        self._record_bytes, self._begin = record_bytes, count * _CRC_BYTES
        self._file = _locked(path)
        weakref.finalize(self, os.close, self._file)
        size = size_bytes(count, record_bytes)
        if os.fstat(self._file).st_size != size:
            os.ftruncate(self._file, size)
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def read(self, row: int, out: NDArray[np.uint8]) -> bool:
        """Fill `out` (contiguous) with a record; False if it is absent or damaged."""
        view = out.data.cast("B")
        try:
            stored = os.pread(self._file, _CRC_BYTES, row * _CRC_BYTES)
            if stored == _ABSENT or os.preadv(self._file, [view], self._begin + row * self._record_bytes) != len(view):
                return False
        except OSError:
            return False
        return stored == _checksum(view)

    def write(self, row: int, record: NDArray[np.uint8]) -> None:
        """Keep a record (contiguous).

        Raises:
            OSError: it cannot be written; it is absent then.
        """
        view = record.data.cast("B")
        _write(self._file, view, self._begin + row * self._record_bytes)
        _write(self._file, memoryview(_checksum(view)), row * _CRC_BYTES)


def size_bytes(count: int, record_bytes: int) -> int:
    """Of a file with all its records."""
    return count * (_CRC_BYTES + record_bytes)


def remove_unused(path: Path) -> bool:
    """Remove a file unless a living process has it open; whether it is gone."""
    import fcntl  # not on Windows

    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        finally:
            os.close(file)
    return not path.exists()


def _locked(path: Path) -> int:
    """The open file; once it is locked, nobody removes it."""
    import fcntl  # not on Windows

    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.fstat(file).st_nlink:
                return file
        except OSError:
            os.close(file)
            raise
        os.close(file)  # it was removed in between


def _checksum(view: memoryview) -> bytes:
    return (zlib.crc32(view) or 1).to_bytes(_CRC_BYTES, "big")


def _write(file: int, view: memoryview, at: int) -> None:
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written
