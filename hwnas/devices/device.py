"""What is measured where: a `Device` as its TOML file describes it, and the `Condition` that a latency holds under."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hwnas.devices.transports.adb import AdbAddress
from hwnas.devices.transports.ssh import SshAddress
from hwnas.errors import InputError
from hwnas.resources import resource_folder
from hwnas.runtimes import DEFAULT, RUNTIMES

ALLOWED = {
    "transport": ("local", "ssh", "adb"),
    "runtime": tuple(RUNTIMES),
    "precision": ("fp32", "int8"),
}
_RANGES = {"threads": (1, 1024), "pin": (0, 1023), "port": (1, 65535)}
_ADDRESSES = {"ssh": SshAddress, "adb": AdbAddress}
IMPORTED = "imported"
"""The condition of a table whose latencies others measured."""
_EXAMPLE = "compare it with devices/host.toml, and with docs/add-a-device.md"


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
        """Such as 'onnxruntime-1.32.0-t1-fp32', or 'imported' where nobody says."""
        if self.runtime == IMPORTED:
            return IMPORTED
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
        governor: of the CPU's frequency, set while measuring where the system allows it; None leaves it as it is.
        ssh, adb: where it is, for the transport of that name.
    """

    id: str
    description: str
    transport: str
    runtime: str
    threads: int
    precision: str
    pin: int | None = None
    governor: str | None = None
    ssh: SshAddress | None = None
    adb: AdbAddress | None = None

    def __post_init__(self) -> None:
        runtime = RUNTIMES[self.runtime]
        for name, only in runtime.only.items():
            if getattr(self, name) != only:
                raise InputError(
                    f"device {self.id!r}: runtime {self.runtime!r} needs {name} = {only!r}, "
                    f"not {getattr(self, name)!r}",
                    hint=runtime.rule,
                )

    @classmethod
    def of_imported_table(cls, id: str) -> Device:
        """A device that is known by an imported table alone: networks are found for it, but nothing is measured."""
        return cls(id, "known by an imported table alone", "table", DEFAULT, 1, "fp32")

    @property
    def reachable(self) -> bool:
        """Whether there is a way to it."""
        return self.transport != "table"

    @property
    def python(self) -> str | None:
        """The command of the Python that measures there; None where benchmark_model does."""
        return self.ssh.python if self.ssh else self.adb.python if self.adb else sys.executable

    def with_runtime(self, runtime: str = "", precision: str = "") -> Device:
        """The same device with another of its runtimes, or models of another precision; an empty name changes nothing.

        Raises:
            InputError: hwnas knows no such runtime or precision, or this device has no use for it.
        """
        for name, value in (("runtime", runtime), ("precision", precision)):
            if value and value not in ALLOWED[name]:
                raise InputError(f"unknown {name} {value!r}", hint=f"one of {', '.join(ALLOWED[name])}")
        return replace(self, runtime=runtime or self.runtime, precision=precision or self.precision)


def list_devices() -> list[Device]:
    """The devices that come with hwnas, sorted by id.

    Raises:
        InputError: a description is not valid.
    """
    return sorted(map(_parse, resource_folder("devices").glob("*.toml")), key=lambda device: device.id)


def load_device(id_or_path: str) -> Device:
    """The device of that id, or the one that a TOML file describes (anything ending in '.toml').

    Raises:
        InputError: no such device, or its description is not valid.
    """
    if id_or_path.endswith(".toml"):
        return _parse(Path(id_or_path))
    known = {path.stem: path for path in resource_folder("devices").glob("*.toml")}
    if id_or_path not in known:
        hint = f"one of {', '.join(sorted(known))}, or the path of a TOML file"
        raise InputError(f"there is no device {id_or_path!r}", hint=hint)
    return _parse(known[id_or_path])


def _parse(path: Path) -> Device:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "name the TOML file of a device, or one of the ids that hwnas devices list shows"
        raise InputError(f"cannot read {path}: {error.strerror or error}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML: {error}", hint=_EXAMPLE) from error
    device: Device = _record(Device, content, path, "")
    for name in _ADDRESSES:
        if (name == device.transport) != (getattr(device, name) is not None):
            rule = "needs" if name == device.transport else "has no use for"
            raise InputError(f"{path}: transport {device.transport!r} {rule} a table [{name}]", hint=_EXAMPLE)
    if device.adb is not None:
        if (device.adb.runner is None) == (device.adb.python is None):
            raise InputError(f"{path}: [adb] needs runner or python, one of both", hint=_EXAMPLE)
        if device.adb.runner is not None and not RUNTIMES[device.runtime].has_benchmark_model:
            able = " or ".join(repr(one.name) for one in RUNTIMES.values() if one.has_benchmark_model)
            raise InputError(f"{path}: [adb] runner is LiteRT's benchmark_model, so runtime must be {able}")
    return device


def _record(kind: type[Any], content: dict[str, Any], path: Path, table: str) -> Any:
    """A dataclass from a table of the file; `table` is what goes before its keys in messages."""
    names = [field.name for field in fields(kind)]
    if unknown := sorted(set(content) - set(names)):
        raise InputError(f"{path}: unknown key {table}{unknown[0]!r}", hint=f"allowed keys: {', '.join(names)}")
    for field in fields(kind):
        if field.name not in content and field.default is MISSING:
            raise InputError(f"{path}: the key {table}{field.name!r} is missing", hint=_EXAMPLE)
    return kind(**{key: _checked(path, table, key, value) for key, value in content.items()})


def _checked(path: Path, table: str, key: str, value: Any) -> Any:
    where = f"{path}: {table}{key}"
    if key in _ADDRESSES:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a table, not {value!r}")
        return _record(_ADDRESSES[key], value, path, f"[{key}] ")
    if key in _RANGES:
        least, most = _RANGES[key]
        if type(value) is not int or not least <= value <= most:
            raise InputError(f"{where} must be an integer of at least {least} and at most {most}, not {value!r}")
    elif not isinstance(value, str) or not value:
        raise InputError(f"{where} must be a string that is not empty, not {value!r}")
    elif key in ALLOWED and value not in ALLOWED[key]:
        raise InputError(f"{path}: unknown {key} {value!r}", hint=f"allowed: {', '.join(ALLOWED[key])}")
    elif key == "id" and not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", value):
        raise InputError(f"{path}: id must be lower-case letters, digits, '.', '_' and '-', not {value!r}")
    return value
