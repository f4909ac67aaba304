"""Walks through states, such as the chains of MetaQNN, within a budget: uniform draws, and the best by their scores.

Exact where costs are real numbers: the best walk is a dynamic programme over (step, state), and draws count
completions. The architectures are choices of a fixed length, one for each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.groups import Groups
from hwnas.errors import InputError
from hwnas.latency.walks import ChainLatencies, S, Step, Walks
from hwnas.nas.decode import OptionTable

_CELLS = 4096
_Trail = tuple[int, Any] | None  # the last option, and the trail before it
_Partial = tuple[float, float, _Trail]  # cost, score, and the options so far


class FeasibleWalks(Generic[S]):
    """Walks that cost at most `budget`: a `Feasible`, and the best of them by additive scores.

    What completes a prefix is the cheapest walk from its state, so `allowed` is exact. Draws are uniform up to a grid:
    what a step costs beyond the cheapest way on is rounded up to cells of the budget that is left beyond the cheapest
    walk, so that every draw is feasible, and walks within `length / 4096` of that budget may be left out.
    """

    def __init__(self, walks: Walks[S], budget: float) -> None:
        """Find the cheapest completions of every state, and count.

        Raises:
            InputError: no walk is within the budget.
        """
        self._walks, self._budget, self.options = walks, budget, walks.options
        self._levels = walks.completions()
        if not self.keeps(self._tail(0, walks.start)):
            cheapest = self._levels[0][walks.start]
            raise InputError(f"no chain is within the budget {budget:g}: the cheapest one takes {cheapest:g}")
        self._grid, self._counts = self._count()

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether these are the choices of a walk within the budget."""
        return (
            len(choices) == self._walks.length and (cost := self._walks.cost(choices)) < np.inf and cost <= self._budget
        )

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options can be completed to a walk within the budget."""
        at, (spent, state) = len(prefix), self._walks.walked(prefix)
        flags = [False] * self.options[at]
        for step in self._walks.steps(state) if spent < np.inf else ():
            flags[step.option] = self.keeps((*prefix, step.option, *self._tail(at + 1, step.after)))
        return tuple(flags)

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        """One walk within the budget, uniformly."""
        state, left = self._walks.start, _CELLS
        choices: list[int] = []
        for at in range(self._walks.length):
            steps = self._walks.steps(state)
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
        return tuple(choices) if self.keeps(choices) else self._tail(0, self._walks.start)

    @property
    def count(self) -> float:
        """Number of walks within the budget, up to the grid."""
        return float(self._counts[0][self._walks.start][-1])

    def decode(self, scores: OptionTable) -> tuple[int, ...]:
        """The walk within the budget with the largest sum of scores; the cheapest of several.

        Of the walks to one state only those are kept that no other one beats in both cost and score, as in the knapsack
        of Nemhauser and Ullmann (1969): from one state, all have the same ways on.

        Args:
            scores: for each step and option.

        Raises:
            InputError: a score is not finite.
        """
        if not all(np.isfinite(row).all() for row in scores):
            raise InputError("the scores of a decode must be finite numbers")
        slack = 1e-9 * max(1.0, abs(self._levels[0][self._walks.start]))  # for sums that round differently
        front: dict[S, list[_Partial]] = {self._walks.start: [(0.0, 0.0, None)]}
        for at, row in enumerate(scores):
            longer: dict[S, list[_Partial]] = {}
            for state, partials in front.items():
                for step in self._walks.steps(state):
                    left = self._budget + slack - self._levels[at + 1][step.after] - step.cost
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
            if (cost := spent + self._walks.last(state)) <= self._budget
        ]
        best = max(ends, key=lambda one: one[:2])
        return _choices(best[2])

    def _tail(self, at: int, state: S) -> tuple[int, ...]:
        """The cheapest choices from step `at` on."""
        return self._walks.tail(self._levels, at, state)

    def _cells(self, at: int, state: S, step: Step[S]) -> int:
        """Cells that a step takes beyond the cheapest way on from `state`, rounded up."""
        beyond = step.cost + self._levels[at + 1][step.after] - self._levels[at][state]
        return min(_CELLS + 1, int(np.ceil(beyond / self._grid - 1e-9)))

    def _count(self) -> tuple[float, list[dict[S, NDArray[np.float64]]]]:
        """The width of a cell, and for each step and state the number of completions by the cells that are left."""
        levels = self._levels
        widest = sum(
            max(step.cost + after[step.after] - level[state] for state in level for step in self._walks.steps(state))
            for level, after in itertools.pairwise(levels)
        )
        spare = self._budget - levels[0][self._walks.start]
        room = widest * _CELLS / max(1, _CELLS - self._walks.length)  # rounding excludes nothing that all fit into
        self._grid = max(min(spare, room), 1e-12 * max(widest, 1.0)) / _CELLS
        counts = [{state: np.ones(_CELLS + 1) for state in levels[-1]}]
        for at in reversed(range(self._walks.length)):
            here = {}
            for state in levels[at]:
                total = np.zeros(_CELLS + 1)
                for step in self._walks.steps(state):
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


@dataclass(frozen=True)
class ChainLimit:
    """A predicted latency of at most `limit` milliseconds, as a `Limit` is where costs are sums over decisions."""

    model: ChainLatencies
    budget: float
    limit: float
    unit: str = "ms"

    def value(self, choices: Sequence[int]) -> float:
        """What a chain takes; infinite where a layer may not follow those before it."""
        return self.model.predict_ms(choices)

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether these are a chain within the limit."""
        raw_ms = self.model.raw_ms(choices)
        return raw_ms < np.inf and raw_ms <= self.budget


@dataclass(frozen=True)
class ChainLimits:
    """What `Limits` are where costs are sums over decisions: all that a chain must keep to."""

    latency: ChainLimit

    @property
    def all(self) -> tuple[ChainLimit, ...]:
        return (self.latency,)

    @property
    def options(self) -> tuple[int, ...]:
        return self.latency.model.walks.options

    @property
    def groups(self) -> Groups:
        return ()

    @property
    def without_latency(self) -> ChainLimits:
        return ChainLimits(replace(self.latency, budget=float("inf"), limit=float("inf")))

    def decode(self, scores: OptionTable) -> tuple[int, ...]:
        """The chain with the largest sum of scores."""
        return self._feasible.decode(scores)

    def sampler(self) -> FeasibleWalks[Any]:
        """Uniform draws of chains within the limit, and all else that strategies ask."""
        return self._feasible

    @cached_property
    def _feasible(self) -> FeasibleWalks[Any]:
        return FeasibleWalks(self.latency.model.walks, self.latency.budget)


def chain_limits(model: ChainLatencies, target_ms: float) -> ChainLimits:
    """A predicted latency of at most `target_ms`.

    Raises:
        InfeasibleBudgetError: no chain is that fast.
    """
    return ChainLimits(ChainLimit(model, model.raw_budget_ms(target_ms), target_ms))
