"""A bound of a median that holds however often one looks: a sequential sign test. Pure functions.

Of independent values, each lies at or below a limit with a probability of at most 1/2 where the median is above the
limit. So, after n values, k of them at or below it are evidence against that, whatever the distribution. Which k is
enough after each n is chosen so that the probability of ever reaching one of them stays within 5 % (exact, over all
paths; a group-sequential design as of Lan and DeMets 1983 with the error spent as early as the counts allow). The
limits that the test does not reject make up a confidence sequence of the median (Howard and Ramdas 2022).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from types import MappingProxyType

from hwnas.errors import InputError

FEWEST = 5
"""Values below which nothing is decided: with fewer, not even equal signs are rarer than 5 %."""
MOST = 21
"""Values after which the error is spent."""
ERROR = 0.05


@functools.cache
def enough(most: int = MOST, error: float = ERROR) -> MappingProxyType[int, int]:
    """How many of the first n values must lie on one side to decide that the median does, for the n where that can be.

    Raises:
        InputError: with so few values nothing is ever decided.
    """
    if 0.5**most > error:
        raise InputError(f"a median cannot be bounded to {1 - error:.0%} with {most} values", hint="allow at least 5")
    result: dict[int, int] = {}
    paths, spent = {0: 1.0}, 0.0  # probability of each count that has decided nothing so far
    for n in range(1, most + 1):
        step: dict[int, float] = {}
        for count, probability in paths.items():
            for now in (count, count + 1):
                step[now] = step.get(now, 0.0) + probability / 2
        for count in sorted(step, reverse=True):
            if spent + step[count] > error:
                break
            spent += step.pop(count)
            result[n] = count
        paths = step
    return MappingProxyType(result)


def upper_bound(values: Sequence[float], most: int = MOST) -> float:
    """What the median is at most, with 95 % confidence after every further value alike; infinite while that is open.

    Args:
        values: independent, in the order in which they came.
        most: how many there may be at the end; later ones are left out.
    """
    bound = math.inf
    for n, count in enough(most).items():
        if n <= len(values):
            bound = min(bound, sorted(values[:n])[count - 1])
    return bound


def lower_bound(values: Sequence[float], most: int = MOST) -> float:
    """What the median is at least, alike; minus infinity while that is open."""
    return -upper_bound([-value for value in values], most)
