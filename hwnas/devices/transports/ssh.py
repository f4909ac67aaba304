"""A board over ssh, by paramiko. It needs a POSIX shell, Python and the runtime; host keys are always checked."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from hwnas.devices.transports.process import ended
from hwnas.devices.transports.remote import ANSWER_S, CONNECT_S, Remote
from hwnas.errors import DeviceError, InputError, UnreachableError
from hwnas.files import user_path
from hwnas.schema import NOT_EMPTY, between

_KEEPALIVE_S = 15


@dataclass(frozen=True)
class SshAddress:
    """Where a board is, and what is on it.

    Attributes:
        user: whom to log in as.
        key: private key file on this machine; None takes the keys of the ssh agent and of ~/.ssh.
        known_hosts: file with the host keys that are trusted; None is ~/.ssh/known_hosts.
        python: the Python that has the runtime; a path that is not absolute starts in the user's home.
        workdir: folder for models, likewise.
    """

    host: Annotated[str, NOT_EMPTY]
    user: Annotated[str, NOT_EMPTY]
    port: Annotated[int, between(1, 65535)] = 22
    key: Annotated[str, NOT_EMPTY] | None = None
    known_hosts: Annotated[str, NOT_EMPTY] | None = None
    python: Annotated[str, NOT_EMPTY] = "python3"
    workdir: Annotated[str, NOT_EMPTY] = ".cache/hwnas"

    @property
    def login(self) -> str:
        """The command that a person reaches the board with."""
        port = "" if self.port == 22 else f"-p {self.port} "
        return f"ssh {port}{self.user}@{self.host}"


class Ssh(Remote):
    """An open connection.

    Raises:
        InputError: paramiko is not installed, or the key file or the file of host keys cannot be read.
        UnreachableError: the board does not answer.
        DeviceError: its host key is not the known one, or it does not let the user in.
    """

    def __init__(self, address: SshAddress) -> None:
        super().__init__(address.workdir)
        self._address = address
        self._paramiko = _paramiko()
        self._client = self._paramiko.SSHClient()
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        address, paramiko = self._address, self._paramiko
        key, known_hosts = _file(address.key), _file(address.known_hosts)
        try:
            self._client.load_system_host_keys(known_hosts)
        except Exception as error:  # paramiko's own has no base
            raise InputError(f"cannot read {known_hosts or '~/.ssh/known_hosts'}: {error}") from error
        self._client.set_missing_host_key_policy(_Refuse(address))
        try:
            self._client.connect(
                address.host,
                address.port,
                address.user,
                key_filename=key,
                allow_agent=key is None,
                look_for_keys=key is None,
                timeout=CONNECT_S,
                banner_timeout=CONNECT_S,
                auth_timeout=CONNECT_S,
                channel_timeout=CONNECT_S,
            )
        except paramiko.BadHostKeyException as error:
            raise DeviceError(
                f"the host key of {address.host} is not the one in known_hosts: it may be another machine",
                hint=f"find out why; if the board was set up anew, remove its old key with ssh-keygen -R "
                f"{address.host}, then run {address.login} once",
            ) from error
        except paramiko.AuthenticationException as error:
            raise DeviceError(
                f"{address.host} does not let {address.user} in: {error}",
                hint=f"{address.login} must work without a password (ssh-copy-id), or with the key that the TOML names",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            reason = str(error).removeprefix("[Errno None] ") or type(error).__name__  # paramiko names no errno
            raise UnreachableError(
                f"{address.user}@{address.host} port {address.port} cannot be reached: {reason}",
                hint=f"see that the board is on and in the network, and that {address.login} works",
            ) from error
        self._client.get_transport().set_keepalive(_KEEPALIVE_S)

    def send(self, source: Path, target: str) -> None:
        for _ in self.start(["sh", "-c", 'cat > "$0"', target], source.read_bytes(), stall_s=ANSWER_S):
            pass

    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]:
        if not self._alive():
            raise self._lost()
        try:
            channel = self._client.get_transport().open_session(timeout=CONNECT_S)
            with contextlib.closing(channel):
                channel.settimeout(stall_s)
                channel.exec_command(shlex.join(command))
                with self._if_it_listens():
                    channel.sendall(stdin)
                    channel.shutdown_write()
                yield from channel.makefile("rb")
                channel.status_event.wait(stall_s)
                code, stderr = channel.exit_status, channel.makefile_stderr("rb").read()
        except TimeoutError as error:
            raise UnreachableError(f"{self._address.host} was silent for {stall_s:g} s", hint=self._hint()) from error
        except (self._paramiko.SSHException, OSError, EOFError) as error:
            raise self._lost() from error
        if code == -1 and not self._alive():
            raise self._lost()
        if code:
            raise ended(command[0], None if code == -1 else code, stderr)  # -1 stands for a signal

    @contextlib.contextmanager
    def _if_it_listens(self) -> Generator[None, None, None]:
        """A program that ends before it has read its input tells why by its code."""
        try:
            yield
        except OSError:
            if not self._alive():
                raise

    def _alive(self) -> bool:
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()

    def _lost(self) -> UnreachableError:
        return UnreachableError(f"the link to {self._address.host} was cut", hint=self._hint())

    def _hint(self) -> str:
        return f"see that {self._address.login} works, then run the same command again: finished rounds are kept"

    def close(self) -> None:
        self._client.close()


class _Refuse:
    """Paramiko's policy for a host without a known key: the user checks it, not we."""

    def __init__(self, address: SshAddress) -> None:
        self._address = address

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        raise DeviceError(
            f"the host key of {self._address.host} is not known: {key.get_name()} {key.fingerprint}",
            hint=f"run {self._address.login} once, compare the fingerprint, and accept it",
        )


def _file(path: str | None) -> str | None:
    """The path of a file that is there, with ~ as the user's home."""
    if path is None:
        return None
    found = user_path(path)
    if not found.is_file():
        raise InputError(f"there is no file {found}", hint="correct the path in the device's TOML")
    return str(found)


def _paramiko() -> Any:
    try:
        import paramiko
    except ImportError as error:
        raise InputError("devices over ssh need paramiko", hint="pip install 'hwnas[ssh]'") from error
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what it logs, we raise
    return paramiko
