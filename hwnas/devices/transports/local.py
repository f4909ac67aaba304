"""The machine that hwnas runs on: files are where they are, and a program is a child process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from hwnas.devices.transports.process import lines
from hwnas.progress import Advance


class Local:
    """This machine."""

    def put(self, paths: Sequence[Path], advance: Advance) -> list[str]:
        advance(len(paths))
        return [str(path) for path in paths]

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        return lines(command, stdin, stall_s=stall_s)

    def remove(self, paths: Sequence[str]) -> None:
        pass

    def close(self) -> None:
        pass
