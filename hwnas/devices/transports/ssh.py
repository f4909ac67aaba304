"""A board over OpenSSH's own client, with the user's ~/.ssh/config, agent and jump hosts. It needs a POSIX shell.

One master connection carries every command. Its own session only waits for the end of its input, which this process
holds: however this process ends, the connection ends with it.
"""

from __future__ import annotations

import contextlib
import math
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator, Sequence
from pathlib import Path

from hwnas.devices.transports.process import ProgramError, ended, lines
from hwnas.devices.transports.remote import CONNECT_S, Remote, ended_there
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import DeviceError, HwnasError, InputError, UnreachableError

_END_S = 1.0
_LONGEST_SOCKET = 80
"""Characters of the path of its folder; systems allow about 100 for the socket in it, and OpenSSH adds 17."""
_ALWAYS = {
    "BatchMode": "yes",
    "ClearAllForwardings": "yes",
    "ControlPersist": "no",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "NoHostAuthenticationForLocalhost": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "15",
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
}
_READY = b"hwnas is in\n"
_KEEP = f"echo {_READY.decode().strip()}; exec cat"
_TELL_SIGNALS = '"$@"; exit $?'
"""OpenSSH's client tells no signals; a shell makes an exit code of one."""
_FINGERPRINT = re.compile(r"^debug1: Server host key: (\S+ \S+)", re.MULTILINE)
_UNKNOWN = re.compile(r"host key is known for (\S+) and you have requested strict checking")
_CHANGED = re.compile(r"^Host key for (\S+) has changed and you have requested strict checking", re.MULTILINE)
_NOT_LET_IN = re.compile(r"^.*(?:Permission denied|Too many authentication failures).*$", re.MULTILINE)
_BAD_CONFIG = re.compile(r"^.*(?:[Bb]ad configuration option|Bad owner or permissions on).*$", re.MULTILINE)


class Ssh(Remote):
    """An open connection.

    Raises:
        InputError: the key file or the file of host keys is not there, or OpenSSH refuses its configuration.
        UnreachableError: the board does not answer.
        DeviceError: its host key is not the known one, it does not let the user in, or there is no OpenSSH here.
    """

    def __init__(self, address: SshAddress) -> None:
        super().__init__(address.workdir)
        self._address = address
        own = {"ConnectTimeout": str(math.ceil(CONNECT_S)), "ControlPath": ""}
        options = address.options()
        self._folder = _short_folder()
        own["ControlPath"] = str(self._folder / "master")
        self._ssh = ["ssh", "-T", *(f"-o{name}={value}" for name, value in (_ALWAYS | own).items()), *options]
        self._master: subprocess.Popen[bytes] | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        command = [*self._ssh, "-oControlMaster=yes", "-oLogLevel=DEBUG1", "--", self._address.host, _KEEP]
        with (self._folder / "log").open("w+b") as log:
            try:
                master = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise DeviceError(
                    f"cannot start ssh: {error.strerror or error}",
                    hint="install OpenSSH's client: ssh must be on PATH",
                ) from error
        self._master = master
        assert master.stdout is not None
        patience_s = 3 * CONNECT_S
        watch = threading.Timer(patience_s, master.kill)
        watch.start()
        try:
            for line in master.stdout:  # the board's shell may greet first
                if line == _READY:
                    return
        finally:
            watch.cancel()
        if master.wait() == -signal.SIGKILL:
            raise self._unreachable(f"there was no connection within {patience_s:g} s")
        raise self._refusal((self._folder / "log").read_text(encoding="utf-8", errors="replace"), master.returncode)

    def _refusal(self, log: str, code: int) -> HwnasError:
        """Why there is no connection, by what the client wrote."""
        address = self._address
        said = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("debug")]
        if found := _CHANGED.search(log):
            return DeviceError(
                f"the host key of {found[1]} is not the one in known_hosts: it may be another machine",
                hint=f"find out why; if the board was set up anew, remove its old key with ssh-keygen -R "
                f"{shlex.quote(found[1])}, then run {address.login} once",
            )
        if found := _UNKNOWN.search(log):
            keys = _FINGERPRINT.findall(log)
            return DeviceError(
                f"the host key of {found[1]} is not known" + (f": {keys[-1]}" if keys else ""),
                hint=f"run {address.login} once, compare the fingerprint, and accept it",
            )
        if found := _NOT_LET_IN.search(log):
            return DeviceError(
                f"{address.host} does not let {address.user or 'you'} in: {found[0].strip()}",
                hint=f"{address.login} must work without a password (ssh-copy-id), or with the key that the TOML names",
            )
        if found := _BAD_CONFIG.search(log):
            return InputError(f"OpenSSH refuses its configuration: {found[0].strip()}", hint="correct ~/.ssh/config")
        if code != 255:
            return ended(self._address.login, code, "\n".join(said).encode())
        return self._unreachable(said[-1] if said else "ssh says nothing")

    def _unreachable(self, reason: str) -> UnreachableError:
        return UnreachableError(
            f"{self._address.name} cannot be reached: {reason.removeprefix('ssh: ')}",
            hint=f"see that the board is on and in the network, and that {self._address.login} works",
        )

    def send(self, source: Path, target: str) -> None:
        command = ["sh", "-c", 'cat > "$0"', target]
        for _ in self.start(command, source.read_bytes(), stall_s=self.copying_s(source)):
            pass

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        if self._ended(0.0):
            raise self._lost()
        # Where the master is gone, the client would connect by itself, if it could.
        over_master = ["-oControlMaster=no", "-oLogLevel=ERROR", "-oProxyCommand=false"]
        remote = shlex.join(["sh", "-c", _TELL_SIGNALS, "sh", *command])
        try:
            yield from lines([*self._ssh, *over_master, "--", self._address.host, remote], stdin, stall_s=stall_s)
        except ProgramError as error:
            if error.code is None:
                raise UnreachableError(
                    f"{self._address.host} was silent for {stall_s:g} s", hint=self._hint()
                ) from error
            if error.code == 255 and self._ended(_END_S):
                raise self._lost() from error
            raise ended_there(command[0], error.code, error.stderr) from error

    def _ended(self, within_s: float) -> bool:
        """Whether the connection is gone, or goes within so many seconds."""
        if self._master is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._master.wait(within_s)
        return self._master.returncode is not None

    def _lost(self) -> UnreachableError:
        return UnreachableError(f"the link to {self._address.host} was cut", hint=self._hint())

    def _hint(self) -> str:
        return f"see that {self._address.login} works, then run the same command again: finished rounds are kept"

    def close(self) -> None:
        master, self._master = self._master, None
        if master is not None:
            master.terminate()
            try:
                master.wait(_END_S)
            except subprocess.TimeoutExpired:
                master.kill()
                master.wait()
            for stream in (master.stdin, master.stdout):
                assert stream is not None
                stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _short_folder() -> Path:
    """A new folder for a socket, which only this user can enter."""
    folder = tempfile.mkdtemp(prefix="hwnas-")
    if len(folder) > _LONGEST_SOCKET:
        shutil.rmtree(folder)
        folder = tempfile.mkdtemp(prefix="hwnas-", dir="/tmp")
    return Path(folder)
