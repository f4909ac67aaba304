"""What the decisions that are left may cost under two constraints (Nemhauser and Ullmann, 1969)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hwnas.nas.constraint import Constraint


class UndominatedPairs:
    """Per decision the undominated pairs of costs of all decisions from there on, and the choices behind each."""

    def __init__(self, first: Constraint, second: Constraint) -> None:
        self._constraints = (first, second)
        tables = (first.costs.table, second.costs.table)
        pairs = [np.stack([np.asarray(row) for row in rows]) for rows in zip(*tables, strict=True)]
        floors = np.array([pair.min(axis=1) for pair in pairs])
        before = np.concatenate([np.zeros((1, 2)), np.cumsum(floors, axis=0)])
        reach = np.sum([np.abs(pair).max(axis=1) for pair in pairs], axis=0)
        budgets = np.array([first.raw_budget, second.raw_budget])
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
        """Choices that may complete `prefix` within both constraints, up to rounding."""
        left = [
            one.raw_budget - sum(row[choice] for row, choice in zip(one.costs.table, prefix, strict=False))
            for one in self._constraints
        ]
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
