"""Run a program on the host, and give what it writes line by line."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence

from hwnas.errors import DeviceError

_FATAL = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)  # of Python's faulthandler, as is the next
_SILENT = re.compile(r"^Timeout \((\d+):(\d\d):(\d\d)", re.MULTILINE)
_SIGNALS = {
    "Floating point exception": signal.SIGFPE,
    "Segmentation fault": signal.SIGSEGV,
    "Aborted": signal.SIGABRT,
    "Illegal instruction": getattr(signal, "SIGILL", None),
    "Bus error": getattr(signal, "SIGBUS", None),
}
_MEANINGS = {
    "SIGFPE": "arithmetic that is not possible",
    "SIGKILL": "often because memory ran out",
}
HINT = "measure again; if it fails again, run the models one at a time to find the one that breaks the runtime"


class ProgramError(DeviceError):
    """A program failed.

    Attributes:
        code: that it ended with; None where it was silent and was stopped.
        stderr: what it wrote there.
    """

    def __init__(self, message: str, *, hint: str = "", code: int | None = None, stderr: bytes = b"") -> None:
        super().__init__(message, hint=hint)
        self.code, self.stderr = code, stderr

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, such as 'SIGSEGV'; empty where none did."""
        try:
            return signal.Signals(-(self.code or 0)).name
        except ValueError:
            return ""


def lines(command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
    """The lines that the program writes to stdout, as they come.

    The program is killed, with all that it started, when the iterator is closed or anything is raised, Ctrl-C included.

    Args:
        stall_s: longest wait for the next line, in seconds.

    Raises:
        DeviceError: the program cannot be started.
        ProgramError: it ends with another code than 0, or is silent for `stall_s` seconds.
    """
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as stderr:
        source.write(stdin)
        source.seek(0)
        try:
            group = 0 if os.name == "posix" else None
            child = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=stderr, process_group=group)
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]}: {error.strerror or error}") from error
        try:
            yield from _lines(child, stall_s)
            code = child.wait(timeout=stall_s)
            if code:
                stderr.seek(0)
                raise ended(command[0], code, stderr.read())
        except (queue.Empty, subprocess.TimeoutExpired):
            raise silent(command[0], stall_s) from None
        finally:
            _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: nothing but zombies, on macOS
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def ended(program: str, code: int | None, stderr: bytes) -> ProgramError:
    """The error that a program ended by itself.

    Args:
        code: above 0 its exit code, or 128 more than the number of a signal; below 0 that of a signal; None for a
            signal that nobody tells.
        stderr: what it wrote there, of which the last line is told, or what faulthandler says of a signal.
    """
    said = stderr.decode(errors="replace")
    if found := _SILENT.search(said):
        hours, minutes, seconds = map(int, found.groups())
        return silent(program, 3600 * hours + 60 * minutes + seconds)
    fatal = _FATAL.search(said)
    number = _SIGNALS.get(fatal[1]) if fatal else None
    if number is None and code is not None:
        number = -code if code < 0 else code - 128
    if code is None or number in {one.value for one in signal.Signals}:
        name = signal.Signals(number).name if number is not None else "a signal"
        meaning = f" ({_MEANINGS[name]})" if name in _MEANINGS else ""
        return ProgramError(f"{program} was ended by {name}{meaning}", hint=HINT, code=code, stderr=stderr)
    last = said.strip().splitlines()[-1:] or ["no message"]
    return ProgramError(f"{program} ended early with code {code}: {last[0]}", hint=HINT, code=code, stderr=stderr)


def silent(program: str, stall_s: float) -> ProgramError:
    """The error that a program wrote nothing for so long."""
    return ProgramError(f"{program} was silent for {stall_s:g} s and was stopped", hint=HINT)


def _lines(child: subprocess.Popen[bytes], stall_s: float) -> Iterator[bytes]:
    assert child.stdout is not None
    stdout = child.stdout
    received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read() -> None:
        with stdout:
            for line in stdout:
                received.put(line)
        received.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (line := received.get(timeout=stall_s)) is not None:
        yield line
