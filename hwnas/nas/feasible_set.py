"""`FeasibleSet`: the architectures of a space that keep every constraint, as numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from hwnas.arch.choice_costs import AdditiveCosts, SequentialCosts
from hwnas.arch.paths import paths_of
from hwnas.arch.space import SearchSpace
from hwnas.nas.additive_set import AdditiveSet
from hwnas.nas.choice_set import ChoiceSet, WithFeatures
from hwnas.nas.constraint import Constraint
from hwnas.nas.decode import OptionTable
from hwnas.nas.sequential_set import SequentialSet


class FeasibleSet(ChoiceSet, Protocol):
    """What a search does with its constraints; samplers see only the part of `ChoiceSet`."""

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """All that are kept, the latency first."""
        ...

    @property
    def latency(self) -> Constraint: ...

    @property
    def without_latency(self) -> FeasibleSet:
        """The set under the other constraints alone; what an architecture costs is still known."""
        ...

    @property
    def count(self) -> float:
        """Number of architectures, up to the rounding of draws.

        Raises:
            InputError: there is none.
        """
        ...

    def check(self) -> None:
        """Whether there is anything.

        Raises:
            InputError: there is nothing.
        """
        ...

    def cost(self, choices: Sequence[int]) -> float:
        """Predicted latency of an architecture, in milliseconds; infinite where the choices are none."""
        ...

    def decode(self, scores: OptionTable) -> tuple[int, ...] | None:
        """The architecture with the largest sum of scores, exactly; None where there is none.

        Args:
            scores: per decision and option; finite.
        """
        ...

    def extreme(self, constraint: Constraint) -> tuple[int, ...] | None:
        """The architecture that takes least of what `constraint` counts; None where there is none."""
        ...

    def neighbours(self, choices: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Architectures one change away: another option of one decision or, in a group, one kept edge for another."""
        ...


def feasible_set(latency: Constraint, *others: Constraint) -> FeasibleSet:
    """The architectures within a latency, and within one more constraint where costs are sums over decisions."""

    def additive(_: AdditiveCosts) -> FeasibleSet:
        return AdditiveSet(latency, *others)

    def sequential(costs: SequentialCosts[Any]) -> FeasibleSet:
        return SequentialSet(costs, latency, *others)

    return latency.costs.accept(additive, sequential)


def proposable(feasible: ChoiceSet, space: SearchSpace) -> ChoiceSet:
    """What samplers may propose; where cells of the space have paths, these are known as features."""
    paths = paths_of(space)
    return feasible if paths is None else WithFeatures(feasible, paths)
