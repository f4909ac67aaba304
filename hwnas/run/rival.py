"""The random network beside the winner: drawn by chance among those that are predicted to be as slow as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwnas.nas.feasible_set import FeasibleSet
from hwnas.run.context import RunContext

DRAWS = 300
NEAR = 0.03
"""The share of the winner's latency that a rival may be faster by; what is farther off is told."""


@dataclass(frozen=True)
class Rival:
    """A random network.

    Attributes:
        faster: the share of the winner's predicted latency that its own is below it by, 0 to 1.
    """

    choices: tuple[int, ...]
    faster: float

    @property
    def near(self) -> bool:
        """Whether its latency is the winner's, within 3 %."""
        return self.faster <= NEAR


def rival_of(run: RunContext, winner: tuple[int, ...]) -> Rival:
    """The rival of the winner, by the seed of the run; a message tells where none is near."""
    own_ms = run.model.predict_ms(winner)
    rng = np.random.default_rng([run.plan.config.compute.seed, 2])
    feasible = run.feasible_set(max(own_ms, run.model.smallest_ms))  # sums that are equal may differ by rounding
    choices = matched(feasible, winner, rng)
    rival = Rival(choices, max(0.0, 1.0 - run.model.predict_ms(choices) / own_ms))
    if not rival.near:
        run.progress.say(
            f"no random network is predicted to be as slow as the one found: the nearest is {rival.faster:.0%} faster"
        )
    return rival


def matched(feasible: FeasibleSet, winner: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """The slowest of many random architectures; the winner itself only where nothing else is drawn.

    Draws are uniform over the feasible set. Where even the slowest is not near the winner, as slow networks are rare,
    it goes on by random changes of one option that make it slower, for as long as there are any.

    Args:
        feasible: the architectures that are no slower than the winner.
    """
    own = tuple(winner)
    limit = feasible.cost(own)
    drawn = [feasible.sample(rng) for _ in range(DRAWS)]
    choices = max(drawn, key=lambda one: (one != own, feasible.cost(one)))
    while feasible.cost(choices) < (1.0 - NEAR) * limit:
        slower = [
            one for one in feasible.neighbours(choices) if one != own and feasible.cost(one) > feasible.cost(choices)
        ]
        if not slower:
            break
        choices = slower[int(rng.integers(len(slower)))]
    return choices
