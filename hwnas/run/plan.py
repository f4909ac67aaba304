"""From a configuration to what will be done: the space, the device, and the table that both need."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from hwnas.arch.costs import macs
from hwnas.arch.space import Architecture, SearchSpace
from hwnas.arch.spaces import space_instance
from hwnas.backends.onnx import onnx_model
from hwnas.backends.weights import random_weights
from hwnas.data import class_names, native_shape
from hwnas.devices.device import Device, load_device
from hwnas.devices.estimate import estimates
from hwnas.devices.measure import measure
from hwnas.errors import InfeasibleBudgetError
from hwnas.files import read_json, write_json
from hwnas.latency.build import CANARY_DRIFT, Need, canary_model, complete, drift, lacking, model_of, open_table
from hwnas.latency.find import find_folder, table_folder
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import Table
from hwnas.progress import Progress
from hwnas.run.bounds import Bounds, bounds
from hwnas.run.config import Budget, RunConfig
from hwnas.search.strategies import Strategy, strategy
from hwnas.train import resolve

_SMALLEST_RESOLUTION, _LARGEST_RESOLUTION = 32, 224


@dataclass(frozen=True)
class Plan:
    """What a configuration means on this machine.

    Attributes:
        config: with the width and resolution that follow the data filled in.
        whole: the search space that was asked for; latencies are measured and calibrated on it.
        bounds: what the limits on size and memory leave of it.
        table: the device's table as it is now; `need` says what it lacks.
        folder: where the completed table goes.
    """

    config: RunConfig
    budget: Budget
    strategy: Strategy
    whole: SearchSpace
    bounds: Bounds
    device: Device
    table: Table
    folder: Path
    need: Need
    accelerator: torch.device

    @property
    def space(self) -> SearchSpace:
        """What is searched: the options of the whole space that the limits allow."""
        return self.bounds.space

    def target_ms(self, model: LatencyModel) -> float:
        """The budget less the table's margin; a share of the whole space's range, whatever the limits leave of it."""
        return model.target_ms(self.budget.ms(model))


def make_plan(config: RunConfig, tables: Path | None) -> Plan:
    """Resolve a configuration; nothing is measured or trained.

    Raises:
        InputError: a name, path or number in it is wrong.
        InfeasibleLimitError: a limit on size or memory is below what the space offers.
    """
    budget = Budget.parse(config.budget)
    chosen = strategy(config.strategy)
    accelerator = resolve(config.accelerator)
    channels, native = native_shape(config.data)
    resolved = replace(
        config,
        width=config.width or default_width(native),
        resolution=config.resolution or default_resolution(native),
    )
    classes = class_names(config.data)
    space = space_instance(
        config.space,
        width=resolved.width,
        resolution=resolved.resolution,
        channels=channels,
        classes=len(classes),
    )
    device = load_device(config.device)
    condition = device.condition()
    texts = (Path(config.data).expanduser().resolve().name, device.id, condition.folder.as_posix())
    limited = bounds(resolved, space, classes, texts)
    folder = table_folder(condition, tables)
    table = open_table(device, find_folder(condition, tables) or folder)
    return Plan(resolved, budget, chosen, space, limited, device, table, folder, lacking(table, space), accelerator)


def default_width(native: int) -> float:
    """Channel multiplier that leaves a space something to gain on images of this size."""
    return 0.25 if native <= 16 else 0.5 if native <= 64 else 1.0


def default_resolution(native: int) -> int:
    """The data's own resolution, rounded up to a multiple of 8, between 32 and 224 pixels."""
    return min(max((native + 7) // 8 * 8, _SMALLEST_RESOLUTION), _LARGEST_RESOLUTION)


def ready_model(plan: Plan, *, progress: Progress, kept: Path | None = None) -> LatencyModel:
    """The latency model of the plan's whole space, after measuring what the table lacks.

    Args:
        kept: where a run keeps the model that it began with. Resumed, it goes on with the same numbers, even if the
            device drifts or its table is measured anew in between.

    Raises:
        InfeasibleBudgetError: the budget is below the fastest network, or below the fastest within the other limits.
        DeviceError: the device cannot measure.
    """
    origin = {"space": plan.space.name, "condition": plan.device.condition().folder.as_posix()}
    if kept is not None and kept.exists() and not plan.need:
        content = read_json(kept)
        if content["origin"] == origin:
            return LatencyModel.from_json(content["model"])
    model = _measured_model(plan, progress)
    check_budget(plan, model)
    if kept is not None:
        write_json(kept, {"origin": origin, "model": asdict(model)})
    return model


def check_budget(plan: Plan, model: LatencyModel) -> None:
    """Whether the budget can be met, first alone and then with the other limits.

    Raises:
        InfeasibleBudgetError: it cannot.
    """
    model.raw_budget_ms(plan.target_ms(model))
    plan.bounds.check(model.restricted(plan.bounds.kept), plan.target_ms(model))


def _measured_model(plan: Plan, progress: Progress) -> LatencyModel:
    need = plan.need
    if plan.table.rows and not need.rows:
        changed = drift(plan.table, plan.device)
        if abs(changed) > CANARY_DRIFT:
            progress.say(f"the reference network runs {changed:+.0%} against the table: measuring its rows again")
            need = Need(plan.whole.ops, calibration=True, drifted=True)
    if need:
        if not plan.budget.relative:
            _refuse_hopeless(plan)
        if not need.drifted:
            progress.say(f"measuring {len(need.rows)} rows that the latency table lacks")
        complete(plan.table, plan.whole, plan.device, plan.folder, need, progress=progress)
        plan = replace(plan, table=open_table(plan.device, plan.folder))
    return model_of(plan.table, plan.whole)


def _refuse_hopeless(plan: Plan) -> None:
    """Measure the smallest network before a whole table: a budget far below it is refused at once."""
    space = plan.whole
    sizes = [[0] * len(decision.options) for decision in space.decisions]
    for slot in space.slots:
        for option, spec in enumerate(slot.ops if slot.decision is not None else ()):
            sizes[slot.decision or 0][option] += macs(spec.graph)
    smallest = space.network(Architecture(space.name, tuple(row.index(min(row)) for row in sizes)))
    with tempfile.TemporaryDirectory() as temporary:
        model, canary = Path(temporary) / "smallest.onnx", Path(temporary) / "canary.onnx"
        model.write_bytes(onnx_model(smallest, random_weights(smallest.graph, 0)))
        canary.write_bytes(canary_model())
        floor_us = estimates(measure(plan.device, {"smallest": model}, canary))["smallest"].floor_us
    floor_ms = floor_us / 1e3
    if plan.budget.value < 0.9 * floor_ms:
        raise InfeasibleBudgetError(
            f"no network of {space.name} runs within {plan.budget.value:g} ms on {plan.device.id}: the smallest one "
            f"was just measured at {floor_ms:.3g} ms",
            smallest_ms=floor_ms,
            hint=f"ask for at least --budget-ms {floor_ms * 1.1:.2g}, or use a smaller --width or --resolution",
        )
