"""Does a device slow down under a model that runs without pause? Its latency over time, and what that says."""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hwnas.devices.device import Device
from hwnas.devices.estimate import REFERENCE_TOLERANCE, loaded
from hwnas.devices.job import Inputs, Job
from hwnas.devices.link import link_to
from hwnas.devices.rounds import ANSWER
from hwnas.errors import DeviceError, InputError, UnreachableError
from hwnas.progress import Progress
from hwnas.schema import checked

SLICES = 20
SHORTEST_S = 1.0
_LONGEST_SLICE_S = 30.0
_FEWEST_SLICES = 6

Trend = Literal["steady", "slows down", "speeds up", "unstable", "too short"]
Events = Callable[[Job, Progress], Generator[dict[str, Any], None, None]]


@dataclass(frozen=True)
class LoadSlice:
    """A model was called without pause for some seconds; times are microseconds of one call.

    Attributes:
        start_s: since the beginning of the first slice.
        load: how busy other work kept the machine meanwhile; see `Round`.
        temperature_c, governor, mhz: of the CPU at its end; None, like `load`, where the system does not say.
    """

    start_s: float
    seconds: float
    median_us: float
    p90_us: float
    p99_us: float
    calls: int
    load: float | None = None
    temperature_c: float | None = None
    governor: str | None = None
    mhz: float | None = None


@dataclass(frozen=True)
class _Reference:
    """What the reference model took 'before' the first slice or 'after' the last one."""

    when: str
    median_us: float


@dataclass(frozen=True)
class Sustained:
    """What a model took over time.

    Attributes:
        asked_s: how long it was to run, in seconds.
        slices: in order.
        reference_us: what the reference model took right before and right after, in microseconds; None where it did not
            come to that.
        ended_early: why, in a few words; empty where it ran to the end.
        first_ms, last_ms: median of the first and of the last slice, in milliseconds.
        late_ms: smallest and largest median of the slices of the last quarter, in milliseconds.
        drift: how much slower it is at the end than at the beginning, as a share: the slope of Theil and Sen through
            the medians, which a burst of other work does not move. None with fewer than six slices.
        drift_ci95: its 95 % interval (Sen 1968).
        disturbed: whether fewer than six slices ran without other work on the machine.
        trend: 'slows down' or 'speeds up' when the drift is at least 3 % and its interval lies on that side of 0,
            'steady' below 3 % with an interval within 9 %, 'unstable' when the interval is too wide for either or other
            work disturbed too many slices, 'too short' with fewer than six slices.
    """

    asked_s: float
    slices: tuple[LoadSlice, ...]
    reference_us: tuple[float | None, float | None]
    ended_early: str
    first_ms: float
    last_ms: float
    late_ms: tuple[float, float]
    drift: float | None
    drift_ci95: tuple[float, float] | None
    disturbed: bool
    trend: Trend

    @property
    def seconds(self) -> float:
        """How long the model ran."""
        return self.slices[-1].start_s + self.slices[-1].seconds

    def within(self, budget_ms: float) -> bool | None:
        """Whether it stays within a budget: True where the last quarter of the slices does, False where none does."""
        low_ms, high_ms = self.late_ms
        return True if high_ms <= budget_ms else False if low_ms > budget_ms and not self.disturbed else None

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"seconds": self.seconds}


def check_sustained(device: Device, seconds: float) -> None:
    """Whether a device can run a model without pause for so long.

    Raises:
        InputError: less than a second, or a device that cannot do it.
    """
    if not SHORTEST_S <= seconds < math.inf:
        raise InputError(f"a sustained run takes at least {SHORTEST_S:g} s, not {seconds:g}")
    if device.python is None:
        raise InputError(
            f"{device.id} measures with benchmark_model, which cannot run a model without pause",
            hint="name a Python in [adb] python, or reach the phone's Termux over ssh",
        )


def run_sustained(
    device: Device,
    name: str,
    model: Path,
    reference: Path,
    seconds: float,
    *,
    inputs: Inputs | None = None,
    stall_s: float = Job.stall_s,
    memory_bytes: int | None = None,
    seed: int = 0,
    progress: Progress,
    events: Events | None = None,
) -> Sustained:
    """Run one model without pause for `seconds`, with the reference model before and after.

    Ctrl-C ends it early, and so does a link that is cut; what was measured until then is told.

    Args:
        inputs, stall_s, memory_bytes: as in `Job`.
        events: stands for `Link.events` in tests.

    Raises:
        InputError: as `check_sustained`.
        ModelError: the model cannot be loaded or run.
        DeviceError: the device fails. UnreachableError, KeyboardInterrupt: before the first slice.
    """
    check_sustained(device, seconds)
    count = max(SLICES, math.ceil(seconds / _LONGEST_SLICE_S))
    job = Job(
        {name: model},
        reference,
        seed=seed,
        stall_s=max(stall_s, 4 * seconds / count),
        memory_bytes=memory_bytes,
        inputs={name: inputs or Inputs()},
        sustained_s=seconds,
        slices=count,
    )
    slices: list[LoadSlice] = []
    around: dict[str, float] = {}
    ended = ""
    try:
        with (
            progress.track(f"running without pause on {device.id}", count) as advance,
            contextlib.closing((events or link_to(device).events)(job, progress)) as stream,
        ):
            for event in stream:
                if event["event"] == "reference":
                    own = checked(event, _Reference, ANSWER, error=DeviceError)
                    around[own.when] = own.median_us
                elif event["event"] == "slice":
                    slices.append(checked(event, LoadSlice, ANSWER, error=DeviceError))
                    advance(1, f"median {slices[-1].median_us / 1e3:.4g} ms")
    except (KeyboardInterrupt, UnreachableError) as error:
        if not slices:
            raise
        ended = str(error) or "interrupted"
    return assess(slices, asked_s=seconds, reference_us=(around.get("before"), around.get("after")), ended_early=ended)


def assess(
    slices: Sequence[LoadSlice],
    *,
    asked_s: float,
    reference_us: tuple[float | None, float | None] = (None, None),
    ended_early: str = "",
) -> Sustained:
    """What these slices say; slices that other work disturbed count only where there are too few others.

    Raises:
        InputError: no slices.
    """
    if not slices:
        raise InputError("no slice of a sustained run was measured")
    quiet = [one for one in slices if not loaded(one)]
    used = quiet if len(quiet) >= _FEWEST_SLICES else list(slices)
    late = used[-max(1, len(used) // 4) :]
    drift: float | None = None
    interval: tuple[float, float] | None = None
    trend: Trend = "too short"
    if len(used) >= _FEWEST_SLICES:
        drift, interval = _drift(used)
        trend = _trend(drift, interval) if used is quiet else "unstable"
    return Sustained(
        asked_s=asked_s,
        slices=tuple(slices),
        reference_us=reference_us,
        ended_early=ended_early,
        first_ms=slices[0].median_us / 1e3,
        last_ms=slices[-1].median_us / 1e3,
        late_ms=(min(one.median_us for one in late) / 1e3, max(one.median_us for one in late) / 1e3),
        drift=drift,
        drift_ci95=interval,
        disturbed=len(quiet) < min(_FEWEST_SLICES, len(slices)),
        trend=trend,
    )


def _drift(slices: Sequence[LoadSlice]) -> tuple[float, tuple[float, float]]:
    """From the middle of the first slice to that of the last, relative to the beginning of the line."""
    from scipy.stats import theilslopes  # half a second that few commands need

    middles = [one.start_s + one.seconds / 2 for one in slices]
    medians = [one.median_us for one in slices]
    slope, _, low, high = map(float, theilslopes(medians, middles, 0.95))
    span_s = middles[-1] - middles[0]
    begin_us = statistics.median(medians) - slope * (statistics.median(middles) - middles[0])
    if begin_us <= 0:  # a line that steep says nothing but that
        begin_us = medians[0]
    share = span_s / begin_us
    return slope * share, (low * share, high * share)


def _trend(drift: float, interval: tuple[float, float]) -> Trend:
    if abs(drift) < REFERENCE_TOLERANCE:
        return "steady" if max(-interval[0], interval[1]) < 3 * REFERENCE_TOLERANCE else "unstable"
    if interval[0] >= 0:
        return "slows down"
    return "speeds up" if interval[1] <= 0 else "unstable"
