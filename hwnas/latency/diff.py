"""Two tables row by row: which ops got slower. Pure functions."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from hwnas.latency.table import LatencyTable


@dataclass(frozen=True, slots=True)
class Change:
    """A row that both tables have.

    Attributes:
        before_us, after_us: undisturbed latency in microseconds.
        same_model: whether both measured the same micro-model; where not, the op is written differently since.
    """

    key: str
    before_us: float
    after_us: float
    same_model: bool

    @property
    def change(self) -> float:
        """How much slower the second table is: 0.1 is 10 % slower, below zero is faster."""
        return self.after_us / self.before_us - 1.0


@dataclass(frozen=True)
class Difference:
    """Two tables side by side.

    Attributes:
        changes: rows of both, from what got slower most to what got faster most.
        only_before, only_after: keys of one table only, sorted.
    """

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def median(self) -> float | None:
        """Median over the rows of |change|; None where the tables share no row."""
        return statistics.median(abs(one.change) for one in self.changes) if self.changes else None

    @property
    def largest(self) -> float | None:
        """Largest |change| of any row; None where the tables share no row."""
        return max((abs(one.change) for one in self.changes), default=None)


def difference(before: LatencyTable, after: LatencyTable) -> Difference:
    """How the rows of `after` differ from those of `before`."""
    changes = [
        Change(key, row.median_us, other.median_us, row.fingerprint == other.fingerprint)
        for key, row in before.rows.items()
        if (other := after.rows.get(key)) is not None
    ]
    return Difference(
        tuple(sorted(changes, key=lambda one: (-one.change, one.key))),
        tuple(sorted(before.rows.keys() - after.rows.keys())),
        tuple(sorted(after.rows.keys() - before.rows.keys())),
    )
