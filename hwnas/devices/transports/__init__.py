"""Reaching a device: one protocol of four functions, and what implements it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from hwnas.progress import Advance


class Transport(Protocol):
    """A way to a device that is open.

    Every function raises `UnreachableError` where the device cannot be reached (any more), and `DeviceError` where it
    can but does not do what was asked.
    """

    def put(self, paths: Sequence[Path], advance: Advance) -> list[str]:
        """Have these files on the device, and tell their paths there.

        A file is copied only where none with its checksum is there; what arrives is checked. `advance` is called once
        for every file.
        """
        ...

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        """Run a command, and give the lines that it writes to stdout as they come. Closing the iterator ends it.

        Args:
            stall_s: longest wait for the next line, in seconds.

        Raises:
            DeviceError: the command cannot be started, ends with another code than 0, or is silent for too long.
        """
        ...

    def remove(self, paths: Sequence[str]) -> None:
        """Remove files that `put` copied."""
        ...

    def close(self) -> None: ...
