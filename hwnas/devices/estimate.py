"""From rounds to a latency: the accepted-rounds rule and the estimators built on it. Pure functions.

Neighbours disturb a machine in bursts. A round is accepted when the reference model beside it ran undisturbed, within
3 % of its own minimum, and other work left the machine alone. A steady load slows the minimum of the reference model as
well; its own counter shows that, and so does the reference model's latency when the table was made. `median_us`, over
accepted rounds, is what a budget is measured against. `floor_us` states the undisturbed latency and is what tables
hold; a disturbance only ever makes a round slower, so the floor needs no acceptance and is taken over all rounds.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import bdtr

from hwnas.devices.rounds import Round
from hwnas.errors import InputError

REFERENCE_TOLERANCE = 0.03
REFERENCE_DRIFT = 0.05
LOADED = 0.25


@dataclass(frozen=True)
class Estimate:
    """Latency of one model; times are microseconds of one call.

    Attributes:
        floor_us: smallest median of any round.
        median_us: median of the medians of accepted rounds; of all rounds when none was accepted, like the next three.
        p10_us: median of the rounds' 10th percentiles.
        p90_us: median of the rounds' 90th percentiles.
        ci95_us: 95 % interval of `median_us`; see `median_interval`.
        rounds: how many rounds were measured.
        accepted: how many of them were accepted.
        all_rounds_median_us: median over all rounds, disturbed ones too.
    """

    floor_us: float
    median_us: float
    p10_us: float
    p90_us: float
    ci95_us: tuple[float, float]
    rounds: int
    accepted: int
    all_rounds_median_us: float

    @property
    def rejected(self) -> float:
        """Share of the rounds that were rejected, 0 to 1."""
        return 1 - self.accepted / self.rounds


def reference_floor_us(rounds: Sequence[Round], *, table_us: float | None = None) -> float:
    """The reference model's own minimum over the rounds, in microseconds; infinity without rounds.

    Args:
        table_us: its minimum when the latency table was made. A minimum of now that is up to 5 % above that is drift,
            as tables allow; one that is further above is slowed by something, and is taken for no more than that.
    """
    own_us = min((one.reference_us for one in rounds), default=float("inf"))
    if table_us is None:
        return own_us
    return min(own_us, table_us * (1 + REFERENCE_DRIFT) / (1 + REFERENCE_TOLERANCE))


class WithLoad(Protocol):
    """Anything measured, such as a round, with how busy other work kept the machine then; see `Round`."""

    @property
    def load(self) -> float | None: ...


def loaded(one: WithLoad) -> bool:
    """Whether other work kept more than a quarter of the other CPUs busy; False where the system does not say."""
    return one.load is not None and one.load > LOADED


def accepted(rounds: Sequence[Round], *, floor_us: float | None = None) -> list[Round]:
    """The rounds without load from other work whose reference model is within 3 % of its own minimum.

    Args:
        rounds: of one model or of many, of one process or of many, under one condition.
        floor_us: that minimum, where it is known from more rounds than these.
    """
    limit_us = (reference_floor_us(rounds) if floor_us is None else floor_us) * (1 + REFERENCE_TOLERANCE)
    return [one for one in rounds if one.reference_us <= limit_us and not loaded(one)]


def reference_drift(rounds: Sequence[Round]) -> float:
    """How much slower the reference model's minimum is in the last third of the rounds than in the first third.

    0 below six rounds.

    Args:
        rounds: in the order that they were measured.
    """
    third = len(rounds) // 3
    if third < 2:
        return 0.0
    first_us, last_us = (min(one.reference_us for one in part) for part in (rounds[:third], rounds[-third:]))
    return last_us / first_us - 1.0


def disagreement(own: Sequence[Round]) -> float | None:
    """How much the floors of the two fastest processes of a model differ, as a share; None with fewer processes.

    A floor that a second process reaches again is no accident of one: where memory lies, or a burst that lasted as long
    as the process.
    """
    floors: dict[int, float] = {}
    for one in own:
        floors[one.process] = min(one.median_us, floors.get(one.process, math.inf))
    best = sorted(floors.values())[:2]
    return best[1] / best[0] - 1.0 if len(best) == 2 else None


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval of the median: two order statistics, k-th smallest and k-th largest.

    k is the largest for which P(Binomial(n, 1/2) < k) stays within half of 1 - confidence, so the coverage is at
    least `confidence` for independent values (David and Nagaraja, Order Statistics, 3rd edition, section 7.1). Below
    six values no k is enough for 95 %, and the interval is the whole range.

    Raises:
        InputError: no values.
    """
    if not values:
        raise InputError("the median of no rounds has no interval", hint="measure at least one round")
    ordered = sorted(values)
    n = len(ordered)
    tails = bdtr(np.arange(n), n, 0.5)  # P(Binomial(n, 1/2) <= 0), P(... <= 1), ...
    k = max(1, int(np.searchsorted(tails, (1 - confidence) / 2, side="right")))
    return ordered[k - 1], ordered[-k]


def estimate(rounds: Sequence[Round], *, floor_us: float | None = None) -> Estimate:
    """The latency of one model from its rounds.

    Args:
        floor_us: the reference model's minimum, where it is known from more rounds than these; see `accepted`.

    Raises:
        InputError: no rounds.
    """
    if not rounds:
        raise InputError("a latency needs at least one round", hint="measure the model")
    good = accepted(rounds, floor_us=floor_us)
    used = good or rounds
    medians = [one.median_us for one in used]
    return Estimate(
        floor_us=min(one.median_us for one in rounds),
        median_us=statistics.median(medians),
        p10_us=statistics.median(one.p10_us for one in used),
        p90_us=statistics.median(one.p90_us for one in used),
        ci95_us=median_interval(medians),
        rounds=len(rounds),
        accepted=len(good),
        all_rounds_median_us=statistics.median(one.median_us for one in rounds),
    )


def by_name(rounds: Sequence[Round]) -> dict[str, list[Round]]:
    """The rounds of each model, in the order they were measured."""
    result: defaultdict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        result[one.name].append(one)
    return dict(result)


def by_process(rounds: Sequence[Round], fewest: int = 1) -> list[list[Round]]:
    """The rounds of each process that has at least so many, in the order of the processes."""
    parts: defaultdict[int, list[Round]] = defaultdict(list)
    for one in rounds:
        parts[one.process].append(one)
    return [parts[process] for process in sorted(parts) if len(parts[process]) >= fewest]


def estimates(rounds: Sequence[Round]) -> dict[str, Estimate]:
    """`estimate` of every model, with the reference model's minimum taken over all the rounds."""
    floor_us = reference_floor_us(rounds)
    return {name: estimate(own, floor_us=floor_us) for name, own in by_name(rounds).items()}
