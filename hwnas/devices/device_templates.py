"""Descriptions of usual devices, and new files made from them: what only the user knows is left empty in one line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from hwnas.devices.device import Device, parse_device
from hwnas.devices.link import condition_of
from hwnas.errors import DeviceError, InputError
from hwnas.files import write_text
from hwnas.near_names import did_you_mean
from hwnas.resources import resource_folder
from hwnas.schema import read_file

_EMPTY = re.compile(r'^(\w+) = ""(?: # (.*))?$')
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"


@dataclass(frozen=True)
class Template:
    """A description that lacks what only the user knows.

    Attributes:
        name: what `--like` takes.
        text: of the TOML file.
    """

    name: str
    text: str

    @property
    def description(self) -> str:
        """One line for people."""
        return str(tomllib.loads(self.text)["description"])

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with values in the lines of these keys.

        Raises:
            InputError: it has no such line.
        """
        lines = self.text.splitlines()
        for key, value in values.items():
            found = [index for index, line in enumerate(lines) if re.match(rf"{key} = ", line)]
            if not found:
                raise InputError(
                    f"the template {self.name} has no {key}", hint=f"leave out --{key}, or take another template"
                )
            lines[found[0]] = tomli_w.dumps({key: value}).strip()
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class NewDevice:
    """A file that was written.

    Attributes:
        lacking: what is still to be written into it: number of the line, key, and what belongs there.
        condition: folder of its tables, where the device was reached.
        trouble: why it was not, with what to do.
    """

    path: Path
    lacking: tuple[tuple[int, str, str], ...] = ()
    condition: str | None = None
    trouble: str | None = None


def templates() -> dict[str, Template]:
    """All of them by name, sorted."""
    paths = sorted((resource_folder("devices") / "templates").glob("*.toml"))
    return {path.stem: Template(path.stem, read_file(path).decode()) for path in paths}


def new_device(name: str, like: str, values: Mapping[str, str], folder: Path) -> NewDevice:
    """Write NAME.toml like a template, and ask the device what it is where its description is complete.

    Args:
        values: of keys of the template, such as 'host'.
        folder: where the file goes.

    Raises:
        InputError: no such template, no name for a device, a value that breaks its rule, or the file is there already.
        StorageError: the file cannot be written.
    """
    known = templates()
    if like not in known:
        raise InputError(f"there is no template {like!r}", hint=f"{did_you_mean(like, known)}one of {', '.join(known)}")
    if not re.fullmatch(_NAME, name):
        raise InputError(
            "a device's name must be 1 to 64 lower-case letters, digits, '.', '_' and '-', "
            f"beginning with a letter or digit, not {name[:100]!r}"
        )
    path = folder / f"{name}.toml"
    text = known[like].filled({"id": name} | dict(values))
    lacking = _lacking(text)
    device = None if lacking else parse_device(text.encode(), path)
    if path.exists() or path.is_symlink():
        raise InputError(f"{path} is there already", hint="take another name, or remove the file first")
    write_text(path, text)
    return NewDevice(path, lacking) if device is None else _asked(path, device)


def _lacking(text: str) -> tuple[tuple[int, str, str], ...]:
    found = ((number, _EMPTY.match(line)) for number, line in enumerate(text.splitlines(), 1))
    return tuple((number, match[1], match[2] or "") for number, match in found if match)


def _asked(path: Path, device: Device) -> NewDevice:
    try:
        return NewDevice(path, condition=condition_of(device).folder.as_posix())
    except (DeviceError, InputError) as error:
        return NewDevice(path, trouble=f"{error} ({error.hint})" if error.hint else str(error))
