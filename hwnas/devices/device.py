"""What is measured where: a `Device` as its TOML file describes it, and the `Condition` that a latency holds under."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from hwnas.devices.transports.adb import AdbAddress
from hwnas.devices.transports.local import LocalAddress
from hwnas.devices.transports.ssh_address import SshAddress
from hwnas.errors import InputError
from hwnas.near_names import did_you_mean
from hwnas.resources import resource_folder
from hwnas.runtimes import DEFAULT, PRECISIONS, PROVIDERS, RUNTIMES, known_precision, known_provider, known_runtime
from hwnas.schema import NOT_EMPTY, between, matching, one_of, read_file, toml_as

ALLOWED = {
    "transport": ("local", "ssh", "adb"),
    "runtime": tuple(RUNTIMES),
    "precision": PRECISIONS,
    "provider": PROVIDERS,
}
_ADDRESSES = ("ssh", "adb")
IMPORTED = "imported"
"""The condition of a table whose latencies others measured."""
_EXAMPLE = "compare it with docs/add-a-device.md, or let hwnas devices new write one"


@dataclass(frozen=True)
class Condition:
    """Everything that two latencies must share to be compared.

    Attributes:
        device: slug of the CPU's model.
        runtime: what runs the model, such as 'onnxruntime'.
        runtime_version: version of the runtime on the device.
        threads: threads that one inference may use.
        precision: of the models, 'fp32' or 'int8'.
        provider: the runtime's execution provider or delegate that takes what it can of a model; empty for the usual.
    """

    device: str
    runtime: str
    runtime_version: str
    threads: int
    precision: str
    provider: str = ""

    @classmethod
    def of_imported_table(cls, device: str) -> Condition:
        """What the latencies of an imported table hold under, as far as anybody says."""
        return cls(device, IMPORTED, "", 1, "fp32")

    @property
    def id(self) -> str:
        """Such as 'onnxruntime-1.32.0-t1-fp32' or 'onnxruntime-1.32.0-cuda-t1-fp32'; 'imported' where nobody says."""
        if self.runtime == IMPORTED:
            return IMPORTED
        provider = f"-{self.provider}" if self.provider else ""
        return f"{self.runtime}-{self.runtime_version}{provider}-t{self.threads}-{self.precision}"

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
        provider: execution provider or delegate of the runtime; None, also where its usual one is named, is that.
        ssh, adb: where it is, for the transport of that name.
        local: another Python of this machine, for the transport of that name.
        file: that describes it, for messages; empty where none does.
    """

    id: Annotated[str, matching(r"[a-z0-9][a-z0-9._-]*", "lower-case letters, digits, '.', '_' and '-'")]
    description: Annotated[str, NOT_EMPTY]
    transport: Annotated[str, one_of(*ALLOWED["transport"])]
    runtime: Annotated[str, one_of(*ALLOWED["runtime"])]
    threads: Annotated[int, between(1, 1024)]
    precision: Annotated[str, one_of(*ALLOWED["precision"])]
    pin: Annotated[int, between(0, 1023)] | None = None
    governor: Annotated[str, NOT_EMPTY] | None = None
    ssh: SshAddress | None = None
    adb: AdbAddress | None = None
    local: LocalAddress | None = None
    provider: Annotated[str, one_of(*ALLOWED["provider"])] | None = None
    file: str = field(default="", init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        runtime = RUNTIMES[self.runtime]
        for name, only in runtime.only.items():
            if getattr(self, name) != only:
                raise InputError(
                    f"device {self.id!r}: runtime {self.runtime!r} needs {name} = {only!r}, "
                    f"not {getattr(self, name)!r}",
                    hint=runtime.rule,
                )
        if self.provider == runtime.usual_provider:
            object.__setattr__(self, "provider", None)  # so that one condition has one name
        elif self.provider is not None and self.provider not in runtime.providers:
            raise InputError(
                f"device {self.id!r}: hwnas knows no provider {self.provider!r} of {self.runtime}",
                hint=f"one of {', '.join(runtime.all_providers)}, or another runtime",
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
    def place(self) -> str:
        """The device with what runs there, for messages about several, such as `host@onnxruntime+openvino:int8`."""
        provider = f"+{self.provider}" if self.provider else ""
        return f"{self.id}@{self.runtime}{provider}{'' if self.precision == 'fp32' else f':{self.precision}'}"

    @property
    def python(self) -> str | None:
        """The command of the Python that measures there; None where benchmark_model does."""
        if self.local is not None:
            return self.local.path
        return self.ssh.python if self.ssh else self.adb.python if self.adb else sys.executable

    @property
    def python_hint(self) -> str:
        """The next step where what measures there gives no answer; empty for the Python that hwnas runs in."""
        at = next((name for name in ("local", *_ADDRESSES) if getattr(self, name) is not None), "")
        if not at:
            return ""
        key, value = ("runner", self.adb.runner) if self.adb and self.adb.runner else ("python", self.python)
        needed = "benchmark_model" if key == "runner" else f"the Python that has {self.runtime}"
        return f"correct [{at}] {key} in {self.file or f'the file of {self.id}'}: it must be {needed}, and is {value!r}"

    def described_by(self, file: str) -> Device:
        """The same device, of which messages say what file describes it."""
        found = replace(self)
        object.__setattr__(found, "file", file)
        return found

    def with_runtime(self, runtime: str = "", precision: str = "", provider: str = "") -> Device:
        """The same device with another of its runtimes, models of another precision, or another provider.

        An empty name changes nothing, but that another runtime begins with its usual provider.

        Raises:
            InputError: hwnas knows no such runtime, precision or provider, or this device has no use for it.
        """
        own = self.provider if runtime in ("", self.runtime) else None
        return replace(
            self,
            runtime=known_runtime(runtime) or self.runtime,
            precision=known_precision(precision) or self.precision,
            provider=known_provider(provider) or own,
        ).described_by(self.file)


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
        near = did_you_mean(id_or_path, known)
        hint = f"{near}one of {', '.join(sorted(known))}, or the path of a TOML file, as hwnas devices new writes them"
        raise InputError(f"there is no device {id_or_path!r}", hint=hint)
    return _parse(known[id_or_path])


def _parse(path: Path) -> Device:
    hint = "name the TOML file of a device, or one of the ids that hwnas devices list shows"
    return parse_device(read_file(path, hint=hint), path)


def parse_device(content: bytes, path: Path) -> Device:
    """The device that the content of a TOML file describes; `path` is for messages.

    Raises:
        InputError: the description is not valid.
    """
    device = toml_as(content, Device, path, extra="forbid", hint=_EXAMPLE)
    for name in _ADDRESSES:
        if (name == device.transport) != (getattr(device, name) is not None):
            rule = "needs" if name == device.transport else "has no use for"
            raise InputError(f"{path}: transport {device.transport!r} {rule} a table [{name}]", hint=_EXAMPLE)
    if device.local is not None and device.transport != "local":
        raise InputError(f"{path}: transport {device.transport!r} has no use for a table [local]", hint=_EXAMPLE)
    if device.adb is not None:
        if (device.adb.runner is None) == (device.adb.python is None):
            raise InputError(f"{path}: [adb] needs runner or python, one of both", hint=_EXAMPLE)
        if device.adb.runner is not None and not RUNTIMES[device.runtime].has_benchmark_model:
            able = " or ".join(repr(one.name) for one in RUNTIMES.values() if one.has_benchmark_model)
            raise InputError(f"{path}: [adb] runner is LiteRT's benchmark_model, so runtime must be {able}")
    return device.described_by(str(path))
