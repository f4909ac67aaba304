"""Regularised evolution (Real et al., 2019): the best of a few parents has a child, and the oldest dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from hwnas.nas.choice_set import ChoiceSet


class Evolution:
    """A first generation of uniform feasible architectures, then mutations of the best of a small random sample.

    Population and sample have the sizes that NAS-Bench-201 (Dong and Yang, 2020) uses. Dying of age, not of a low
    score, forgets what was only luckily scored.
    """

    def __init__(self, feasible: ChoiceSet, seed: int, *, population: int = 10, sample: int = 3) -> None:
        self._feasible, self._rng = feasible, np.random.default_rng(seed)
        self._size, self._sample = population, sample
        self._population: deque[tuple[tuple[int, ...], float]] = deque(maxlen=population)

    def ask(self) -> tuple[int, ...]:
        if len(self._population) < self._size:
            return self._feasible.sample(self._rng)
        rivals = self._rng.choice(self._size, min(self._sample, self._size), replace=False)
        parent, _ = max((self._population[int(index)] for index in rivals), key=lambda one: one[1])
        return mutated(parent, self._feasible, self._rng)

    def tell(self, choices: Sequence[int], score: float) -> None:
        self._population.append((tuple(choices), score))

    def state(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state, "population": [[*one] for one in self._population]}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
        self._population.clear()
        self._population.extend((tuple(choices), score) for choices, score in state["population"])


def mutated(parent: Sequence[int], feasible: ChoiceSet, rng: np.random.Generator) -> tuple[int, ...]:
    """A feasible architecture that differs from a feasible parent in one random decision, and else where it must.

    The decision is uniform among those that can change, its new option among those that the decisions before it leave.
    Those after it keep the parent's choice as long as that is allowed, and else take a uniform allowed option: nothing
    is drawn in vain. The only feasible architecture is its own child.
    """
    others = [
        [option for option, may in enumerate(feasible.allowed(parent[:decision])) if may and option != choice]
        for decision, choice in enumerate(parent)
    ]
    changeable = [decision for decision, options in enumerate(others) if options]
    if not changeable:
        return tuple(parent)
    at = int(rng.choice(changeable))
    child = [*parent[:at], int(rng.choice(others[at]))]
    for choice in parent[at + 1 :]:
        allowed = feasible.allowed(child)
        child.append(choice if allowed[choice] else int(rng.choice(np.flatnonzero(allowed))))
    return tuple(child)
