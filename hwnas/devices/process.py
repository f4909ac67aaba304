"""Run a program that takes one JSON job on stdin and answers with JSON lines on stdout."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import IO, Any

from hwnas.errors import DeviceError

_HINT = "measure again; if it fails again, run the models one at a time to find the one that breaks the runtime"


def events(
    command: Sequence[str], job: Mapping[str, Any], *, environment: Mapping[str, str], stall_s: float
) -> Generator[dict[str, Any], None, None]:
    """The lines the program writes, as they come, up to and without {"event": "done"}.

    The program is killed when the iterator is closed or anything is raised, Ctrl-C included.

    Args:
        stall_s: longest wait for the next line, in seconds.

    Raises:
        DeviceError: the program cannot be started, reports an error, dies before it is done, writes what is not
            JSON, or is silent for `stall_s` seconds.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(json.dumps(job).encode())
        stdin.seek(0)
        try:
            child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment)
        except OSError as error:
            raise DeviceError(f"cannot start {command[0]}: {error.strerror or error}") from error
        try:
            for line in _lines(child, stall_s):
                event = _parse(line)
                if event["event"] == "error":
                    raise DeviceError(f"measuring failed: {event['message']}", hint="check that model file")
                if event["event"] == "done":
                    return
                yield event
            code = child.wait(timeout=stall_s)
            raise DeviceError(f"measuring ended early with code {code}: {_last_line(stderr)}", hint=_HINT)
        finally:
            child.kill()
            child.wait()


def _lines(child: subprocess.Popen[bytes], stall_s: float) -> Iterator[bytes]:
    assert child.stdout is not None
    stdout = child.stdout
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def read() -> None:
        with stdout:
            for line in stdout:
                lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=stall_s)
        except queue.Empty:
            raise DeviceError(f"measuring was silent for {stall_s:g} s and was stopped", hint=_HINT) from None
        if line is None:
            return
        yield line


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or "event" not in event:
        raise DeviceError(f"measuring answered {line[:200]!r}, which is no event", hint=_HINT)
    return event


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
