"""The parts of a run: its budgets on its devices, each with a folder for its results."""

from __future__ import annotations

from dataclasses import dataclass

from hwnas.config import Budget
from hwnas.run.plan import Plan
from hwnas.run.run_folder import RunFolder


@dataclass(frozen=True)
class RunPart:
    """A budget on a device.

    Attributes:
        name: of both, `host@litert:5ms`.
        folder: where its results go.
        index: which of the targets of the configuration the device is.
        plan: for the device; None where that is left out.
    """

    name: str
    folder: RunFolder
    budget: Budget
    index: int
    plan: Plan | None


def parts_of(plan: Plan, folder: RunFolder) -> tuple[RunPart, ...]:
    """The parts of a run in the order of its targets; a single one has the folder of the run itself."""
    config, plans = plan.config, {one.index: one for one in plan.each}
    folders = iter([folder.part(name) for name in config.parts] or [folder])
    return tuple(
        RunPart(name, next(folders), budget, index, plans.get(index))
        for index, target in enumerate(config.targets)
        for name, budget in zip(target.names, target.budgets, strict=True)
    )
