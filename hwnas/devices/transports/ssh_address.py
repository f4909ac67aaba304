"""Where a board is that is reached over ssh, and the options of OpenSSH's client that say so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hwnas.devices.transports.address_rules import COMMAND, PATH
from hwnas.errors import InputError
from hwnas.schema import between, matching

_PART = "[A-Za-z0-9_:%-]{1,63}"
_HOST = matching(
    rf"(?=.{{1,253}}$)(?!-){_PART}(\.{_PART})*\.?",
    "a host name, an address or an alias of ~/.ssh/config: letters, digits, '_', '-', ':' and '%' in parts of 1 to 63 "
    "with '.' between them, 253 in all, not beginning with '-'",
)
_USER = matching(
    r"[A-Za-z0-9_.][A-Za-z0-9_.@+\\-]{0,254}",
    r"the name of a user: at most 255 letters, digits, '_', '.', '@', '+', '\' and '-', not beginning with '-'",
)
_FILE = matching(
    r"(?!.*\$\{)[^\x00-\x1f\x7f]+",
    "the path of a file, without control characters and '${', which OpenSSH would replace",
)


@dataclass(frozen=True)
class SshAddress:
    """Where a board is, and what is on it. What is None, ~/.ssh/config decides, and else OpenSSH's usual.

    Attributes:
        host: its name, its address, or an alias of ~/.ssh/config.
        user: whom to log in as.
        port: of the ssh server.
        key: private key file on this machine; None takes the keys of the ssh agent and of ~/.ssh.
        known_hosts: file with the host keys that are trusted, and no others; None is ~/.ssh/known_hosts.
        python: the Python that has the runtime; a path that is not absolute starts in the user's home.
        workdir: folder for models, likewise.
    """

    host: Annotated[str, _HOST]
    user: Annotated[str, _USER] | None = None
    port: Annotated[int, between(1, 65535)] | None = None
    key: Annotated[str, _FILE] | None = None
    known_hosts: Annotated[str, _FILE] | None = None
    python: Annotated[str, COMMAND] = "python3"
    workdir: Annotated[str, PATH] = ".cache/hwnas"

    @property
    def login(self) -> str:
        """The command that a person reaches the board with."""
        port = "" if self.port in (None, 22) else f"-p {self.port} "
        return f"ssh {port}{self.user}@{self.host}" if self.user else f"ssh {port}{self.host}"

    @property
    def name(self) -> str:
        """Whom, where and by which port, as far as it is said."""
        user = f"{self.user}@" if self.user else ""
        return f"{user}{self.host}" + (f" port {self.port}" if self.port else "")

    def options(self) -> list[str]:
        """Of the client, beside the host itself.

        Raises:
            InputError: the key file or the file of host keys is not there.
        """
        options = ["-l", self.user] if self.user else []
        options += ["-p", str(self.port)] if self.port else []
        if self.key is not None:
            options += ["-o", f"IdentityFile={_quoted(self.key)}", "-o", "IdentitiesOnly=yes"]
        if self.known_hosts is not None:
            known = _quoted(self.known_hosts)
            options += ["-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"]
        return options


def _quoted(path: str) -> str:
    """A file that is there, with ~ as the user's home, as a value in OpenSSH's own writing."""
    try:
        found = Path(path).expanduser()
        there = found.is_file()
    except (OSError, RuntimeError):  # too long a name, or the home of a user who is not there
        found, there = Path(path), False
    if not there:
        raise InputError(f"there is no file {found}", hint="correct the path in the device's TOML")
    plain = str(found).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"'
