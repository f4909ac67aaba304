"""Which execution providers and delegates a device offers, and what each takes of a model there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from hwnas.devices.device import Device
from hwnas.devices.job import Job
from hwnas.devices.link import link_to
from hwnas.devices.rounds import ANSWER
from hwnas.display import counted
from hwnas.errors import DeviceError, UnreachableError
from hwnas.progress import Progress
from hwnas.runtimes import RUNTIMES
from hwnas.schema import checked


@dataclass(frozen=True)
class OfferedProvider:
    """What a provider of the runtime on a device takes of a model; None for what nobody tells.

    Attributes:
        provider: its name, as `--provider` takes it.
        partitions: into how many parts its share falls: each switch between two costs time.
        taken, operators: how many of the graph's operators it takes.
        trouble: why it does not run the model; empty where it does.
    """

    provider: str
    partitions: int | None
    taken: int | None
    operators: int | None
    trouble: str

    def __str__(self) -> str:
        if self.trouble:
            return f"{self.provider}: not the reference model, {self.trouble}"
        said = [] if self.taken is None else [f"{self.taken} of {self.operators} operators"]
        said += [] if self.partitions is None else [counted(self.partitions, "partition")]
        return ": ".join([self.provider, *([" in ".join(said)] if said else [])])


def offered_providers(device: Device, model: Path, *, progress: Progress) -> tuple[OfferedProvider, ...]:
    """The providers of the device's runtime there, the usual one first, with what each takes of a model.

    A provider that ends the process on the device is the last that is told, with a message. A runtime in Node has none
    but its own.

    Raises:
        UnreachableError: the device cannot be reached.
    """
    if RUNTIMES[device.runtime].in_node:
        return ()
    found = []
    try:
        with contextlib.closing(link_to(device).events(Job({"model": model}, offers=True), progress)) as events:
            for event in events:
                if event["event"] == "offer":
                    found.append(checked(event, OfferedProvider, ANSWER, error=DeviceError))
    except UnreachableError:
        raise
    except DeviceError as error:
        progress.say(f"what further providers take is not known: {error}")
    return tuple(found)
