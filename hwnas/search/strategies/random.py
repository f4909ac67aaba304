"""Random search (Li and Talwalkar, 2019): the baseline that every result must beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Random:
    """Proposes what `draw` gives, say uniform feasible architectures, and learns nothing."""

    def __init__(self, draw: Callable[[], tuple[int, ...]]) -> None:
        self._draw = draw

    def ask(self) -> tuple[int, ...]:
        return self._draw()

    def tell(self, choices: Sequence[int], score: float) -> None:
        pass
