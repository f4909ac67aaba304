"""A relaxation that is held to constraints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hwnas.nas.objective import ConstraintPenalty
from hwnas.nas.strategies.base import Relaxation


@dataclass(frozen=True)
class ConstrainedRelaxation:
    """A relaxation with what holds it to the constraints, the latency first; none where another process does that."""

    relaxation: Relaxation
    penalties: tuple[ConstraintPenalty, ...]

    def expected(self) -> list[Tensor]:
        """The expectation of each constraint now."""
        probabilities = torch.softmax(self.relaxation.logits, dim=1)
        return [one.expected(probabilities) for one in self.penalties]

    def penalty(self) -> Tensor:
        """The sum of the penalties."""
        pairs = zip(self.penalties, self.expected(), strict=True)
        first, *others = (one.penalty(expected) for one, expected in pairs)
        return sum(others, start=first)

    def pressure(self) -> Tensor:
        """Gradient of the penalty in the logits."""
        if not self.penalties:
            return torch.zeros_like(self.relaxation.logits)
        (gradient,) = torch.autograd.grad(self.penalty(), self.relaxation.logits)
        return gradient

    def update(self) -> None:
        """One step of every multiplier."""
        for one, expected in zip(self.penalties, self.expected(), strict=True):
            one.penalty.update(expected.item())
