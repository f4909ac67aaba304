"""The typed values that the stages of a run pass on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from hwnas.arch.network import Network
from hwnas.arch.space import Architecture
from hwnas.backends.interface import Interface
from hwnas.backends.model_format import ModelFormat, format_of
from hwnas.data import Dataset
from hwnas.events import Events
from hwnas.executors.place import HERE, Place
from hwnas.latency.model import LatencyModel
from hwnas.nas.feasible_set import FeasibleSet
from hwnas.run.clock import Clock, ending_s
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder
from hwnas.train import mixed_precision
from hwnas.train.ranks import ALONE, Ranks

PROBE_SHARE = 0.01
"""Of the minutes: how long one kind of steps is timed, about."""


@dataclass(frozen=True)
class RunContext:
    """One budget of a run, on one device.

    Attributes:
        folder: where its results go.
        model: latencies of `plan.space`.
        range_ms: the fastest and the slowest network of `plan.whole`.
        budget_ms: what was asked for.
        progress: events, of which the records go to the log of `folder`.
        table_sha256: checksum of what `model` was made of; None where it is not known.
        clock: of the whole run.
        whole: latencies of `plan.whole`; None where nobody asks for them.
        shared: where the budgets of the run keep what they share; None where that is `folder`.
        ranks: that train together, of which this is the first.
    """

    plan: Plan
    folder: RunFolder
    model: LatencyModel
    range_ms: tuple[float, float]
    budget_ms: float
    dataset: Dataset
    device: torch.device
    progress: Events
    table_sha256: str | None = None
    clock: Clock = field(default_factory=Clock)
    whole: LatencyModel | None = None
    shared: RunFolder | None = None
    ranks: Ranks = ALONE

    @property
    def shared_state(self) -> Path:
        """The folder of files that `--resume` goes on from, of what all budgets share."""
        return (self.shared or self.folder).state

    @property
    def recipe_path(self) -> Path:
        """The file that keeps the recipe of the final trainings."""
        return self.shared_state / "recipe.json"

    @property
    def model_format(self) -> ModelFormat:
        """Of the files that the device runs; what runs them here is the same runtime."""
        return format_of(self.plan.device.runtime, self.plan.device.precision)

    @property
    def interface(self) -> Interface:
        """Of the files that ship, which are also those that are measured and judged."""
        return self.model_format.app_interface(self.dataset.mean, self.dataset.std)

    def network(self, choices: tuple[int, ...]) -> Network:
        return self.plan.space.network(Architecture(self.plan.space.name, choices))

    def feasible_set(self, target_ms: float | None = None) -> FeasibleSet:
        """The architectures that keep every constraint, with a predicted latency of at most `target_ms`.

        Args:
            target_ms: by default what the margin leaves of the budget.
        """
        target_ms = self.model.target_ms(self.budget_ms) if target_ms is None else target_ms
        return self.plan.constrained.feasible_set(self.model, target_ms, self.budget_ms)


@dataclass(frozen=True)
class SearchContext:
    """Budgets of a run, on one device or on several, which share one search.

    Attributes:
        folder: what they share lies there; with one budget it is that one's folder too.
        runs: one for each budget, one device after the other, on each the tightest first.
        progress: events, of which the records go to the log of `folder`.
        place: where candidates are trained, if scores come from trainings from scratch.
        late: whether the search has ended without these budgets, which then inherit its weights and scores.
    """

    folder: RunFolder
    runs: Sequence[RunContext]
    progress: Events
    place: Place = HERE
    late: bool = False

    @property
    def first(self) -> RunContext:
        """The tightest budget on the first device; space, strategy, images and start are the same for all."""
        return self.runs[0]

    def left_s(self, *, unchecked: bool, image_s: float = 0.0) -> float:
        """Seconds of the minutes that are left to search and training, less what the end of the run takes.

        Args:
            unchecked: whether the winners are still to be measured with random weights.
            image_s: seconds that a network takes for an image, where that is known.
        """
        run, asked = self.first, self.first.plan.config.train
        images = (1 + asked.baseline) * len(run.dataset.test) + len(run.dataset.val)
        return run.clock.left_before(
            lambda slow: sum(
                ending_s(
                    [one.budget_ms],
                    measured=one.plan.device.reachable,
                    baseline=asked.baseline,
                    unchecked=unchecked,
                    evaluation_s=image_s * images,
                    slow=slow,
                )
                for one in self.runs
            )
        )

    def probe_s(self) -> float:
        """Seconds that a few steps may be timed for."""
        return PROBE_SHARE * 60.0 * self.first.plan.config.train.minutes

    def precision(self) -> torch.autocast:
        """The context that supernet and final networks are trained in."""
        return mixed_precision(self.first.device, on=self.first.plan.config.compute.mixed_precision)
