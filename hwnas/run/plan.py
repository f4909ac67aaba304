"""From a configuration to what will be done: the space, the device, and the table that both need."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hwnas.arch.space import SearchSpace
from hwnas.config import Budget, Configuration
from hwnas.data import Dataset, Normalisation, Survey
from hwnas.devices.device import Condition, Device
from hwnas.devices.link import condition_of
from hwnas.latency.find import device_or_imported, find_folder, say_if_here, table_folder
from hwnas.latency.missing_rows import MissingRows, lacking, open_table, table_for
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import LatencyTable, missing_rows_error
from hwnas.nas.start import Start
from hwnas.nas.strategies import Strategy, strategy
from hwnas.parents import ParentWeights
from hwnas.progress import Progress, Silent
from hwnas.run.automatic import Automatic, with_start
from hwnas.run.constrained_space import ConstrainedSpace, constrained_space
from hwnas.run.images import ImageFacts, data_texts, image_facts, train_images
from hwnas.run.init import Given, check_start, initialised, normalisation_of, start_of
from hwnas.run.instance_choice import chosen_instance, of_table
from hwnas.run.plan_checks import check_latency, check_strategy, say_if_held
from hwnas.train import resolve

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
        survey: what the images are like; None of sets that need no looking at.
        start: weights, α and what samplers learned that the search begins with, and `reused`, how much of the
            initialisation they are; None for a random start.
        parent: what the start is made of slices of; None where it is not.
        automatic: what `--init auto` came to; None where something else was asked for.
        sizes: what was found at each input size, ready for JSON, where sizes were compared by quality.
        normalisation: of the images that the start was trained on, where it descends from a parent, and is none.
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

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The tightest first."""
        return self.config.budgets

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

    def prepared(self, dataset: Dataset) -> Dataset:
        """The images with the mean and the deviation that a parent or what is left of it expects, or with their own.

        Raises:
            InputError: the parent does not read such images.
        """
        if self.parent is not None:
            return self.parent.parent.prepared(dataset)
        return dataset if self.normalisation is None else self.normalisation.given(dataset)

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
    device = device_or_imported(config.target.device, tables).with_runtime(
        config.target.runtime, config.target.precision
    )
    check_latency(config, device)

    @functools.cache
    def images(resolution: int | str) -> ImageFacts:
        """Which part of each is seen depends on the resolution."""
        return image_facts(config.changed(space={"resolution": resolution}), dataset, progress)

    def make(settled: Configuration, automatic: Automatic | None) -> Plan:
        return _planned(
            settled, automatic, tables, device, images, dataset=dataset, any_table=any_table, progress=progress
        )

    return with_start(config, lambda: images(config.space.resolution), make)


def _planned(
    config: Configuration,
    automatic: Automatic | None,
    tables: Path | None,
    device: Device,
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
    if device.reachable and device.transport != "local":
        progress.say(f"asking {device.id}, over {device.transport}, for its CPU and its version of {device.runtime}")
    condition = condition_of(device)
    texts = (*data_texts(config, seen.survey), device.id, condition.folder.as_posix())

    def constrain(space: SearchSpace) -> ConstrainedSpace:
        return constrained_space(config, space, seen.classes, texts, device.runtime, device.precision)

    channels, classes = seen.channels, len(seen.classes)
    folder = table_folder(condition, tables)
    place = find_folder(condition, tables)
    table = open_table(device, place or folder)
    config = config if device.reachable else of_table(config, table, channels, classes)
    parent = init if isinstance(init, ParentWeights) else None
    found = chosen_instance(
        config,
        device,
        (channels, seen.size, classes),
        constrain,
        progress,
        strategy=chosen,
        train_images=lambda: train_images(config, seen.survey, dataset),
        accelerator=accelerator,
        parent=parent,
        dataset=dataset,
    )
    resolved = config.changed(space={"width": found.width, "depth": found.depth, "resolution": found.size.plain})
    if device.reachable:
        table, place = table_for(device, found.space, tables)
    say_if_here(place, tables, progress)
    missing = lacking(table, found.space)
    if missing and not device.reachable:
        raise missing_rows_error(table, missing.rows)
    say_if_held(table, found.space, progress)
    left = constrain(found.space)
    start, reused = None, None
    if init is not None:
        start, reused = start_of(config, left.space, init, chosen)
        progress.say(f"starting from {config.search.init}: {reused}{f'; {automatic}' if automatic else ''}")
    elif automatic is not None and automatic.reason:
        progress.say(f"starting from random weights: {automatic}")
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
        survey=seen.survey,
        start=start,
        reused=reused,
        parent=parent,
        automatic=automatic,
        sizes=found.sizes,
        normalisation=normalisation_of(config, init),
    )
