"""A network slot by slot, as a page lists it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hwnas.arch import OpSpec
from hwnas.arch.costs import macs
from hwnas.errors import InputError


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the network; `option` is what was chosen for it, empty where there was no choice."""

    name: str
    option: str
    text: str
    shape: str = ""
    macs: int = 0
    skipped: bool = False


def read_slots(architecture: dict[str, Any]) -> list[Slot]:
    """The slots that `architecture.json` lists, from image to classes."""
    network, options = architecture.get("network"), architecture.get("options")
    options = options if isinstance(options, dict) else {}
    slots = []
    for entry in network if isinstance(network, list) else []:
        if isinstance(entry, dict):
            name, key = str(entry.get("name")), str(entry.get("op"))
            slots.append(_slot(name, str(options.get(name, "")), key))
    return slots


def _slot(name: str, option: str, key: str) -> Slot:
    try:
        spec = OpSpec.parse(key)
        graph = spec.graph
    except InputError:  # an op of a plug-in that is not installed here
        return Slot(name, option, key)
    parts = (
        f"{spec.kind} {spec.kernel} × {spec.kernel}" if spec.kernel > 1 else spec.kind,
        f"{spec.start} × {spec.start} in front" if spec.start > 1 else "",
        f"expansion {spec.inner / spec.cin:.3g}" if spec.inner != spec.cin else "",
        "squeeze-excite" if spec.se else "",
        f"stride {spec.stride}" if spec.stride > 1 else "",
    )
    shape = " × ".join(map(str, graph.output_shape))
    return Slot(name, option, ", ".join(filter(None, parts)), shape, macs(graph), skipped=not graph.nodes)
