"""What a machine is: its CPU's name as a slug, and the facts that belong beside a measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hwnas.devices.rounds import ANSWER
from hwnas.devices.runner import NAMES, facts, package_version
from hwnas.errors import DeviceError
from hwnas.schema import checked

_WRITERS = ("hwnas", "onnx", "torch")
_NOISE = re.compile(r"\((?:r|tm)\)|@.*|\b(?:cpu|processor|\w+-core)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Facts:
    """What a device says of itself; see `facts` in `hwnas/devices/runner.py`.

    Attributes:
        cpu: fields of /proc/cpuinfo.
        governor: of the frequency of the CPU that measuring is bound to; None, like `temperature_c` and
            `logical_cores`, where the system does not say.
        packages: name to version.
        clock_ns: the smallest step of the clock, in nanoseconds.
        free_bytes: on the disk that models are copied to.
        providers: names of those that the runtime offers, the usual one first; None where nobody asked.
    """

    cpu: Mapping[str, str]
    logical_cores: int | None
    governor: str | None
    temperature_c: float | None
    platform: str
    python: str | None
    packages: Mapping[str, str]
    clock_ns: float | None
    free_bytes: int | None
    providers: tuple[str, ...] | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Facts:
        """Of a 'hello' event.

        Raises:
            DeviceError: a value has another type.
        """
        values = {field.name: content.get(field.name) for field in fields(cls)}
        return checked(values, cls, ANSWER, error=DeviceError, hint="run hwnas devices check on it")

    def provenance(self) -> dict[str, Any]:
        """What belongs beside every measurement made there, ready for JSON; with what wrote the models here."""
        writers = {name: version for name in _WRITERS if (version := package_version(name)) is not None}
        return {
            "cpu": cpu_name(self.cpu),
            "logical_cores": self.logical_cores,
            "governor": self.governor,
            "platform": self.platform,
            "python": self.python,
            "packages": writers | dict(self.packages),
        }


def host_facts() -> dict[str, Any]:
    """`Facts.provenance` of this machine."""
    return Facts.from_json(facts()).provenance()


def cpu_model() -> str:
    """Name of this machine's CPU, as its maker or its operating system writes it."""
    return cpu_name(Facts.from_json(facts()).cpu)


def cpu_name(fields: Mapping[str, str]) -> str:
    """Name of a CPU, as its maker or its operating system writes it."""
    return next((fields[name] for name in NAMES if name in fields), "unknown")


def cpu_slug(fields: Mapping[str, str]) -> str:
    """Folder name of a CPU, such as 'amd-epyc-7763' or, where the name has no number, 'amd-epyc-f25m1'.

    Args:
        fields: of /proc/cpuinfo: 'model name', 'cpu family' and 'model' on x86; 'Model' or 'Hardware', 'CPU
            implementer' and 'CPU part' on ARM.
    """
    slug = _slug(_NOISE.sub(" ", cpu_name(fields)))
    if "CPU part" in fields:
        return _slug(f"{slug}-{fields.get('CPU implementer', '0x0')}-{fields['CPU part']}")
    if re.search(r"\d", slug) or "cpu family" not in fields:
        return slug or "unknown"
    return _slug(f"{slug}-f{fields['cpu family']}m{fields.get('model', '0')}")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
