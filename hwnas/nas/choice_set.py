"""`ChoiceSet`: the choices that a strategy may propose. It is all that a strategy knows of latencies and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Features = Callable[[Sequence[int]], tuple[Mapping[Any, float], Mapping[Any, float]]]


class ChoiceSet(Protocol):
    """The architectures that a search may propose, one decision after the other."""

    options: tuple[int, ...]
    """Number of options of each decision, in order."""

    @property
    def features(self) -> Features | None:
        """How often the network of an architecture has each fine feature, and each coarse one; None where choices are
        all that is known."""
        ...

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


class WithFeatures:
    """A `ChoiceSet` that knows networks beyond the choices."""

    def __init__(self, feasible: ChoiceSet, features: Features) -> None:
        self.options = feasible.options
        self.features: Features = features
        self.allowed, self.sample, self.keeps = feasible.allowed, feasible.sample, feasible.keeps


class Unconstrained:
    """Every combination of options, whatever it costs: to make a sampler that only says what it can start from."""

    features = None

    def __init__(self, options: Sequence[int]) -> None:
        self.options = tuple(options)

    def allowed(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        return (True,) * self.options[len(prefix)]

    def sample(self, rng: np.random.Generator) -> tuple[int, ...]:
        return tuple(int(choice) for choice in rng.integers(self.options))

    def keeps(self, choices: Sequence[int]) -> bool:
        return len(choices) == len(self.options)
