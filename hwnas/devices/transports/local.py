"""The machine that hwnas runs on: files are where they are, and a program is a child process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hwnas.devices.transports.address_rules import PATH
from hwnas.devices.transports.process import lines
from hwnas.progress import Advance


@dataclass(frozen=True)
class LocalAddress:
    """What measures on this machine in place of the Python that hwnas runs in.

    Attributes:
        python: of another environment, such as ~/openvino/bin/python.
    """

    python: Annotated[str, PATH]

    @property
    def path(self) -> str:
        """The Python, with ~ as the user's home."""
        try:
            return str(Path(self.python).expanduser())
        except RuntimeError:  # the home of a user who is not there
            return self.python


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
