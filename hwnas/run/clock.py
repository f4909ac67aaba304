"""The clock of a run: how much of its minutes is spent, and what its end still needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from hwnas.devices.measure import ROUND_MS
from hwnas.devices.statistic import COLD_CALLS, EVICTING_MS
from hwnas.devices.verdict import MIN_PROCESSES, ROUNDS

_FILLED = 0.97  # of the minutes is planned with; the rest is what estimates are off
_PROCESS_S = 1.2  # until a measuring process times its first model
_WARMUP_CALLS, _TIMED_CALLS = 2, 3  # of a round, at least
_REPORT_S = 2.5  # export and report of one budget
_FAIR = 0.5  # of what a quiet machine would leave, at least: a verdict on a network that was not trained is no use


class Clock:
    """How long a run has taken, those processes included that were interrupted before this one.

    Attributes:
        minutes: that the run may take; 0 where nobody says.
        slow: how many times as long as planned the last verdict took, at least 1.
    """

    def __init__(self, minutes: float = 0.0, *, earlier_s: float = 0.0, began: float | None = None) -> None:
        """Start it.

        Args:
            earlier_s: seconds that earlier processes of the same run have taken.
            began: `time.monotonic()` of when this process began with the run; by default it does so now.
        """
        self.minutes, self.slow = minutes, 1.0
        self._began = (time.monotonic() if began is None else began) - earlier_s

    def spent_s(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def watching(self, planned_s: float) -> Iterator[None]:
        """Learn from a verdict how long others take, in `slow`.

        Args:
            planned_s: what it takes on a quiet device (`verdict_s`).
        """
        began = time.monotonic()
        yield
        self.slow = max(1.0, (time.monotonic() - began) / planned_s)

    def left_s(self, ending_s: float = 0.0) -> float:
        """Seconds that may still be spent, less `ending_s`; never below 0."""
        return max(0.0, 60.0 * _FILLED * self.minutes - self.spent_s() - ending_s)

    def left_before(self, ending_s: Callable[[float], float]) -> float:
        """Seconds that may still be spent before the end of the run, which is given as long as the last verdict tells.

        Half of what a quiet machine would leave is left in any case.

        Args:
            ending_s: of the end, on a machine that is so many times as slow.
        """
        return max(self.left_s(ending_s(self.slow)), _FAIR * self.left_s(ending_s(1.0)))


def verdict_s(models: int, budget_ms: float, processes: int = MIN_PROCESSES) -> float:
    """About how long it takes to measure so many models, which take the budget, against it on a quiet device."""
    round_ms = max(ROUND_MS, _TIMED_CALLS * budget_ms) + _WARMUP_CALLS * budget_ms
    return processes * (_PROCESS_S + ROUNDS * models * (round_ms + COLD_CALLS * (EVICTING_MS + budget_ms)) / 1e3)


def ending_s(
    budgets_ms: list[float],
    *,
    measured: bool,
    baseline: bool,
    unchecked: bool,
    evaluation_s: float,
    slow: float = 1.0,
) -> float:
    """About how long a run takes besides search and training: checks, verdicts, evaluation, export and report.

    Args:
        measured: whether there is a way to the device.
        baseline: whether a random network is measured beside the winner.
        unchecked: whether the winners are still to be measured with random weights.
        evaluation_s: of the networks of one budget on the images that are kept apart.
        slow: how many times as long as on a quiet machine the rest takes, see `Clock.slow`.
    """
    total_s = _REPORT_S * len(budgets_ms)
    for budget_ms in budgets_ms if measured else ():
        total_s += verdict_s(1 + baseline, budget_ms) + (verdict_s(1, budget_ms) if unchecked else 0.0)
    return slow * total_s + evaluation_s * len(budgets_ms)
