"""From a configuration to what will be done: the space, the device, and the table that both need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from hwnas.arch.space import SearchSpace
from hwnas.config import Budget, Configuration, DeviceTarget
from hwnas.data import Dataset, Normalisation, Survey
from hwnas.devices.device import Condition, Device
from hwnas.latency.missing_rows import MissingRows
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import LatencyTable
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy, strategy
from hwnas.parents import ParentWeights
from hwnas.progress import Progress, Silent
from hwnas.run.automatic import Automatic, with_start
from hwnas.run.constrained_space import ConstrainedSpace, constrained_space
from hwnas.run.images import ImageFacts, data_texts, image_facts, train_images
from hwnas.run.init import Given, check_start, initialised, normalisation_of, start_of
from hwnas.run.instance_choice import chosen_instance, of_table
from hwnas.run.plan_checks import check_strategy
from hwnas.run.plan_devices import Devices, LeftOut, devices_of, reached
from hwnas.train import resolve

_SILENT = Silent()


@dataclass(frozen=True)
class Plan:
    """What a configuration means on this machine, for one device.

    A run with several devices has a plan for each. They share all but what is of the device: its target, condition and
    table, and the limit on its files.

    Attributes:
        config: with the width, depth and resolution that follow the data and the budget filled in.
        reason: why this instance of the space was taken.
        whole: the search space that was asked for; latencies are measured and calibrated on it.
        constrained: what the constraints on size and memory leave of it.
        condition: what the device's latencies hold under.
        table: the device's table as it is now; `missing` says what it lacks.
        folder: where the completed table goes.
        any_table: whether a table whose error is too large is taken all the same.
        survey: what the images are like; None of sets that need no looking at.
        start: weights, α and what samplers learned that the search begins with, and `reused`, how much of the
            initialisation they are; None for a random start.
        parent: what the start is made of slices of; None where it is not.
        automatic: what `--init auto` came to; None where something else was asked for.
        sizes: what was found at each input size, ready for JSON, where sizes were compared by quality.
        normalisation: of the images that the start was trained on, where it descends from a parent, and is none.
        index: which of the targets of the configuration it is for.
        others: the plans for the further devices of the run; those have none.
        left_out: the devices of the run that are done without.
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
    survey: Survey | None = None
    start: Start | None = None
    reused: Given | None = None
    parent: ParentWeights | None = None
    automatic: Automatic | None = None
    sizes: tuple[Mapping[str, Any], ...] = ()
    normalisation: Normalisation | None = None
    index: int = 0
    others: tuple[Plan, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def each(self) -> tuple[Plan, ...]:
        """The plans for all devices of the run that are not left out."""
        return (self, *self.others)

    @property
    def target(self) -> DeviceTarget:
        """The device and its budgets as they were asked for."""
        return self.config.targets[self.index]

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """Those on this device, the tightest first."""
        return self.target.budgets

    @property
    def all_budgets(self) -> tuple[tuple[Plan, Budget], ...]:
        """The budgets on all devices of the run that are not left out, each with the plan for its device."""
        return tuple((one, budget) for one in self.each for budget in one.budgets)

    @property
    def several(self) -> bool:
        """Whether the run is for several devices, those that are left out included."""
        return len(self.config.targets) > 1

    @property
    def space(self) -> SearchSpace:
        """The searched space: the options of the whole space that the constraints allow."""
        return self.constrained.space

    @property
    def cold(self) -> bool:
        """Whether budgets are about calls after work that evicts caches."""
        return self.config.target.latency == "cold"

    @property
    def complete(self) -> bool:
        """Whether the table holds all that the search takes from it."""
        return not self.missing and not (self.cold and self.whole.signature not in self.table.cold)

    @property
    def start_text(self) -> str:
        """What the search starts from, and why, for people."""
        why = str(self.automatic or "")
        if self.reused is not None:
            return f"{self.config.search.init}: {self.reused}{why and f'; {why}'}"
        return f"random weights{why and f': {why}'}"

    def prepared(self, dataset: Dataset) -> Dataset:
        """The images with the mean and the deviation that a parent or what is left of it expects, or with their own.

        Raises:
            InputError: the parent does not read such images.
        """
        if self.parent is not None:
            return self.parent.parent.prepared(dataset)
        return dataset if self.normalisation is None else self.normalisation.given(dataset)

    def with_config(self, config: Configuration) -> Self:
        """The same plan, and those of the other devices, with what does not change a plan changed."""
        others = tuple(replace(one, config=config) for one in self.others)
        return replace(self, config=config, others=others)

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
    if dataset is not None:
        config = config.changed(data={"source": dataset.name})
    asked = devices_of(config, tables)

    @functools.cache
    def devices() -> Devices:
        """None is asked twice."""
        return reached(asked, tables, progress)

    @functools.cache
    def images(resolution: int | str) -> ImageFacts:
        """Which part of each is seen depends on the resolution."""
        return image_facts(config.changed(space={"resolution": resolution}), dataset, progress)

    def make(settled: Configuration, automatic: Automatic | None) -> Plan:
        return _planned(
            settled, automatic, tables, devices, images, dataset=dataset, any_table=any_table, progress=progress
        )

    return with_start(config, lambda: images(config.space.resolution), make)


def _planned(
    config: Configuration,
    automatic: Automatic | None,
    tables: Path | None,
    devices: Callable[[], Devices],
    images: Callable[[int | str], ImageFacts],
    *,
    dataset: Dataset | None,
    any_table: bool,
    progress: Progress,
) -> Plan:
    """The plan of a configuration that names its start; see `make_plan`."""
    chosen = strategy(config.search.strategy)
    check_strategy(config, chosen)
    check_start(config, chosen)
    config, init = initialised(config)
    accelerator = resolve(config.compute.accelerator)
    seen = images(config.space.resolution)
    found, texts = devices(), data_texts(config, seen.survey)

    def constrain(space: SearchSpace) -> tuple[ConstrainedSpace, ...]:
        """For each device; only their files differ."""
        return tuple(
            constrained_space(
                config, space, seen.classes, (*texts, *one.texts), one.device.runtime, one.device.precision
            )
            for one in found.found
        )

    channels, classes = seen.channels, len(seen.classes)
    asked = config
    for one in found.found:
        config = config if one.device.reachable else of_table(config, one.table, channels, classes)
    parent = init if isinstance(init, ParentWeights) else None
    chosen_size = chosen_instance(
        config,
        [(one.device, config.targets[one.index].budgets) for one in found.found],
        (channels, seen.size, classes),
        lambda space: constrain(space)[0],
        progress,
        strategy=chosen,
        train_images=lambda: train_images(config, seen.survey, dataset),
        accelerator=accelerator,
        parent=parent,
        dataset=dataset,
    )
    whole = chosen_size.space
    resolved = config.changed(
        space={"width": chosen_size.width, "depth": chosen_size.depth, "resolution": chosen_size.size.plain}
    )
    rows = [one.rows(whole, tables, progress) for one in found.found]
    left = constrain(whole)
    start, reused = None, None
    if init is not None:
        start, reused = start_of(config, left[0].space, init, chosen)
    first, *others = (
        Plan(
            config=resolved,
            reason=chosen_size.reason if config is asked else "the one that the imported table is of",
            strategy=chosen,
            whole=whole,
            constrained=within,
            device=one.device,
            condition=one.condition,
            table=table,
            folder=one.folder,
            missing=missing,
            accelerator=accelerator,
            any_table=any_table,
            survey=seen.survey,
            start=start,
            reused=reused,
            parent=parent,
            automatic=automatic,
            sizes=chosen_size.sizes,
            normalisation=normalisation_of(config, init),
            index=one.index,
        )
        for one, within, (table, missing) in zip(found.found, left, rows, strict=True)
    )
    return replace(first, others=tuple(others), left_out=found.left_out)
