"""The daemon of an Android phone on loopback, without authentication: what the real `adb` speaks to by `adb connect`.

Messages are those of Android's `adb/protocol.txt`, the shell's packets those of `shell_v2`, and files come by version 1
of `SYNC.TXT`. Commands are run by a shell of this machine: mksh with toybox, as on a phone, where they are installed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

_HEADER, _VERSION, _LARGEST = struct.Struct("<4s5I"), 0x01000000, 256 * 1024
_BANNER = b"device::ro.product.name=phone;ro.product.model=Phone_7;ro.product.device=phone;features=shell_v2,cmd"
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_SHELL = shutil.which("mksh") or "/bin/sh"
_TOYBOX = shutil.which("toybox")
_TOOLS = ("cat", "df", "env", "ls", "mkdir", "mv", "nproc", "rm", "sha256sum", "sleep", "tail", "taskset", "uname")


class GoneError(Exception):
    """The other side has closed the stream, or the connection is cut."""


class Stream:
    """One service that the host opened. Every message to it waits for its acknowledgement, as the protocol asks."""

    def __init__(self, connection: Connection, own: int, other: int) -> None:
        self._connection, self._own, self._other = connection, own, other
        self._received: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._acknowledged = threading.Semaphore(1)
        self._gone = False
        self._rest = b""
        self._sending = threading.Lock()

    def came(self, data: bytes) -> None:
        self._received.put(data)
        self._connection.send(b"OKAY", self._own, self._other)

    def acknowledged(self) -> None:
        self._acknowledged.release()

    def closed(self) -> None:
        self._gone = True
        self._received.put(None)
        self._acknowledged.release()

    def read(self, count: int) -> bytes:
        while len(self._rest) < count:
            data = self._received.get()
            if data is None:
                raise GoneError
            self._rest += data
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def write(self, data: bytes) -> None:
        with self._sending:
            for start in range(0, len(data), _LARGEST):
                self._acknowledged.acquire()
                if self._gone:
                    raise GoneError
                self._connection.send(b"WRTE", self._own, self._other, data[start : start + _LARGEST])

    def close(self) -> None:
        """After what was written has arrived."""
        self._acknowledged.acquire()
        if not self._gone:
            self._connection.send(b"CLSE", self._own, self._other)


class Connection:
    """One host. Every service has a thread of its own."""

    def __init__(self, daemon: AdbDaemon, host: socket.socket) -> None:
        self._daemon, self._host = daemon, host
        self._streams: dict[int, Stream] = {}
        self._sending = threading.Lock()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        magic = int.from_bytes(command, "little") ^ 0xFFFFFFFF
        header = _HEADER.pack(command, first, second, len(data), sum(data) & 0xFFFFFFFF, magic)
        with self._sending, contextlib.suppress(OSError):
            self._host.sendall(header + data)

    def serve(self) -> None:
        """Until the host hangs up, or the cable is pulled."""
        try:
            while True:
                command, first, second, length, _, _ = _HEADER.unpack(self._read(_HEADER.size))
                self._take(command, first, second, self._read(length))
        except (GoneError, OSError):
            for stream in self._streams.values():
                stream.closed()
            self.cut()

    def _take(self, command: bytes, first: int, second: int, data: bytes) -> None:
        if command == b"CNXN":
            self.send(b"CNXN", _VERSION, _LARGEST, _BANNER)
        elif command == b"OPEN":
            own = len(self._streams) + 1
            service = data.rstrip(b"\0").decode()
            start = self._service(service)
            if start is None:
                self.send(b"CLSE", 0, first)
                return
            self._streams[own] = Stream(self, own, first)
            self.send(b"OKAY", own, first)
            threading.Thread(target=self._run, args=(start, self._streams[own]), daemon=True).start()
        elif second in self._streams:
            stream = self._streams[second]
            if command == b"WRTE":
                stream.came(data)
            elif command == b"OKAY":
                stream.acknowledged()
            elif command == b"CLSE":
                stream.closed()

    def _service(self, service: str) -> Callable[[Stream], None] | None:
        name, _, text = service.partition(":")
        if name == "sync":
            return self._daemon.sync
        if name.split(",")[:2] == ["shell", "v2"] and "raw" in name.split(","):
            return lambda stream: self._daemon.shell(stream, text)
        return None

    def _run(self, start: Callable[[Stream], None], stream: Stream) -> None:
        with contextlib.suppress(GoneError):
            start(stream)
            stream.close()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._host.recv(count - len(data))
            if not part:
                raise GoneError
            data += part
        return data

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._host.shutdown(socket.SHUT_RDWR)
        self._host.close()


class AdbDaemon:
    """Listens on loopback.

    Attributes:
        serial: as the host calls it.
        commands, pushed: what was asked of the shell, and paths of the files that came.
    """

    def __init__(self, programs: Path) -> None:
        """Commands find programs in the folder `programs` first."""
        if _TOYBOX is not None:
            for name in _TOOLS:
                (programs / name).symlink_to(_TOYBOX)
        self._environment: Mapping[str, str] = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}
        self.commands: list[str] = []
        self.pushed: list[str] = []
        self._cut_after: int | None = None
        self._connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_after(self, lines: int) -> None:
        """Pull the cable once a command has written so many lines."""
        self._cut_after = lines

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept` too
        self._listener.close()
        for one in self._connections:
            one.cut()

    def _serve(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(Connection(self, host))
            threading.Thread(target=self._connections[-1].serve, daemon=True).start()

    def shell(self, stream: Stream, command: str) -> None:
        self.commands.append(command)
        child = subprocess.Popen(
            [_SHELL, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        threading.Thread(target=self._feed, args=(stream, child), daemon=True).start()
        said = threading.Thread(target=self._tell, args=(stream, _STDERR, child.stderr), daemon=True)
        said.start()
        self._tell(stream, _STDOUT, child.stdout)
        said.join()
        code = child.wait()
        stream.write(_packet(_EXIT, bytes([code if code >= 0 else 128 - code])))

    def _feed(self, stream: Stream, child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        try:
            while True:
                kind, length = struct.unpack("<BI", stream.read(5))
                data = stream.read(length)
                with contextlib.suppress(OSError):  # a program that does not listen
                    if kind == _STDIN:
                        child.stdin.write(data)
                        child.stdin.flush()
                    elif kind == _CLOSE_STDIN:
                        child.stdin.close()
        except GoneError:  # as a phone does to what a host has left
            with contextlib.suppress(OSError):
                os.killpg(child.pid, 1)

    def _tell(self, stream: Stream, kind: int, source: IO[bytes]) -> None:
        while data := os.read(source.fileno(), 65536):
            with contextlib.suppress(GoneError):
                stream.write(_packet(kind, data))
            if kind == _STDOUT and self._cut_after is not None:
                self._cut_after -= data.count(b"\n")
                if self._cut_after <= 0:
                    self._cut_after = None
                    for one in self._connections:
                        one.cut()

    def sync(self, stream: Stream) -> None:
        while True:
            name, length = struct.unpack("<4sI", stream.read(8))
            if name == b"QUIT":
                return
            path = stream.read(length).decode()
            if name == b"STAT":
                found = Path(path).stat() if Path(path).exists() else None
                facts = (found.st_mode, found.st_size, int(found.st_mtime)) if found else (0, 0, 0)
                stream.write(struct.pack("<4s3I", b"STAT", *facts))
            elif name == b"SEND":
                self._receive(stream, *path.rsplit(",", 1))
            elif name == b"RECV":
                content = Path(path).read_bytes()
                for start in range(0, len(content), 65536):
                    part = content[start : start + 65536]
                    stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
                stream.write(struct.pack("<4sI", b"DONE", 0))
            else:
                stream.write(_failure(f"unknown request {name!r}"))
                return

    def _receive(self, stream: Stream, path: str, mode: str) -> None:
        content = b""
        while True:
            name, length = struct.unpack("<4sI", stream.read(8))
            if name == b"DONE":  # the length is a time
                break
            content += stream.read(length)
        try:
            Path(path).write_bytes(content)
            Path(path).chmod(int(mode) & 0o777)
        except OSError as error:
            stream.write(_failure(str(error.strerror)))
            return
        self.pushed.append(path)
        stream.write(struct.pack("<4sI", b"OKAY", 0))


def _packet(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


def _failure(text: str) -> bytes:
    return struct.pack("<4sI", b"FAIL", len(text)) + text.encode()
