"""Walks through states, such as the chains of MetaQNN: what may be taken next, and its cost, depends on what was taken.

Exact where costs are real numbers: the cheapest completion and the best walk are dynamic programmes over (step, state),
and draws count completions. The architectures are choices of a fixed length, one for each step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwnas.arch.op import OpSpec
from hwnas.arch.spaces.chain import ChainSpace, State
from hwnas.errors import InputError
from hwnas.latency.table import Table as LatencyTable
from hwnas.search.pareto import Table

_CELLS = 4096
S = TypeVar("S", bound=Hashable)
_Trail = tuple[int, Any] | None  # the last option, and the trail before it
_Partial = tuple[float, float, _Trail]  # cost, score, and the options so far


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """One thing that can be done in a state: its option, what it costs, and the state after it."""

    option: int
    cost: float
    after: S


@dataclass(frozen=True)
class Walks(Generic[S]):
    """All walks of `length` steps from `start`; costs are in any one unit, and no step leads to where none is left.

    Attributes:
        options: number of options of each step, allowed or not.
        steps: what can be done in a state, by ascending option.
        last: what a walk costs that ends in a state, beside its steps.
    """

    options: tuple[int, ...]
    start: S
    steps: Callable[[S], Sequence[Step[S]]]
    last: Callable[[S], float]

    @property
    def length(self) -> int:
        return len(self.options)


def chain_walks(space: ChainSpace, row_ms: Callable[[OpSpec], float]) -> Walks[State]:
    """The chains of `space` by what they take: the sum of their rows, that of the classifier included.

    Args:
        row_ms: latency of one op in milliseconds.
    """
    known: dict[State, tuple[Step[State], ...]] = {}

    def steps(state: State) -> tuple[Step[State], ...]:
        if state not in known:
            known[state] = tuple(
                Step(option, 0.0 if spec is None else row_ms(spec), after) for option, spec, after in space.steps(state)
            )
        return known[state]

    return Walks(space.options, space.start, steps, lambda state: row_ms(space.classifier(state)))


def chains_within(space: ChainSpace, table: LatencyTable, target_ms: float) -> FeasibleWalks[State]:
    """The chains that a table predicts to take at most `target_ms`, by its calibration for `space`.

    Raises:
        InputError: the table is not calibrated for this space, or no chain is that fast.
        MissingRowsError: the table lacks rows.
    """
    calibration = table.calibrations.get(space.signature)
    if calibration is None:
        raise InputError(f"the table {table.device}/{table.condition} is not calibrated for {space.signature}")
    per_op_ms = calibration.per_op_us / 1e3
    walks = chain_walks(space, lambda spec: table.row_ms(spec) + per_op_ms)
    return FeasibleWalks(walks, (target_ms - calibration.intercept_us / 1e3) / calibration.slope)


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
        self._levels = self._cheapest()
        if not self.keeps(self._tail(0, walks.start)):
            cheapest = self._levels[0][walks.start]
            raise InputError(f"no chain is within the budget {budget:g}: the cheapest one takes {cheapest:g}")
        self._grid, self._counts = self._count()

    def cost(self, choices: Sequence[int]) -> float:
        """What a walk costs, added up from its first step; infinite where it takes a step that is not there."""
        spent, state = self._walked(choices)
        return spent + self._walks.last(state) if spent < np.inf else spent

    def keeps(self, choices: Sequence[int]) -> bool:
        """Whether these are the choices of a walk within the budget."""
        return len(choices) == self._walks.length and (cost := self.cost(choices)) < np.inf and cost <= self._budget

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Which options can be completed to a walk within the budget."""
        at, (spent, state) = len(prefix), self._walked(prefix)
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

    def decode(self, scores: Table) -> tuple[int, ...]:
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

    def _walked(self, choices: Sequence[int]) -> tuple[float, S]:
        """Cost of the steps so far, infinite where one is not there, and the state behind the last that is."""
        spent, state = 0.0, self._walks.start
        for choice in choices:
            step = next((step for step in self._walks.steps(state) if step.option == choice), None)
            if step is None:
                return float("inf"), state
            spent, state = spent + step.cost, step.after
        return spent, state

    def _cheapest(self) -> list[dict[S, float]]:
        """For each step, what the cheapest completion of every state that can be reached by then costs."""
        reached: list[dict[S, float]] = [{self._walks.start: 0.0}]
        for _ in range(self._walks.length):
            reached.append({step.after: 0.0 for state in reached[-1] for step in self._walks.steps(state)})
        reached[-1] = {state: self._walks.last(state) for state in reached[-1]}
        for at in reversed(range(self._walks.length)):
            after = reached[at + 1]
            reached[at] = {
                state: min(step.cost + after[step.after] for step in self._walks.steps(state)) for state in reached[at]
            }
        return reached

    def _tail(self, at: int, state: S) -> tuple[int, ...]:
        """The cheapest choices from step `at` on."""
        choices = []
        for after in self._levels[at + 1 :]:
            step = min(self._walks.steps(state), key=lambda step: step.cost + after[step.after])
            choices.append(step.option)
            state = step.after
        return tuple(choices)

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
