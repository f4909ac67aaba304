"""Is a device fit to measure on? It says hello, and runs the reference model for a few rounds."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.backends import npm
from hwnas.devices.device import Device
from hwnas.devices.estimate import LOADED, accepted
from hwnas.devices.job import Job
from hwnas.devices.link import link_to
from hwnas.devices.rounds import ANSWER, Round
from hwnas.errors import DeviceError
from hwnas.progress import Progress
from hwnas.runtimes import RUNTIMES
from hwnas.schema import checked

ROUNDS = 20


@dataclass(frozen=True)
class ReferenceRun:
    """How the reference model ran.

    Attributes:
        floor_us: its fastest round, in microseconds of one call.
        noise: how much slower the middle one of its rounds was, as a share.
        rejected: share of the rounds that were disturbed.
        load: median over the rounds of how busy other work kept the other CPUs; None where the system does not say.
        warm_s: seconds until its time settled; None where it was not seen to.
    """

    floor_us: float
    noise: float
    rejected: float
    load: float | None
    warm_s: float | None


@dataclass(frozen=True)
class _Warm:
    """How the device warmed up: for how long, and whether its time settled."""

    seconds: float
    stable: bool


def run_reference_model(device: Device, reference: Path, *, progress: Progress) -> ReferenceRun:
    """Measure the reference model alone.

    Raises:
        DeviceError, UnreachableError: as `Link.events`.
    """
    rounds: list[Round] = []
    warm_s = None
    with (
        progress.track(f"measuring the reference model on {device.id}", ROUNDS) as advance,
        contextlib.closing(
            link_to(device).events(Job({"reference": reference}, reference, ROUNDS), progress)
        ) as events,
    ):
        for event in events:
            if event["event"] == "warm":
                warm = checked(event, _Warm, ANSWER, error=DeviceError)
                warm_s = warm.seconds if warm.stable else warm_s
            elif event["event"] == "round":
                rounds.append(Round.from_json(event))
                advance()
    times = [one.median_us for one in rounds]
    loads = [one.load for one in rounds if one.load is not None]
    return ReferenceRun(
        floor_us=min(times),
        noise=statistics.median(times) / min(times) - 1,
        rejected=1 - len(accepted(rounds)) / len(rounds),
        load=statistics.median(loads) if loads else None,
        warm_s=warm_s,
    )


def remarks(device: Device, governor: str | None, reference: ReferenceRun | None) -> list[str]:
    """What stands in the way of good measurements there, in sentences for people."""
    found = []
    if device.governor not in (None, governor):
        found.append(f"the governor is {governor or 'not known'}: setting {device.governor!r} was not allowed")
    elif governor not in (None, "performance"):
        found.append(f'the governor is {governor}: with governor = "performance" in its TOML, latencies vary less')
    if reference is not None and reference.load is not None and reference.load > LOADED:
        found.append(f"other work takes {reference.load:.0%} of the CPUs that measuring leaves free")
    if reference is not None and reference.rejected > 0.5:
        found.append(f"{reference.rejected:.0%} of the rounds were disturbed: close other programs, or set pin")
    return found


def facts_of(device: Device) -> dict[str, Any]:
    """What the device says of itself, ready for JSON. Nothing is installed.

    Raises:
        DeviceError, UnreachableError: as `link_to`.
    """
    web = npm.packages() if device.transport == "local" else {}
    if RUNTIMES[device.runtime].in_node and not web:
        raise DeviceError(
            f"device {device.id!r} has no {npm.PACKAGE} yet",
            hint="hwnas profile-device installs it, by npm, into the user's cache folder",
        )
    link = link_to(device)
    facts = link.facts
    return {
        "id": device.id,
        "transport": device.transport,
        "condition": link.condition.folder.as_posix(),
        **({} if device.provider is None else {"provider": device.provider}),
        "cpu": facts.provenance()["cpu"],
        "logical_cores": facts.logical_cores,
        "pin": device.pin,
        "governor": facts.governor,
        "temperature_c": facts.temperature_c,
        "platform": facts.platform,
        "python": facts.python,
        "packages": dict(facts.packages) | web,
        "clock_ns": facts.clock_ns,
        "free_bytes": facts.free_bytes,
    }
