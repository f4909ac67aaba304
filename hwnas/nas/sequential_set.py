"""`SequentialSet`: the feasible set of a sequential space, such as the chains of MetaQNN.

Exact where costs are real numbers: the best sequence is a dynamic programme over (step, state), and draws count
completions. The architectures are choices of a fixed length, one for each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.choice_costs import S, SequentialCosts, Step
from hwnas.arch.groups import neighbours
from hwnas.errors import InputError
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import OptionTable

_CELLS = 4096
_Trail = tuple[int, Any] | None  # the last option, and the trail before it
_Partial = tuple[float, float, _Trail]  # cost, score, and the options so far


class SequentialSet(Generic[S]):
    """The sequences that cost at most the budget of a constraint.

    A prefix is completed by the cheapest sequence from its state, so `allowed` is exact. Draws are uniform up to a
    grid: the cost of a step beyond the cheapest way on is rounded up to cells of the budget that is left beyond the
    cheapest sequence, so that every draw is feasible, and within `length / 4096` of that budget some may be left out.
    """

    features = None

    def __init__(self, costs: SequentialCosts[S], latency: Constraint, *others: Constraint) -> None:
        """Find the cheapest completions of every state, and count.

        Args:
            costs: of the sequences; those of `latency`.

        Raises:
            InputError: no sequence is within the budget, or there is another constraint.
        """
        if others:
            raise InputError("a sequential space can keep a latency only")
        self._costs, self._raw_budget, self.options = costs, latency.raw_budget, costs.options
        self.constraints, self.latency = (latency,), latency
        self._levels = costs.completions()
        if not self.keeps(self._cheapest):
            cheapest = self._levels[0][costs.start]
            raise InputError(
                f"no architecture is within the budget {self._raw_budget:g}: the cheapest one takes {cheapest:g}"
            )
        self._grid, self._counts = self._count()

    @cached_property
    def without_latency(self) -> SequentialSet[S]:
        return SequentialSet(self._costs, self.latency.lifted)

    def check(self) -> None:
        """There is always something."""

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether these are the choices of a sequence within the budget."""
        return (
            len(choices) == self._costs.length
            and (cost := self._costs.cost(choices)) < np.inf
            and cost <= self._raw_budget
        )

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options can be completed to a sequence within the budget."""
        at, (spent, state) = len(prefix), self._costs.reached(prefix)
        flags = [False] * self.options[at]
        for step in self._costs.steps(state) if spent < np.inf else ():
            flags[step.option] = self.keeps((*prefix, step.option, *self._tail(at + 1, step.after)))
        return tuple(flags)

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """One sequence within the budget, uniformly."""
        state, left = self._costs.start, _CELLS
        choices: list[int] = []
        for at in range(self._costs.length):
            steps = self._costs.steps(state)
            cells = [self._cells(at, state, step) for step in steps]
            weights = np.array(
                [
                    self._counts[at + 1][step.after][left - used] if used <= left else 0.0
                    for step, used in zip(steps, cells, strict=True)
                ]
            )
            index = int(rng.choice(len(steps), p=weights / weights.sum()))
            choices.append(steps[index].option)
            state, left = steps[index].after, left - cells[index]
        return tuple(choices) if self.keeps(choices) else self._cheapest

    @property
    def count(self) -> float:
        """Number of sequences within the budget, up to the grid."""
        return float(self._counts[0][self._costs.start][-1])

    def cost(self, choices: Sequence[int]) -> float:
        return self.latency.value(choices)

    def neighbours(self, choices: Sequence[int]) -> Iterator[tuple[int, ...]]:
        return filter(self.keeps, neighbours(tuple(choices), self.options))

    def extreme(self, constraint: Constraint) -> tuple[int, ...]:
        """The cheapest sequence: there is no other constraint that it could take least of."""
        return self._cheapest

    def decode(self, scores: OptionTable) -> tuple[int, ...]:
        """The sequence within the budget with the largest sum of scores; the cheapest of several.

        Of the sequences to one state only those are kept that no other one beats in both cost and score, as in the
        knapsack of Nemhauser and Ullmann (1969): from one state, all have the same ways on.

        Args:
            scores: for each step and option.

        Raises:
            InputError: a score is not finite.
        """
        if not all(np.isfinite(row).all() for row in scores):
            raise InputError("the scores of a decode must be finite numbers")
        slack = 1e-9 * max(1.0, abs(self._levels[0][self._costs.start]))  # for sums that round differently
        front: dict[S, list[_Partial]] = {self._costs.start: [(0.0, 0.0, None)]}
        for at, row in enumerate(scores):
            longer: dict[S, list[_Partial]] = {}
            for state, partials in front.items():
                for step in self._costs.steps(state):
                    left = self._raw_budget + slack - self._levels[at + 1][step.after] - step.cost
                    longer.setdefault(step.after, []).extend(
                        (cost + step.cost, score + row[step.option], (step.option, trail))
                        for cost, score, trail in partials
                        if cost <= left
                    )
            front = {state: _undominated(partials) for state, partials in longer.items()}
        ends = [
            (score, -cost, trail)
            for state, partials in front.items()
            for spent, score, trail in partials
            if (cost := spent + self._costs.last(state)) <= self._raw_budget
        ]
        best = max(ends, key=lambda one: one[:2])
        return _choices(best[2])

    @property
    def _cheapest(self) -> tuple[int, ...]:
        return self._tail(0, self._costs.start)

    def _tail(self, at: int, state: S) -> tuple[int, ...]:
        """The cheapest choices from step `at` on."""
        return self._costs.tail(self._levels, at, state)

    def _cells(self, at: int, state: S, step: Step[S]) -> int:
        """Cells that a step takes beyond the cheapest way on from `state`, rounded up."""
        beyond = step.cost + self._levels[at + 1][step.after] - self._levels[at][state]
        return min(_CELLS + 1, int(np.ceil(beyond / self._grid - 1e-9)))

    def _count(self) -> tuple[float, list[dict[S, NDArray[np.float64]]]]:
        """The width of a cell, and for each step and state the number of completions by the cells that are left."""
        levels = self._levels
        widest = sum(
            max(step.cost + after[step.after] - level[state] for state in level for step in self._costs.steps(state))
            for level, after in itertools.pairwise(levels)
        )
        spare = self._raw_budget - levels[0][self._costs.start]
        room = widest * _CELLS / max(1, _CELLS - self._costs.length)  # rounding excludes nothing that all fit into
        self._grid = max(min(spare, room), 1e-12 * max(widest, 1.0)) / _CELLS
        counts = [{state: np.ones(_CELLS + 1) for state in levels[-1]}]
        for at in reversed(range(self._costs.length)):
            here = {}
            for state in levels[at]:
                total = np.zeros(_CELLS + 1)
                for step in self._costs.steps(state):
                    used = self._cells(at, state, step)
                    if used <= _CELLS:
                        total[used:] += counts[0][step.after][: _CELLS + 1 - used]
                here[state] = total
            counts.insert(0, here)
        return self._grid, counts


def _undominated(partials: list[_Partial]) -> list[_Partial]:
    kept: list[_Partial] = []
    for one in sorted(partials, key=lambda one: (one[0], -one[1])):
        if not kept or one[1] > kept[-1][1]:
            kept.append(one)
    return kept


def _choices(trail: _Trail) -> tuple[int, ...]:
    choices: list[int] = []
    while trail is not None:
        option, trail = trail
        choices.append(option)
    return tuple(reversed(choices))
