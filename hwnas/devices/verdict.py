"""Does a model file meet its budget on the device? Judged on accepted rounds of several processes."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hwnas.devices.device import Device
from hwnas.devices.estimate import accepted, by_name, median_interval, reference_floor_us
from hwnas.devices.measure import ROUND_MS, Stream, stream_rounds
from hwnas.devices.rounds import Round
from hwnas.display import ms, table_html
from hwnas.errors import InputError
from hwnas.progress import Progress, Silent

MIN_ACCEPTED = 20
MIN_PROCESSES = 2
MIN_CALLS = 100  # for a 99th percentile

State = Literal["met", "missed", "straddles", "unstable", "no budget"]


@dataclass(frozen=True)
class Verdict:
    """Latency of one model and what it means for the budget; times are milliseconds of one call.

    Attributes:
        median_ms: median over accepted rounds; over all rounds when too few were accepted for a verdict.
        p90_ms: median over the same rounds of their 90th percentiles; where at least 100 single calls were timed, the
            90th percentile over these.
        ci95_ms: 95 % interval of `median_ms`.
        n: how many rounds were accepted.
        rejected: share of the rounds that were rejected, 0 to 1.
        all_rounds_median_ms: median over all rounds.
        state: on at least 20 accepted rounds of at least 2 processes, 'met' when the median is within the budget,
            'missed' when the whole interval lies above it, and 'straddles' when the median lies above it and the
            interval reaches down to it. With fewer, 'met' when the median of as many rounds of any kind is within the
            budget, because a disturbance only ever slows; else 'unstable'.
        p99_ms: 99th percentile over the single calls of the same rounds; None where fewer than 100 were timed.
        calls: how many single calls were timed in them.
        rounds: how many rounds were measured.
    """

    median_ms: float
    p90_ms: float
    ci95_ms: tuple[float, float]
    n: int
    rejected: float
    all_rounds_median_ms: float
    state: State
    p99_ms: float | None = None
    calls: int = 0
    rounds: int = 0

    def _repr_html_(self) -> str:
        low, high = self.ci95_ms
        latency = f"{ms(self.median_ms)} ms, 95 % interval {ms(low)} to {ms(high)}"
        return table_html(f"verdict: {self.state}", {"median": latency, "90th percentile": f"{ms(self.p90_ms)} ms"})

    @property
    def budget_met(self) -> bool | None:
        """True or False where the measurement decides it, else None."""
        return {"met": True, "missed": False}.get(self.state)


def verdicts(
    rounds: Sequence[Round], *, budget_ms: float | None, reference_us: float | None = None
) -> dict[str, Verdict]:
    """The verdict on every model of these rounds; the reference model's minimum is taken over all of them.

    Args:
        reference_us: that minimum when the latency table was made, so that a steady load is noticed.
    """
    floor_us = reference_floor_us(rounds, table_us=reference_us)
    return {name: _verdict(own, floor_us, budget_ms) for name, own in by_name(rounds).items()}


def measure_verdict(
    device: Device,
    models: Mapping[str, Path],
    reference: Path,
    *,
    budget_ms: float | None,
    reference_us: float | None = None,
    processes: int = MIN_PROCESSES,
    max_extra: int = 4,
    round_ms: float = ROUND_MS,
    seed: int = 0,
    progress: Progress | None = None,
    stream: Stream = stream_rounds,
) -> dict[str, Verdict]:
    """Measure models side by side and judge each against the budget.

    Every model is measured for 20 rounds in each of `processes` fresh processes; what is unstable after that is
    measured in up to `max_extra` more.

    Args:
        models: name to model file: candidates and baselines alike, interleaved in the same processes.
        budget_ms: None measures only.
        reference_us: the reference model's minimum when the latency table was made; see `reference_floor_us`.
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
            so_far = verdicts(taken, budget_ms=budget_ms, reference_us=reference_us)
            names = [name for name, one in so_far.items() if one.state == "unstable"]
        if not names:
            break
        part = stream(
            device,
            {name: models[name] for name in names},
            reference,
            rounds=MIN_ACCEPTED,
            round_ms=round_ms,
            first_round=1 + max((one.round for one in taken), default=-1),
            seed=seed,
            progress=progress or Silent(),
        )
        with contextlib.closing(part):
            taken += part
    return verdicts(taken, budget_ms=budget_ms, reference_us=reference_us)


def _verdict(own: Sequence[Round], floor_us: float, budget_ms: float | None) -> Verdict:
    good = accepted(own, floor_us=floor_us)
    enough = _enough(good)
    used = good if enough else own
    medians_us = [one.median_us for one in used]
    low_ms, high_ms = (bound / 1e3 for bound in median_interval(medians_us))
    median_ms = statistics.median(medians_us) / 1e3
    p90_us, p99_us = statistics.median(one.p90_us for one in used), None
    singles_us = [single for one in used for single in one.singles_us]
    if len(singles_us) >= MIN_CALLS:
        p90_us, p99_us = np.percentile(singles_us, [90, 99]).tolist()
    state: State
    if budget_ms is not None and median_ms <= budget_ms and _enough(own):
        state = "met"
    elif not enough:
        state = "unstable"
    elif budget_ms is None:
        state = "no budget"
    else:
        state = "missed" if low_ms > budget_ms else "straddles"
    return Verdict(
        median_ms=median_ms,
        p90_ms=p90_us / 1e3,
        ci95_ms=(low_ms, high_ms),
        n=len(good),
        rejected=1 - len(good) / len(own),
        all_rounds_median_ms=statistics.median(one.median_us for one in own) / 1e3,
        state=state,
        p99_ms=None if p99_us is None else p99_us / 1e3,
        calls=len(singles_us),
        rounds=len(own),
    )


def _enough(rounds: Sequence[Round]) -> bool:
    return len(rounds) >= MIN_ACCEPTED and len({one.process for one in rounds}) >= MIN_PROCESSES
