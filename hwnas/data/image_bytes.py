"""The bytes of an image file, whatever has taken its place since it was found."""

from __future__ import annotations

import os
import stat
from pathlib import Path

LARGEST_BYTES = 2**30
"""No larger image file is read."""


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; a pipe or a device is opened without waiting, and not read.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than `LARGEST_BYTES`.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("it is not a regular file")
        if facts.st_size > LARGEST_BYTES:
            raise OSError(f"it has more than {LARGEST_BYTES >> 20} MiB")
        return file.read(facts.st_size)
