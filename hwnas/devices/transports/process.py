"""Run a program on the host, and give what it writes line by line."""

from __future__ import annotations

import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence

from hwnas.errors import DeviceError

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

    The program is killed when the iterator is closed or anything is raised, Ctrl-C included.

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
            child = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=stderr)
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
            child.kill()
            child.wait()


def ended(program: str, code: int, stderr: bytes) -> ProgramError:
    """The error that a program ended with `code`, and the last line that it wrote to stderr."""
    last = stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
    text = f"{program} ended early with code {code}: {last[0]}"
    return ProgramError(text, hint=HINT, code=code, stderr=stderr)


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
