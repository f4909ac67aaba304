"""`AdditiveSet`: the feasible set of a space whose costs are sums over decisions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np

from hwnas.arch.groups import choices_of, items, neighbours, pooled
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import FeasibleSampler, OptionTable, decode, negative
from hwnas.nas.undominated import UndominatedPairs

_KNOWN_PREFIXES = 1 << 16


class AdditiveSet:
    """What constraints leave of a space whose costs are sums over the decisions.

    `allowed` is exact: an option is allowed if an architecture is known that goes on with it and keeps every
    constraint. Under one constraint that is the cheapest completion, for sums rounded from left to right never decrease
    with a summand. Under two it is found among the undominated pairs of costs that the remaining decisions can come to
    (Nemhauser and Ullmann, 1969), all of which are kept; where decisions hold together in groups, an exact decode finds
    it. Draws are those of `FeasibleSampler`: uniform up to its grid.
    """

    features = None

    def __init__(self, latency: Constraint, other: Constraint | None = None) -> None:
        """A set; it may be empty, see `check`.

        Raises:
            InputError: costs are no sums over decisions.
        """
        self.constraints = (latency,) if other is None else (latency, other)
        self._table, self._groups = latency.costs.table, latency.costs.groups
        self._second = None if other is None else (other.costs.table, other.raw_budget)
        self.options = tuple(map(len, self._table))
        self._cheapest = tuple(int(np.argmin(row)) for row in self._table)
        self._completion = lru_cache(_KNOWN_PREFIXES)(self._complete)

    @property
    def latency(self) -> Constraint:
        return self.constraints[0]

    @cached_property
    def without_latency(self) -> AdditiveSet:
        return AdditiveSet(self.latency.lifted, *self.constraints[1:])

    def check(self) -> None:
        _ = self._sampler

    @property
    def count(self) -> float:
        return self._sampler.count

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        start = tuple(prefix)
        return tuple(self._completion((*start, option)) is not None for option in range(self.options[len(start)]))

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        drawn = self._sampler.sample(rng)
        if self.keeps(drawn):
            return drawn
        fallback = self._completion(())  # the draw was over a constraint by no more than rounding
        assert fallback is not None
        return fallback

    def keeps(self, choices: Sequence[int]) -> bool:
        kept = all(len(group.kept(choices)) == group.keep for group in self._groups)
        return kept and all(constraint.keeps(choices) for constraint in self.constraints)

    def cost(self, choices: Sequence[int]) -> float:
        return self.latency.value(choices)

    def neighbours(self, choices: Sequence[int]) -> Iterator[tuple[int, ...]]:
        return filter(self.keeps, neighbours(tuple(choices), self.options, self._groups))

    def decode(self, scores: OptionTable) -> tuple[int, ...] | None:
        return decode(scores, self._table, self.latency.raw_budget, self._second, self._groups)

    def extreme(self, constraint: Constraint) -> tuple[int, ...] | None:
        return self.decode(negative(constraint.costs.table))

    def _complete(self, prefix: tuple[int, ...]) -> tuple[int, ...] | None:
        """A feasible architecture that begins with `prefix`, or None; that of a shorter prefix where it fits."""
        if prefix:
            shorter = self._completion(prefix[:-1])
            if shorter is None or shorter[: len(prefix)] == prefix:
                return shorter
        if self._groups:
            return self._grouped_completion(prefix)
        tails = [self._cheapest[len(prefix) :]] if self._pairs is None else self._pairs.tails(prefix)
        return next((whole for tail in tails if self.keeps(whole := prefix + tail)), None)

    def _grouped_completion(self, prefix: tuple[int, ...]) -> tuple[int, ...] | None:
        """The cheapest choices that begin with `prefix` and keep the constraints, or None when there are none."""
        if self._second is not None:
            return decode(
                negative(self._table), self._table, self.latency.raw_budget, self._second, self._groups, prefix
            )
        found = items(self.options, self._groups, prefix)
        if not all(item.combinations for item in found):
            return None
        choices = choices_of(found, [row.index(min(row)) for row in pooled(self._table, found)])
        return choices if self.latency.keeps(choices) else None

    @cached_property
    def _sampler(self) -> FeasibleSampler:
        return FeasibleSampler(self._table, self.latency.raw_budget, self._second, self._groups)

    @cached_property
    def _pairs(self) -> UndominatedPairs | None:
        return None if len(self.constraints) == 1 or self._groups else UndominatedPairs(*self.constraints)
