"""Which choices keep every limit, as numbers: all that a strategy knows of latencies and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwnas.nas.limits import Limit, Limits

Features = Callable[[Sequence[int]], tuple[Mapping[Any, float], Mapping[Any, float]]]

_KNOWN_PREFIXES = 1 << 16


class Feasible(Protocol):
    """The architectures that a search may propose, one decision after the other."""

    options: tuple[int, ...]
    """Number of options of each decision, in order."""

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options of decision `len(prefix)` can still be completed to a feasible architecture.

        At least one can if the prefix itself could; of the empty prefix there is always one.
        """
        ...

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Choices of a feasible architecture, uniformly."""
        ...

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether an architecture is feasible."""
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """The optional part of a `Feasible`: what it knows of networks beyond the choices."""

    def features(self, choices: Sequence[int]) -> tuple[Mapping[Any, float], Mapping[Any, float]]:
        """How often the network of an architecture has each fine feature, and each coarse one."""
        ...


class WithFeatures:
    """A `Feasible` that has features as well."""

    def __init__(self, feasible: Feasible, features: Features) -> None:
        self.options, self.features = feasible.options, features
        self.allowed, self.sample, self.keeps = feasible.allowed, feasible.sample, feasible.keeps


class Unconstrained:
    """Every combination of options, whatever it costs: to make a sampler that only says what it can start from."""

    def __init__(self, options: Sequence[int]) -> None:
        self.options = tuple(options)

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        return (True,) * self.options[len(prefix)]

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        return tuple(int(choice) for choice in rng.integers(self.options))

    def keeps(self, choices: Sequence[int]) -> bool:
        return len(choices) == len(self.options)


class Additive:
    """What limits leave of a space whose costs are sums over the decisions.

    `allowed` is exact: an option is allowed if an architecture is known that goes on with it and keeps every limit.
    Under one limit that is the cheapest completion, for sums rounded from left to right never decrease with a summand.
    Under two it is found among the undominated pairs of costs that the remaining decisions can come to (Nemhauser and
    Ullmann, 1969), all of which are kept; where decisions hold together in groups, an exact decode finds it. Draws are
    those of `FeasibleSampler`: uniform up to its grid.
    """

    def __init__(self, limits: Limits) -> None:
        """Prepare draws and completions.

        Raises:
            InputError: no architecture is within the limits.
        """
        self._whole, self._limits = limits, limits.all
        self.options = tuple(len(row) for row in limits.latency.costs)
        self._sampler = limits.sampler()
        self._cheapest = tuple(int(np.argmin(row)) for row in limits.latency.costs)
        self._pairs = None if limits.size is None or limits.groups else _Pairs(limits.latency, limits.size)
        self._completion = lru_cache(_KNOWN_PREFIXES)(self._complete)

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        start = tuple(prefix)
        return tuple(self._completion((*start, option)) is not None for option in range(self.options[len(start)]))

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        drawn = self._sampler.sample(rng)
        if self.keeps(drawn):
            return drawn
        fallback = self._completion(())  # the draw was over a limit by no more than rounding
        assert fallback is not None
        return fallback

    def keeps(self, choices: Sequence[int]) -> bool:
        kept = all(len(group.kept(choices)) == group.keep for group in self._whole.groups)
        return kept and all(limit.keeps(choices) for limit in self._limits)

    def _complete(self, prefix: tuple[int, ...]) -> tuple[int, ...] | None:
        """A feasible architecture that begins with `prefix`, or None; that of a shorter prefix where it fits."""
        if prefix:
            shorter = self._completion(prefix[:-1])
            if shorter is None or shorter[: len(prefix)] == prefix:
                return shorter
        if self._whole.groups:
            return self._whole.completion(prefix)
        tails = [self._cheapest[len(prefix) :]] if self._pairs is None else self._pairs.tails(prefix)
        return next((whole for tail in tails if self.keeps(whole := prefix + tail)), None)


class _Pairs:
    """Per decision the undominated pairs of costs of all decisions from there on, and the choices behind each."""

    def __init__(self, first: Limit, second: Limit) -> None:
        self._limits = (first, second)
        pairs = [np.stack([np.asarray(row) for row in rows]) for rows in zip(first.costs, second.costs, strict=True)]
        floors = np.array([pair.min(axis=1) for pair in pairs])
        before = np.concatenate([np.zeros((1, 2)), np.cumsum(floors, axis=0)])
        reach = np.sum([np.abs(pair).max(axis=1) for pair in pairs], axis=0)
        budgets = np.array([first.budget, second.budget])
        self._slack = 1e-9 * np.maximum(reach, 1e-12)  # for sums that round differently
        ends: NDArray[np.float64] = np.zeros((2, 1))
        self._levels = [(ends, np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.intp))]
        for pair, spent in zip(reversed(pairs), reversed(before[:-1]), strict=True):
            sums = (pair[:, :, None] + ends[:, None, :]).reshape(2, -1)
            alive = np.flatnonzero((sums + spent[:, None] <= (budgets + self._slack)[:, None]).all(axis=0))
            alive = alive[np.lexsort((sums[1, alive], sums[0, alive]))]
            least = np.minimum.accumulate(np.concatenate([[np.inf], sums[1, alive]]))[:-1]
            alive = alive[sums[1, alive] < least]
            options, rest = np.divmod(alive, ends.shape[1])
            ends = sums[:, alive]
            self._levels.insert(0, (ends, options, rest))

    def tails(self, prefix: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Choices that may complete `prefix` within both limits, up to rounding."""
        spent = [sum(row[choice] for row, choice in zip(limit.costs, prefix, strict=False)) for limit in self._limits]
        left = [limit.budget - used for limit, used in zip(self._limits, spent, strict=True)]
        first, second = self._levels[len(prefix)][0]
        for index in reversed(range(int(np.searchsorted(first, left[0] + self._slack[0], side="right")))):
            if second[index] > left[1] + self._slack[1]:
                return
            yield self._choices(len(prefix), index)
            if first[index] <= left[0] - self._slack[0]:
                return

    def _choices(self, level: int, index: int) -> tuple[int, ...]:
        choices: list[int] = []
        for _, options, rest in self._levels[level:-1]:
            choices.append(int(options[index]))
            index = int(rest[index])
        return tuple(choices)
