"""What is measured where: a `Device` as its TOML file describes it, and the `Condition` that a latency holds under."""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from hwnas.devices.host import host_slug, package_version
from hwnas.errors import DeviceError, InputError
from hwnas.resources import resource_folder

ALLOWED = {
    "transport": ("local",),
    "runtime": ("onnxruntime",),
    "precision": ("fp32", "int8"),
}


@dataclass(frozen=True)
class Condition:
    """Everything that two latencies must share to be compared.

    Attributes:
        device: slug of the CPU's model.
        runtime: what runs the model, such as 'onnxruntime'.
        runtime_version: version of the runtime on the device.
        threads: threads that one inference may use.
        precision: of the models, 'fp32' or 'int8'.
    """

    device: str
    runtime: str
    runtime_version: str
    threads: int
    precision: str

    @property
    def id(self) -> str:
        """Such as 'onnxruntime-1.32.0-t1-fp32'."""
        return f"{self.runtime}-{self.runtime_version}-t{self.threads}-{self.precision}"

    @property
    def folder(self) -> Path:
        """Where its table lies, below a folder of latency tables."""
        return Path(self.device) / self.id


@dataclass(frozen=True)
class Device:
    """A device to measure on, as one file of `devices/` describes it.

    Attributes:
        id: what the command line calls it.
        description: one line for people.
        transport: how it is reached.
        runtime: what runs models there.
        threads: threads that one inference may use.
        precision: of the models measured there.
        pin: index of the CPU that measuring is bound to, where the system can; None leaves the choice to it.
    """

    id: str
    description: str
    transport: str
    runtime: str
    threads: int
    precision: str
    pin: int | None = None

    def condition(self) -> Condition:
        """The condition that its latencies hold under: the CPU and the runtime that are there now.

        Raises:
            DeviceError: the runtime is not installed.
        """
        version = package_version(self.runtime)
        if version is None:
            raise DeviceError(f"device {self.id!r} has no {self.runtime}", hint=f"pip install {self.runtime}")
        return Condition(host_slug(), self.runtime, version, self.threads, self.precision)


def list_devices() -> list[Device]:
    """The devices that come with hwnas, sorted by id.

    Raises:
        InputError: a description is not valid.
    """
    return [_parse(path) for path in sorted(resource_folder("devices").glob("*.toml"))]


def load_device(id_or_path: str) -> Device:
    """The device of that id, or the one that a TOML file describes (anything ending in '.toml').

    Raises:
        InputError: no such device, or its description is not valid.
    """
    if id_or_path.endswith(".toml"):
        return _parse(Path(id_or_path))
    known = {path.stem: path for path in sorted(resource_folder("devices").glob("*.toml"))}
    if id_or_path not in known:
        hint = f"one of {', '.join(known)}, or the path of a TOML file"
        raise InputError(f"there is no device {id_or_path!r}", hint=hint)
    return _parse(known[id_or_path])


def _parse(path: Path) -> Device:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}", hint="compare it with devices/host.toml") from error
    names = [field.name for field in fields(Device)]
    if unknown := sorted(set(content) - set(names)):
        raise InputError(f"{path}: unknown key {unknown[0]!r}", hint=f"allowed keys: {', '.join(names)}")
    for field in fields(Device):
        if field.name in content:
            _check(path, field.name, content[field.name])
        elif field.default is MISSING:
            raise InputError(f"{path}: the key {field.name!r} is missing", hint="compare it with devices/host.toml")
    return Device(**content)


def _check(path: Path, key: str, value: Any) -> None:
    if key in ("threads", "pin"):
        least = 1 if key == "threads" else 0
        if type(value) is not int or value < least:
            raise InputError(f"{path}: {key} must be an integer of at least {least}, not {value!r}")
    elif not isinstance(value, str):
        raise InputError(f"{path}: {key} must be a string, not {value!r}")
    elif key in ALLOWED and value not in ALLOWED[key]:
        raise InputError(f"{path}: unknown {key} {value!r}", hint=f"allowed: {', '.join(ALLOWED[key])}")
    elif key == "id" and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
        raise InputError(f"{path}: id must be lower-case letters, digits, '.', '_' and '-', not {value!r}")
