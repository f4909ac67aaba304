"""A board on loopback: the real sshd with throw-away keys, behind a forwarder that cuts the link after so many bytes.

Every connection is served by an sshd of its own (`sshd -i`), so there is no port to guess and nothing to wait for.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.devices.device import Device
from hwnas.devices.transports.ssh_address import SshAddress

SSH = shutil.which("ssh")
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")
_CONFIG = """HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
LogLevel ERROR
SetEnv HOME={folder}
"""


def needs_sshd() -> None:
    """Skip where there is no board to be had."""
    if SSHD is None or SSH is None or shutil.which("ssh-keygen") is None:
        pytest.skip("there is no sshd here, or no ssh: apt-get install openssh-server openssh-client")


class Board:
    """Listens on loopback.

    Attributes:
        cuts: after how many bytes to the host each next connection is cut.
        hangs_up: whether a cut closes the connection, or nothing comes through any more.
        connections: how many there were.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.connections = folder, 0
        self.cuts: list[int] = []
        self.hangs_up = True
        for name in ("host", "user", "stranger"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(command, check=True)
        (folder / "sshd_config").write_text(_CONFIG.format(folder=folder))
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd as root locks its children in
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.trust((folder / "host.pub").read_text())
        self._children: list[subprocess.Popen[bytes]] = []
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def trust(self, public_key: str) -> None:
        """Make it the host key that the host knows."""
        line = f"[127.0.0.1]:{self.port} {' '.join(public_key.split()[:2])}\n" if public_key else ""
        (self.folder / "known_hosts").write_text(line)

    def device(self, *, key: str = "user", pin: int | None = None, runtime: str = "onnxruntime") -> Device:
        address = SshAddress(
            "127.0.0.1",
            getpass.getuser(),
            self.port,
            key=str(self.folder / key),
            known_hosts=str(self.folder / "known_hosts"),
            python=sys.executable,
            workdir=str(self.folder / "work"),
        )
        return Device("board", "a board on loopback", "ssh", runtime, 1, "fp32", pin, ssh=address)

    def configure(self, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make `config` what OpenSSH's client reads in place of ~/.ssh/config and of the system's."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "ssh_config").write_text(config)
        program = folder / "ssh"
        program.write_text(f'#!/bin/sh\nexec {SSH} -F {folder}/ssh_config "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    def toml(self, *, python: str = sys.executable, runtime: str = "onnxruntime") -> Path:
        """The description of `device` as a file."""
        device = self.device(runtime=runtime)
        assert device.ssh is not None
        address = replace(device.ssh, python=python)
        head = {"id": device.id, "description": "d", "transport": "ssh", "runtime": device.runtime, "precision": "fp32"}
        lines = [f'{name} = "{value}"' for name, value in head.items()] + ["threads = 1", "[ssh]"]
        lines += [f"{name} = {value!r}" for name, value in vars(address).items() if value is not None]
        path = self.folder / "board.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def files(self, suffix: str) -> list[str]:
        """Names in the board's work folder."""
        return sorted(path.name for path in (self.folder / "work").glob(f"*{suffix}"))

    def close(self) -> None:
        """Hang up; later connections are refused."""
        for one in (self._listener, *self._sockets):  # which ends `accept` too
            _hang_up(one)
        self._listener.close()
        for child in self._children:
            child.wait()

    def _serve(self) -> None:
        while True:
            try:
                host, _ = self._listener.accept()
            except OSError:
                return
            ours, its = socket.socketpair()
            self._sockets += [host, ours]
            command = [str(SSHD), "-i", "-f", str(self.folder / "sshd_config")]
            with its, (self.folder / "sshd.log").open("ab") as log:
                self._children.append(subprocess.Popen(command, stdin=its, stdout=its, stderr=log))
            limit = self.cuts.pop(0) if self.cuts else None
            self.connections += 1
            threading.Thread(target=self._forward, args=(host, ours, None), daemon=True).start()
            threading.Thread(target=self._forward, args=(ours, host, limit), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, limit: int | None) -> None:
        """Carry bytes until one side ends, or `limit` of them went through; then cut the connection."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data if limit is None else data[:limit])
                if limit is not None and (limit := limit - len(data)) <= 0:
                    if not self.hangs_up:
                        return
                    break
        _hang_up(source)
        _hang_up(target)


def _hang_up(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
