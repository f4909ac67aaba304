"""What the stages of one run share."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hwnas.arch.network import Network
from hwnas.arch.space import Architecture
from hwnas.backends.model_format import ModelFormat, format_of
from hwnas.data import Dataset
from hwnas.latency.model import LatencyModel
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.progress import Progress
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder


@dataclass(frozen=True)
class RunContext:
    """What the stages share."""

    plan: Plan
    folder: RunFolder
    model: LatencyModel  # of plan.space
    range_ms: tuple[float, float]  # of plan.whole
    budget_ms: float
    dataset: Dataset
    device: torch.device
    progress: Progress

    @property
    def model_format(self) -> ModelFormat:
        """Of the files that the device runs; what runs them here is the same runtime."""
        return format_of(self.plan.device.runtime, self.plan.device.precision)

    def network(self, choices: tuple[int, ...]) -> Network:
        return self.plan.space.network(Architecture(self.plan.space.name, choices))

    def feasible_set(self, target_ms: float | None = None) -> FeasibleSet:
        """The architectures that keep every constraint, with a predicted latency of at most `target_ms`.

        Args:
            target_ms: by default what the margin leaves of the budget.
        """
        target_ms = self.model.target_ms(self.budget_ms) if target_ms is None else target_ms
        return self.plan.constrained.feasible_set(self.model, target_ms, self.budget_ms)
