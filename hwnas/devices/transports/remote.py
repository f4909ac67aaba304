"""Files on another machine: kept in one folder under their checksums, and checked when they arrive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from pathlib import Path

from hwnas.devices.transports.process import ProgramError, ended
from hwnas.errors import DeviceError
from hwnas.files import sha256
from hwnas.progress import Advance

CONNECT_S = 10.0
ANSWER_S = 60.0  # longest silence while files are checked
_SLOWEST_BYTES_S = 200_000  # of a copy
_MOST_SIGNALS = 64
_AT_ONCE = 500  # names in one command: 128 KiB is what Linux takes in one argument
# Prints the names whose content does not begin with their checksum; the others lose their ending '.part'.
_CHECK = """cd "$0" && for name in "$@"; do
case "$(sha256sum "$name.part")" in "${name%%.*}"*) mv "$name.part" "$name";; *) echo "$name";; esac
done"""


def ended_there(program: str, code: int, stderr: bytes) -> ProgramError:
    """The error that a program ended on the device with a code that a shell told.

    A shell makes 128 and its number of a signal; as of a program on this machine, that is told as a negative code.
    """
    return ended(program, 128 - code if 128 < code <= 128 + _MOST_SIGNALS else code, stderr)


class Remote(ABC):
    """A machine with a POSIX shell that is not this one.

    Attributes:
        workdir: the folder on it that files are copied to; it is made if need be.
    """

    def __init__(self, workdir: str) -> None:
        self.workdir = workdir

    def put(self, paths: Sequence[Path], advance: Advance) -> list[str]:
        names = {path: sha256(path.read_bytes())[:32] + path.suffix for path in paths}
        there = set(self._ask('mkdir -p "$0" && ls "$0"'))
        lacking: dict[str, Path] = {}
        for path, name in names.items():
            if name not in there and name not in lacking:
                self.send(path, f"{self.workdir}/{name}.part")
                lacking[name] = path
            advance()
        damaged = [name for part in _parts(list(lacking)) for name in self._ask(_CHECK, *part)]
        if damaged:
            raise DeviceError(
                f"{len(damaged)} of {len(lacking)} files arrived damaged, the first is {lacking[damaged[0]].name}",
                hint=f"see that there is room in {self.workdir} on the device, and try again",
            )
        return [f"{self.workdir}/{names[path]}" for path in paths]

    @staticmethod
    def copying_s(path: Path) -> float:
        """The longest that a copy of the file may take, in seconds."""
        return ANSWER_S + path.stat().st_size / _SLOWEST_BYTES_S

    def remove(self, paths: Sequence[str]) -> None:
        for part in _parts(paths):
            self._ask('rm -f "$@"', *part, stall_s=CONNECT_S)

    def _ask(self, script: str, *arguments: str, stall_s: float = ANSWER_S) -> list[str]:
        command = ["sh", "-c", script, self.workdir, *arguments]
        return [line.decode(errors="replace").strip() for line in self.start(command, stall_s=stall_s)]

    @abstractmethod
    def send(self, source: Path, target: str) -> None:
        """Copy a file to the path `target` on the device."""

    @abstractmethod
    def start(self, command: Sequence[str], stdin: bytes = b"", *, stall_s: float) -> Generator[bytes, None, None]: ...

    @abstractmethod
    def close(self) -> None: ...


def _parts(names: Sequence[str]) -> list[Sequence[str]]:
    """The names, as many together as one command may have."""
    return [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
