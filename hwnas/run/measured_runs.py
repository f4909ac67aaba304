"""Stage `measure` for all devices of a run, and the budgets on them with their latency models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwnas.data import Dataset
from hwnas.errors import DeviceError, InfeasibleBudgetError
from hwnas.events import Events
from hwnas.latency.model import LatencyModel
from hwnas.run.clock import Clock
from hwnas.run.context import RunContext
from hwnas.run.latency_stage import kept_table, ready_model
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder
from hwnas.run.run_parts import RunPart
from hwnas.train.ranks import ALONE, Ranks


@dataclass
class Absent:
    """Devices that a run is done without, for now: one message for each, and none is asked twice.

    Attributes:
        errors: by the index of the target.
    """

    events: Events
    errors: dict[int, DeviceError] = field(default_factory=dict)

    def leave_out(self, plan: Plan, error: DeviceError) -> None:
        """Go on without the device of a plan.

        Raises:
            DeviceError: the run has no other device, or none that is left.
        """
        self.errors[plan.index] = error
        if len(self.errors) == len(plan.config.targets):
            raise error
        self.events.say(f"{plan.target.place} is left out: {error}")


def measured_models(plan: Plan, folder: RunFolder, absent: Absent, clock: Clock) -> dict[int, LatencyModel]:
    """The latency models of the whole space by the index of the target, measured as far as tables lack them.

    Raises:
        InfeasibleBudgetError: a budget is below the fastest network; the folder was cleared for another plan.
        TableError: the error of a table is too large to search with.
        DeviceError: no device can measure.
    """
    found = {}
    for one in plan.each:
        try:
            kept = kept_latencies(folder, one)
            events = absent.events.about(one.target.place) if one.several else absent.events
            found[one.index] = ready_model(one, progress=events, kept=kept, left_s=clock.left_s())
        except InfeasibleBudgetError:
            folder.free_unless_started()
            raise
        except DeviceError as error:
            absent.leave_out(one, error)
    return found


def kept_latencies(folder: RunFolder, plan: Plan) -> Path:
    """Where a run keeps the latency model that it began with, of one device."""
    return folder.state / (f"latency-{plan.target.folder}.json" if plan.several else "latency.json")


def measured_runs(
    parts: Sequence[RunPart],
    models: Mapping[int, LatencyModel],
    dataset: Dataset,
    folder: RunFolder,
    told: Events,
    clock: Clock,
    ranks: Ranks = ALONE,
) -> dict[str, RunContext]:
    """The parts of a run whose devices have a latency model, by their names.

    Args:
        told: callbacks; the records of a part go to the log of its folder besides. Where there are several parts,
            messages and tasks begin with its name.
        ranks: that train together, of which this is the first.
    """
    found = {}
    for part in parts:
        plan = part.plan
        if plan is None or plan.index not in models:
            continue
        whole, own = models[plan.index], told.also(part.folder.on_event)
        found[part.name] = RunContext(
            plan,
            part.folder,
            whole.restricted(plan.constrained.kept),
            (whole.smallest_ms, whole.largest_ms),
            part.budget.ms(whole),
            dataset,
            plan.accelerator,
            own.about(part.name) if len(parts) > 1 else own,
            kept_table(kept_latencies(folder, plan)),
            clock,
            whole,
            folder,
            ranks,
        )
    return found
