"""Does a model file meet its budget on the device? Judged on accepted rounds of several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hwnas.devices.device import Device
from hwnas.devices.estimate import accepted, by_name, canary_floor_us, estimate
from hwnas.devices.measure import ROUND_MS, Stream, stream_rounds
from hwnas.devices.rounds import Round
from hwnas.errors import InputError
from hwnas.progress import Progress, Silent

MIN_ACCEPTED = 20
MIN_PROCESSES = 2

State = Literal["met", "missed", "straddles", "unstable", "no budget"]


@dataclass(frozen=True)
class Verdict:
    """Latency of one model and what it means for the budget; times are milliseconds of one call.

    Attributes:
        median_ms: median over accepted rounds (over all rounds when none was accepted).
        p90_ms: median over the same rounds of their 90th percentiles.
        ci95_ms: 95 % interval of `median_ms`.
        n: how many rounds were accepted.
        rejected: share of the rounds that were rejected, 0 to 1.
        all_rounds_median_ms: median over all rounds.
        state: 'unstable' with fewer than 20 accepted rounds, or accepted rounds of fewer than 2 processes; else
            'met' when the median is within the budget, 'missed' when the whole interval lies above it, and
            'straddles' when the median lies above it and the interval reaches down to it.
    """

    median_ms: float
    p90_ms: float
    ci95_ms: tuple[float, float]
    n: int
    rejected: float
    all_rounds_median_ms: float
    state: State

    @property
    def budget_met(self) -> bool | None:
        """True or False where the measurement decides it, else None."""
        return {"met": True, "missed": False}.get(self.state)


def verdicts(rounds: Sequence[Round], *, budget_ms: float | None) -> dict[str, Verdict]:
    """The verdict on every model that was measured in these rounds; the canary's minimum is taken over all of them."""
    floor_us = canary_floor_us(rounds)
    return {name: _verdict(own, floor_us, budget_ms) for name, own in by_name(rounds).items()}


def judge(
    device: Device,
    models: Mapping[str, Path],
    canary: Path,
    *,
    budget_ms: float | None,
    processes: int = MIN_PROCESSES,
    rounds: int = MIN_ACCEPTED,
    max_extra: int = 4,
    round_ms: float = ROUND_MS,
    seed: int = 0,
    progress: Progress | None = None,
    stream: Stream = stream_rounds,
) -> dict[str, Verdict]:
    """Measure models side by side and judge each against the budget.

    Every model is measured for `rounds` rounds in each of `processes` fresh processes; what is unstable after that is
    measured in up to `max_extra` more.

    Args:
        models: name to model file: candidates and baselines alike, interleaved in the same processes.
        budget_ms: None measures only.
        stream: measures one process; another than `stream_rounds` in tests.

    Raises:
        InputError: a budget that is not above 0, or fewer than 2 processes.
        DeviceError: as `stream_rounds`.
    """
    if budget_ms is not None and not budget_ms > 0:
        raise InputError(f"a budget must be above 0 ms, not {budget_ms}")
    if processes < MIN_PROCESSES:
        raise InputError(f"a verdict needs at least {MIN_PROCESSES} processes, not {processes}")
    taken: list[Round] = []
    names = list(models)
    for process in range(processes + max_extra):
        if process >= processes:
            names = [name for name, one in verdicts(taken, budget_ms=budget_ms).items() if one.state == "unstable"]
        if not names:
            break
        part = stream(
            device,
            {name: models[name] for name in names},
            canary,
            rounds=rounds,
            round_ms=round_ms,
            first_round=process * rounds,
            seed=seed,
            progress=progress or Silent(),
        )
        with contextlib.closing(part):
            taken += part
    return verdicts(taken, budget_ms=budget_ms)


def _verdict(own: Sequence[Round], floor_us: float, budget_ms: float | None) -> Verdict:
    result = estimate(own, floor_us=floor_us)
    good = accepted(own, floor_us=floor_us)
    low_ms, high_ms = (bound / 1e3 for bound in result.ci95_us)
    median_ms = result.median_us / 1e3
    state: State
    if len(good) < MIN_ACCEPTED or len({one.process for one in good}) < MIN_PROCESSES:
        state = "unstable"
    elif budget_ms is None:
        state = "no budget"
    elif median_ms <= budget_ms:
        state = "met"
    else:
        state = "missed" if low_ms > budget_ms else "straddles"
    return Verdict(
        median_ms=median_ms,
        p90_ms=result.p90_us / 1e3,
        ci95_ms=(low_ms, high_ms),
        n=len(good),
        rejected=result.rejected,
        all_rounds_median_ms=result.all_rounds_median_us / 1e3,
        state=state,
    )
