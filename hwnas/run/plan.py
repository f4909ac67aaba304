"""From a configuration to what will be done: the space, the device, and the table that both need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from hwnas.arch.space import SearchSpace
from hwnas.arch.spaces import parse_constants, space_instance, space_rungs
from hwnas.config import WITHOUT_SUPERNET, Budget, Configuration
from hwnas.data import Dataset, class_names, native_shape
from hwnas.devices.device import Condition, Device
from hwnas.devices.link import condition_of
from hwnas.errors import InfeasibleBudgetError, InfeasibleLimitError, InputError
from hwnas.files import write_json
from hwnas.latency.build import MissingRows, complete, drifted, lacking, model_of, open_table, table_for
from hwnas.latency.find import device_or_imported, find_folder, table_folder
from hwnas.latency.model import LatencyModel
from hwnas.latency.noise import load_warning
from hwnas.latency.space_latency import kept_model
from hwnas.latency.table import LatencyTable, missing_rows
from hwnas.latency.table_files import load_table
from hwnas.meta.reuse import Reused
from hwnas.nas.search_settings import SearchSettings
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy, strategy
from hwnas.progress import Progress, Silent
from hwnas.run.constrained_space import ConstrainedSpace, constrained_space
from hwnas.run.init import check_share, initialised, start_of
from hwnas.run.instance import ChosenInstance, extreme, fit, floor_ms
from hwnas.schema import read_json_as
from hwnas.train import resolve

_SMALLEST_RESOLUTION, _LARGEST_RESOLUTION = 32, 224
_SMALL_IMAGES = 64  # pixels; images up to this size are never made smaller than they are to meet a budget
_RESOLUTIONS = (224, 192, 160, 128, 96, 64, 48, 32, 24, 16, 8)
_SILENT = Silent()


@dataclass(frozen=True)
class Plan:
    """What a configuration means on this machine.

    Attributes:
        config: with the width, depth and resolution that follow the data and the budget filled in.
        reason: why this instance of the space was taken.
        whole: the search space that was asked for; latencies are measured and calibrated on it.
        constrained: what the constraints on size and memory leave of it.
        condition: what the device's latencies hold under.
        table: the device's table as it is now; `missing` says what it lacks.
        folder: where the completed table goes.
        any_table: whether a table whose error is too large is taken all the same.
        start: weights, α and what samplers learned that the search begins with, and `reused`, how much of the
            initialisation they are; None for a random start.
    """

    config: Configuration
    reason: str
    strategy: Strategy
    whole: SearchSpace
    constrained: ConstrainedSpace
    device: Device
    condition: Condition
    table: LatencyTable
    folder: Path
    missing: MissingRows
    accelerator: torch.device
    any_table: bool = False
    start: Start | None = None
    reused: Reused | None = None

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The tightest first."""
        return self.config.budgets

    @property
    def space(self) -> SearchSpace:
        """The searched space: the options of the whole space that the constraints allow."""
        return self.constrained.space

    def targets_ms(self, model: LatencyModel) -> tuple[float, ...]:
        """The budgets less the table's margin; shares are of the range of the whole space, not of what is left."""
        return tuple(model.target_ms(budget.ms(model)) for budget in self.budgets)


def make_plan(
    config: Configuration,
    tables: Path | None,
    dataset: Dataset | None = None,
    *,
    any_table: bool = False,
    progress: Progress = _SILENT,
) -> Plan:
    """Resolve a configuration; nothing is trained.

    Where a budget in milliseconds comes without a width, the ends of a few instances of the space are measured first,
    for a few seconds, and the budget chooses among them. `progress` is told before that, and before a device that is
    not this machine is contacted.

    Args:
        dataset: takes the place of `config.data.source`, which becomes its name.
        any_table: search even with a table whose error is too large.

    Raises:
        InputError: a name, path or number in it is wrong.
        MissingRowsError: an imported table, which nothing can complete, lacks rows.
        InfeasibleBudgetError: the budget is below the fastest network of the smallest instance.
        InfeasibleLimitError: a constraint on size or memory is below what the space offers.
        DeviceError: the device cannot measure.
    """
    chosen = strategy(config.search.strategy)
    _check_scores(config, chosen)
    _check_reward(config, chosen)
    check_share(config, chosen)
    _check_settings(config)
    config, init = initialised(config)
    accelerator = resolve(config.compute.accelerator)
    if dataset is not None:
        config = config.changed(data={"source": dataset.name})
    device = device_or_imported(config.target.device, tables).with_runtime(
        config.target.runtime, config.target.precision
    )
    classes = class_names(config.data.source) if dataset is None else dataset.classes
    if device.reachable and device.transport != "local":
        progress.say(f"asking {device.id}, over {device.transport}, for its CPU and its version of {device.runtime}")
    condition = condition_of(device)
    texts = (Path(config.data.source).expanduser().resolve().name, device.id, condition.folder.as_posix())

    def constrain(space: SearchSpace) -> ConstrainedSpace:
        return constrained_space(config, space, classes, texts, device.runtime, device.precision)

    channels, native = native_shape(config.data.source) if dataset is None else (dataset.channels, dataset.resolution)
    folder = table_folder(condition, tables)
    table = open_table(device, find_folder(condition, tables) or folder)
    config = config if device.reachable else _of_table(config, table, channels, len(classes))
    found = _instance(config, device, (channels, native, len(classes)), constrain, progress)
    resolved = config.changed(
        space={"width": found.width, "depth": found.depth, "resolution": found.space.input_shape[1]}
    )
    if device.reachable:
        table, _ = table_for(device, found.space, tables)
    missing = lacking(table, found.space)
    if missing and not device.reachable:
        raise missing_rows(table, missing.rows)
    left = constrain(found.space)
    start, reused = None, None
    if init is not None:
        start, reused = start_of(config, left.space, init, chosen)
        progress.say(f"starting from {config.search.init}: {reused}")
    return Plan(
        config=resolved,
        reason=found.reason,
        strategy=chosen,
        whole=found.space,
        constrained=left,
        device=device,
        condition=condition,
        table=table,
        folder=folder,
        missing=missing,
        accelerator=accelerator,
        any_table=any_table,
        start=start,
        reused=reused,
    )


def _check_scores(config: Configuration, chosen: Strategy) -> None:
    """Whether the scores that are asked for go with the rest of a configuration.

    Raises:
        InputError: they do not.
    """
    if config.search.evaluator == "one-shot":
        if config.space.name in WITHOUT_SUPERNET:
            raise InputError(
                f"the networks of the space {config.space.name} cannot share weights, as their layers read maps of "
                "different shapes, so there is no supernet to score them",
                hint="leave out --evaluator, or take --evaluator from-scratch and a sampler like --strategy metaqnn",
            )
        return
    if chosen.sampler is None:
        instead = "" if config.space.name in WITHOUT_SUPERNET else ", or --evaluator one-shot"
        raise InputError(
            f"scores by training are for samplers, and {chosen.name} is a relaxation, which learns with the weights "
            "of a supernet",
            hint=f"choose another --strategy, such as metaqnn or evolution{instead}",
        )
    if not config.train.enabled:
        raise InputError("with scores by training there are no shared weights to keep", hint="leave out --no-train")
    if config.train.minutes:
        raise InputError(
            "scores by training are limited by their epochs, not by minutes",
            hint="give --evaluator-epochs and --epochs in place of --minutes",
        )


def _check_reward(config: Configuration, chosen: Strategy) -> None:
    """Whether the strategy is told the reward.

    Raises:
        InputError: it is not.
    """
    if config.search.reward != "filter" and chosen.sampler is None:
        raise InputError(
            f"rewards are for samplers, and {chosen.name} is a relaxation, which the gradient of the latency presses",
            hint="leave out --reward, or choose a sampler, such as --strategy enas",
        )


def _check_settings(config: Configuration) -> None:
    """Whether what is set for the training of a supernet has one to set it for.

    Raises:
        InputError: it has not.
    """
    scratch, idle = config.search.evaluator == "from-scratch", config.search.share == 0
    if not scratch and not idle:
        return
    used = {"candidates"} if scratch and not idle else set()
    unused = [
        f"search.{one.name}" for one in fields(SearchSettings) if one.name in config.search.chosen().keys() - used
    ]
    if unused:
        why = "with scores by training there is no supernet" if scratch else "with a share of 0 nothing is searched"
        raise InputError(f"{why}, so nothing follows from {', '.join(unused)}", hint="leave that out")


def _instance(
    config: Configuration,
    device: Device,
    images: tuple[int, int, int],
    constrain: Callable[[SearchSpace], ConstrainedSpace],
    progress: Progress,
) -> ChosenInstance:
    """The instance that the configuration names, or that the data, the budget and the constraints choose.

    Args:
        images: their channels, native resolution and number of classes.
    """
    channels, native, classes = images
    resolution = config.space.resolution or default_resolution(native)

    def instance(width: float, depth: int, resolution: int) -> SearchSpace:
        return space_instance(
            config.space.name, width=width, depth=depth, resolution=resolution, channels=channels, classes=classes
        )

    rungs = space_rungs(config.space.name)
    if config.budgets[0].relative or config.space.width or not rungs or not device.reachable:
        width = config.space.width or default_width(native)
        reason = "as asked for" if config.space.width else "the default for images of this size"
        return ChosenInstance(instance(width, config.space.depth, resolution), width, config.space.depth, reason)
    resolutions = [resolution]
    if not config.space.resolution:
        least = min(native, _SMALL_IMAGES)
        resolutions += [smaller for smaller in _RESOLUTIONS if least <= smaller < resolution]
    sizes = list(dict.fromkeys((width, config.space.depth or depth) for width, depth in rungs))
    sizes = _feasible_sizes(sizes, lambda width, depth: constrain(instance(width, depth, resolutions[-1])))
    values_ms = [budget.value for budget in config.budgets]
    return fit(values_ms, sizes, instance, resolutions, device, progress=progress)


def _of_table(config: Configuration, table: LatencyTable, channels: int, classes: int) -> Configuration:
    """The configuration with the instance that an imported table is of, where it names no other one."""
    images = f"-i{channels}-o{classes}"
    if config.space.width or config.space.depth or config.space.resolution:
        return config
    for signature in sorted(table.calibrations):
        if signature.startswith(f"{config.space.name}@") and signature.endswith(images):
            _, width, depth, resolution = parse_constants(signature.removesuffix(images))
            return config.changed(space={"width": width, "depth": depth, "resolution": resolution})
    return config


def _feasible_sizes(
    sizes: list[tuple[float, int]], constrain: Callable[[float, int], ConstrainedSpace]
) -> list[tuple[float, int]]:
    """The sizes that the constraints on file and memory leave something of.

    Raises:
        InfeasibleLimitError: that is none of them.
    """
    constrain(*sizes[0])
    kept = sizes[:1]
    for size in sizes[1:]:
        try:
            constrain(*size)
        except InfeasibleLimitError:
            break
        kept.append(size)
    return kept


def default_width(native: int) -> float:
    """Channel multiplier that leaves a space something to gain on images of this size."""
    return 0.25 if native <= 16 else 0.5 if native <= 64 else 1.0


def default_resolution(native: int) -> int:
    """The data's own resolution, rounded up to a multiple of 8, between 32 and 224 pixels."""
    return min(max((native + 7) // 8 * 8, _SMALLEST_RESOLUTION), _LARGEST_RESOLUTION)


@dataclass(frozen=True)
class _KeptModel:
    """A latency model on disk, and what it is of."""

    origin: dict[str, str]
    model: dict[str, Any]


def ready_model(plan: Plan, *, progress: Progress, kept: Path | None = None) -> LatencyModel:
    """The latency model of the plan's whole space, after measuring what the table lacks.

    Args:
        kept: where a run keeps the model that it began with. Resumed, it goes on with the same numbers, even if the
            device drifts or its table is measured anew in between.

    Raises:
        InfeasibleBudgetError: the budget is below the fastest network, or the fastest under the other constraints.
        TableError: the error of the table is too large to search with.
        DeviceError: the device cannot measure.
    """
    origin = {"space": plan.space.name, "condition": plan.condition.folder.as_posix()}
    if kept is not None and kept.exists() and not plan.missing:
        content = read_json_as(kept, _KeptModel, hint="start the run anew, with --force")
        if content.origin == origin:
            return kept_model(plan.whole, content.model, kept)
    model = _measured_model(plan, progress)
    check_budget(plan, model)
    if kept is not None:
        write_json(kept, {"origin": origin, "model": model.to_json()})
    return model


def check_budget(plan: Plan, model: LatencyModel) -> None:
    """Whether every budget can be met, first alone and then with the other constraints.

    Raises:
        InfeasibleBudgetError: one cannot; it is named.
    """
    for budget, target_ms in zip(plan.budgets, plan.targets_ms(model), strict=True):
        try:
            model.raw_budget_ms(target_ms)
            plan.constrained.check(model.restricted(plan.constrained.kept), target_ms)
        except InfeasibleBudgetError as error:
            if len(plan.budgets) == 1:
                raise
            message = f"of the budgets {plan.config.target.budget}, {budget} cannot be met: {error}"
            hint = f"leave it out, or {error.hint.replace('--budget-ms ', '')}"
            raise InfeasibleBudgetError(message, smallest_ms=error.smallest_ms, hint=hint) from error


def _measured_model(plan: Plan, progress: Progress) -> LatencyModel:
    missing = plan.missing
    if not plan.device.reachable:
        return model_of(plan.table, plan.whole, any_table=plan.any_table)
    lacks = len(missing.rows)
    if lacks < len(plan.whole.ops):
        again, changed = drifted(plan.table, plan.whole, plan.device)
        if again and plan.table.kind == "adapted":  # what was predicted is not completed: a measured table replaces it
            plan = replace(plan, table=open_table(plan.device, plan.folder))
            again = lacking(plan.table, plan.whole)
        if again:
            progress.say(
                f"the reference model runs {changed:+.0%} against when the table was measured: measuring "
                f"{len(again.rows)} of {len(plan.whole.ops)} rows and whole networks again"
            )
        missing = MissingRows((*missing.rows, *again.rows), missing.calibration or again.calibration)
    if missing:
        if not plan.budgets[0].relative:
            _refuse_hopeless(plan, progress)
        if lacks:
            progress.say(f"measuring {lacks} rows that the latency table lacks")
        complete(plan.table, plan.whole, plan.device, plan.folder, missing, progress=progress)
        plan = replace(plan, table=open_table(plan.device, plan.folder))
        if warning := load_warning(plan.table, plan.whole):
            progress.say(warning)
    return model_of(plan.table, plan.whole, any_table=plan.any_table)


def reference_us(plan: Plan) -> float | None:
    """What the reference model takes undisturbed, by the table as it is now; None where no table knows."""
    table = load_table(plan.folder) if (plan.folder / "meta.toml").is_file() else plan.table
    if plan.table.kind == "adapted" and plan.whole.signature not in table.calibrations:
        table = plan.table
    return table.reference_of(plan.whole.signature) or None


def _refuse_hopeless(plan: Plan, progress: Progress) -> None:
    """Measure the smallest network before a whole table: a budget far below it is refused at once."""
    progress.say(f"measuring the smallest network of {plan.space.name} on {plan.device.id}, for about a second")
    smallest = {"smallest": extreme(plan.whole, min)}
    smallest_ms = floor_ms(smallest, plan.device, progress=progress)["smallest"]
    tightest_ms = plan.budgets[0].value
    if tightest_ms < 0.9 * smallest_ms:
        raise InfeasibleBudgetError(
            f"no network of {plan.space.name} runs within {tightest_ms:g} ms on {plan.device.id}: the smallest "
            f"one was just measured at {smallest_ms:.3g} ms",
            smallest_ms=smallest_ms,
            hint=f"ask for at least --budget-ms {smallest_ms * 1.1:.2g}, or use a smaller --width or --resolution",
        )
