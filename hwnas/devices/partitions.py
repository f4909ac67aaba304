"""Which accelerators take a model's graph, and in how many partitions: each switch between two costs time."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hwnas.devices.transports.process import lines
from hwnas.errors import DeviceError
from hwnas.schema import json_as

_PROGRAM = Path(__file__).with_name("partitions_program.py")
_AID = Path(__file__).with_name("runner_aid.py")
_OFFERS = Path(__file__).with_name("runner_offers.py")


@dataclass(frozen=True)
class Partitions:
    """What a provider of a runtime takes of a graph.

    Attributes:
        provider: such as 'NNAPI' or 'XNNPACK'.
        partitions: into how many parts its share falls.
        taken, operators: how many of the graph's operators it takes.
        suits: 'yes', 'maybe' or 'no' where ONNX Runtime's checker says whether the model should do well on it, else ''.
    """

    provider: str
    partitions: int
    taken: int
    operators: int
    suits: str

    def __str__(self) -> str:
        return f"{self.provider} {self.partitions} ({self.taken} of {self.operators})"

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def partitions_of(path: Path, *, stall_s: float, memory_bytes: int) -> tuple[Partitions, ...]:
    """What providers take of a model file: NNAPI and Core ML of .onnx, by ONNX Runtime's checker; XNNPACK of .tflite.

    The graph says it, not the device, so it is told on this machine, in a process of its own. Empty where it cannot be
    told, as of .ort files.

    Args:
        stall_s, memory_bytes: limits on that process.
    """
    if path.suffix not in (".onnx", ".tflite"):
        return ()
    limits = [str(memory_bytes), str(stall_s)]
    command = [sys.executable, "-P", str(_PROGRAM), str(path.absolute()), str(_AID), str(_OFFERS), *limits]
    try:
        with contextlib.closing(lines(command, stall_s=stall_s)) as said:
            answer = next(said, b"")
            rows = json_as(answer, list[tuple[str, int, int, int, str]], "what takes the graph", error=DeviceError)
    except DeviceError:
        return ()
    return tuple(Partitions(*row) for row in rows)
