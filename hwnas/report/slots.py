"""A network slot by slot, as a page lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwnas.arch import OpSpec
from hwnas.arch.costs import macs
from hwnas.errors import InputError


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the network.

    Attributes:
        option: what was chosen for it, empty where there was no choice.
        row_ms: of its row in the latency table; None where it has none of its own.
    """

    name: str
    option: str
    text: str
    shape: str = ""
    macs: int = 0
    row_ms: float | None = None
    skipped: bool = False


def read_slots(architecture: dict[str, Any], rows_us: Mapping[str, float]) -> list[Slot]:
    """The slots that `architecture.json` lists, from image to classes.

    Args:
        rows_us: microseconds by op key, of the latency table.
    """
    network, options = architecture.get("network"), architecture.get("options")
    options = options if isinstance(options, dict) else {}
    slots = []
    for entry in network if isinstance(network, list) else []:
        if isinstance(entry, dict):
            name, key = str(entry.get("name")), str(entry.get("op"))
            row_us = rows_us.get(key)
            slots.append(_slot(name, str(options.get(name, "")), key, None if row_us is None else row_us / 1e3))
    return slots


def _slot(name: str, option: str, key: str, row_ms: float | None) -> Slot:
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
    return Slot(name, option, ", ".join(filter(None, parts)), shape, macs(graph), row_ms, skipped=not graph.nodes)
