"""An Android device over the `adb` client of Android's platform tools."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hwnas.devices.transports.process import ProgramError, lines
from hwnas.devices.transports.remote import CONNECT_S, Remote, ended_there
from hwnas.errors import DeviceError, UnreachableError
from hwnas.schema import NOT_EMPTY


@dataclass(frozen=True)
class AdbAddress:
    """Which device, and what measures on it: `runner` or `python`, one of both.

    Attributes:
        serial: as `adb devices` lists it; None is the only device there is.
        runner: path on the device of LiteRT's benchmark_model.
        python: a Python on the device that has the runtime, as one would call it in `adb shell`.
        workdir: folder for models on the device.
    """

    serial: Annotated[str, NOT_EMPTY] | None = None
    runner: Annotated[str, NOT_EMPTY] | None = None
    python: Annotated[str, NOT_EMPTY] | None = None
    workdir: Annotated[str, NOT_EMPTY] = "/data/local/tmp/hwnas"


class Adb(Remote):
    """A device that `adb` has at hand.

    Raises:
        UnreachableError: there is no such device, or it does not allow debugging.
        DeviceError: there is no adb.
    """

    def __init__(self, address: AdbAddress) -> None:
        super().__init__(address.workdir)
        self._adb = ["adb", *(["-s", address.serial] if address.serial else [])]
        self._name = address.serial or "the Android device"
        self._see()

    def send(self, source: Path, target: str) -> None:
        for _ in self._run(["push", str(source), target], stall_s=self.copying_s(source)):
            pass

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        try:
            yield from self._run(["shell", shlex.join(command)], stdin, stall_s=stall_s)
        except ProgramError as error:
            if error.code is None:
                raise
            raise ended_there(command[0], error) from error

    def close(self) -> None:
        pass

    def _run(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        try:
            yield from lines([*self._adb, *command], stdin, stall_s=stall_s)
        except DeviceError:
            self._see()  # what failed on a device that is there is no matter of the link
            raise

    def _see(self) -> None:
        try:
            state = b"".join(lines([*self._adb, "get-state"], stall_s=3 * CONNECT_S)).decode().strip()
        except DeviceError as error:
            if isinstance(error.__cause__, OSError):
                raise DeviceError(str(error), hint="install Android's platform tools: adb must be on PATH") from error
            raise UnreachableError(
                f"{self._name} cannot be reached: {error}",
                hint="see that it is plugged in, allows USB debugging by this computer, and is in adb devices -l",
            ) from error
        if state != "device":
            raise UnreachableError(f"{self._name} is {state!r}, not ready", hint="unlock it, or plug it in again")
