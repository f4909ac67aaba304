"""Does a model file meet its budget on the device? A claim with a known error, whose unit is the process.

Rounds of one process share where its memory lies and what else the machine did then, so processes differ by more than
their rounds do; only processes are independent. The verdict bounds the median over processes by a sequential test, see
`sequential_median`: 'met' and 'missed' are wrong in at most one of twenty files each, however long it was measured.
"""

from __future__ import annotations

import contextlib
import functools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hwnas.devices.device import Device
from hwnas.devices.estimate import accepted, by_name, by_process, reference_floor_us
from hwnas.devices.input_values import pixel_inputs
from hwnas.devices.measure import ROUND_MS, Stream, stream_rounds
from hwnas.devices.rounds import Round
from hwnas.devices.sequential_median import FEWEST, lower_bound, upper_bound
from hwnas.devices.statistic import WARM_MEDIAN, Statistic
from hwnas.display import ms, table_html
from hwnas.errors import InputError
from hwnas.progress import Progress, Silent, Within

ROUNDS = 12
"""In each process."""
MIN_ACCEPTED = 5
"""Of these, for a process to count as undisturbed."""
MIN_PROCESSES = FEWEST
MAX_PROCESSES = 15
"""Disturbed ones included."""
MOST_UNDISTURBED = 12
"""Undisturbed processes after which a file is too close to its budget to tell."""
MIN_CALLS = 100  # for a 99th percentile

State = Literal["met", "missed", "too close", "unstable", "no budget"]


@dataclass(frozen=True)
class Verdict:
    """Latency of one model and what it means for the budget; times are milliseconds of one call.

    Attributes:
        median_ms: median over processes of their medians, called back to back ('warm').
        p90_ms: median over rounds of their 90th percentiles; where at least 100 single calls were timed, the 90th
            percentile over these.
        bounds_ms: of `judged_ms`: what it is at least and at most, each with 95 % confidence, however long it was
            measured; None where the processes do not bound it.
        n: how many rounds were accepted.
        rejected: share of the rounds that were rejected, 0 to 1.
        all_rounds_median_ms: median over all rounds.
        state: 'met' where the upper bound is within the budget, 'missed' where the lower bound lies above it, 'too
            close' where neither holds, and 'unstable' where fewer than 5 processes were undisturbed and the budget was
            not met in spite of that: a disturbance only ever slows.
        p99_ms: 99th percentile over the single calls of the same rounds; None where fewer than 100 were timed.
        calls: how many single calls were timed in them.
        rounds: how many rounds were measured.
        cold_ms: median over processes of their medians of single calls after work that evicts caches; None where that
            was not measured.
        processes: how many undisturbed processes the verdict rests on; all of them where there are fewer than 5.
        judged_ms: the latency that the budget is about, see `statistic`; the median by default.
        statistic: which latency that is.
        fast_ms: nine of ten rounds, disturbed ones included, were slower; 0 where it is not known.
    """

    median_ms: float
    p90_ms: float
    bounds_ms: tuple[float | None, float | None]
    n: int
    rejected: float
    all_rounds_median_ms: float
    state: State
    p99_ms: float | None = None
    calls: int = 0
    rounds: int = 0
    cold_ms: float | None = None
    processes: int = 0
    judged_ms: float = math.nan
    statistic: Statistic = WARM_MEDIAN
    fast_ms: float = 0.0

    def __post_init__(self) -> None:
        if math.isnan(self.judged_ms):
            object.__setattr__(self, "judged_ms", self.median_ms)

    def _repr_html_(self) -> str:
        facts = {self.statistic.label: self.measured, "90th percentile": f"{ms(self.p90_ms)} ms"}
        if self.cold_ms is not None:
            facts["after work that evicts caches"] = f"{ms(self.cold_ms)} ms"
        return table_html(f"verdict: {self.state}", facts)

    @property
    def measured(self) -> str:
        """The judged latency and its bounds, for people."""
        low, high = self.bounds_ms
        below = "" if low is None else f" at least {ms(low)} and"
        above = "" if high is None else f"{below} at most {ms(high)} ms with 95 % confidence each"
        return f"{ms(self.judged_ms)} ms{',' + above if above else ''}"

    @property
    def budget_met(self) -> bool | None:
        """True or False where the measurement decides it, else None."""
        return {"met": True, "missed": False}.get(self.state)


def verdicts(
    rounds: Sequence[Round],
    *,
    budget_ms: float | None,
    reference_us: float | None = None,
    statistic: Statistic = WARM_MEDIAN,
    judged: Collection[str] | None = None,
) -> dict[str, Verdict]:
    """The verdict on every model of these rounds; the reference model's minimum is taken over all of them.

    Args:
        reference_us: that minimum when the latency table was made, so that a steady load is noticed.
        statistic: the latency that the budget is about.
        judged: names of the models that the budget is for; by default all.

    Raises:
        InputError: a percentile was asked for, and in no process were enough single calls timed for it.
    """
    floor_us = reference_floor_us(rounds, table_us=reference_us)
    return {
        name: _verdict(own, floor_us, budget_ms if judged is None or name in judged else None, statistic)
        for name, own in by_name(rounds).items()
    }


def measure_verdict(
    device: Device,
    models: Mapping[str, Path],
    reference: Path,
    *,
    budget_ms: float | None,
    statistic: Statistic = WARM_MEDIAN,
    judged: Collection[str] | None = None,
    reference_us: float | None = None,
    processes: int = MAX_PROCESSES,
    round_ms: float = ROUND_MS,
    seed: int = 0,
    label: str = "measuring",
    progress: Progress | None = None,
    stream: Stream | None = None,
) -> dict[str, Verdict]:
    """Measure models side by side and judge each against the budget.

    Every model is measured for 12 rounds in each of 5 fresh processes; what is undecided after that is measured in
    more, until 12 of its processes were undisturbed, or `processes` were started in all, but no longer than one that is
    judged is undecided. Files that say that they read
    pixels are given numbers from 0 to 255.

    Args:
        models: name to model file: candidates and baselines alike, interleaved in the same processes.
        budget_ms: None measures only.
        statistic: the latency that the budget is about.
        judged: names of the models that the budget is for; by default all. The others are measured only.
        reference_us: the reference model's minimum when the latency table was made; see `reference_floor_us`.
        processes: how many are started at most.
        label: what the measurement is called in progress; see `stream_rounds`.
        stream: measures one process; another than `stream_rounds` in tests.

    Raises:
        InputError: a budget that is not above 0, fewer than 5 processes, or a latency that the device cannot tell.
        DeviceError: as `stream_rounds`.
    """
    if budget_ms is not None and not budget_ms > 0:
        raise InputError(f"a budget must be above 0 ms, not {budget_ms}")
    if processes < MIN_PROCESSES:
        raise InputError(f"a verdict needs at least {MIN_PROCESSES} processes, not {processes}")
    statistic.check(device)
    stream = stream or functools.partial(
        stream_rounds,
        singles=statistic.percentile != 50,
        cold=statistic.told_by(device),
        inputs=pixel_inputs(models, device),
    )
    judge = functools.partial(
        verdicts, budget_ms=budget_ms, reference_us=reference_us, statistic=statistic, judged=judged
    )
    taken: list[Round] = []
    names, total = list(models), MIN_PROCESSES * ROUNDS * len(models)
    progress = progress or Silent()
    with progress.track(f"{label} on {device.id}", total) as advance:
        within = Within(progress, advance, total, kind="measuring", beyond="more processes, until it is decided")
        for process in range(processes):
            if process >= MIN_PROCESSES:
                names = [name for name, one in judge(taken).items() if _open(one)]
            if not any(judged is None or name in judged for name in names):
                break
            part = stream(
                device,
                {name: models[name] for name in names},
                reference,
                rounds=ROUNDS,
                round_ms=round_ms,
                first_round=1 + max((one.round for one in taken), default=-1),
                seed=seed,
                progress=within,
            )
            with contextlib.closing(part):
                taken += part
    return judge(taken)


def _open(one: Verdict) -> bool:
    """Whether more processes may decide it."""
    return (
        one.processes < MIN_PROCESSES
        or one.state == "unstable"
        or (one.state == "too close" and one.processes < MOST_UNDISTURBED)
    )


def _verdict(own: Sequence[Round], floor_us: float, budget_ms: float | None, statistic: Statistic) -> Verdict:
    good = accepted(own, floor_us=floor_us)
    every = by_process(own)
    undisturbed = [part for part in by_process(good, MIN_ACCEPTED) if statistic.told_of(part)]
    stable = len(undisturbed) >= MIN_PROCESSES
    parts = undisturbed if stable else [part for part in every if statistic.told_of(part)] or every
    used = [one for part in parts for one in part]
    values_ms = [statistic.of(part) / 1e3 for part in parts]
    low_ms, high_ms = lower_bound(values_ms, MOST_UNDISTURBED), upper_bound(values_ms, MOST_UNDISTURBED)
    p90_us, p99_us = statistics.median(one.p90_us for one in used), None
    singles_us = [single for one in used for single in one.singles_us]
    if len(singles_us) >= MIN_CALLS:
        p90_us, p99_us = np.percentile(singles_us, [90, 99]).tolist()
    cold_us = [cold for part in parts if (cold := Statistic("cold").of(part)) is not None] if _has_cold(used) else []
    return Verdict(
        median_ms=statistics.median(WARM_MEDIAN.of(part) for part in parts) / 1e3,
        p90_ms=p90_us / 1e3,
        bounds_ms=(_known(low_ms) if stable else None, _known(high_ms)),
        n=len(good),
        rejected=1 - len(good) / len(own),
        all_rounds_median_ms=statistics.median(one.median_us for one in own) / 1e3,
        state=_state(low_ms, high_ms, budget_ms, stable=stable),
        p99_ms=None if p99_us is None else p99_us / 1e3,
        calls=len(singles_us),
        rounds=len(own),
        cold_ms=statistics.median(cold_us) / 1e3 if cold_us else None,
        processes=len(parts),
        judged_ms=statistics.median(values_ms),
        statistic=statistic,
        fast_ms=float(np.percentile([one.median_us for one in own], 10)) / 1e3,
    )


def _state(low_ms: float, high_ms: float, budget_ms: float | None, *, stable: bool) -> State:
    if budget_ms is not None and high_ms <= budget_ms:
        return "met"
    if not stable:
        return "unstable"
    if budget_ms is None:
        return "no budget"
    return "missed" if low_ms > budget_ms else "too close"


def _has_cold(rounds: Sequence[Round]) -> bool:
    return all(one.cold_us for one in rounds)


def _known(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
