"""What the choices of an architecture cost, in any unit: sums over decisions, or sums over steps from state to state.

Numbers only. Both kinds are `ChoiceCosts`; what has to be computed differently for them goes through `accept`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from hwnas.arch.groups import Groups, Item, Rows, choices_of, items, pooled, total
from hwnas.errors import InputError

S = TypeVar("S", bound=Hashable)
T = TypeVar("T")
Pick = Callable[[list[float]], float]
Weighted = Callable[[Sequence[float]], int]
"""Draws an index by the costs of what there is."""
Uniform = Callable[[int], int]
"""Draws one of n."""


class ChoiceCosts(Protocol):
    """What every architecture of a space costs."""

    @property
    def groups(self) -> Groups:
        """Decisions that hold together; architectures are the choices that keep to them."""
        ...

    def cost(self, choices: Sequence[int]) -> float:
        """Of an architecture; infinite where the choices are none."""
        ...

    @property
    def smallest(self) -> float:
        """Of all architectures."""
        ...

    @property
    def largest(self) -> float:
        """Of all architectures."""
        ...

    def extreme(self, pick: Pick) -> tuple[int, ...]:
        """The choices of the cheapest architecture (min), or of the costliest (max)."""
        ...

    def drawn(self, weighted: Weighted, uniform: Uniform) -> tuple[int, ...]:
        """The architecture for which `weighted` picks, one choice after the other, by the costs of what may be chosen.

        Args:
            uniform: picks what has no cost, such as a length.
        """
        ...

    @property
    def table(self) -> Rows:
        """What every option of every decision costs.

        Raises:
            InputError: the costs are no sums over decisions.
        """
        ...

    def accept(self, additive: Callable[[AdditiveCosts], T], sequential: Callable[[SequentialCosts[Any]], T]) -> T:
        """The result of the function that knows this kind of costs."""
        ...


@dataclass(frozen=True)
class AdditiveCosts:
    """Sums over decisions, `Σ_d table[d][choice_d]`.

    Attributes:
        table: what every option of every decision costs.
        groups: of decisions that hold together; architectures are the choices that keep to them.
        fixed: what every architecture costs beside; it is not part of the sums.
    """

    table: Rows
    groups: Groups = ()
    fixed: float = 0.0

    def cost(self, choices: Sequence[int]) -> float:
        return total(self.table, choices, self.groups)

    @cached_property
    def smallest(self) -> float:
        return sum(map(min, self._pooled))

    @cached_property
    def largest(self) -> float:
        return sum(map(max, self._pooled))

    def extreme(self, pick: Pick) -> tuple[int, ...]:
        return choices_of(self._items, [row.index(pick(row)) for row in self._pooled])

    def drawn(self, weighted: Weighted, uniform: Uniform) -> tuple[int, ...]:
        return choices_of(self._items, [weighted(row) for row in self._pooled])

    def accept(self, additive: Callable[[AdditiveCosts], T], sequential: Callable[[SequentialCosts[Any]], T]) -> T:
        return additive(self)

    @cached_property
    def _items(self) -> tuple[Item, ...]:
        return items(tuple(map(len, self.table)), self.groups)

    @cached_property
    def _pooled(self) -> list[list[float]]:
        """Costs of what can be chosen independently."""
        return pooled(self.table, self._items)


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """One thing that can be done in a state: its option, its cost, the state after it, and whether it is the end."""

    option: int
    cost: float
    after: S
    ends: bool = False


@dataclass(frozen=True)
class SequentialCosts(Generic[S]):
    """What sequences of `length` steps from `start` cost, in any one unit; no step leads to where none is left.

    Exact where costs are real numbers: the cheapest and the costliest completion of every state are dynamic programmes.

    Attributes:
        options: number of options of each step, allowed or not.
        steps: what can be done in a state, by ascending option.
        last: what a sequence costs that ends in a state, beside its steps.
    """

    options: tuple[int, ...]
    start: S
    steps: Callable[[S], Sequence[Step[S]]]
    last: Callable[[S], float]

    groups: ClassVar[Groups] = ()

    @property
    def length(self) -> int:
        return len(self.options)

    def reached(self, choices: Sequence[int]) -> tuple[float, S]:
        """Cost of the steps so far, infinite where one is not there, and the state behind the last that is."""
        spent, state = 0.0, self.start
        for choice in choices:
            step = next((step for step in self.steps(state) if step.option == choice), None)
            if step is None:
                return float("inf"), state
            spent, state = spent + step.cost, step.after
        return spent, state

    def cost(self, choices: Sequence[int]) -> float:
        """What choices cost, added up from the first step; infinite where one takes a step that is not there."""
        spent, state = self.reached(choices)
        return spent + self.last(state) if spent < float("inf") else spent

    def completions(self, pick: Pick = min) -> list[dict[S, float]]:
        """For each step, what the best completion of every state that can be reached by then costs.

        Args:
            pick: what is best: min or max.
        """
        reached: list[dict[S, float]] = [{self.start: 0.0}]
        for _ in range(self.length):
            reached.append({step.after: 0.0 for state in reached[-1] for step in self.steps(state)})
        reached[-1] = {state: self.last(state) for state in reached[-1]}
        for at in reversed(range(self.length)):
            after = reached[at + 1]
            reached[at] = {
                state: pick([step.cost + after[step.after] for step in self.steps(state)]) for state in reached[at]
            }
        return reached

    def tail(self, levels: Sequence[Mapping[S, float]], at: int, state: S, pick: Pick = min) -> tuple[int, ...]:
        """The best choices from step `at` on, by the `completions` of the same `pick`."""
        choices = []
        for after in levels[at + 1 :]:
            steps = self.steps(state)
            costs = [step.cost + after[step.after] for step in steps]
            step = steps[costs.index(pick(costs))]
            choices.append(step.option)
            state = step.after
        return tuple(choices)

    @cached_property
    def smallest(self) -> float:
        return self.completions(min)[0][self.start]

    @cached_property
    def largest(self) -> float:
        return self.completions(max)[0][self.start]

    @property
    def table(self) -> Rows:
        raise InputError(
            "costs that depend on the choices before are no table",
            hint="use a space whose costs are sums, such as mobile",
        )

    def drawn(self, weighted: Weighted, uniform: Uniform) -> tuple[int, ...]:
        """A sequence of drawn length, as far as its steps let it go on.

        Drawn step by step it would end early, while nearly all sequences are long.
        """
        left, state = 1 + uniform(self.length), self.start
        choices = []
        for _ in range(self.length):
            steps = self.steps(state)
            open_ = [step for step in steps if step.ends == (left <= 0)] or list(steps)
            step = open_[weighted([step.cost for step in open_])]
            choices.append(step.option)
            left, state = left - 1, step.after
        return tuple(choices)

    def accept(self, additive: Callable[[AdditiveCosts], T], sequential: Callable[[SequentialCosts[Any]], T]) -> T:
        return sequential(self)

    def extreme(self, pick: Pick) -> tuple[int, ...]:
        """The choices of the cheapest sequence (min), or of the costliest (max)."""
        return self.tail(self.completions(pick), 0, self.start, pick)
