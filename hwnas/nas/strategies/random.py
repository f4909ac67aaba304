"""Random search (Li and Talwalkar, 2019): the baseline that every result must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwnas.nas.choice_set import ChoiceSet


class Random:
    """Proposes uniform feasible architectures and learns nothing."""

    def __init__(self, feasible: ChoiceSet, seed: int) -> None:
        self._feasible, self._rng = feasible, np.random.default_rng(seed)

    def ask(self) -> tuple[int, ...]:
        return self._feasible.sample(self._rng)

    def tell(self, choices: Sequence[int], score: float) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"rng": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["rng"]
