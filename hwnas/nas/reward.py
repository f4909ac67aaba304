"""What a sampler is told of an architecture: its accuracy, or a reward that weighs the latency as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwnas.nas.constraint import Constraint
from hwnas.nas.strategies.base import Guiding, Sampler

REWARDS = ("filter", "absolute")
"""`filter`: accuracies, of feasible architectures only. `absolute`: `absolute_reward`, of any."""
BETA = -0.1
"""Of `absolute_reward`; what TuNAS's code takes unless it is told otherwise."""


def absolute_reward(accuracy: float, latency_ms: float, target_ms: float, beta: float = BETA) -> float:
    """`accuracy + β · |latency / T - 1|`, TuNAS's absolute reward (Bender et al., 2020).

    It has its maximum over latencies at T, so a sampler that follows it comes to the budget from either side, where a
    penalty on what is slower alone leaves β to decide how much of the budget is spent.

    Args:
        accuracy: 0..1.
        beta: below zero; -0.1 weighs 10 % of the budget as one percentage point of accuracy.
    """
    return accuracy + beta * abs(latency_ms / target_ms - 1.0)


class Rewarded:
    """A `Sampler` that is told rewards in place of accuracies, and knows nothing of latencies itself."""

    def __init__(self, sampler: Sampler, latency: Constraint) -> None:
        self.sampler, self._latency = sampler, latency

    def ask(self) -> tuple[int, ...]:
        return self.sampler.ask()

    def tell(self, choices: Sequence[int], score: float) -> None:
        self.sampler.tell(choices, absolute_reward(score, self._latency.value(choices), self._latency.target))

    def state(self) -> dict[str, Any]:
        return self.sampler.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.sampler.restore(state)

    def guide(self, guides: bool) -> None:
        if isinstance(self.sampler, Guiding):
            self.sampler.guide(guides)


def bare(sampler: Sampler) -> Sampler:
    """The sampler itself, whatever it is told."""
    return sampler.sampler if isinstance(sampler, Rewarded) else sampler
