"""Which latency a budget is about: warm or cold, the median or a percentile."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hwnas.devices.rounds import Round
from hwnas.errors import InputError

if TYPE_CHECKING:
    from hwnas.devices.device import Device

COLD_CALLS = 2
"""In a round, each after work that evicts caches."""
EVICTING_MS = 10.0
"""About what that work takes."""
_BEYOND = 2  # single calls beyond a percentile, in each process


@dataclass(frozen=True)
class Statistic:
    """What is told of the calls of one process, in microseconds of one call.

    Attributes:
        latency: 'warm' is called back to back; 'cold' is one call after work that evicts caches, as in an app that
            classifies a frame now and then.
        percentile: 50 is the median.
    """

    latency: Literal["warm", "cold"] = "warm"
    percentile: int = 50

    def __post_init__(self) -> None:
        if not 50 <= self.percentile <= 99:
            raise InputError(f"a percentile of latency is from 50 to 99, not {self.percentile}", hint="90, for example")

    @property
    def label(self) -> str:
        """Such as 'median' or '90th percentile, cold'."""
        ending = {1: "st", 2: "nd", 3: "rd"}.get(self.percentile % 10, "th")
        name = "median" if self.percentile == 50 else f"{self.percentile}{ending} percentile"
        return name if self.latency == "warm" else f"{name}, cold"

    @staticmethod
    def told_by(device: Device) -> bool:
        """Whether the device can tell cold latencies and percentiles: LiteRT's benchmark_model cannot."""
        return device.python is not None

    def check(self, device: Device) -> None:
        """Whether the device can tell this.

        Raises:
            InputError: it cannot.
        """
        if self != WARM_MEDIAN and not self.told_by(device):
            raise InputError(
                f"{device.id} measures with benchmark_model, which tells no {self.label} of single calls",
                hint="leave out --latency and --percentile, or measure with Python on the device",
            )

    def of(self, rounds: Sequence[Round]) -> float:
        """The statistic over rounds of one process, in microseconds.

        Raises:
            InputError: too few single calls were timed for the percentile.
        """
        if self == WARM_MEDIAN:
            return statistics.median(one.median_us for one in rounds)
        calls_us = self._calls_us(rounds)
        if len(calls_us) < self._fewest:
            raise InputError(
                f"the {self.label} takes at least {self._fewest:.0f} single calls a process, and {len(calls_us)} were "
                "timed",
                hint="judge a lower percentile",
            )
        return float(np.percentile(calls_us, self.percentile))

    def told_of(self, rounds: Sequence[Round]) -> bool:
        """Whether enough single calls were timed for it in rounds of one process."""
        return self == WARM_MEDIAN or len(self._calls_us(rounds)) >= self._fewest

    @property
    def _fewest(self) -> float:
        return 1 if self.percentile == 50 else _BEYOND * 100 / (100 - self.percentile)

    def _calls_us(self, rounds: Sequence[Round]) -> list[float]:
        return [us for one in rounds for us in (one.cold_us if self.latency == "cold" else one.singles_us)]


WARM_MEDIAN = Statistic()
"""What budgets are about where nothing else is said."""
