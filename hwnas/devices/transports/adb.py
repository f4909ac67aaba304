"""An Android device over the `adb` client of Android's platform tools."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hwnas.devices.transports.address_rules import COMMAND, PATH, PLAIN
from hwnas.devices.transports.process import ProgramError, lines
from hwnas.devices.transports.remote import CONNECT_S, Remote, ended_there
from hwnas.errors import DeviceError, UnreachableError

_TELL_END = '"$@"; code=$?; echo "hwnas-command-ended $code"; exit $code'
_END = re.compile(rb"hwnas-command-ended ([0-9]{1,3})\r?\n$")
_REFUSED = re.compile(r"remote (?:couldn't create file: |write failed: )?(.+)")


@dataclass(frozen=True)
class AdbAddress:
    """Which device, and what measures on it: `runner` or `python`, one of both.

    Attributes:
        serial: as `adb devices` lists it; None is the only device there is.
        runner: path on the device of LiteRT's benchmark_model.
        python: a Python on the device that has the runtime, as one would call it in `adb shell`.
        workdir: folder for models on the device.
    """

    serial: Annotated[str, PLAIN] | None = None
    runner: Annotated[str, PATH] | None = None
    python: Annotated[str, COMMAND] | None = None
    workdir: Annotated[str, PATH] = "/data/local/tmp/hwnas"


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
        said: list[bytes] = []
        try:
            said.extend(lines([*self._adb, "push", str(source), target], stall_s=self.copying_s(source)))
        except ProgramError as error:
            self._see()
            text = b"".join([*said, error.stderr]).decode(errors="replace")
            reason = _REFUSED.search(text)
            if reason is None:
                raise self._lost() from error
            raise DeviceError(
                f"{target} cannot be written on the device: {reason[1]}",
                hint="see that workdir in the device's TOML is a folder that may be written, and that there is room",
            ) from error

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        """As every transport. The shell tells the end of the command, because adb also ends with code 0 when it is cut.

        Raises:
            UnreachableError: that was not told.
        """
        remote = shlex.join(["sh", "-c", _TELL_END, "sh", *command])
        failed: ProgramError | None = None
        code: int | None = None
        try:
            with contextlib.closing(lines([*self._adb, "shell", remote], stdin, stall_s=stall_s)) as said:
                for line in said:
                    end = _END.search(line)
                    code = int(end[1]) if end else code
                    if content := line[: end.start()] if end else line:
                        yield content
        except ProgramError as error:
            failed = error
        if failed is not None and failed.code is None:
            self._see()
            raise failed
        if code is None:
            self._see()
            raise self._lost() from failed
        if code:
            raise ended_there(command[0], code, failed.stderr if failed else b"")

    def close(self) -> None:
        pass

    def _lost(self) -> UnreachableError:
        return UnreachableError(f"the link to {self._name} was cut", hint="plug it in again: finished rounds are kept")

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
